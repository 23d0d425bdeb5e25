"""Killed at any point, stopped, doubled: the next run ends in the same rows, and nobody ever sees half a slice.

The program is held at a point of its transaction by a lock that the test keeps on a table; there it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

import postgres
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import embedded_postgres
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Program, Warehouse
    from prefork import Process

# Real dates: the program decides for itself what today is.
# Far less than what would be waited for, far more than a busy machine needs.
SOON_S = 25
DAY = datetime.now(UTC).date() - timedelta(days=4)
VOD = Slice(DAY, ReportType.VOD)
ONE_SLICE = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD", "--refresh")

# Where in its transaction the program waits while the test holds the lock.
HELD_AT = {
    "report-staged": "LOCK TABLE content IN EXCLUSIVE MODE",
    "before-attach": "LOCK TABLE watch_time IN SHARE UPDATE EXCLUSIVE MODE",
    "before-ledger": "LOCK TABLE report_revision IN EXCLUSIVE MODE",
    "before-commit": "LOCK TABLE warehouse IN EXCLUSIVE MODE",
}


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=2_000, live_rows=500, quiet_one_day_in=0)


@contextmanager
def _held(warehouse: Warehouse, lock: str) -> Iterator[Callable[[], None]]:
    """Keep a lock; gives a function that waits until the program waits for it."""
    with psycopg.connect(warehouse.url) as connection, psycopg.connect(warehouse.url, autocommit=True) as observer:
        connection.execute(lock.encode())

        def wait_until_held() -> None:
            until(lambda: observer.execute(
                "SELECT count(*) FROM pg_stat_activity "
                "WHERE application_name = 'watch-time' AND wait_event_type = 'Lock'"
            ).fetchone() != (0,), "the program did not get to the lock")  # fmt: skip

        yield wait_until_held
        connection.rollback()


def _backends_gone(warehouse: Warehouse) -> None:
    """Wait: the backend of a killed client may live on, and even commit."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watch-time'"
    until(lambda: warehouse.query(query) == [(0,)], "a backend of the killed program is still there")


def _assert_exactly(warehouse: Warehouse, slice_: Slice, revision: int) -> None:
    """The slice is the sandbox's current report, it has that many revisions, and nothing is left over."""
    report = warehouse.sandbox.report(slice_)
    key = (slice_.report_date, slice_.report_type.value)
    assert warehouse.query(
        "SELECT count(*), sum(watch_seconds) FROM watch_time WHERE report_date = %s AND report_type = %s", *key
    ) == [(report.rows, report.watch_seconds)]
    assert warehouse.query(
        "SELECT state, revision, rows_stored, watch_seconds FROM report_slice "
        "WHERE report_date = %s AND report_type = %s",
        *key,
    ) == [("loaded", revision, report.rows, report.watch_seconds)]
    assert warehouse.query(
        "SELECT count(*), max(revision) FROM report_revision WHERE report_date = %s AND report_type = %s", *key
    ) == [(revision, revision)]
    assert (
        warehouse.query(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'watch_time_2%' AND NOT relispartition"
        )
        == []
    )
    assert warehouse.query("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []


def _seen(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT count(*), coalesce(sum(watch_seconds), 0) FROM watch_time")


@pytest.mark.parametrize("point", HELD_AT)
def test_killed_in_the_middle_of_a_first_load(program: Program, newest_warehouse: Warehouse, point: str) -> None:
    with _held(newest_warehouse, HELD_AT[point]) as wait_until_held:
        process = program.start(*ONE_SLICE)
        wait_until_held()
        assert _seen(newest_warehouse) == [(0, 0)]
        _kill(process, signal.SIGKILL)
    _backends_gone(newest_warehouse)
    # A backend that was waiting for the lock when its client died may have gone on to commit: all or nothing.
    assert _seen(newest_warehouse)[0][0] in {0, 2_000}
    assert program(*ONE_SLICE).returncode == 0
    _assert_exactly(newest_warehouse, VOD, revision=1)


@pytest.mark.parametrize("point", [name for name in HELD_AT if name not in {"before-attach", "before-commit"}])
def test_killed_in_the_middle_of_a_restatement(program: Program, newest_warehouse: Warehouse, point: str) -> None:
    assert program(*ONE_SLICE).returncode == 0
    before = _seen(newest_warehouse)
    newest_warehouse.sandbox.restate(VOD)
    after = newest_warehouse.sandbox.report(VOD)
    with _held(newest_warehouse, HELD_AT[point]) as wait_until_held:
        process = program.start(*ONE_SLICE)
        wait_until_held()
        assert _seen(newest_warehouse) == before
        _kill(process, signal.SIGKILL)
    _backends_gone(newest_warehouse)
    assert _seen(newest_warehouse) in [before, [(after.rows, after.watch_seconds)]]
    assert program(*ONE_SLICE).returncode == 0
    _assert_exactly(newest_warehouse, VOD, revision=2)


@pytest.mark.parametrize("delay_s", [0.1, 0.4, 0.8])
def test_killed_at_some_moment(program: Program, newest_warehouse: Warehouse, delay_s: float) -> None:
    process = program.start("run")
    time.sleep(delay_s)
    _kill(process, signal.SIGKILL)
    _backends_gone(newest_warehouse)
    assert program("run").returncode == 0
    for slice_ in (Slice(DAY, report_type) for report_type in ReportType):
        _assert_exactly(newest_warehouse, slice_, revision=1)


def test_a_killed_backfill_of_thirty_days_goes_on_where_it_was(program: Program, newest_warehouse: Warehouse) -> None:
    """Killed twice in the middle; what was loaded is not even asked for again, but for what was in flight."""
    span = ("backfill", "--start", f"{DAY - timedelta(days=29)}", "--end", f"{DAY}", "--concurrency", "2")
    for enough in (12, 35):
        process = program.start(*span)
        until(lambda: _loaded(newest_warehouse) >= enough, "the backfill does not get on", timeout_s=60)  # noqa: B023
        _kill(process, signal.SIGKILL)
        _backends_gone(newest_warehouse)
        assert process.returncode == -signal.SIGKILL
    loaded = _loaded(newest_warehouse)
    assert 35 <= loaded < 60
    last = program(*span, "--json")
    assert last.returncode == 0
    slices = json.loads(last.stdout)["slices"]
    assert {slice_["result"] for slice_ in slices} <= {"loaded", "unchanged"}
    assert len(slices) == 60 - loaded
    for day in (DAY - timedelta(days=back) for back in range(30)):
        for report_type in ReportType:
            _assert_exactly(newest_warehouse, Slice(day, report_type), revision=1)
    assert len(newest_warehouse.sandbox.requests("api")) <= 60 + 2 * 2, "two in flight at each of two kills"


def _loaded(warehouse: Warehouse) -> int:
    ((count,),) = warehouse.query("SELECT count(*) FROM report_slice WHERE state = 'loaded'")
    return int(count)


OLD = (DAY - timedelta(days=60)).replace(day=10)
OLD_DAYS = ("--start", f"{OLD}", "--end", f"{OLD + timedelta(days=2)}")
_MONTHS = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '^watch_time_[0-9]{6}$'"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize(
    "kept",
    [
        pytest.param("SELECT count(*) FROM watch_time", id="waiting for a reader to go"),
        pytest.param("LOCK TABLE calendar IN ROW EXCLUSIVE MODE", id="being given the owner's foreign key"),
    ],
)
def test_killed_while_a_month_is_put_together(
    program: Program, newest_warehouse: Warehouse, number: signal.Signals, kept: str
) -> None:
    with psycopg.connect(newest_warehouse.url) as owner:
        owner.execute(
            "CREATE TABLE calendar AS SELECT %s::date + days AS day FROM generate_series(0, 9) AS days", [OLD]
        )
        owner.execute("ALTER TABLE calendar ADD PRIMARY KEY (day)")
        owner.execute("ALTER TABLE watch_time ADD FOREIGN KEY (report_date) REFERENCES calendar")
    assert program("backfill", *OLD_DAYS).returncode == 0
    before = newest_warehouse.query("SELECT * FROM watch_time ORDER BY 1, 2, 3, 4, 5")
    with psycopg.connect(newest_warehouse.url) as other:
        other.execute(kept.encode())
        process = program.start("compact")
        until(lambda: newest_warehouse.query("SELECT 1 FROM pg_locks WHERE NOT granted") != [], "it does not get there")
        began = time.monotonic()
        _kill(process, number)
        assert time.monotonic() - began < SOON_S
    _backends_gone(newest_warehouse)
    assert newest_warehouse.query("SELECT * FROM watch_time ORDER BY 1, 2, 3, 4, 5") == before
    assert newest_warehouse.query(_MONTHS) == []
    done = program("compact", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["compacted"] == [{"partition": f"watch_time_{OLD:%Y%m}", "partitions_before": 6}]
    assert newest_warehouse.query("SELECT * FROM watch_time ORDER BY 1, 2, 3, 4, 5") == before
    _assert_exactly(newest_warehouse, Slice(OLD, ReportType.VOD), revision=1)


def _rest(warehouse: Warehouse) -> None:
    """As if everything had been loaded two days ago: nothing may be in the middle of a backfill."""
    with psycopg.connect(warehouse.url) as connection:
        connection.execute("UPDATE report_slice SET loaded_at = loaded_at - interval '2 days'")


def test_the_daily_run_compacts_a_settled_month_after_its_work(program: Program, newest_warehouse: Warehouse) -> None:
    assert program("backfill", *OLD_DAYS).returncode == 0
    _rest(newest_warehouse)
    ran = program("run")
    assert ran.returncode == 0
    assert newest_warehouse.query(_MONTHS) == [(f"watch_time_{OLD:%Y%m}",)]
    assert '"event": "compacted"' in ran.stderr
    assert "every settled month has one partition already" in program("compact").stdout


def test_a_month_that_cannot_be_compacted_does_not_fail_the_run(program: Program, newest_warehouse: Warehouse) -> None:
    assert program("backfill", *OLD_DAYS).returncode == 0
    with psycopg.connect(newest_warehouse.url) as tamperer:
        tamperer.execute("DELETE FROM watch_time WHERE report_date = %s AND report_type = 'VOD'", [OLD])
    _rest(newest_warehouse)
    ran = program("run")
    assert ran.returncode == 0
    assert '"event": "not_compacted"' in ran.stderr
    by_hand = program("compact")
    assert by_hand.returncode == 70
    reload = f"watch-time backfill --start {OLD} --end {OLD} --type VOD --reload"
    assert f"next: nothing has changed; load them again:\n    {reload}\n" in by_hand.stderr
    assert program(*reload.split()[1:]).returncode == 0
    assert program("compact").returncode == 0
    assert newest_warehouse.query(_MONTHS) == [(f"watch_time_{OLD:%Y%m}",)]


@pytest.mark.parametrize("point", ["report-staged", "before-attach"])
def test_sigterm_in_a_transaction_rolls_back_and_ends_in_time(
    program: Program, newest_warehouse: Warehouse, point: str
) -> None:
    with _held(newest_warehouse, HELD_AT[point]) as wait_until_held:
        process = program.start(*ONE_SLICE)
        wait_until_held()
        began = time.monotonic()
        _kill(process, signal.SIGTERM)
        assert time.monotonic() - began < SOON_S
        assert process.returncode == 143
        _backends_gone(newest_warehouse)
    assert _seen(newest_warehouse) == [(0, 0)]
    assert program(*ONE_SLICE).returncode == 0
    _assert_exactly(newest_warehouse, VOD, revision=1)


def test_sigterm_while_the_download_is_silent(program: Program, newest_warehouse: Warehouse) -> None:
    newest_warehouse.sandbox.override(VOD, Delivery(latency_s=60))
    process = program.start(*ONE_SLICE)
    until(lambda: bool(newest_warehouse.sandbox.requests("api")), "no request came")
    time.sleep(0.5)
    began = time.monotonic()
    _kill(process, signal.SIGTERM)
    assert time.monotonic() - began < SOON_S
    assert process.returncode == 143


def test_sigterm_while_the_database_is_silent(program: Program, newest_warehouse: Warehouse) -> None:
    """Its backends are stopped, so that they answer nothing, cancellations included."""
    backends = "SELECT pid FROM pg_stat_activity WHERE application_name = 'watch-time'"
    with _held(newest_warehouse, HELD_AT["report-staged"]) as wait_until_held:
        process = program.start("run", CONCURRENCY="8")
        wait_until_held()
        database = str(conninfo_to_dict(newest_warehouse.url)["dbname"])
        silent = postgres.backend_processes((pid for (pid,) in newest_warehouse.query(backends)), database)
        try:
            for backend in silent:
                backend.suspend()
            began = time.monotonic()
            _kill(process, signal.SIGTERM)
            assert time.monotonic() - began < SOON_S
            assert process.returncode == 143
        finally:
            for backend in silent:
                backend.resume()
    _backends_gone(newest_warehouse)
    assert program("run").returncode == 0
    _assert_exactly(newest_warehouse, VOD, revision=1)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder whose path root's server, another user, can walk; pytest closes its own whenever a session begins."""
    with tempfile.TemporaryDirectory(prefix="watch-time-") as folder:
        yield Path(folder)


def test_sigterm_stops_the_embedded_server_too(
    bare_program: Program, newest_warehouse: Warehouse, open_folder: Path
) -> None:
    bare_program = replace(bare_program, new_interpreter=True)  # the server is a child of the command
    settings = _embedded_settings(newest_warehouse, open_folder)
    assert bare_program("migrate", **settings).returncode == 0
    newest_warehouse.sandbox.override(VOD, Delivery(latency_s=60))
    process = bare_program.start(*ONE_SLICE, **settings)
    until(lambda: bool(newest_warehouse.sandbox.requests("api")), "no request came")
    time.sleep(0.5)
    began = time.monotonic()
    _kill(process, signal.SIGTERM)
    assert time.monotonic() - began < SOON_S
    assert process.returncode == 143
    assert not (open_folder / "warehouse" / "postmaster.pid").exists()


def _embedded_settings(warehouse: Warehouse, folder: Path) -> dict[str, str]:
    return {
        "DATABASE_URL": f"embedded:{folder / 'warehouse'}",
        "API_BASE_URL": warehouse.base_url,
        "API_TOKEN": warehouse.sandbox.config.token,
        "ORG_ID": warehouse.sandbox.config.org_id,
    }


def test_sigterm_while_waiting_for_a_report(program: Program, newest_warehouse: Warehouse) -> None:
    process = program.start("run", "--date", f"{DAY + timedelta(days=3)}", NOT_FOUND_WAIT_SECONDS="600")
    until(lambda: newest_warehouse.sandbox.statuses("api")[404] >= 2, "no request came")
    began = time.monotonic()
    _kill(process, signal.SIGTERM)
    assert time.monotonic() - began < SOON_S
    assert process.returncode == 143


def test_two_runs_at_once_leave_one_revision_of_each_slice(program: Program, newest_warehouse: Warehouse) -> None:
    processes = [program.start("run") for _ in range(3)]
    ends = [(*process.communicate(timeout=90), process.returncode) for process in processes]
    assert [code for _, _, code in ends] == [0, 0, 0], ends
    for back in range(4):
        for report_type in ReportType:
            _assert_exactly(newest_warehouse, Slice(DAY - timedelta(days=back), report_type), revision=1)


def test_killed_on_the_embedded_database(bare_program: Program, newest_warehouse: Warehouse, open_folder: Path) -> None:
    """The next command finds the server of the killed one running, uses it, and stops it."""
    bare_program = replace(bare_program, new_interpreter=True)  # the server is a child of the command
    settings = _embedded_settings(newest_warehouse, open_folder)
    assert bare_program("migrate", **settings).returncode == 0
    newest_warehouse.sandbox.script(VOD, storage=[Delivery(latency_s=60)])
    process = bare_program.start(*ONE_SLICE, **settings)
    until(lambda: bool(newest_warehouse.sandbox.requests("api")), "no request came")
    _kill(process, signal.SIGKILL)
    running = open_folder / "warehouse" / "postmaster.pid"
    os.kill(int(running.read_text().splitlines()[0]), 0)
    assert bare_program(*ONE_SLICE, **settings).returncode == 0
    assert not running.exists()
    with embedded_postgres.server(open_folder / "warehouse") as uri, psycopg.connect(uri) as connection:
        assert connection.execute("SELECT count(*) FROM watch_time").fetchone() == (2_000,)


def _kill(process: Process, number: signal.Signals) -> None:
    process.send_signal(number)
    process.communicate(timeout=30)
