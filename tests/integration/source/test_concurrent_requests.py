"""As many requests as there are threads are under way at once: none waits for another to let go of its connection."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from etl.domain.pipeline_values import ReportAddress
from etl.domain.slices import MAX_CONCURRENCY
from etl.extract.download import Downloader
from etl.extract.http_clients import api_client, storage_client
from etl.extract.url_policy import UrlPolicy
from etl.runtime.cancellation import Stop
from raw_server import CSV, TOKEN, FakeTime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

POLICY = UrlPolicy(api_on_loopback=True)
# A Dask worker has as many threads as its machine has cores, and that may be more than one run's maximum.
MANY = 4 * MAX_CONCURRENCY
# Only a test that fails waits for so long.
TIMEOUT_S = 60


class CrowdedHost(ThreadingHTTPServer):
    """Sends half of each file, and the other half when all the requests that are expected have come."""

    request_queue_size = MANY

    def __init__(self, expected: int) -> None:
        super().__init__(("127.0.0.1", 0), _Request)
        self.all_here = threading.Barrier(expected)
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Request(BaseHTTPRequestHandler):
    server: CrowdedHost

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", f"{len(CSV)}")
        self.end_headers()
        self.wfile.write(CSV[:100])
        self.server.all_here.wait(TIMEOUT_S)
        self.wfile.write(CSV[100:])

    def log_message(self, *_: object) -> None:
        """Nothing is written."""

    def handle(self) -> None:
        self.server.requests += 1
        # A client that gave up, or a crowd that never was: the client's errors are what the test looks at.
        try:
            super().handle()
        except (OSError, threading.BrokenBarrierError):
            self.close_connection = True


@contextmanager
def crowded_host(expected: int) -> Iterator[CrowdedHost]:
    with CrowdedHost(expected) as host:
        serving = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        try:
            yield host
        finally:
            host.shutdown()
            serving.join()


def test_many_slow_downloads_at_once_all_come(tmp_path: Path) -> None:
    with crowded_host(MANY) as host, storage_client(POLICY, proxies={}) as client, ThreadPoolExecutor(MANY) as threads:
        address = ReportAddress(f"{host.url}/r.csv", asks=1)

        def download(number: int) -> bytes:
            tools = Downloader(client, POLICY, FakeTime().retry_policy(), Stop())
            folder = tmp_path / f"{number}"
            return tools.download(address, renew=lambda: address, folder=folder).path.read_bytes()

        assert set(threads.map(download, range(MANY))) == {CSV}
        assert host.requests == MANY, "each at its first attempt"


@pytest.mark.parametrize("client", ["through a proxy", "to the API"])
def test_many_slow_answers_at_once_all_come(client: str) -> None:
    with crowded_host(MANY) as host, _client(client, host) as clients, ExitStack() as stack:
        url = "http://storage.example.com/r.csv" if client == "through a proxy" else "/"
        answers = [stack.enter_context(clients.stream("GET", url)) for _ in range(MANY)]
        assert {answer.read() for answer in answers} == {CSV}


def _client(which: str, host: CrowdedHost) -> httpx.Client:
    if which == "through a proxy":
        return storage_client(POLICY, proxies={"http": host.url})
    return api_client(host.url, token=SecretStr(TOKEN), org_id="o")
