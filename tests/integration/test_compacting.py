"""A settled month becomes one partition: the same facts, whatever goes on meanwhile."""

from __future__ import annotations

import threading
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from conftest import TODAY
from etl import compact, db, partitions
from etl.errors import ReconciliationFailed, SliceBusy
from etl.outcome import Ask, Result
from etl.sandbox.config import SandboxConfig
from etl.slices import ReportType, Slice, slices_of
from etl.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Warehouse

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
OCTOBER = partitions.of_month(FIRST)
GAP = Slice(date(2026, 10, 3), ReportType.LIVE)
SOME = Slice(date(2026, 10, 4), ReportType.VOD)


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=40, live_rows=20, quiet_one_day_in=0, first_day=date(2026, 9, 1), today=lambda: TODAY)


@pytest.fixture
def october(warehouse: Warehouse) -> Warehouse:
    """A warehouse with some days of October, its first and its last, with a gap in one; and a day on either side."""
    with warehouse.job(concurrency=4) as opened:
        plan = opened.backfill_plan(FIRST - timedelta(days=1), SOME.report_date)
        plan += opened.backfill_plan(LAST, LAST + timedelta(days=1))
        outcomes = opened.work([planned for planned in plan if planned.slice != GAP])
    assert {outcome.result for outcome in outcomes} == {Result.LOADED}
    return warehouse


@pytest.fixture
def database(warehouse: Warehouse) -> Iterator[db.Database]:
    with db.opened(warehouse.url, schema="public") as opened:
        yield opened


def _partitions(warehouse: Warehouse) -> list[str]:
    found = warehouse.query(
        "SELECT relname FROM pg_inherits JOIN pg_class ON pg_class.oid = inhrelid "
        "WHERE inhparent = 'watch_time'::regclass"
    )
    return sorted(name for (name,) in found)


def _tables(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """All of them: what a crash could leave behind."""
    return warehouse.query(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE 'watch_time_2%' ORDER BY 1"
    )


def test_a_month_becomes_one_partition_with_the_same_facts(october: Warehouse, database: db.Database) -> None:
    before = october.everything()
    done = compact.compact(database, OCTOBER, Stop())
    assert done is not None
    assert done.partitions_before == 9
    assert _partitions(october) == [
        "watch_time_20260930_live", "watch_time_20260930_vod", "watch_time_202610", "watch_time_20261101_live",
        "watch_time_20261101_vod",
    ]  # fmt: skip
    assert october.everything() == before
    assert compact.compact(database, OCTOBER, Stop()) is None, "nothing to do any more"


def test_its_days_go_on_being_loaded(october: Warehouse, database: db.Database) -> None:
    """Unchanged, restated, late for the first time, emptied: all by the second way of loading."""
    compact.compact(database, OCTOBER, Stop())
    assert october.bring(slice_=SOME).result is Result.UNCHANGED
    restated = october.sandbox.restate(SOME)
    outcome = october.bring(slice_=SOME)
    assert outcome.change is not None
    assert (outcome.change.inserted, outcome.change.deleted, outcome.change.updated) == (
        restated.rows_added, restated.rows_vanished, restated.rows_changed,
    )  # fmt: skip
    first = october.bring(slice_=GAP)
    assert (first.result, first.rows) == (Result.LOADED, 20)
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    assert october.bring(header, slice_=SOME, ask=Ask(accept=True)).result is Result.EMPTY
    assert october.facts(SOME) == []
    assert len(_partitions(october)) == 5, "no partition of its own again"
    for slice_ in slices_of([LAST], ReportType):
        assert october.bring(slice_=slice_).result is Result.UNCHANGED


def test_a_slice_is_found_by_its_date_without_reading_the_month(october: Warehouse, database: db.Database) -> None:
    compact.compact(database, OCTOBER, Stop())
    with psycopg.connect(october.url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT count(*) FROM watch_time WHERE report_date = '2026-10-04' AND report_type = 'VOD'"
        ).fetchall()
    assert any("Bitmap Index Scan on watch_time_202610_report_date_report_type_idx" in line for (line,) in plan)


def test_only_months_that_no_run_asks_about_any_more_are_settled(october: Warehouse, database: db.Database) -> None:
    settings = october.configured(lookback_days=5, recheck_days=7)

    def names(today: date) -> list[str]:
        return [month.name for month in compact.settled_months(database, settings, today=today)]

    # October ends with the first of November, and that has to lie outside the windows of the target date.
    assert names(date(2026, 11, 9)) == ["watch_time_202609"]
    assert names(date(2026, 11, 10)) == ["watch_time_202609", "watch_time_202610"]
    compact.compact(database, OCTOBER, Stop())
    assert names(date(2026, 11, 10)) == ["watch_time_202609"]


def test_readers_that_stay_are_left_alone(
    october: Warehouse, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "_TRIES", 2)
    before, tables = october.everything(), _tables(october)
    with psycopg.connect(october.url) as reader:
        reader.execute("SELECT count(*) FROM watch_time")
        with pytest.raises(SliceBusy, match="others were reading or loading all the time"):
            compact.compact(database, OCTOBER, Stop())
        assert reader.execute("SELECT count(*) FROM watch_time").fetchone() == (len(before["facts"]),)
    assert (october.everything(), _tables(october)) == (before, tables)


def test_a_slice_that_is_being_loaded_is_not_waited_for_with_locks(
    october: Warehouse, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compact, "_TRIES", 2)
    with psycopg.connect(october.url) as loader:
        lock = db.statement("try_lock_slice")
        loader.execute(lock, {"slice": str(GAP)})
        with pytest.raises(SliceBusy):
            compact.compact(database, OCTOBER, Stop())
    assert compact.compact(database, OCTOBER, Stop()) is not None


def test_a_slice_that_was_loaded_meanwhile_is_not_lost(
    october: Warehouse, database: db.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The month waits for a reader; before that one leaves, a restatement comes."""
    built = threading.Event()
    lock_slices = compact._locked

    def tell(connection: db.Connection, names: list[str]) -> bool:
        if len(names) > 1:
            built.set()
        return lock_slices(connection, names)

    monkeypatch.setattr(compact, "_locked", tell)
    failed: list[BaseException] = []

    def build() -> None:
        try:
            compact.compact(database, OCTOBER, Stop())
        except SliceBusy as error:
            failed.append(error)

    with psycopg.connect(october.url) as reader:
        reader.execute("SELECT count(*) FROM watch_time")
        thread = threading.Thread(target=build)
        thread.start()
        assert built.wait(30)
        october.sandbox.restate(SOME)
        assert october.bring(slice_=SOME).revision == 2
    thread.join(60)
    assert [str(error) for error in failed] == [
        "a slice of watch_time_202610 was loaded while the month was being put together"
    ]
    report = october.sandbox.report(SOME)
    assert sum(row[3] for row in october.facts(SOME)) == report.watch_seconds
    assert compact.compact(database, OCTOBER, Stop()) is not None
    assert sum(row[3] for row in october.facts(SOME)) == report.watch_seconds


def test_two_at_once_do_it_once(october: Warehouse, database: db.Database) -> None:
    before = october.everything()
    ends: list[object] = []

    def build() -> None:
        try:
            ends.append(compact.compact(database, OCTOBER, Stop()))
        except SliceBusy as error:
            ends.append(error)

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(isinstance(end, compact.Compacted) for end in ends) == 1
    assert len(ends) == 3
    assert october.everything() == before
    assert len(_tables(october)) == 5


def test_what_does_not_equal_the_ledger_is_not_touched(october: Warehouse, database: db.Database) -> None:
    with psycopg.connect(october.url) as tamperer:
        tamperer.execute(
            "DELETE FROM watch_time WHERE (report_date, report_type) = ('2026-10-04', 'VOD') AND content_id = "
            "(SELECT min(content_id) FROM watch_time WHERE (report_date, report_type) = ('2026-10-04', 'VOD'))"
        )
    tables = _tables(october)
    with pytest.raises(ReconciliationFailed, match="1 slices of watch_time_202610 have other rows"):
        compact.compact(database, OCTOBER, Stop())
    assert _tables(october) == tables


def test_years_of_days_end_in_few_partitions(october: Warehouse, database: db.Database) -> None:
    """Each settled month is one; what is young keeps a partition a slice."""
    for month in compact.settled_months(database, october.configured(), today=TODAY):
        compact.compact(database, month, Stop())
    assert _partitions(october) == [
        "watch_time_202609", "watch_time_202610", "watch_time_20261101_live", "watch_time_20261101_vod",
    ]  # fmt: skip
