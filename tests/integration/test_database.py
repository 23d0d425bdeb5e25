"""The database boundary on real servers: retries, cancelling, settings that end with the transaction, the lock."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import date
from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from psycopg import sql

from etl.domain.errors import (
    CredentialsRefused,
    DatabaseUnavailable,
    DataRefused,
    Misconfigured,
    SliceBusy,
    WatchTimeError,
)
from etl.domain.slices import ReportType, Slice
from etl.runtime.cancellation import Stop, Stopped
from etl.warehouse import citus, ledger
from etl.warehouse import database as database_module
from etl.warehouse.database import Database, open_database
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import Connection, configure, try_build_unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from postgres import Server

VOD = Slice(date(2026, 11, 16), ReportType.VOD)


class RecordingStop(Stop):
    """Does not sleep, and remembers for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.check()
        self.slept.append(seconds)


@pytest.fixture
def stop() -> RecordingStop:
    return RecordingStop()


@contextmanager
def with_notes(url: str, stop: Stop) -> Iterator[Database]:
    """The database, with a little table."""
    with open_database(url, schema="public", stop=stop) as database:
        with database.connection() as connection:
            connection.execute("CREATE TABLE note (id int PRIMARY KEY, customer text NOT NULL)")
            connection.execute("INSERT INTO note VALUES (1, 'one'), (2, 'two')")
        yield database


@pytest.fixture
def database(database_url: str, stop: RecordingStop) -> Iterator[Database]:
    """On each server."""
    with with_notes(database_url, stop) as database:
        yield database


@pytest.fixture
def newest_database(newest_server: Server, stop: RecordingStop) -> Iterator[Database]:
    """On the newest server."""
    with newest_server.database(migrated=False) as url, with_notes(url, stop) as database:
        yield database


@pytest.fixture
def watcher(database: Database) -> Iterator[psycopg.Connection]:
    """Another client, to look at the server with."""
    with psycopg.connect(**database._parameters, autocommit=True) as connection:
        yield connection


@pytest.fixture
def newest_watcher(newest_database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(**newest_database._parameters, autocommit=True) as connection:
        yield connection


def pid_of(connection: Connection) -> int:
    return connection.info.backend_pid


def eventually(connection: psycopg.Connection, query: LiteralString, wanted: object, *, within_s: float = 60.0) -> None:
    """Wait until the query's one value is `wanted`."""
    deadline = time.monotonic() + within_s
    while (row := connection.execute(query).fetchone()) != (wanted,):
        assert time.monotonic() < deadline, row
        time.sleep(0.01)


BACKENDS: LiteralString = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'watch-time'"
)
LOCKS: LiteralString = (
    "SELECT count(*) FROM pg_locks JOIN pg_database ON database = pg_database.oid "
    "WHERE locktype = 'advisory' AND datname = current_database()"
)
RUNNING: LiteralString = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
    "AND query = 'SELECT pg_sleep(60)'"
)


def test_work_is_done_again_on_a_new_connection_when_its_own_was_terminated(
    database: Database, watcher: psycopg.Connection, stop: RecordingStop
) -> None:
    pids: list[int] = []

    def work(connection: Connection) -> str:
        pids.append(pid_of(connection))
        connection.execute("INSERT INTO note VALUES (3, 'three')")
        if len(pids) == 1:
            watcher.execute("SELECT pg_terminate_backend(%s, 5000)", [pids[0]])
        connection.execute("SELECT 1")
        return "done"

    assert database.run(work) == "done"
    assert len(set(pids)) == 2
    assert len(stop.slept) == 1
    assert watcher.execute("SELECT count(*) FROM note WHERE id = 3").fetchone() == (1,)


def test_of_two_that_deadlock_both_succeed(database: Database, stop: RecordingStop) -> None:
    meeting = threading.Barrier(2)

    def update_both(first: int, second: int) -> int:
        attempts = 0

        def work(connection: Connection) -> None:
            nonlocal attempts
            attempts += 1
            connection.execute("SET LOCAL deadlock_timeout = '20ms'")
            connection.execute("UPDATE note SET customer = customer || '+' WHERE id = %s", [first])
            if attempts == 1:
                meeting.wait(timeout=30)
            connection.execute("UPDATE note SET customer = customer || '+' WHERE id = %s", [second])

        database.run(work)
        return attempts

    with ThreadPoolExecutor(2) as pool:
        attempts = list(pool.map(update_both, (1, 2), (2, 1)))
    with database.transaction() as connection:
        assert connection.execute("SELECT customer FROM note ORDER BY id").fetchall() == [("one++",), ("two++",)]
    assert sum(attempts) - 2 == len(stop.slept) > 0


def test_retries_end_and_the_last_error_is_the_one_that_is_raised(database: Database, stop: RecordingStop) -> None:
    def work(connection: Connection) -> None:
        connection.execute("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '40001'; END $$")

    with pytest.raises(DatabaseUnavailable, match="SQLSTATE 40001") as refused:
        database.run(work)
    assert refused.value.exit_code == 75
    assert len(stop.slept) == 5


@pytest.mark.parametrize(
    ("state", "code"), [("53100", 75), ("57014", 75), ("23505", 65), ("42501", 78), ("28000", 77), ("24000", 70)]
)
def test_trouble_that_stays_is_met_once(
    newest_database: Database, stop: RecordingStop, state: LiteralString, code: int
) -> None:
    attempts = 0

    def work(connection: Connection) -> None:
        nonlocal attempts
        attempts += 1
        connection.execute(
            sql.SQL("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = {}; END $$").format(sql.Literal(state))
        )

    with pytest.raises(WatchTimeError, match=state) as refused:
        newest_database.run(work)
    assert refused.value.exit_code == code
    assert (attempts, stop.slept) == (1, [])


@pytest.mark.parametrize("stopping", [False, True])
def test_a_statement_is_cancelled_from_another_thread_at_once(
    database: Database, watcher: psycopg.Connection, stop: RecordingStop, stopping: bool
) -> None:
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(database.run, lambda connection: connection.execute("SELECT pg_sleep(60)").rowcount)
        eventually(watcher, RUNNING, 1)
        if stopping:
            stop.request()
        began = time.monotonic()
        database.cancel()
        error = working.exception(timeout=30)
    assert time.monotonic() - began < 25
    assert isinstance(error, Stopped if stopping else DatabaseUnavailable)
    assert stop.slept == []
    eventually(watcher, RUNNING, 0)


def test_cancelling_nothing_and_what_is_gone_already_does_no_harm(
    newest_database: Database, newest_watcher: psycopg.Connection
) -> None:
    newest_database.cancel()
    with newest_database.connection() as connection:
        newest_watcher.execute("SELECT pg_terminate_backend(%s, 5000)", [pid_of(connection)])
        newest_database.cancel()


def shown(connection: Connection) -> dict[str, str]:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout",
             "client_connection_check_interval", "TimeZone", "search_path")  # fmt: skip
    query = sql.SQL("SELECT {}").format(sql.SQL(", ").join(sql.SQL("current_setting({})").format(n) for n in names))
    row = connection.execute(query).fetchone()
    assert row
    return dict(zip(names, row, strict=True))


def test_settings_hold_in_the_transaction_and_end_with_it(database: Database) -> None:
    with database.connection() as connection:
        before = shown(connection)
        with connection.transaction():
            configure(connection, "else where")
            inside = shown(connection)
            if connection.info.server_version >= 170_000:
                assert connection.execute("SHOW transaction_timeout").fetchone() == ("2h",)
        assert shown(connection) == before
    assert inside == {
        "lock_timeout": "10s", "statement_timeout": "30min", "idle_in_transaction_session_timeout": "1min",
        "client_connection_check_interval": "5s", "TimeZone": "UTC", "search_path": '"else where"',
    }  # fmt: skip
    assert not inside.items() & before.items() - {("TimeZone", "UTC")}
    with database.transaction() as connection:
        assert shown(connection) == inside | {"search_path": '"public"'}


@pytest.mark.parametrize(
    ("said", "node"),
    [
        ("connection to the remote node loader@10.0.0.7:5432 failed with the following error: x", "10.0.0.7:5432"),
        ("failure on connection marked as essential: db-2:5432", "db-2:5432"),
    ],
    ids=["not reached", "lost"],
)
@pytest.mark.parametrize("state", ["XX000", "08006"])
def test_a_node_of_a_cluster_that_is_out_of_reach_is_named_and_tried_again(
    newest_database: Database, monkeypatch: pytest.MonkeyPatch, said: str, node: str, state: str
) -> None:
    """As Citus puts it, sometimes as an internal error."""
    monkeypatch.setattr(database_module, "_ATTEMPTS", 2)
    monkeypatch.setattr(database_module, "_LONGEST_PAUSE_S", 0.01)
    tries: list[Connection] = []

    def work(connection: Connection) -> None:
        tries.append(connection)
        raising = sql.SQL("DO $$ BEGIN RAISE EXCEPTION USING MESSAGE = {}, ERRCODE = {}; END $$")
        connection.execute(raising.format(said, state))

    with pytest.raises(DatabaseUnavailable) as told:
        newest_database.run(work)
    assert len(tries) == 2
    assert told.value.message.endswith(f"cannot reach its node {node} (SQLSTATE {state})")


def test_a_single_server_is_asked_nothing_about_a_cluster(newest_database: Database) -> None:
    with newest_database.transaction() as connection:
        pass
    assert not citus.dialect(connection).is_distributed, "the connection is closed: a question would fail"


class _Interruption(Exception):
    """Not one of the driver's."""


@pytest.mark.parametrize("error", [None, _Interruption, SystemExit, KeyboardInterrupt, psycopg.OperationalError])
def test_nothing_is_left_behind(
    newest_database: Database, newest_watcher: psycopg.Connection, error: type[BaseException] | None
) -> None:
    expected = DatabaseUnavailable if error is psycopg.OperationalError else error
    with pytest.raises(expected) if expected else nullcontext(), newest_database.transaction() as connection:
        connection.execute("INSERT INTO note VALUES (3, 'three')")
        ledger.lock(connection, VOD, sleep=time.sleep)
        if error:
            raise error
    eventually(newest_watcher, BACKENDS, 0)
    assert newest_watcher.execute(LOCKS).fetchone() == (0,)
    assert newest_watcher.execute("SELECT count(*) FROM note WHERE id = 3").fetchone() == (0 if error else 1,)
    assert newest_database._open == set()


@pytest.mark.parametrize(
    ("statement", "kind", "told"),
    [
        ("INSERT INTO note VALUES (1, 'canary')", DataRefused, "SQLSTATE 23505 (UniqueViolation) on note"),
        ("INSERT INTO note (id) VALUES (4711)", DataRefused, "SQLSTATE 23502 (NotNullViolation) on note"),
        ("SELECT 'canary'::int", DataRefused, "SQLSTATE 22P02 (InvalidTextRepresentation)"),
        (
            "SELECT * FROM no_such_table",
            Misconfigured,
            'SQLSTATE 42P01 (UndefinedTable): relation "no_such_table" does',
        ),
    ],
)
def test_the_rows_in_a_servers_message_are_kept_back(
    newest_database: Database, statement: LiteralString, kind: type[WatchTimeError], told: str
) -> None:
    with pytest.raises(kind) as refused, newest_database.transaction() as connection:
        connection.execute(statement)
    assert told in refused.value.message
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert "canary" not in refused.value.message
    assert "4711" not in refused.value.message


def test_a_read_only_server_may_be_read_and_not_written(
    newest_database: Database, newest_watcher: psycopg.Connection, stop: RecordingStop
) -> None:
    newest_watcher.execute(
        sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
            sql.Identifier(newest_watcher.info.dbname)
        )
    )
    with newest_database.transaction(writable=False) as connection:
        assert connection.execute("SELECT count(*) FROM note").fetchone() == (2,)
    with pytest.raises(DatabaseUnavailable, match="read-only") as refused:
        newest_database.run(pid_of)
    assert "name the primary" in refused.value.next_step
    assert len(stop.slept) == 5


@pytest.mark.parametrize(
    ("change", "kind", "attempts"),
    [
        pytest.param({"dbname": "no_such_database"}, Misconfigured, 1, id="database"),
        pytest.param({"user": "no_such_role"}, CredentialsRefused, 1, id="role"),
        pytest.param({"host": "127.0.0.1", "port": "1"}, DatabaseUnavailable, 6, id="nobody listens"),
        pytest.param({"host": "no-such-host.invalid"}, DatabaseUnavailable, 6, id="no such host"),
        pytest.param({"sslmode": "perhaps"}, Misconfigured, 1, id="option"),
    ],
)
def test_a_server_that_lets_nobody_in_is_told_apart(
    newest_database: Database, stop: RecordingStop, change: dict[str, str], kind: type[WatchTimeError], attempts: int
) -> None:
    newest_database._parameters |= {"password": "pa55-canary"} | change
    with pytest.raises(kind) as refused:
        newest_database.run(pid_of)
    assert len(stop.slept) == attempts - 1
    assert "canary" not in refused.value.message
    assert "\n" not in refused.value.message


def test_a_key_over_duplicates_is_undone_and_the_transaction_goes_on(newest_database: Database) -> None:
    key = sql.SQL("ALTER TABLE {} ADD UNIQUE (customer)").format(sql.Identifier("note"))
    with newest_database.transaction() as connection:
        assert try_build_unique(connection, statement("load/build_unique").format(query=key))
    with newest_database.transaction() as connection:
        connection.execute("CREATE TABLE double AS SELECT 'same' AS customer FROM generate_series(1, 2)")
        key = sql.SQL("ALTER TABLE {} ADD UNIQUE (customer)").format(sql.Identifier("double"))
        assert not try_build_unique(connection, statement("load/build_unique").format(query=key))
        assert connection.execute("SELECT count(*) FROM double").fetchone() == (2,)


def test_the_second_on_a_slice_waits_for_the_first_to_end(database: Database) -> None:
    with database.connection() as first, database.transaction() as second:
        first.autocommit = False
        ledger.lock(first, VOD, sleep=time.sleep)
        waits: list[float] = []

        def wait(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                first.commit()

        ledger.lock(second, VOD, sleep=wait)
        assert len(waits) == 3


def test_a_slice_that_stays_busy_is_given_up_after_a_minute(database: Database) -> None:
    with database.transaction() as first, database.transaction() as second:
        ledger.lock(first, VOD, sleep=time.sleep)
        waits: list[float] = []
        with pytest.raises(SliceBusy, match="another run has been loading this slice for 60 s"):
            ledger.lock(second, VOD, sleep=waits.append)
        assert sum(waits) == 60


def test_a_lock_holds_for_one_slice_of_one_schema(database: Database, database_url: str) -> None:
    def no_waiting(_: float) -> None:
        pytest.fail("the lock is held by another")

    with database.connection() as connection:
        connection.execute("CREATE SCHEMA elsewhere")
    elsewhere = Database(database_url, schema="elsewhere")
    with database.transaction() as first, database.transaction() as second, elsewhere.transaction() as third:
        ledger.lock(first, VOD, sleep=no_waiting)
        ledger.lock(first, VOD, sleep=no_waiting)
        ledger.lock(second, Slice(VOD.report_date, ReportType.LIVE), sleep=no_waiting)
        ledger.lock(second, Slice(date(2026, 11, 17), ReportType.VOD), sleep=no_waiting)
        ledger.lock(third, VOD, sleep=no_waiting)


def _backends(database: Database) -> list[int]:
    return [database.run(lambda connection: connection.info.backend_pid) for _ in range(3)]


def test_transactions_without_trouble_share_a_connection(database: Database) -> None:
    assert len(set(_backends(database))) == 1


def test_a_connection_that_waited_too_long_is_not_used_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_IDLE_S", 0.0)
    assert len(set(_backends(database))) == 3


def test_of_connections_that_broke_meanwhile_one_try_is_lost(database: Database, stop: RecordingStop) -> None:
    """As by a restart of the server: not one try for each of them."""
    together = threading.Barrier(8)

    def pid(connection: Connection) -> int:
        together.wait(10)
        return connection.info.backend_pid

    with ThreadPoolExecutor(8) as pool:
        pids = list(pool.map(lambda _: database.run(pid), range(8)))
    assert len(set(pids)) == 8
    with database.connection() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s) AS pid", [pids])
    assert database.run(lambda connection: connection.info.backend_pid) not in pids
    assert len(stop.slept) == 1


def test_what_was_kept_is_closed_at_the_end(database_url: str) -> None:
    with open_database(database_url, schema="public") as opened:
        pid = opened.run(lambda connection: connection.info.backend_pid)
    # Within a transaction the server would go on showing what it showed first.
    with psycopg.connect(database_url, autocommit=True) as connection:
        gone = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s"
        deadline = time.monotonic() + 10
        while connection.execute(gone, [pid]).fetchone() != (0,) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert connection.execute(gone, [pid]).fetchone() == (0,)
