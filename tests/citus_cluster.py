"""Databases on a Citus cluster, for the tests: one that is given by WATCH_TIME_TEST_CITUS_URL, or none.

The URL names a database of the coordinator in which the extension is installed and the nodes are added. Each test's
database is made on all of those nodes.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

import psycopg
from psycopg import conninfo, sql

from etl.warehouse import schema
from etl.warehouse.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN = os.environ.get("WATCH_TIME_TEST_CITUS_URL")
MISSING = "needs a Citus cluster: WATCH_TIME_TEST_CITUS_URL names a database of its coordinator with the nodes added"
_TRIES = 20


@dataclass(frozen=True)
class Node:
    """A server of the cluster, as the others name it."""

    host: str
    port: int

    def url(self, coordinator: str, database: str) -> str:
        """Its database, as the user of the coordinator's URL."""
        return conninfo.make_conninfo(coordinator, host=self.host, port=self.port, dbname=database)


def nodes(url: str) -> tuple[Node, list[Node]]:
    """The coordinator and the workers."""
    known = conninfo.conninfo_to_dict(url)
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT node_name, node_port::int FROM citus_get_active_worker_nodes() ORDER BY 1, 2"
        )
        workers = [Node(host, port) for host, port in found.fetchall()]
    assert workers, MISSING
    return Node(str(known["host"]), int(known.get("port") or 5432)), workers


@contextlib.contextmanager
def database(url: str, *, migrated: bool = True, encoding: LiteralString = "UTF8") -> Iterator[str]:
    """A database on every node of the cluster; gives the coordinator's, as `postgres.Server.database` does."""
    template = _extended_template(url) if encoding == "UTF8" else None
    with bare_database(url, encoding=encoding, template=template) as given:
        if template is None:
            _install(url, given)
        _add_nodes(url, given)
        if migrated:
            schema.migrate(Database(given, schema="public"))
        yield given


@contextlib.contextmanager
def bare_database(url: str, *, encoding: LiteralString = "UTF8", template: str | None = None) -> Iterator[str]:
    """Databases of one name on every node that know nothing of each other; without a `template`, they are empty."""
    coordinator, _ = nodes(url)
    name = f"test_{uuid.uuid4().hex}"
    try:
        _create(url, name, encoding, template)
        user, password = (conninfo.conninfo_to_dict(url).get(part) for part in ("user", "password"))
        login = f"{user}:{password}" if password else f"{user}"
        yield f"postgresql://{login}@{coordinator.host}:{coordinator.port}/{name}"
    finally:
        _drop(url, name)


def extend(url: str, given: str) -> None:
    """Install the extension in a database on every node, and add the nodes."""
    _install(url, given)
    _add_nodes(url, given)


@functools.cache
def _extended_template(url: str) -> str:
    """A database with the extension on every node, to be copied: installing it takes longer than most tests."""
    name = f"test_template_{uuid.uuid4().hex}"
    atexit.register(_drop, url, name)
    _create(url, name, "UTF8", None)
    _install(url, conninfo.make_conninfo(url, dbname=name))
    # Nobody may be connected to what is copied, and Citus' own worker is.
    closed = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name))
    _on_each(url, closed)
    leave = sql.SQL("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = {}")
    _on_each(url, leave.format(sql.Literal(name)))
    return name


def _install(url: str, given: str) -> None:
    coordinator, workers = nodes(url)
    name = conninfo.conninfo_to_dict(given)["dbname"]
    for node in (coordinator, *workers):
        with psycopg.connect(node.url(url, str(name))) as connection:
            connection.execute("CREATE EXTENSION citus")


def _add_nodes(url: str, given: str) -> None:
    coordinator, workers = nodes(url)
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute("SELECT citus_set_coordinator_host(%s, %s)", [coordinator.host, coordinator.port])
        for worker in workers:
            connection.execute("SELECT citus_add_node(%s, %s)", [worker.host, worker.port])


def _create(url: str, name: str, encoding: LiteralString, template: str | None) -> None:
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING {} LOCALE 'C'").format(
        sql.Identifier(name), sql.Identifier(template or "template0"), sql.SQL(encoding)
    )
    _on_each(url, create)


def _drop(url: str, name: str) -> None:
    """Citus' own workers come back to a database as soon as they are thrown out."""
    # The coordinator first: it keeps connections to the others.
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    for tries_left in reversed(range(_TRIES)):
        try:
            _on_each(url, drop)
        except psycopg.errors.ObjectInUse:
            if not tries_left:
                raise
            time.sleep(0.2)
        else:
            return


def _on_each(url: str, command: sql.Composed) -> None:
    coordinator, workers = nodes(url)
    for node in (coordinator, *workers):
        with psycopg.connect(node.url(url, "postgres"), autocommit=True) as connection:
            connection.execute(command)
