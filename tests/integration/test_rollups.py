"""The rollup and the counts of customers say what the facts say, on every path that changes facts."""

from __future__ import annotations

import random
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from conftest import DAY, HEADER, TODAY, Warehouse
from etl.diagnostics.verify_against_source import open_verification
from etl.domain.errors import ExitCode
from etl.domain.outcome import FetchOptions, Result, Trust
from etl.domain.slices import ReportType, Slice
from etl.load import distinct_customers, new_partition_load
from etl.runtime.cancellation import Stop
from etl.warehouse.database import open_warehouse

if TYPE_CHECKING:
    from etl.warehouse.transactions import Connection

# The views as they would be without rollup and counts: from the facts alone.
_BY_FACTS = {
    "watch_time_daily": """
        SELECT report_date, report_type, streaming_type, count(*),
               count(DISTINCT customer_id) FILTER (WHERE customer_id <> ''), sum(watch_seconds)
        FROM watch_time
        GROUP BY report_date, report_type, streaming_type
        """,
    "watch_time_customers": """
        SELECT report_date, count(DISTINCT customer_id) FILTER (WHERE customer_id <> '')
        FROM report_slice
        LEFT JOIN watch_time USING (report_date, report_type)
        WHERE revision > 0
        GROUP BY report_date
        """,
    "watch_time_monthly": """
        SELECT date_trunc('month', report_date::timestamp)::date, report_type, streaming_type, count(*),
               count(DISTINCT customer_id) FILTER (WHERE customer_id <> ''), sum(watch_seconds)
        FROM watch_time
        GROUP BY 1, report_type, streaming_type
        """,
    "watch_time_by_content": """
        SELECT date_trunc('month', report_date::timestamp)::date, content_id, title, min(report_date), max(report_date),
               count(*), count(DISTINCT customer_id) FILTER (WHERE customer_id <> ''), sum(watch_seconds)
        FROM watch_time
        LEFT JOIN content USING (content_id)
        GROUP BY 1, content_id, title
        """,
    "content_daily": """
        SELECT report_date, report_type, content_id, streaming_type, count(*) FILTER (WHERE customer_id <> ''),
               sum(watch_seconds), coalesce(sum(watch_seconds) FILTER (WHERE customer_id = ''), 0),
               bool_or(customer_id = '')
        FROM watch_time
        GROUP BY report_date, report_type, content_id, streaming_type
        """,
}
DAYS = [date(2026, 9, 29), date(2026, 9, 30), date(2026, 10, 1), date(2026, 10, 2)]
SLICES = [Slice(day, report_type) for day in DAYS for report_type in ReportType]
SETTLED_BY_THEN = date(2027, 2, 1)


def _report(chance: random.Random) -> str:
    """Some lines, also none; anonymous ones, repeated keys and seconds of zero among them."""
    lines = [
        f"title {content},c{content},{chance.choice(['VOD', 'LIVE', 'LIVE_TO_VOD'])},,"
        f"{chance.choice(['', 'u1', 'u2', 'u3', 'u4'])},{chance.choice(['0', '1.5', '2', '0.001', '60'])}"
        for content in (chance.randrange(4) for _ in range(chance.choice([0, 1, 5, 30])))
    ]
    return HEADER + "".join(f"{line}\n" for line in lines)


def _table(warehouse: Warehouse, name: str) -> set[tuple[object, ...]]:
    with psycopg.connect(warehouse.url) as connection:
        return set(connection.execute(f"TABLE {name}".encode()).fetchall())


def _by_facts(warehouse: Warehouse, name: str) -> set[tuple[object, ...]]:
    with psycopg.connect(warehouse.url) as connection:
        return set(connection.execute(_BY_FACTS[name].encode()).fetchall())


@pytest.fixture(name="chance", params=[1, 2])
def _chance(request: pytest.FixtureRequest) -> random.Random:
    return random.Random(request.param)  # noqa: S311 - not for secrets


def test_random_warehouses_with_restatements_say_what_their_facts_say(
    newest_warehouse: Warehouse, chance: random.Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Larger reports are summed in another way: some of these are.
    monkeypatch.setattr(new_partition_load, "_FEW_ROWS", 5)
    for slice_ in [*SLICES, *chance.choices(SLICES, k=8)]:
        if newest_warehouse.sync(_report(chance), slice_=slice_).result is Result.HELD:
            newest_warehouse.sync(slice_=slice_, ask=FetchOptions(accept=True))
        if chance.random() < 0.3:
            newest_warehouse.count_customers(today=SETTLED_BY_THEN)
    newest_warehouse.count_customers(today=SETTLED_BY_THEN)
    for name in _BY_FACTS:
        assert _table(newest_warehouse, name) == _by_facts(newest_warehouse, name), name


class TestCounts:
    """They are shown while the facts are those that were counted, and empty otherwise."""

    @pytest.fixture(name="loaded")
    def _loaded(self, newest_warehouse: Warehouse) -> Warehouse:
        for slice_ in SLICES[:2]:
            newest_warehouse.sync(HEADER + "A,c1,VOD,,u1,1\nA,c1,VOD,,u2,1\n", slice_=slice_)
        return newest_warehouse

    def _shown(self, warehouse: Warehouse) -> list[tuple[object, ...]]:
        return warehouse.query(
            "SELECT (SELECT array_agg(customers) FROM watch_time_daily), (SELECT array_agg(customers) FROM "
            "watch_time_customers), (SELECT array_agg(customers) FROM watch_time_by_content)"
        )

    def test_none_before_they_are_counted(self, loaded: Warehouse) -> None:
        assert self._shown(loaded) == [([None, None], [None], [None])]

    def test_none_of_a_month_that_is_not_settled(self, loaded: Warehouse) -> None:
        assert loaded.count_customers(today=date(2026, 10, 1)) == (1, 0)
        assert self._shown(loaded) == [([2, 2], [2], [None])]

    def test_a_restatement_takes_back_what_it_made_wrong_and_no_more(self, loaded: Warehouse) -> None:
        loaded.count_customers(today=SETTLED_BY_THEN)
        assert self._shown(loaded) == [([2, 2], [2], [2])]
        loaded.sync(HEADER + "A,c1,VOD,,u1,1\nA,c1,VOD,,u3,1\n", slice_=SLICES[1])
        ((daily, customers, months),) = self._shown(loaded)
        assert (sorted(daily, key=str), customers, months) == ([2, None], [None], [None])  # type: ignore[call-overload]
        assert loaded.count_customers(today=SETTLED_BY_THEN) == (2, 0)
        assert self._shown(loaded) == [([2, 2], [3], [3])]
        assert loaded.count_customers(today=SETTLED_BY_THEN) == (0, 0)

    def test_a_run_counts_what_it_loaded(self, newest_warehouse: Warehouse) -> None:
        with newest_warehouse.job() as opened:
            opened.run(opened.planner.target())
            opened.count_customers()
        ((day, customers),) = newest_warehouse.query("SELECT * FROM watch_time_customers")
        assert [(day, customers)] == newest_warehouse.query(
            "SELECT report_date, count(DISTINCT customer_id) FROM watch_time WHERE customer_id <> '' GROUP BY 1"
        )

    def test_the_time_limit_leaves_the_rest_to_the_next_run(self, loaded: Warehouse) -> None:
        settings = loaded.configured()
        with open_warehouse(settings) as database:
            left = distinct_customers.count_stale(database, settings, Stop(), today=TODAY, time_limit_s=-1)
            assert left == (0, 2)
            assert distinct_customers.count_stale(database, settings, Stop(), today=TODAY, time_limit_s=60) == (2, 0)

    def test_counting_has_more_time_and_memory_than_a_load(
        self, loaded: Warehouse, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        count, shown = distinct_customers._count, list[object]()

        def count_and_show(connection: Connection, **period: Any) -> bool:
            counted = count(connection, **period)
            query = "SELECT current_setting('statement_timeout'), current_setting('work_mem')"
            shown.append(connection.execute(query).fetchone())
            return counted

        monkeypatch.setattr(distinct_customers, "_count", count_and_show)
        assert loaded.count_customers() == (2, 0)
        assert shown == [("2h", "64MB")] * 2


class TestRepair:
    """A rollup that somebody changed by hand is found, and made right by loading the report again."""

    REPORT = HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,1\n"

    @pytest.fixture(name="damaged")
    def _damaged(self, newest_warehouse: Warehouse) -> Warehouse:
        newest_warehouse.sync(self.REPORT)
        with psycopg.connect(newest_warehouse.url) as connection:
            connection.execute("UPDATE content_daily SET watch_seconds = watch_seconds + 1 WHERE content_id = 'c1'")
        return newest_warehouse

    def test_verify_names_it(self, damaged: Warehouse) -> None:
        with open_verification(damaged.configured(), with_source=True) as verification:
            verdict = verification.compare(damaged.sync().slice)
        assert (verdict.wrong_sums, verdict.exit_code, verdict.missing) == (1, ExitCode.DATA_REFUSED, 0)
        assert "--reload" in (verdict.next_step or "")

    @pytest.mark.parametrize("trust", [Trust.COUNTS, Trust.NOTHING])
    def test_reloading_makes_it_right(self, damaged: Warehouse, trust: Trust) -> None:
        damaged.sync(ask=FetchOptions(trust=trust))
        assert _table(damaged, "content_daily") == _by_facts(damaged, "content_daily")

    def test_of_a_dropped_partition_nothing_is_left_in_it(self, newest_warehouse: Warehouse) -> None:
        newest_warehouse.sync(self.REPORT)
        with psycopg.connect(newest_warehouse.url) as connection:
            connection.execute(f"DROP TABLE watch_time_{DAY:%Y%m%d}_vod")
        newest_warehouse.sync(HEADER + "A,c1,VOD,,u1,2\nC,c3,VOD,,u2,1\n")
        assert len(_table(newest_warehouse, "content_daily")) == 2
        assert _table(newest_warehouse, "content_daily") == _by_facts(newest_warehouse, "content_daily")
