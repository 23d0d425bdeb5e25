"""A Dask cluster on loopback: a scheduler and workers as people start them, processes of their own, over TLS."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from distributed import Client
from distributed.security import Security

from etl.config.environment import PREFIX
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from conftest import Warehouse


@dataclass
class Worker:
    """A worker's process, its name, and its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@dataclass
class DaskCluster:
    """A scheduler with workers.

    Attributes:
        address: of the scheduler.
        environment: what a command needs to connect.
        workers: those that were started and not ended from here.
    """

    folder: Path
    environment: Mapping[str, str]
    scheduler: subprocess.Popen[bytes]
    address: str = ""
    workers: list[Worker] = field(default_factory=list)
    started: int = 0

    @property
    def scheduler_log(self) -> str:
        return (self.folder / "scheduler.log").read_text()

    def serve(self, warehouse: Warehouse, **settings: str) -> None:
        """From the next run on the workers find that warehouse in their environment: in the `.env` of their folder."""
        known = {"API_TOKEN": warehouse.sandbox.config.token, "DATABASE_URL": warehouse.url, **settings}
        (self.folder / ".env").write_text("".join(f"{PREFIX}{name}='{value}'\n" for name, value in known.items()))

    def start_worker(self, *, count: int = 1, **environment: str) -> list[Worker]:
        """Start workers of one thread, and wait until the scheduler knows them."""
        made = [self._start_worker(environment) for _ in range(count)]
        self.workers += made
        with self.client() as client:
            until(lambda: {made_.name for made_ in made} <= worker_names(client), "a worker did not come")
        return made

    def _start_worker(self, environment: Mapping[str, str]) -> Worker:
        self.started += 1
        name = f"worker-{self.started}"
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", "worker", "--scheduler-file", self.folder / "scheduler.json",
                 "--no-nanny", "--nthreads", "1", "--name", name, "--host", "127.0.0.1",
                 "--dashboard-address", "127.0.0.1:0", "--local-directory", self.folder / name],
                cwd=self.folder, env={**_plain(), **self.environment, **environment}, stdout=out, stderr=out,
            )  # fmt: skip
        return Worker(name, process, log)

    def end(self, worker: Worker) -> None:
        """Kill a worker, and wait until the scheduler knows that it is gone."""
        worker.kill()
        self.workers.remove(worker)
        with self.client() as client:
            until(lambda: worker.name not in worker_names(client), "the scheduler still has the killed worker")

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A look at the cluster, beside the command."""
        file = str(self.folder / "all.pem")
        security = Security(tls_ca_file=file, tls_client_cert=file, tls_client_key=file, require_encryption=True)
        with Client(self.address, security=security, set_as_default=False) as client:
            yield client


class Forwarder:
    """A port in front of a scheduler, whose connections can be broken."""

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.removeprefix("tls://").rpartition(":")
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"tls://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                ends = (self._listener.accept()[0], socket.create_connection((self._host, int(self._port))))
                self._ends += ends
                for source, sink in (ends, ends[::-1]):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def break_connections(self) -> None:
        """Those that are open; new ones are forwarded, also those that come while these are broken."""
        for _ in range(len(self._ends)):
            with self._ends.pop(0) as end, suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.break_connections()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def forwarded(address: str) -> Iterator[Forwarder]:
    """A scheduler, by way of a port whose connections can be broken."""
    forwarder = Forwarder(address)
    serving = threading.Thread(target=forwarder.serve, daemon=True)
    serving.start()
    try:
        yield forwarder
    finally:
        forwarder.close()
        serving.join()


def worker_names(client: Client) -> set[str]:
    """Of the workers that the scheduler knows."""
    known: Mapping[str, Any] = client.scheduler_info()["workers"]
    return {worker["name"] for worker in known.values()}


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "DASK_"))}


def _address_in(file: Path) -> str:
    """The scheduler's address; empty while the file is not there, or not yet written to its end."""
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError):
        return ""


@contextmanager
def running_cluster(folder: Path, *, workers: int, **environment: str) -> Iterator[DaskCluster]:
    """A scheduler on loopback and so many workers, whose environment is a `.env` in `folder`."""
    made = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1",
            "-subj", "/CN=dask", "-keyout", "key.pem", "-out", "certificate.pem"]  # fmt: skip
    subprocess.run(["/usr/bin/openssl", *made], cwd=folder, check=True, capture_output=True, timeout=60)
    both = folder / "all.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    tls = "DASK_DISTRIBUTED__COMM__TLS__"
    known = {
        f"{tls}CA_FILE": f"{both}",
        # As docs/workers.md says.
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
        "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": "etl.job.dask.ssl_workaround",
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "etl.job.dask.ssl_workaround",
        **{f"{tls}{who}__{what}": f"{both}" for who in ("SCHEDULER", "WORKER", "CLIENT") for what in ("CERT", "KEY")},
        **environment,
    }
    with (folder / "scheduler.log").open("wb") as out:
        scheduler = subprocess.Popen(
            [sys.executable, "-m", "dask", "scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", "0",
             "--dashboard-address", "127.0.0.1:0", "--scheduler-file", folder / "scheduler.json"],
            cwd=folder, env={**_plain(), **known}, stdout=out, stderr=out,
        )  # fmt: skip
    cluster = DaskCluster(folder, known, scheduler)
    try:
        until(lambda: _address_in(folder / "scheduler.json") != "", "the scheduler did not start")
        cluster.address = _address_in(folder / "scheduler.json")
        cluster.start_worker(count=workers)
        yield cluster
    finally:
        for worker in cluster.workers:
            worker.kill()
        scheduler.kill()
        scheduler.wait(30)
