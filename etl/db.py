"""The database boundary: connecting, transactions with their settings, retries, and psycopg's errors in our words.

The only module that catches driver errors. It knows nothing of slices or reports.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import psycopg
import tenacity
from psycopg import conninfo, sql
from psycopg.rows import TupleRow, dict_row

from etl import embedded
from etl.errors import CredentialsRefused, DatabaseUnavailable, DataRefused, Misconfigured, WatchTimeError
from etl.settings import EMBEDDED
from etl.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")
Connection = psycopg.Connection[TupleRow]

# libpq waits 130 s by default; the keepalives and the TCP timeout find a dead peer within a minute.
_CONNECT: Final[dict[str, str | int]] = {
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
    "application_name": "watch-time",
}

# All transaction-local: a plain SET would leak to other clients behind a transaction-pooling proxy.
_TRANSACTION_SETTINGS: Final = {
    "lock_timeout": "10s",
    "statement_timeout": "30min",
    # A client that is stopped between two statements must not hold its locks for ever.
    "idle_in_transaction_session_timeout": "60s",
    # The server notices a killed client while it works for it, and stops working.
    "client_connection_check_interval": "5s",
    "TimeZone": "UTC",
}
_TRANSACTION_TIMEOUT: Final = "2h"  # Postgres 17 and newer
_PG17: Final = 170_000

# SQLSTATE classes and codes after which the whole transaction is tried again. 57014 (a cancelled statement) is not
# among them: either we cancelled it, or it ran into the statement timeout and would again.
_RETRIED: Final = ("08", "40001", "40P01", "55P03", "57P01", "57P02", "57P03", "25P03", "25P04", "53300", "53400")
_ATTEMPTS: Final = 5
_RETRY_TOTAL_S: Final = 60.0


class Database:
    """A Postgres database and the schema of the warehouse in it. Safe to use from several threads."""

    def __init__(self, url: str, *, schema: str, stop: Stop | None = None) -> None:
        self.schema = schema
        self._parameters = _parse(url)
        self._stop = stop or Stop()
        self._open: set[Connection] = set()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Host and database name, for messages."""
        known = self._parameters
        return f"{known.get('host', 'the local socket')}/{known.get('dbname', known.get('user', ''))}"

    @contextmanager
    def connection(self, *, writable: bool = True) -> Iterator[Connection]:
        """A connection of its own in autocommit mode, closed at the end; driver errors come out as ours."""
        parameters = self._parameters | _CONNECT
        if writable:
            parameters["target_session_attrs"] = "read-write"
        with self._translated():
            # Prepared statements do not survive transaction-pooling proxies.
            connection = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
            with connection:
                with self._lock:
                    self._open.add(connection)
                try:
                    yield connection
                finally:
                    with self._lock:
                        self._open.discard(connection)

    @contextmanager
    def transaction(self, *, writable: bool = True) -> Iterator[Connection]:
        """A transaction on a connection of its own, with its settings; committed at the end, or rolled back."""
        with self.connection(writable=writable) as connection, connection.transaction():
            configure(connection, self.schema)
            yield connection

    def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction, and again, on a new connection, after trouble that passes.

        `work` must begin by reading what is there: a COMMIT whose answer was lost may have happened.

        Raises:
            DatabaseUnavailable: the trouble outlasted the retries.
            Stopped: a stop was requested meanwhile.
        """

        def once() -> T:
            with self.transaction() as connection:
                return work(connection)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_PassingTrouble),
            stop=tenacity.stop_after_attempt(_ATTEMPTS) | tenacity.stop_after_delay(_RETRY_TOTAL_S),
            wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
            sleep=self._stop.sleep,
            reraise=True,
        )(once)

    def cancel(self) -> None:
        """Cancel on the server whatever statement runs for this object; called from another thread."""
        with self._lock:
            running = list(self._open)
        for connection in running:
            try:
                connection.cancel_safe(timeout=2)
            except psycopg.Error:
                continue  # gone already, or the server is; either way nothing of it runs on

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self._stop.check()
            raise _in_our_words(error, str(self)) from None


class _PassingTrouble(DatabaseUnavailable):
    """Database trouble that may pass within seconds."""


@contextmanager
def opened(url: str, *, schema: str, stop: Stop | None = None) -> Iterator[Database]:
    """The database of a setting: a server's URL, or `embedded:DIR`, whose server runs while this is open."""
    with ExitStack() as stack:
        if url.startswith(EMBEDDED):
            url = stack.enter_context(embedded.server(Path(url.removeprefix(EMBEDDED)).expanduser()))
        yield Database(url, schema=schema, stop=stop)


def statement(name: str) -> sql.SQL:
    """The SQL of `etl/sql/<name>.sql`."""
    text = resources.files("etl").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
    return sql.SQL(text)


def builds_unique(connection: Connection, query: sql.Composed) -> bool:
    """Run a query that builds a unique key; False, and undone, when there are duplicates."""
    try:
        with connection.transaction():
            connection.execute(query)
    except psycopg.errors.UniqueViolation:
        return False
    return True


def rows(connection: Connection, query: sql.SQL | sql.Composed, parameters: object = None) -> list[dict[str, Any]]:
    """The rows of a query, each a dict by column name."""
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, cast("Any", parameters)).fetchall()


def _parse(url: str) -> dict[str, Any]:
    scheme, separator, rest = url.partition("://")
    plain = f"{scheme.partition('+')[0]}{separator}{rest}"  # SQLAlchemy's postgresql+psycopg:// is welcome
    try:
        parameters = {key: value for key, value in conninfo.conninfo_to_dict(plain).items() if value is not None}
    except psycopg.ProgrammingError:
        parameters = {}
    if not parameters or "@" in str(parameters.get("host", "")):
        raise Misconfigured(
            "WATCH_TIME_DATABASE_URL is no Postgres URL",
            next_step="write postgresql://user:password@host:5432/database, with @ : / in the password as %40 %3A %2F",
        )
    return parameters


def configure(connection: Connection, schema: str) -> None:
    """Give the connection's current transaction its settings and `schema` as search path."""
    settings = _TRANSACTION_SETTINGS | {"search_path": f'"{schema}"'}
    if connection.info.server_version >= _PG17:
        settings["transaction_timeout"] = _TRANSACTION_TIMEOUT
    calls = sql.SQL(", ").join(sql.SQL("set_config(%s, %s, true)") for _ in settings)
    connection.execute(sql.SQL("SELECT {}").format(calls), [text for setting in settings.items() for text in setting])


def _in_our_words(error: psycopg.Error, where: str) -> WatchTimeError:
    """Sort a driver error. Its own text is shown only where it cannot hold a row's values."""
    state = error.sqlstate
    if not state:
        return _connection_trouble(error, where)
    table = f" on {error.diag.table_name}" if error.diag.table_name else ""
    what = f"{where} refused with SQLSTATE {state} ({type(error).__name__}){table}"
    if state.startswith(_NAMES_ARE_WRONG):
        return Misconfigured(
            f"{what}: {error.diag.message_primary}", next_step="watch-time doctor says what is missing"
        )
    kind = next((kind for start, kind in _KINDS if state.startswith(start)), DatabaseUnavailable)
    return kind(what, next_step=_NEXT_STEPS.get(state[:2], _NEXT_STEPS.get(state, _LATER)))


_KINDS: Final[tuple[tuple[tuple[str, ...], type[WatchTimeError]], ...]] = (
    (_RETRIED, _PassingTrouble),
    (("28",), CredentialsRefused),
    (("22", "23"), DataRefused),
    (("0A",), Misconfigured),
)
_LATER: Final = "try again later; watch-time doctor looks at the connection"
_NEXT_STEPS: Final = {
    "25006": "the server is read-only (a standby, or failing over): name the primary in WATCH_TIME_DATABASE_URL",
    "53100": "the server's disk is full: make room, then run again",
    "57014": "the statement was cancelled, or ran into the statement timeout: see what else the server is busy with",
    "28": "check user and password in WATCH_TIME_DATABASE_URL",
    "22": "the report holds something that the tables refuse; keep the report and have it looked at",
    "23": "the report holds something that the tables refuse; keep the report and have it looked at",
    "0A": "Postgres 15 to 18 are supported; watch-time doctor shows the server's version",
}
# Missing rights, tables, databases or schemas: the message names objects, never rows.
_NAMES_ARE_WRONG: Final = ("42", "3D", "3F")


def _connection_trouble(error: psycopg.Error, where: str) -> WatchTimeError:
    """Errors without SQLSTATE come from connecting, or from a connection that broke; only the text tells them apart."""
    text = str(error)
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    if "password authentication failed" in text or "no pg_hba.conf entry" in text or "no password supplied" in text:
        return CredentialsRefused(
            f"{where} does not let us in: {first_line}",
            next_step="check user and password in WATCH_TIME_DATABASE_URL",
        )
    if 'role "' in text and "does not exist" in text:
        return CredentialsRefused(f"{where}: {first_line}", next_step="check the user in WATCH_TIME_DATABASE_URL")
    if 'database "' in text and "does not exist" in text:
        return Misconfigured(f"{where}: {first_line}", next_step="create the database, or correct its name in the URL")
    if "session is read-only" in text:
        return _PassingTrouble(f"{where}: {first_line}", next_step=_NEXT_STEPS["25006"])
    return _PassingTrouble(f"{where} cannot be reached: {first_line}", next_step=_LATER)
