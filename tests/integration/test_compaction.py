"""A settled month becomes one partition: the same facts, whatever goes on meanwhile."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from conftest import TODAY, Warehouse, hide_settings
from etl.diagnostics import page_reader
from etl.domain.errors import Misconfigured, ReconciliationFailed, SliceBusy
from etl.domain.outcome import FetchOptions, Result, Trust
from etl.domain.slices import ReportType, Slice, slices_of
from etl.load import compaction, month_merge, partition_bounds
from etl.load.month_merge import MonthMerge
from etl.runtime.cancellation import Stop
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse import ledger, transactions
from etl.warehouse.database import Database, open_database
from etl.warehouse.sql_files import statement
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.warehouse.transactions import Connection
    from postgres import Server

FIRST, LAST = date(2026, 10, 1), date(2026, 10, 31)
OCTOBER = partition_bounds.of_month(FIRST)
GAP = Slice(date(2026, 10, 3), ReportType.LIVE)
SOME = Slice(date(2026, 10, 4), ReportType.VOD)
CONFIG = SandboxConfig(vod_rows=40, live_rows=20, quiet_one_day_in=0, first_day=date(2026, 9, 1), today=lambda: TODAY)


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return CONFIG


def _load(warehouse: Warehouse) -> None:
    """Some days of October, its first and its last, with a gap in one; and a day on either side."""
    with warehouse.job(concurrency=4) as opened:
        plan = opened.planner.backfill(FIRST - timedelta(days=1), SOME.report_date)
        plan += opened.planner.backfill(LAST, LAST + timedelta(days=1))
        outcomes = opened.run([planned for planned in plan if planned.slice != GAP])
    assert {outcome.result for outcome in outcomes} == {Result.LOADED}


@pytest.fixture(scope="module")
def loaded(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, with a template in which October is loaded already; a cluster has no templates."""
    if not server.template:
        yield server
        return
    with server.database() as url:
        sandbox = Sandbox(CONFIG)
        with pytest.MonkeyPatch.context() as patched, running(sandbox) as base_url:
            hide_settings(patched, tmp_path_factory.mktemp("october"))
            _load(Warehouse(url, sandbox, base_url))
        yield replace(server, template=str(conninfo_to_dict(url)["dbname"]))


@pytest.fixture
def october(loaded: Server, sandbox: Sandbox, base_url: str) -> Iterator[Warehouse]:
    """A warehouse of the test's own with those days."""
    with loaded.database() as url:
        warehouse = Warehouse(url, sandbox, base_url)
        if not loaded.template:
            _load(warehouse)
        yield warehouse


@pytest.fixture
def database(october: Warehouse) -> Iterator[Database]:
    with open_database(october.url, schema="public") as opened:
        yield opened


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """For claims on tries that are all in vain."""
    monkeypatch.setattr(month_merge, "_PAUSE_S", 0.01)


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


def test_a_month_becomes_one_partition_with_the_same_facts(october: Warehouse, database: Database) -> None:
    before = october.stored()
    done = compaction.compact(database, OCTOBER, Stop())
    assert done is not None
    assert done.partitions_before == 9
    assert _partitions(october) == [
        "watch_time_20260930_live", "watch_time_20260930_vod", "watch_time_202610", "watch_time_20261101_live",
        "watch_time_20261101_vod",
    ]  # fmt: skip
    assert october.stored() == before
    assert compaction.compact(database, OCTOBER, Stop()) is None, "nothing to do any more"


def test_its_days_go_on_being_loaded(october: Warehouse, database: Database) -> None:
    """Unchanged, restated, late for the first time, emptied: all by the second way of loading."""
    compaction.compact(database, OCTOBER, Stop())
    assert october.sync(slice_=SOME).result is Result.UNCHANGED
    restated = october.sandbox.restate(SOME)
    outcome = october.sync(slice_=SOME)
    assert outcome.change is not None
    assert (outcome.change.inserted, outcome.change.deleted, outcome.change.updated) == (
        restated.rows_added, restated.rows_vanished, restated.rows_changed,
    )  # fmt: skip
    first = october.sync(slice_=GAP)
    assert (first.result, first.rows) == (Result.LOADED, 20)
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    assert october.sync(header, slice_=SOME, shrink_limit="0").result is Result.EMPTY
    assert october.facts(SOME) == []
    assert len(_partitions(october)) == 5, "no partition of its own again"
    for slice_ in slices_of([LAST], ReportType):
        assert october.sync(slice_=slice_).result is Result.UNCHANGED


def test_a_slice_is_found_by_its_date_without_reading_the_month(october: Warehouse, database: Database) -> None:
    compaction.compact(database, OCTOBER, Stop())
    with psycopg.connect(october.url) as connection:
        # Where there are other nodes, it is said to them too.
        connection.execute("SET LOCAL citus.propagate_set_commands = 'local'")
        connection.execute("SET LOCAL enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT count(*) FROM watch_time WHERE report_date = '2026-10-04' AND report_type = 'VOD'"
        ).fetchall()
    assert any("Bitmap Index Scan on watch_time_202610_report_date_report_type_idx" in line for (line,) in plan)


def test_only_months_that_no_run_asks_about_any_more_are_settled(october: Warehouse, database: Database) -> None:
    settings = october.configured(lookback_days=5, recheck_days=7)

    def names(today: date) -> list[str]:
        return [month.name for month in compaction.settled_months(database, settings, today=today)]

    # October ends with the first of November, and that has to lie outside the windows of the target date.
    assert names(date(2026, 11, 9)) == ["watch_time_202609"]
    assert names(date(2026, 11, 10)) == ["watch_time_202609", "watch_time_202610"]
    compaction.compact(database, OCTOBER, Stop())
    assert names(date(2026, 11, 10)) == ["watch_time_202609"]


@pytest.mark.usefixtures("short_pauses")
def test_readers_that_stay_are_left_alone(october: Warehouse, database: Database) -> None:
    before, tables = october.stored(), _tables(october)
    with psycopg.connect(october.url) as reader:
        reader.execute("SELECT count(*) FROM watch_time")
        with pytest.raises(SliceBusy, match="its partitions were in use all the time"):
            compaction.compact(database, OCTOBER, Stop(), tries=2)
        assert reader.execute("SELECT count(*) FROM watch_time").fetchone() == (len(before["facts"]),)
    assert (october.stored(), _tables(october)) == (before, tables)


def test_between_two_tries_readers_have_a_pause(october: Warehouse, database: Database) -> None:
    """Of varying length, so that it does not keep step with whoever reads every second."""
    pauses = list[float]()

    class Impatient(Stop):
        def sleep(self, seconds: float) -> None:
            pauses.append(seconds)

    with psycopg.connect(october.url) as reader:
        reader.execute("SELECT count(*) FROM watch_time")
        with pytest.raises(SliceBusy):
            compaction.compact(database, OCTOBER, Impatient(), tries=5)
    assert len(set(pauses)) == 5
    assert all(0.4 <= pause <= 1.2 for pause in pauses)


def test_building_a_month_has_more_time_than_a_load(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On both of its connections: that which reads the rows, and that which writes them."""
    transaction, copy, shown = Database.transaction, MonthMerge._copy, list[object]()

    def show(connection: Connection) -> None:
        shown.append(connection.execute("SHOW statement_timeout").fetchone())

    @contextmanager
    def show_after_reading(*arguments: Any) -> Iterator[Connection]:
        with transaction(*arguments) as reader:
            yield reader
            show(reader)

    def show_after_writing(merge: MonthMerge) -> None:
        copy(merge)
        show(merge._connection)

    monkeypatch.setattr(Database, "transaction", show_after_reading)
    monkeypatch.setattr(MonthMerge, "_copy", show_after_writing)
    assert compaction.compact(database, OCTOBER, Stop()) is not None
    assert set(shown) == {("2h",)}


@pytest.mark.usefixtures("short_pauses")
@pytest.mark.single_server("autovacuum is made to begin, and to take its time")
def test_autovacuum_gives_way(october: Warehouse, database: Database) -> None:
    """It is at work on what was just loaded, which is when people compact by hand."""
    with psycopg.connect(october.url, autocommit=True) as owner:
        partition = next(table for (table,) in _tables(october) if table.startswith("watch_time_202610"))
        owner.execute("ALTER SYSTEM SET autovacuum_naptime = 1")
        owner.execute("SELECT pg_reload_conf()")
        try:
            soon_and_slow = (
                "autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0, "
                "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1"
            )
            owner.execute(f"ALTER TABLE {partition} SET ({soon_and_slow})".encode())
            # Dead rows on many pages, none of which it may pass quickly.
            owner.execute(
                f"INSERT INTO {partition} "
                "SELECT 'nobody ' || n, content_id, streaming_type, report_date, report_type, 1 "
                f"FROM (TABLE {partition} LIMIT 1) pattern, generate_series(1, 5000) n".encode()
            )
            owner.execute(f"DELETE FROM {partition} WHERE customer_id LIKE 'nobody%'".encode())
            at_work = "SELECT 1 FROM pg_stat_activity WHERE query LIKE %s AND datname = current_database()"
            until(
                lambda: owner.execute(at_work, [f"autovacuum: %{partition}%"]).fetchone() is not None,
                "autovacuum did not begin",
            )
            assert compaction.compact(database, OCTOBER, Stop(), tries=1) is not None
        finally:
            owner.execute("ALTER SYSTEM RESET autovacuum_naptime")
            owner.execute("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("short_pauses")
def test_a_slice_that_is_being_loaded_is_not_waited_for_with_locks(october: Warehouse, database: Database) -> None:
    with psycopg.connect(october.url) as loader:
        lock = statement("warehouse/try_lock_slice")
        loader.execute(lock, {"slice": str(GAP)})
        with pytest.raises(SliceBusy):
            compaction.compact(database, OCTOBER, Stop(), tries=2)
    assert compaction.compact(database, OCTOBER, Stop()) is not None


@pytest.mark.parametrize("step", ["_copy", "_require_equal"])
def test_a_slice_that_was_loaded_meanwhile_is_not_lost(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A restatement commits after the copying, or only after the comparison, before the swap."""
    original = getattr(MonthMerge, step)

    def restate_after(*arguments: Any) -> None:
        original(*arguments)
        if "watch_time" not in arguments:  # the comparison before the copying is not meant
            october.sandbox.restate(SOME)
            assert october.sync(slice_=SOME).revision == 2

    monkeypatch.setattr(MonthMerge, step, restate_after)
    with pytest.raises(SliceBusy, match="a slice of watch_time_202610 was loaded while the month was being merged"):
        compaction.compact(database, OCTOBER, Stop())
    monkeypatch.undo()
    report = october.sandbox.report(SOME)
    assert sum(row[3] for row in october.facts(SOME)) == report.watch_seconds
    assert compaction.compact(database, OCTOBER, Stop()) is not None
    assert sum(row[3] for row in october.facts(SOME)) == report.watch_seconds


def test_facts_that_are_corrected_meanwhile_are_not_lost(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Corrected within their revision, and to the same number and sum: nothing else in the ledger changes."""
    before = october.stored()
    with psycopg.connect(october.url) as connection:
        connection.execute("UPDATE watch_time SET customer_id = customer_id || 'x' WHERE report_date = '2026-10-04'")
    original = MonthMerge._require_equal

    def correct_after(*arguments: Any) -> None:
        original(*arguments)
        if "watch_time" not in arguments:
            assert october.sync(slice_=SOME, ask=FetchOptions(trust=Trust.NOTHING)).revision == 1

    monkeypatch.setattr(MonthMerge, "_require_equal", correct_after)
    with pytest.raises(SliceBusy, match="a slice of watch_time_202610 was loaded while the month was being merged"):
        compaction.compact(database, OCTOBER, Stop())
    monkeypatch.undo()
    october.sync(slice_=Slice(SOME.report_date, ReportType.LIVE), ask=FetchOptions(trust=Trust.NOTHING))
    assert compaction.compact(database, OCTOBER, Stop()) is not None
    assert october.stored() == before


# What an owner may have put on watch_time, and ATTACH would build or check for every partition.
_OF_THE_OWNER = """
    CREATE INDEX by_customer ON watch_time (customer_id) INCLUDE (watch_seconds);
    CREATE INDEX "of a title's ""first"" letter" ON watch_time (left(content_id, 1)) WHERE customer_id <> '';
    CREATE UNIQUE INDEX ON watch_time (report_date, report_type, content_id, streaming_type, customer_id);
    CREATE TABLE calendar AS
        SELECT day::date FROM generate_series('2026-09-01'::timestamp, '2026-12-31', '1 day') AS day;
    ALTER TABLE calendar ADD PRIMARY KEY (day);
    ALTER TABLE watch_time
        ADD CONSTRAINT is_a_day FOREIGN KEY (report_date) REFERENCES calendar,
        ADD CONSTRAINT less_than_a_day CHECK (watch_seconds < 1000000000)
"""


@pytest.mark.single_server("a month is keyed there as before, and the owner's own indexes are ATTACH's")
def test_an_index_of_the_owner_s_is_not_built_while_readers_are_kept_out(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the lock on only the catalog is written: nothing is built, scanned or checked, says the server itself."""
    with psycopg.connect(october.url) as owner:
        owner.execute(_OF_THE_OWNER)
    before, told = october.stored(), list[str | None]()
    require_equal = MonthMerge._require_equal

    def listen_after(merge: MonthMerge, *arguments: Any) -> None:
        require_equal(merge, *arguments)
        if "watch_time" not in arguments:
            merge._connection.add_notice_handler(lambda notice: told.append(notice.message_primary))
            merge._connection.execute("SET LOCAL client_min_messages = debug1")

    monkeypatch.setattr(MonthMerge, "_require_equal", listen_after)
    assert compaction.compact(database, OCTOBER, Stop()) is not None
    assert 'partition constraint for table "watch_time_202610" is implied by existing constraints' in told
    work = ("building index", "verifying table", "validating foreign key")
    assert [each for each in told if each and each.startswith(work)] == []
    assert october.stored() == before
    # All of it is there, each once.
    indexes = "SELECT count(*), bool_and(indisvalid) FROM pg_index WHERE indrelid = %s::regclass"
    assert october.query(indexes, "watch_time") == [(4, True)]
    assert october.query(indexes, "watch_time_202610") == [(5, True)], "and the one that finds a slice's rows"
    constraints = "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype IN ('c', 'f') ORDER BY 1"
    assert october.query(constraints, "watch_time_202610") == october.query(constraints, "watch_time")
    october.sandbox.restate(SOME)
    assert october.sync(slice_=SOME).result is Result.LOADED


def test_who_began_to_read_before_the_swap_sees_the_same_facts_after_it(october: Warehouse, database: Database) -> None:
    """A transaction of one moment that looks at the facts late: to it the month must not look empty."""
    count = "SELECT count(*), sum(watch_seconds) FROM watch_time"
    before = october.query(count)
    with psycopg.connect(october.url) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT count(*) FROM report_slice")
        assert compaction.compact(database, OCTOBER, Stop()) is not None
        assert reader.execute(count.encode()).fetchall() == before


def test_the_page_of_a_warehouse_that_is_being_compacted_is_whole(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, now = october.configured(), datetime(2026, 11, 22, tzinfo=UTC)
    before = page_reader.read(settings, FIRST, LAST, now=now).seconds
    read_range = ledger.read_range

    def compact_first(*arguments: Any) -> object:
        known = read_range(*arguments)
        monkeypatch.undo()
        assert compaction.compact(database, OCTOBER, Stop()) is not None
        return known

    monkeypatch.setattr(ledger, "read_range", compact_first)
    assert page_reader.read(settings, FIRST, LAST, now=now).seconds == before


def test_nothing_is_built_where_the_swap_would_have_to_be_given_up(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is the reader waited for, with all who come later behind us, whatever limit the connection has."""
    monkeypatch.setattr(MonthMerge, "_copy", lambda *_: pytest.fail("the month was built"))
    monkeypatch.setitem(transactions._TRANSACTION_SETTINGS, "lock_timeout", "0")
    with psycopg.connect(october.url) as reader:
        reader.execute("SELECT count(*) FROM watch_time")
        with pytest.raises(SliceBusy):
            compaction.compact(database, OCTOBER, Stop(), tries=1)


def test_a_month_that_a_backfill_may_be_loading_is_left_to_it(october: Warehouse, database: Database) -> None:
    settings = october.configured()
    assert compaction.compact_after_run(database, settings, Stop(), today=TODAY) == (None, [])
    _rest(october)
    done, trouble = compaction.compact_after_run(database, settings, Stop(), today=TODAY)
    assert trouble == []
    assert done is not None
    assert done.month.name == "watch_time_202609", "the oldest"


def test_every_settled_month_is_compacted(october: Warehouse, database: Database) -> None:
    done, trouble = compaction.compact_all(database, october.configured(), Stop(), today=date(2027, 1, 22))
    assert trouble == []
    assert [each.month.name for each in done] == ["watch_time_202609", "watch_time_202610", "watch_time_202611"]


def test_a_month_whose_name_is_taken_is_named_with_what_to_do(october: Warehouse, database: Database) -> None:
    with psycopg.connect(october.url) as somebody:
        somebody.execute("CREATE TABLE watch_time_202610 ()")
    with pytest.raises(Misconfigured, match="watch_time_202610") as told:
        compaction.compact(database, OCTOBER, Stop())
    assert told.value.next_step == "rename or drop the object of that name: watch-time needs it"


@pytest.mark.single_server("there such a month is only found out once it is built")
def test_two_months_that_cannot_be_compacted_do_not_stop_the_third_and_are_not_built(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    _rest(october)
    with psycopg.connect(october.url) as somebody:
        somebody.execute("CREATE VIEW of_one_day AS SELECT * FROM watch_time_20260930_vod")
        somebody.execute("DELETE FROM watch_time WHERE (report_date, report_type) = ('2026-10-04', 'VOD')")
    built = list[str]()
    copy = MonthMerge._copy

    def note(merge: MonthMerge) -> None:
        built.append(merge._month.name)
        copy(merge)

    monkeypatch.setattr(MonthMerge, "_copy", note)
    settings, in_january = october.configured(), date(2027, 1, 22)
    done, trouble = compaction.compact_after_run(database, settings, Stop(), today=in_january)
    assert done is not None
    assert done.month.name == "watch_time_202611"
    assert [type(error) for error in trouble] == [Misconfigured, ReconciliationFailed]
    # The next run says it again, and builds nothing either; `watch-time compact` reports the same two.
    done, trouble = compaction.compact_after_run(database, settings, Stop(), today=in_january)
    assert (done, len(trouble)) == (None, 2)
    compacted, trouble = compaction.compact_all(database, settings, Stop(), today=in_january)
    assert (compacted, [type(error) for error in trouble]) == ([], [Misconfigured, ReconciliationFailed])
    assert built == ["watch_time_202611"]


@pytest.mark.usefixtures("short_pauses")
def test_where_readers_stay_no_other_month_is_tried_after_a_run(october: Warehouse, database: Database) -> None:
    """It would take as long for each, and they are in the way of all."""
    _rest(october)
    with psycopg.connect(october.url) as reader:
        reader.execute("SELECT count(*) FROM watch_time")
        done, trouble = compaction.compact_after_run(database, october.configured(), Stop(), today=TODAY)
    assert done is None
    assert [type(error) for error in trouble] == [SliceBusy]


@pytest.mark.single_server("there it is only found out once the month is built")
def test_a_view_on_a_slice_s_partition_is_named_before_the_month_is_built(
    october: Warehouse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MonthMerge, "_copy", lambda *_: pytest.fail("the month was built"))
    with psycopg.connect(october.url) as analyst:
        analyst.execute("CREATE VIEW of_one_day AS SELECT * FROM watch_time_20261004_vod")
    with pytest.raises(Misconfigured, match="other objects depend on") as told:
        compaction.compact(database, OCTOBER, Stop())
    assert "drop what depends on it, or make it depend on watch_time" in told.value.next_step
    assert len(_partitions(october)) > 5


def _rest(warehouse: Warehouse) -> None:
    """As if everything had been loaded two days ago."""
    with psycopg.connect(warehouse.url) as connection:
        connection.execute("UPDATE report_slice SET loaded_at = loaded_at - interval '2 days'")


@pytest.mark.parametrize("days", [[FIRST] * 3, [FIRST, date(2026, 9, 30)]], ids=["of one month", "of two"])
def test_several_at_once_do_it_once(october: Warehouse, database: Database, days: list[date]) -> None:
    """Of two months the second is left to a later time: they would wait for each other's reading."""
    before = october.stored()
    ends: list[object] = []

    def build(day: date) -> None:
        try:
            ends.append(compaction.compact(database, partition_bounds.of_month(day), Stop(), tries=2))
        except SliceBusy as error:
            ends.append(error)

    threads = [threading.Thread(target=build, args=(day,)) for day in days]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(isinstance(end, compaction.Compacted) for end in ends) == 1
    assert len(ends) == len(days)
    assert october.stored() == before
    assert _tables(october) == [(name,) for name in _partitions(october)]


def test_what_does_not_equal_the_ledger_is_not_touched(october: Warehouse, database: Database) -> None:
    with psycopg.connect(october.url) as tamperer:
        tamperer.execute(
            "DELETE FROM watch_time WHERE (report_date, report_type) = ('2026-10-04', 'VOD') AND content_id = "
            "(SELECT min(content_id) FROM watch_time WHERE (report_date, report_type) = ('2026-10-04', 'VOD'))"
        )
    tables = _tables(october)
    with pytest.raises(ReconciliationFailed) as told:
        compaction.compact(database, OCTOBER, Stop())
    assert told.value.message == (
        "watch_time_202610: rows or seconds differ from the ledger's in 2026-10-04 VOD; rolled back"
    )
    assert told.value.next_step == (
        "nothing has changed; load them again: "
        "`watch-time backfill --start 2026-10-04 --end 2026-10-04 --type VOD --reload`"
    )
    assert _tables(october) == tables


def test_of_many_slices_that_do_not_equal_the_ledger_some_are_named(october: Warehouse, database: Database) -> None:
    """With fewer rows, other seconds, or rows that the ledger knows nothing of."""
    with psycopg.connect(october.url) as tamperer:
        tamperer.execute("DELETE FROM watch_time WHERE (report_date, report_type) = ('2026-10-01', 'LIVE')")
        tamperer.execute(
            "UPDATE watch_time SET watch_seconds = watch_seconds + 1 "
            "WHERE (report_date, report_type) = ('2026-10-02', 'VOD')"
        )
        tamperer.execute(
            "UPDATE report_slice SET rows_stored = rows_stored + 1 "
            "WHERE report_date BETWEEN '2026-10-03' AND '2026-10-31'"
        )
    with pytest.raises(ReconciliationFailed) as told:
        compaction.compact(database, OCTOBER, Stop())
    assert "in 2026-10-01 LIVE, 2026-10-02 VOD, 2026-10-03 VOD and 4 more; rolled back" in told.value.message
    assert told.value.next_step.count("watch-time backfill --start") == 3


def test_years_of_days_end_in_few_partitions(october: Warehouse, database: Database) -> None:
    """Each settled month is one; what is young keeps a partition a slice."""
    for month in compaction.settled_months(database, october.configured(), today=TODAY):
        compaction.compact(database, month, Stop())
    assert _partitions(october) == [
        "watch_time_202609", "watch_time_202610", "watch_time_20261101_live", "watch_time_20261101_vod",
    ]  # fmt: skip
