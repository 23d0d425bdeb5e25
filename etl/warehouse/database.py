"""The warehouse's database: opens connections, runs transactions, and tries again after trouble that passes.

Driver errors leave it as ours. It knows nothing of slices or reports.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
import tenacity
from psycopg import conninfo

from etl.config.setting_checks import EMBEDDED
from etl.domain.errors import Misconfigured
from etl.runtime.cancellation import Stop
from etl.warehouse import embedded_postgres
from etl.warehouse.driver_errors import TransientDatabaseError, translate_error
from etl.warehouse.transactions import Connection, configure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.config.settings import Settings

T = TypeVar("T")

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
# Attempts and pauses are bounded, not the time in all: a load of an hour deserves a second try too. The pauses add up
# to a quarter of a minute on average, which outlasts a restart of the server.
_ATTEMPTS: Final = 6
_LONGEST_PAUSE_S: Final = 15.0
# Connections wait so long for their next use. Long downloads are made without one.
_IDLE_S: Final = 10.0
# A server that does not take a cancellation within this time is as good as gone.
_CANCEL_S: Final = 2.0


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
