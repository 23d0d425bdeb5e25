"""Job, source and database as hosts of their own: containers of the Docker engine, in networks that can be cut.

    job's host  --- network "source" --- the sandbox
         |
         +--------- network "store" ---- Postgres, and its standby

A place is a container that lasts; each run of the job is one more in its network. The tests see the sandbox and the
server at ports of loopback that no cut concerns.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import urllib.request
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from docker_engine import Container, docker, running
from etl.config.environment import PREFIX
from etl.sandbox.sandbox import Sandbox
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from etl.domain.slices import Slice
    from etl.sandbox.sandbox_config import SandboxConfig

IMAGE = os.environ.get("WATCH_TIME_TEST_IMAGE", "watch-time")
POSTGRES = "postgres:18"
PORT = 8080
_FORWARDER = Path(__file__).parents[1] / "engine" / "forwarder.py"
_SANDBOX = """
import json, os
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.server import serve
serve(Sandbox(SandboxConfig(**json.loads(os.environ["CONFIG"]))), "0.0.0.0", 8080, on_ready=print)
"""
_CONFIGURED = ("seed", "vod_rows", "live_rows", "titles", "customers", "quiet_one_day_in")
RESTRICTED = ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges")


@dataclass(frozen=True)
class Network:
    """A network of the test's own, whose addresses are known, so that a host can come back with the one it had."""

    name: str
    prefix: str

    def disconnect(self, host: Container) -> None:
        docker("network", "disconnect", self.name, host.name)

    def connect(self, host: Container, *, number: int) -> None:
        """With this as the last part of its address: connections live on where it is the one that the host had."""
        docker("network", "connect", f"--ip={self.prefix}.{number}", self.name, host.name)


@contextmanager
def network() -> Iterator[Network]:
    name = f"watch-time-test-{uuid.uuid4().hex[:12]}"
    # One of which no part is taken.
    for prefix in random.sample([f"10.{second}.{third}" for second in range(200, 250) for third in range(256)], 20):
        made = docker("network", "create", f"--subnet={prefix}.0/24", name, check=False)
        if made.returncode == 0:
            try:
                yield Network(name, prefix)
            finally:
                docker("network", "rm", name)
            return
        assert "overlap" in made.stderr, made.stderr


@dataclass
class Job:
    """A run of the job in a container."""

    name: str
    process: subprocess.Popen[str]

    def result(self, timeout_s: float = 170) -> subprocess.CompletedProcess[str]:
        out, err = self.process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess(self.process.args, self.process.returncode, out, err)


@dataclass
class Hosts:
    """The job's host, the source, the server.

    Attributes:
        sandbox: what the source serves, to compare with; change it by `restate` only.
        source_network: between the job and the sandbox.
        database_network: between the job and the server.
        files: secrets, in files.
        environment: of each run.
        image: of the job.
    """

    sandbox: Sandbox
    source_network: Network
    database_network: Network
    job_host: Container
    source_host: Container
    database_host: Container
    files: Mapping[str, Path]
    environment: dict[str, str] = field(default_factory=dict)
    image: str = IMAGE

    @property
    def url(self) -> str:
        """The database, by the port that is published."""
        return published_url(self.database_host)

    def run_options(self, **settings: str) -> tuple[str, ...]:
        """The engine's options for a container of the program: few rights, its files, and its environment."""
        variables = {**self.environment, **{f"{PREFIX}{key}": value for key, value in settings.items()}}
        return (
            *RESTRICTED,
            *(f"--volume={here}:/run/secrets/{there}:ro" for there, here in self.files.items()),
            *(f"--env={key}={value}" for key, value in variables.items()),
        )

    @contextmanager
    def started(self, *arguments: str, options: tuple[str, ...] = (), **settings: str) -> Iterator[Job]:
        """The job in the network of its host, unless the options say another one; removed at the end."""
        name = f"watch-time-test-{uuid.uuid4().hex[:12]}"
        where = () if any(option.startswith("--network") for option in options) else (
            f"--network=container:{self.job_host.name}",
        )  # fmt: skip
        command = ["docker", "run", f"--name={name}", *where, *self.run_options(**settings), *options, self.image,
                   *arguments]  # fmt: skip
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield Job(name, process)
            finally:
                docker("rm", "--force", name, check=False)

    def run(self, *arguments: str, options: tuple[str, ...] = (), **settings: str) -> subprocess.CompletedProcess[str]:
        """A run of the job, to its end."""
        with self.started(*arguments, options=options, **settings) as job:
            return job.result()

    def restate(self, slice_: Slice) -> None:
        """On both sides: what is served, and what it is compared with."""
        address = f"http://127.0.0.1:{self.source_host.port(PORT)}/sandbox/restate"
        query = f"date={slice_.report_date}&type={slice_.report_type.value}"
        urllib.request.urlopen(f"{address}?{query}", data=b"", timeout=30).close()  # noqa: S310 - loopback
        self.sandbox.restate(slice_)

    @contextmanager
    def dropping(self, probability: float) -> Iterator[None]:
        """Of the packets that come to the job's host from elsewhere, so many are lost on the way."""
        rule = ("INPUT", "!", "-i", "lo", "-m", "statistic", "--mode", "random", "--probability", f"{probability:.3f}",
                "-j", "DROP")  # fmt: skip
        inside = ("nsenter", f"--net=/proc/{self.job_host.pid}/ns/net", "iptables", "--wait")
        subprocess.run([*inside, "-A", *rule], check=True, capture_output=True)
        try:
            yield
        finally:
            subprocess.run([*inside, "-D", *rule], check=True, capture_output=True)


def published_url(server: Container) -> str:
    return f"postgresql://watch_time@127.0.0.1:{server.port(5432)}/watch_time"


# In its transactions the job asks for them. A session that is idle when its client vanishes would stay for two hours,
# with a slot and no lock: see docs/internals/reliability.md.
_GIVEN_UP_WITHIN_A_MINUTE = (
    "-c", "tcp_keepalives_idle=30", "-c", "tcp_keepalives_interval=10", "-c", "tcp_keepalives_count=3",
    "-c", "tcp_user_timeout=45s",
)  # fmt: skip


@contextmanager
def postgres_host(store: Network, alias: str, *before: str) -> Iterator[Container]:
    """A server that takes connections, known in its network by that name; `before` it, a command of the shell."""
    serve = f"exec docker-entrypoint.sh {' '.join(_GIVEN_UP_WITHIN_A_MINUTE)}"
    options = (f"--network={store.name}", f"--network-alias={alias}", "--publish=127.0.0.1::5432",
               "--env=POSTGRES_USER=watch_time", "--env=POSTGRES_HOST_AUTH_METHOD=trust")  # fmt: skip
    with running(POSTGRES, "bash", "-c", " && ".join((*before, serve)), options=options) as server:
        ready = ("pg_isready", "--host=127.0.0.1", "--username=watch_time")
        try:
            until(lambda: "accepting" in server.execute(*ready, check=False), "the server does not get ready")
        except AssertionError as error:
            error.add_note(server.logs())
            raise
        yield server


@contextmanager
def job_host_between(source: Network, store: Network, *, number: int, delay_s: float = 0.0) -> Iterator[Container]:
    """A host in both networks, with this as the last part of its addresses, whose loopback has a port of the source."""
    with running(IMAGE, "/forwarder.py", "source", f"{PORT}", f"{delay_s}", options=(
            "--entrypoint=python3", f"--network={source.name}", f"--ip={source.prefix}.{number}",
            f"--volume={_FORWARDER}:/forwarder.py:ro")) as place:  # fmt: skip
        store.connect(place, number=number)
        yield place


@contextmanager
def running_hosts(config: SandboxConfig, folder: Path, *, delay_s: float = 0.0, image: str = IMAGE) -> Iterator[Hosts]:
    """All of them, and the tables made."""
    told = {name: value for name, value in asdict(config).items() if name in _CONFIGURED}
    secrets = {"api-token": config.token, "database-url": "postgresql://watch_time@warehouse:5432/watch_time"}
    for name, text in secrets.items():
        (folder / name).write_text(text)
    environment = {
        f"{PREFIX}API_BASE_URL": f"http://127.0.0.1:{PORT}",
        f"{PREFIX}API_TOKEN_FILE": "/run/secrets/api-token",
        f"{PREFIX}DATABASE_URL_FILE": "/run/secrets/database-url",
        f"{PREFIX}ORG_ID": config.org_id,
        f"{PREFIX}NOT_FOUND_WAIT_SECONDS": "0",
        f"{PREFIX}WEAKEST_SSLMODE": "disable",
    }
    with ExitStack() as stack:
        source, store = stack.enter_context(network()), stack.enter_context(network())
        origin = stack.enter_context(running(IMAGE, "-c", _SANDBOX, options=(
            "--entrypoint=python3", f"--network={source.name}", "--network-alias=source",
            f"--publish=127.0.0.1::{PORT}", f"--env=CONFIG={json.dumps(told)}")))  # fmt: skip
        server = stack.enter_context(postgres_host(store, "warehouse"))
        place = stack.enter_context(job_host_between(source, store, number=100, delay_s=delay_s))
        made = Hosts(Sandbox(config), source, store, place, origin, server,
                     {name: folder / name for name in secrets}, environment, image)  # fmt: skip
        migrated = made.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        yield made
