"""A Dask cluster on hosts of their own: scheduler and workers in containers, started as docs/workers.md says, over TLS.

worker's host  --- network "source" --- the sandbox
     |
     +------------ network "store" ---- Postgres, the scheduler, the command's host
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from container_hosts import IMAGE, RESTRICTED, job_host_between
from docker_engine import docker, running
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from container_hosts import Hosts
    from docker_engine import Container

WITH_DASK = f"{IMAGE}:dask"
ADDRESS = "tls://scheduler:8786"
_TLS = "DASK_DISTRIBUTED__COMM__TLS__"
_ROLES = ("scheduler", "worker", "client")
_THERE = "/etc/dask"


@dataclass(frozen=True)
class WorkerHost:
    """A worker of one process, in the network of a host of its own.

    Attributes:
        address: as the database knows it.
    """

    name: str
    address: str
    host: Container
    container: Container

    def kill(self) -> None:
        docker("kill", self.container.name)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """It stands still meanwhile: its machine answers for it, as hosts as that goes."""
        # On a busy machine the processes do not always freeze at once, and the engine gives up.
        until(lambda: docker("pause", self.container.name, check=False).returncode == 0, f"{self.name} does not freeze")
        try:
            yield
        finally:
            docker("unpause", self.container.name)


@dataclass
class DaskHosts:
    """A scheduler with workers.

    Attributes:
        hosts: the hosts that they work with.
        scheduler: the container.
        certificates: one authority's, for each role.
        workers: all that were started.
    """

    hosts: Hosts
    scheduler: Container
    certificates: Path
    stack: ExitStack
    workers: list[WorkerHost] = field(default_factory=list)

    @property
    def options(self) -> tuple[str, ...]:
        """What the command's container needs to connect."""
        return _encrypted(self.certificates, "client")

    def start_workers(self, count: int) -> None:
        """Returns when the scheduler knows them."""
        made = [self._start_worker(len(self.workers) + number) for number in range(count)]
        for worker in made:
            until(partial(self.has_told, "Register worker", worker.name), f"{worker.name} did not come")
        self.workers += made

    def _start_worker(self, index: int) -> WorkerHost:
        name, hosts = f"worker-{index}", self.hosts
        number = 110 + index
        host = self.stack.enter_context(job_host_between(hosts.source_network, hosts.database_network, number=number))
        options = (f"--network=container:{host.name}", "--entrypoint=dask", *hosts.run_options(),
                   *_encrypted(self.certificates, "worker"),
                   "--env=DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=false")  # fmt: skip
        command = ("worker", ADDRESS, "--nthreads", "1", "--nworkers", "1", "--name", name)
        container = self.stack.enter_context(running(WITH_DASK, *command, options=options))
        return WorkerHost(name, f"{hosts.database_network.prefix}.{number}", host, container)

    def cut_off(self, worker: WorkerHost) -> None:
        """From everybody."""
        for network in (self.hosts.source_network, self.hosts.database_network):
            network.disconnect(worker.host)

    def has_lost(self, worker: WorkerHost) -> bool:
        """Whether the scheduler has given a worker up."""
        return self.has_told("Remove worker", worker.name)

    def has_told(self, what: str, name: str) -> bool:
        """Whether the scheduler's log has that of the worker."""
        lines = self.scheduler.logs().splitlines()
        return any(what in line and f"name: {name}" in line for line in lines)


@contextmanager
def dask_hosts(hosts: Hosts, folder: Path, *, workers: int, **scheduler: str) -> Iterator[DaskHosts]:
    """A scheduler, with these settings of Dask's, and so many workers."""
    _make_certificates(folder)
    settings = (f"--env=DASK_DISTRIBUTED__SCHEDULER__{name}={value}" for name, value in scheduler.items())
    options = ("--entrypoint=dask", f"--network={hosts.database_network.name}", "--network-alias=scheduler",
               *RESTRICTED, *_encrypted(folder, "scheduler"), *settings)  # fmt: skip
    command = ("scheduler", "--protocol", "tls", "--port", "8786")
    with ExitStack() as stack:
        container = stack.enter_context(running(WITH_DASK, *command, options=options))
        cluster = DaskHosts(hosts, container, folder, stack)
        cluster.start_workers(workers)
        yield cluster


def _encrypted(folder: Path, role: str) -> tuple[str, ...]:
    """The engine's options that give a container the certificate of its role, and no other."""
    variables = {
        "CA_FILE": "authority.pem",
        f"{role.upper()}__CERT": f"{role}.pem",
        f"{role.upper()}__KEY": f"{role}.key",
    }
    return (
        *(f"--env={_TLS}{name}={_THERE}/{file}" for name, file in variables.items()),
        *(f"--volume={folder / file}:{_THERE}/{file}:ro" for file in variables.values()),
    )


def _make_certificates(folder: Path) -> None:
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1")
    signed = ("-CA", "authority.pem", "-CAkey", "authority.key", "-addext", "basicConstraints=critical,CA:FALSE")
    for role, more in {"authority": (), **dict.fromkeys(_ROLES, signed)}.items():
        made = (*new, "-subj", f"/CN={role}", "-keyout", f"{role}.key", "-out", f"{role}.pem", *more)
        subprocess.run(["/usr/bin/openssl", *made], cwd=folder, check=True, capture_output=True, timeout=60)
        # The user in the container is another one.
        (folder / f"{role}.key").chmod(0o644)
