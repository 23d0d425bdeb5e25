"""The database boundary: connecting, transactions with their settings, retries, and psycopg's errors in our words.

The only module that catches driver errors. It knows nothing of slices or reports.
"""

from __future__ import annotations

import functools
import re
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import psycopg
import tenacity
from psycopg import conninfo, sql
from psycopg.rows import TupleRow, dict_row

from etl.config.setting_checks import EMBEDDED
from etl.domain import contract
from etl.domain.errors import Misconfigured
from etl.runtime.cancellation import Stop
from etl.warehouse import embedded_postgres
from etl.warehouse.driver_errors import TransientDatabaseError, translate_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.config.settings import Settings

T = TypeVar("T")

# What SQL files name by a placeholder instead of spelling it out.
_COLUMNS: Final = {"row_key": contract.ROW_KEY, "row": contract.FACTS, "content": contract.CONTENT}
_COLUMNS_PLACEHOLDER: Final = re.compile(rf"\{{(?P<alias>\w+\.)?(?P<columns>{'|'.join(_COLUMNS)})\}}")

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

# Attempts and pauses are bounded, not the time in all: a load of an hour deserves a second try too. The pauses add up
# to a quarter of a minute on average, which outlasts a restart of the server.
_ATTEMPTS: Final = 6
_LONGEST_PAUSE_S: Final = 15.0
# Connections wait so long for their next use. Long downloads are made without one.
_IDLE_S: Final = 10.0
# A server that does not take a cancellation within this time is as good as gone.
_CANCEL_S: Final = 2.0


class Connection(psycopg.Connection[TupleRow]):
    """A connection to the warehouse's database.

    Attributes:
        has_citus: whether the database has the extension, as of the current transaction's beginning.
    """

    has_citus = False


class Database:
    """A Postgres database and the schema of the warehouse in it. Safe to use from several threads.

    Attributes:
        is_embedded: whether its server is ours, and migrates itself.
    """

    def __init__(self, url: str, *, schema: str, stop: Stop | None = None, is_embedded: bool = False) -> None:
        self.schema = schema
        self.is_embedded = is_embedded
        self._parameters = _parse(url)
        self.stop = stop or Stop()
        self._open: set[Connection] = set()
        self._idle: list[tuple[float, Connection]] = []
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """Host and database name, for messages."""
        known = self._parameters
        return f"{known.get('host', 'the local socket')}/{known.get('dbname', known.get('user', ''))}"

    def parameters(self) -> dict[str, Any]:
        """What libpq is given, the password included."""
        return dict(self._parameters)

    @contextmanager
    def connection(self, *, writable: bool = True) -> Iterator[Connection]:
        """A connection of its own in autocommit mode, closed at the end; driver errors come out as ours."""
        with self._translated(), self._connected(writable=writable) as connection, self._in_use(connection):
            yield connection

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
            with self._translated(), self._kept() as connection, self._in_use(connection), connection.transaction():
                configure(connection, self.schema)
                return work(connection)

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientDatabaseError),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_PAUSE_S),
            sleep=self.stop.sleep,
            reraise=True,
        )(once)

    def close(self) -> None:
        """Close the connections that were kept."""
        with self._lock:
            kept, self._idle = self._idle, []
        for _, connection in kept:
            connection.close()

    def _connected(self, *, writable: bool = True) -> Connection:
        # The encoding of what is sent is no matter of taste: libpq would take another from PGCLIENTENCODING or the URL,
        # and Postgres would store what our bytes mean in that one.
        parameters = _CONNECT | self._parameters | {"client_encoding": "UTF8"}
        if writable:
            parameters["target_session_attrs"] = "read-write"
        # Prepared statements do not survive transaction-pooling proxies.
        connection = Connection.connect(autocommit=True, prepare_threshold=None, **parameters)
        encoding = connection.info.parameter_status("server_encoding")
        if encoding not in {"UTF8", None}:
            connection.close()
            raise Misconfigured(
                f"{self} has the encoding {encoding}, which cannot store every title; UTF8 can",
                next_step="create another database: `createdb --template template0 --encoding UTF8 NAME` name it in "
                "WATCH_TIME_DATABASE_URL, then: `watch-time migrate`",
            )
        # Each statement must see what others have committed by then: locks are taken first, and read after.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        return connection

    @contextmanager
    def _kept(self) -> Iterator[Connection]:
        """A connection that is kept for the next use, unless there was trouble.

        A slice takes several transactions, and of a year of small days connecting would be a good part.
        """
        connection = self._idle_one() or self._connected()
        try:
            yield connection
        except BaseException:
            connection.close()
            # What broke this one, a restart of the server, has broken the others too.
            self.close()
            raise
        with self._lock:
            self._idle.append((time.monotonic(), connection))

    def _idle_one(self) -> Connection | None:
        """A connection that was in use a moment ago; older ones, which a firewall may have forgotten, are closed."""
        with self._lock:
            kept, self._idle = self._idle, []
            while kept:
                since_s, connection = kept.pop()
                if time.monotonic() - since_s < _IDLE_S and not connection.closed:
                    self._idle = kept
                    return connection
                connection.close()
        return None

    @contextmanager
    def _in_use(self, connection: Connection) -> Iterator[None]:
        """`cancel` reaches the connection meanwhile."""
        with self._lock:
            self._open.add(connection)
        try:
            yield
        finally:
            with self._lock:
                self._open.discard(connection)

    def cancel(self) -> None:
        """Cancel on the server whatever statement runs for this object. Returns at once, whatever the server does."""
        with self._lock:
            running = list(self._open)
        for connection in running:
            threading.Thread(target=_cancel, args=(connection,), daemon=True).start()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            self.stop.check()
            raise translate_error(error, str(self)) from None


def _cancel(connection: Connection) -> None:
    # Where it fails the connection is gone already, or the server is; either way nothing of it runs on.
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=_CANCEL_S)


@contextmanager
def open_database(url: str, *, schema: str, stop: Stop | None = None) -> Iterator[Database]:
    """The database of a setting: a server's URL, or `embedded:DIR`, whose server runs while this is open."""
    with ExitStack() as stack:
        is_embedded = url.startswith(EMBEDDED)
        if is_embedded:
            url = stack.enter_context(embedded_postgres.server(Path(url.removeprefix(EMBEDDED)).expanduser()))
        database = Database(url, schema=schema, stop=stop, is_embedded=is_embedded)
        stack.callback(database.close)
        yield database


@contextmanager
def open_warehouse(settings: Settings, *, stop: Stop | None = None) -> Iterator[Database]:
    """The configured warehouse."""
    with open_database(settings.require("database_url"), schema=settings.schema_name, stop=stop) as database:
        yield database


@functools.cache
def statement(name: str) -> sql.SQL:
    """The SQL of a file: `load/copy_facts` is that of etl/load/sql/copy_facts.sql.

    The contract's columns are filled in: `{row_key}` and `{row}` of the fact table, `{content}` of the table of
    contents, and `{stored.row_key}` for those of an alias.
    """
    package, _, file = name.partition("/")
    text = resources.files("etl").joinpath(package, "sql", f"{file}.sql").read_text(encoding="utf-8")
    return sql.SQL(_COLUMNS_PLACEHOLDER.sub(_spell_columns, text))


def _spell_columns(placeholder: re.Match[str]) -> str:
    return ", ".join(f"{placeholder['alias'] or ''}{column}" for column in _COLUMNS[placeholder["columns"]])


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


def _parse(url: str) -> dict[str, Any]:
    scheme, separator, rest = url.partition("://")
    plain = f"{scheme.partition('+')[0]}{separator}{rest}"  # SQLAlchemy's postgresql+psycopg:// is welcome
    try:
        parameters = {key: value for key, value in conninfo.conninfo_to_dict(plain).items() if value is not None}
    except psycopg.ProgrammingError:
        parameters = {}
    if not parameters:
        raise Misconfigured(
            "WATCH_TIME_DATABASE_URL is not a valid Postgres URL",
            next_step="write postgresql://user:password@host:5432/database, with @ : / in the password as %40 %3A %2F",
        )
    return parameters


def configure(connection: Connection, schema: str) -> None:
    """Give the connection's current transaction its settings and `schema` as search path."""
    settings = _TRANSACTION_SETTINGS | {"search_path": f'"{schema}"'}
    if connection.info.server_version >= _PG17:
        settings["transaction_timeout"] = _TRANSACTION_TIMEOUT
    calls = sql.SQL(", ").join(sql.SQL("set_config(%s, %s, true)") for _ in settings)
    texts = [text for setting in settings.items() for text in setting]
    row = connection.execute(sql.SQL("SELECT {}, {}").format(sql.SQL(_HAS_CITUS), calls), texts).fetchone()
    connection.has_citus = bool(row and row[0])
