"""A connection to the warehouse's database: the settings of a transaction on it, savepoints, and queries."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow, dict_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# All transaction-local: a plain SET would leak to other clients behind a transaction-pooling proxy.
_TRANSACTION_SETTINGS: Final = {
    "lock_timeout": "10s",
    "statement_timeout": "30min",
    # A client that is stopped between two statements must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "60s",
    # The server notices a killed client while it works for it, and stops working.
    "client_connection_check_interval": "5s",
    # A client whose machine or network vanished closes nothing, and in the middle of a COPY no other timeout frees the
    # slice's lock. The server probes a silent client and gives it up within a minute instead of two hours. While
    # something that it sent is not acknowledged, or not read, its kernel sends no probes but repeats that, for a
    # quarter of an hour; `tcp_user_timeout` is the limit then. It is less than a minute because it is looked at only
    # when something is sent again, with ever longer pauses. It also limits the probes, in place of their count.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "45s",
    # What the rest of the program relies on, whatever the server, the database, the role or PGOPTIONS say: see
    # docs/decisions/0026-server-defaults.md.
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "default_table_access_method": "heap",
}
# Asked with them, so that it costs no journey: see `citus`.
_HAS_CITUS: Final = "to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
_TRANSACTION_TIMEOUT: Final = "2h"  # Postgres 17 and newer
_PG17: Final = 170_000


class Connection(psycopg.Connection[TupleRow]):
    """A connection to the warehouse's database.

    Attributes:
        has_citus: whether the database has the extension, as of the current transaction's beginning.
    """

    has_citus = False


def configure(connection: Connection, schema: str) -> None:
    """Give the connection's current transaction its settings and `schema` as search path."""
    settings = _TRANSACTION_SETTINGS | {"search_path": f'"{schema}"'}
    if connection.info.server_version >= _PG17:
        settings["transaction_timeout"] = _TRANSACTION_TIMEOUT
    calls = sql.SQL(", ").join(sql.SQL("set_config(%s, %s, true)") for _ in settings)
    texts = [text for setting in settings.items() for text in setting]
    row = connection.execute(sql.SQL("SELECT {}, {}").format(sql.SQL(_HAS_CITUS), calls), texts).fetchone()
    connection.has_citus = bool(row and row[0])


@contextmanager
def idle_for(connection: Connection, seconds: float) -> Iterator[None]:
    """Let the transaction say nothing for so long, which the server would else take for a client that was stopped.

    Nor need it read at once what a COPY sends, which `tcp_user_timeout` would end though the client's machine answers.
    """
    usual = _TRANSACTION_SETTINGS
    query = """
        SELECT
            set_config('idle_in_transaction_session_timeout', %s, true),
            set_config('tcp_user_timeout', %s, true)
    """
    connection.execute(query, [f"{seconds:.0f}s", "0"])
    yield
    connection.execute(query, [usual["idle_in_transaction_session_timeout"], usual["tcp_user_timeout"]])


def try_build_unique(connection: Connection, build: sql.Composed) -> bool:
    """Run `build_unique`, filled in; False, and nothing built, when there are duplicates."""
    connection.execute(build)
    row = connection.execute("SELECT current_setting('watch_time.is_unique')").fetchone()
    return row == ("yes",)


def in_savepoint(connection: Connection, work: Callable[[], bool]) -> bool:
    """Do `work`; where it gives False, or cannot have its locks in time, it is undone, and False is what comes back."""
    try:
        with connection.transaction():
            if not work():
                raise psycopg.Rollback
            return True
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        pass
    return False


def fetch_rows(
    connection: Connection, query: sql.SQL | sql.Composed, parameters: object = None
) -> list[dict[str, Any]]:
    """The rows of a query, each a dict by column name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, cast("Any", parameters)).fetchall()
