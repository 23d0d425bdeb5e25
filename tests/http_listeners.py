"""Others that the program speaks to, for tests: a small HTTP server, a host that never answers, a Pushgateway."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple

from etl.telemetry import notifier
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

GATEWAY = shutil.which("prometheus-pushgateway")


class Received(NamedTuple):
    """A request."""

    method: str
    path: str
    body: str


@dataclass
class Listener:
    """What a server received, and what it is to answer: these statuses first, then 200."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@contextmanager
def listening() -> Iterator[Listener]:
    """A small HTTP server on loopback."""
    listener = Listener()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            listener.received.append(Received(self.command, self.path, body))
            self.send_response(listener.statuses.pop(0) if listener.statuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = _answer  # noqa: N815 - http.server's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        listener.url = f"http://127.0.0.1:{server.server_port}"
        yield listener
        server.shutdown()
        thread.join()


@contextmanager
def silent_host() -> Iterator[str]:
    """A host that takes connections and never says a word; its address."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def notices_within(seconds: float) -> dict[str, object]:
    """Limits for the command: how long it has for all notifications. A new process sends them, and is told so."""
    start = notifier._START.replace("import main;", f"import main; main.__globals__['_SEND_S'] = {seconds};")
    assert start != notifier._START
    return {"telemetry.notifier._START": start}


@contextmanager
def pushgateway() -> Iterator[str]:
    """Debian's Pushgateway; its URL."""
    if GATEWAY is None:
        skip_missing("there is no prometheus-pushgateway on this machine (Debian: apt install prometheus-pushgateway)")
    url = f"http://127.0.0.1:{free_port()}"
    with subprocess.Popen(
        # Debian's keeps its groups in a file of the system unless told otherwise.
        [GATEWAY, f"--web.listen-address={url.removeprefix('http://')}", "--persistence.file="],
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _until_ready(url)
            yield url
        finally:
            process.terminate()
            process.wait(10)


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - loopback
        return str(response.read().decode())


def _until_ready(url: str) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            fetch(f"{url}/-/ready")
        except OSError:
            assert time.monotonic() < deadline, "the Pushgateway does not start"
            time.sleep(0.05)
        else:
            return
