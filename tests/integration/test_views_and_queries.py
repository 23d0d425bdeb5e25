"""The views and the documented queries give what Python counts in the reports' CSVs."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

import psycopg
import pytest
from psycopg.rows import dict_row

from conftest import HEADER, TODAY, Warehouse, hide_settings
from etl.config.settings import Settings
from etl.diagnostics import status
from etl.domain.outcome import Result
from etl.domain.slices import ReportType, Slice, State, dates_between, slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse import ledger
from etl.warehouse.transactions import Connection

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from etl.sandbox.report_generator import Restatement
    from postgres import Server

Rows = list[dict[str, Any]]

QUERIES = dict(
    re.findall(
        r"^## (\d+)\. [^\n]+\?\n\n[^`#\n][^#]*?\n\n```sql\n(.*?)```$",
        (Path(__file__).parents[2] / "docs" / "queries.md").read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
)
OCTOBER, NOVEMBER = date(2026, 10, 1), date(2026, 11, 1)
FIRST, LAST = date(2026, 10, 30), date(2026, 11, 15)
PARTLY_REJECTED = Slice(date(2026, 11, 3), ReportType.LIVE)
GAP = Slice(date(2026, 11, 5), ReportType.LIVE)
RESTATED = Slice(date(2026, 11, 10), ReportType.VOD)
HELD = Slice(date(2026, 11, 12), ReportType.VOD)


@dataclass(frozen=True)
class View:
    """A line of a report."""

    day: date
    report_type: str
    content_id: str
    customer_id: str
    streaming_type: str
    seconds: Decimal

    @property
    def month(self) -> date:
        return self.day.replace(day=1)


@dataclass
class Explored:
    """A warehouse with some weeks in it, and what their reports say."""

    warehouse: Warehouse
    views: list[View]
    titles: dict[str, str]
    restatement: Restatement
    seconds_before: Decimal
    held_because: str | None

    def of(self, wanted: Callable[[View], bool]) -> list[View]:
        return [view for view in self.views if wanted(view)]

    def rows(self, query: str) -> Rows:
        with psycopg.connect(self.warehouse.url, row_factory=dict_row) as connection:
            return connection.execute(query.encode()).fetchall()


@pytest.fixture(scope="module")
def explored(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Explored]:
    """Two weeks and a bit of two months: with a gap, a restated slice, a held one, and one that lacks a line."""
    config = SandboxConfig(
        vod_rows=80,
        live_rows=40,
        titles=40,
        customers=2_000,
        first_day=OCTOBER,
        quiet_one_day_in=0,
        today=lambda: TODAY,
    )
    sandbox = Sandbox(config)
    with pytest.MonkeyPatch.context() as patch, server.database() as url, running(sandbox) as base_url:
        hide_settings(patch, tmp_path_factory.mktemp("explored"))
        warehouse = Warehouse(url, sandbox, base_url)
        whole = sandbox.report(PARTLY_REJECTED).path.read_bytes()
        warehouse.sync(whole + b"t,c1,Live,,u1,-1\n", slice_=PARTLY_REJECTED, max_reject_ratio=0.1)
        with warehouse.job(concurrency=4) as opened:
            plan = [planned for planned in opened.planner.backfill(FIRST, LAST) if planned.slice != GAP]
            assert {outcome.result for outcome in opened.run(plan)} == {Result.LOADED}
        seconds_before = sandbox.report(RESTATED).watch_seconds
        restatement = sandbox.restate(RESTATED)
        assert warehouse.sync(slice_=RESTATED).revision == 2
        held = warehouse.sync(HEADER + "t,c1,VOD,,u1,-1\n", slice_=HELD)
        assert held.result is Result.HELD
        warehouse.count_customers(today=date(2027, 2, 1))
        views, titles = _read(sandbox)
        yield Explored(warehouse, views, titles, restatement, seconds_before, held.message)


def _read(sandbox: Sandbox) -> tuple[list[View], dict[str, str]]:
    """The reports' lines, and each content's title in the newest of them, by the standard library."""
    views: list[View] = []
    titles: dict[str, str] = {}
    for slice_ in slices_of(dates_between(FIRST, LAST)):
        if slice_ == GAP:
            continue
        with sandbox.report(slice_).path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file, strict=True):
                titles[line["Content ID"]] = line["Content Title"]
                views.append(
                    View(
                        slice_.report_date,
                        slice_.report_type.value,
                        line["Content ID"],
                        line["Customer ID"],
                        line["Streaming Type"].upper().replace("-", "_"),
                        Decimal(line["Watch Time (sec.)"]),
                    )
                )
    return views, titles


def _grouped(views: Iterable[View], key: Callable[[View], Hashable]) -> dict[Any, list[View]]:
    groups: defaultdict[Hashable, list[View]] = defaultdict(list)
    for view in views:
        groups[key(view)].append(view)
    return groups


def _seconds(views: Iterable[View]) -> Decimal:
    return sum((view.seconds for view in views), Decimal(0))


def _customers(views: Iterable[View]) -> int:
    return len({view.customer_id for view in views} - {""})


def _rounded(number: Decimal, places: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)


class TestMonths:
    """A row per month and whatever else, for every month that has one."""

    def test_by_report_and_streaming_type(self, explored: Explored) -> None:
        groups = _grouped(explored.views, lambda view: (view.month, view.report_type, view.streaming_type))
        assert len(groups) == 6
        assert explored.rows("SELECT * FROM watch_time_monthly ORDER BY month, report_type, streaming_type") == [
            {
                "month": month,
                "report_type": report_type,
                "streaming_type": streaming_type,
                "rows": len(views),
                "customers": _customers(views),
                "watch_seconds": _seconds(views),
            }
            for (month, report_type, streaming_type), views in sorted(groups.items())
        ]

    def test_by_content(self, explored: Explored) -> None:
        groups = _grouped(explored.views, lambda view: (view.month, view.content_id))
        assert explored.rows("SELECT * FROM watch_time_by_content ORDER BY month, content_id") == [
            {
                "month": month,
                "content_id": content_id,
                "title": explored.titles[content_id],
                "first_date": min(view.day for view in views),
                "last_date": max(view.day for view in views),
                "rows": len(views),
                "customers": _customers(views),
                "watch_seconds": _seconds(views),
            }
            for (month, content_id), views in sorted(groups.items())
        ]

    def test_by_named_customer(self, explored: Explored) -> None:
        groups = _grouped(explored.of(lambda view: view.customer_id != ""), lambda view: (view.month, view.customer_id))
        assert len(groups) < len(_grouped(explored.views, lambda view: (view.month, view.customer_id)))
        assert explored.rows("SELECT * FROM watch_time_by_customer ORDER BY month, customer_id") == [
            {
                "month": month,
                "customer_id": customer_id,
                "days": len({view.day for view in views}),
                "contents": len({view.content_id for view in views}),
                "watch_seconds": _seconds(views),
            }
            for (month, customer_id), views in sorted(groups.items())
        ]

    @pytest.mark.parametrize(
        ("view", "days"),
        [
            ("watch_time_monthly", ()),
            ("watch_time_by_content", ()),
            pytest.param(
                "watch_time_by_customer",
                ("20261030", "20261031"),
                marks=pytest.mark.single_server("it reads every partition there: docs/citus.md"),
            ),
        ],
    )
    def test_a_question_about_one_month_opens_that_months_partitions_at_most(
        self, explored: Explored, view: str, days: tuple[str, ...]
    ) -> None:
        (explained,) = explored.rows(f"EXPLAIN (ANALYZE, FORMAT JSON) SELECT * FROM {view} WHERE month = '{OCTOBER}'")
        read: set[str] = set()

        def look_into(node: dict[str, Any]) -> None:
            if node["Actual Loops"] and "Relation Name" in node:
                read.add(node["Relation Name"])
            for below in node.get("Plans", []):
                look_into(below)

        look_into(explained["QUERY PLAN"][0]["Plan"])
        assert {name for name in read if name.startswith("watch_time_2")} == {
            f"watch_time_{day}_{report_type}" for day in days for report_type in ("live", "vod")
        }


class TestCoverage:
    """A row per slice from the oldest known to the newest due, whatever is known of it."""

    _RECORD = """
        INSERT INTO report_slice (report_date, report_type, state, revision, rows_stored, watch_seconds, checked_at)
        VALUES ((now() AT TIME ZONE 'UTC')::date - %s::integer, 'VOD', 'unavailable', 0, 0, 0, now())"""
    _LAG_DAYS = Settings.model_fields["lag_days"].default
    _RECHECK_DAYS = Settings.model_fields["recheck_days"].default

    def test_it_says_what_status_says(self, explored: Explored) -> None:
        with Connection.connect(explored.warehouse.url) as connection:
            known = ledger.read_range(connection, FIRST, LAST)
        said = [
            {
                "report_date": one.slice.report_date,
                "report_type": one.slice.report_type.value,
                "state": one.state,
                "revision": one.revision,
                "rows": one.rows,
                "watch_seconds": one.watch_seconds,
                "loaded_at": one.loaded_at,
                "reason": one.reason,
                "last_check": one.last_check,
                "provisional": ANY,
                "presumed_empty": one.shown_as == status.PRESUMED_EMPTY,
            }
            for one in status.merge(known, slices_of(dates_between(FIRST, LAST)))
        ]
        assert {row["state"] for row in said} == {"loaded", "held", "never tried"}
        assert explored.rows(f"SELECT * FROM report_coverage WHERE report_date <= '{LAST}' ORDER BY 1, 2") == said

    @pytest.mark.parametrize("time_zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
    def test_it_ends_with_the_date_due_and_is_provisional_while_run_asks_again(
        self, database_url: str, time_zone: str
    ) -> None:
        """By the settings' defaults, and wherever the reader lives."""
        with psycopg.connect(database_url) as connection:
            connection.execute("SELECT set_config('timezone', %s, true)", [time_zone])
            connection.execute(self._RECORD, [20])
            shown = connection.execute("""
                SELECT (now() AT TIME ZONE 'UTC')::date - report_date AS age, report_type, state, provisional
                FROM report_coverage
                ORDER BY age, report_type""").fetchall()
        assert shown == [
            (
                age,
                report_type,
                "unavailable" if (age, report_type) == (20, "VOD") else "never tried",
                age <= self._LAG_DAYS + self._RECHECK_DAYS,
            )
            for age in range(self._LAG_DAYS, 21)
            for report_type in ("LIVE", "VOD")
        ]

    @pytest.mark.parametrize(
        ("known", "newest_shown"),
        [pytest.param([], None, id="nothing"), pytest.param([3], 2, id="older-than-due"),
         pytest.param([2], 2, id="due"), pytest.param([0], 0, id="newer-than-due"),
         pytest.param([9, 1], 1, id="both")],
    )  # fmt: skip
    def test_it_leaves_out_nothing_that_is_known(
        self, database_url: str, known: list[int], newest_shown: int | None
    ) -> None:
        with psycopg.connect(database_url) as connection:
            for age in known:
                connection.execute(self._RECORD, [age])
            shown = connection.execute("""
                SELECT max((now() AT TIME ZONE 'UTC')::date - report_date),
                       min((now() AT TIME ZONE 'UTC')::date - report_date)
                FROM report_coverage""").fetchone()
        assert shown == (max(known, default=None), newest_shown)

    def test_it_shows_every_state(self, database_url: str) -> None:
        with psycopg.connect(database_url) as connection:
            for age, state in enumerate(State, start=30):
                connection.execute(self._RECORD.replace("unavailable", state), [age])
            shown = connection.execute("SELECT DISTINCT state FROM report_coverage").fetchall()
        assert {state for (state,) in shown} == {*State, "never tried"}


def _royalties(explored: Explored) -> Rows:
    november = explored.of(lambda view: view.month == NOVEMBER)
    by_content = _grouped(november, lambda view: view.content_id)
    return [
        {
            "content_id": content_id,
            "title": explored.titles[content_id],
            "customers": _customers(views),
            "watch_seconds": _seconds(views),
            "percent": _rounded(100 * _seconds(views) / _seconds(november), 4),
        }
        for content_id, views in sorted(by_content.items(), key=lambda item: (-_seconds(item[1]), item[0]))
    ]


def _completeness(explored: Explored) -> Rows:
    """Fifteen days loaded of thirty, but for the gap and the slice that is held."""
    return [
        {"report_type": "LIVE", "days_open": 16, "days_presumed_empty": 0, "final": False},
        {"report_type": "VOD", "days_open": 16, "days_presumed_empty": 0, "final": False},
    ]


def _daily_viewers(explored: Explored) -> Rows:
    week = _grouped(explored.of(lambda view: view.day >= date(2026, 11, 9)), lambda view: view.day)
    return [{"report_date": day, "customers": _customers(views)} for day, views in sorted(week.items())]


def _top_of_the_week(explored: Explored) -> Rows:
    weeks = _grouped(explored.of(lambda view: view.day >= date(2026, 11, 2)), lambda view: view.content_id)
    hours = {
        content_id: tuple(
            _rounded(_seconds(view for view in views if (view.day >= date(2026, 11, 9)) is this_week) / 3600, 2)
            for this_week in (True, False)
        )
        for content_id, views in weeks.items()
    }
    return [
        {"content_id": content_id, "title": explored.titles[content_id], "hours": now, "hours_before": before}
        for content_id, (now, before) in sorted(hours.items(), key=lambda item: (-item[1][0], item[0]))[:10]
    ]


def _live_or_afterwards(explored: Explored) -> Rows:
    live = explored.of(lambda view: view.report_type == "LIVE")
    months = _grouped(live, lambda view: view.month)
    return [
        {
            "month": month,
            "streaming_type": streaming_type,
            "customers": _customers(views),
            "watch_seconds": _seconds(views),
            "percent": _rounded(100 * _seconds(views) / _seconds(months[month]), 1),
        }
        for (month, streaming_type), views in sorted(
            _grouped(live, lambda view: (view.month, view.streaming_type)).items()
        )
    ]


def _without_a_name(explored: Explored) -> Rows:
    days = _grouped(explored.of(lambda view: view.month == NOVEMBER), lambda view: view.day)
    anonymous = {day: _seconds(view for view in views if view.customer_id == "") for day, views in days.items()}
    return [
        {
            "report_date": day,
            "anonymous_seconds": anonymous[day],
            "percent": _rounded(100 * anonymous[day] / _seconds(days[day]), 1),
        }
        for day in sorted(days)
    ]


def _restated(explored: Explored) -> Rows:
    return [
        {
            "report_date": RESTATED.report_date,
            "report_type": "VOD",
            "revision": 2,
            "rows_inserted": explored.restatement.rows_added,
            "rows_deleted": explored.restatement.rows_vanished,
            "rows_updated": explored.restatement.rows_changed,
            "seconds_change": explored.warehouse.sandbox.report(RESTATED).watch_seconds - explored.seconds_before,
            "loaded_at": ANY,
        }
    ]


def _missing(explored: Explored) -> Rows:
    return [
        {"report_date": GAP.report_date, "report_type": "LIVE", "state": "never tried", "reason": None},
        {"report_date": HELD.report_date, "report_type": "VOD", "state": "held", "reason": explored.held_because},
    ]


def _rejected(explored: Explored) -> Rows:
    """The line after the last of a report that was accepted, and the first of one that was not."""
    lines = explored.warehouse.sandbox.report(PARTLY_REJECTED).path.read_bytes().count(b"\n")
    return [
        {
            "report_date": slice_.report_date,
            "report_type": slice_.report_type.value,
            "reason": "the watch time is negative",
            "in_stored_report": accepted,
            "lines": 1,
            "first_line": first_line,
        }
        for slice_, accepted, first_line in ((PARTLY_REJECTED, True, lines + 1), (HELD, False, 2))
    ]


def _stopped(explored: Explored) -> Rows:
    named = _grouped(explored.of(lambda view: view.customer_id != ""), lambda view: view.customer_id)
    stopped = {customer: views for customer, views in named.items() if {view.month for view in views} == {OCTOBER}}
    return [
        {"customer_id": customer, "days": len({view.day for view in views}), "watch_seconds": _seconds(views)}
        for customer, views in sorted(stopped.items(), key=lambda item: (-_seconds(item[1]), item[0]))
    ]


ANSWERS = {
    "1": _royalties,
    "2": _completeness,
    "3": _daily_viewers,
    "4": _top_of_the_week,
    "5": _live_or_afterwards,
    "6": _without_a_name,
    "7": _restated,
    "8": _missing,
    "9": _rejected,
    "10": _stopped,
}


class TestDocumentedQueries:
    """Each gives the rows and columns that Python makes of the reports."""

    @pytest.mark.parametrize("number", [*ANSWERS])
    def test_it_gives_the_answer(self, explored: Explored, number: str) -> None:
        expected = ANSWERS[number](explored)
        # Coverage goes on to today, whenever that is.
        answer = [row for row in explored.rows(QUERIES[number]) if row.get("report_date", LAST) <= LAST]
        assert answer == expected
        assert expected

    def test_every_query_has_an_answer(self) -> None:
        assert [*QUERIES] == [*ANSWERS]

    @pytest.mark.parametrize(
        ("months_ago", "final"), [pytest.param(2, True, id="old"), pytest.param(0, False, id="provisional")]
    )
    def test_a_complete_month_is_final_once_no_day_is_provisional(
        self, database_url: str, months_ago: int, final: bool
    ) -> None:
        with psycopg.connect(database_url) as connection:
            ((month, next_month),) = connection.execute(
                """
                SELECT month::date, (month + interval '1 month')::date
                FROM date_trunc('month', now() AT TIME ZONE 'UTC' - make_interval(months => %s)) AS month""",
                [months_ago],
            ).fetchall()
            for slice_ in slices_of(dates_between(month, next_month - timedelta(days=1))):
                connection.execute(
                    """
                    INSERT INTO report_slice
                        (report_date, report_type, state, revision, rows_stored, watch_seconds, checked_at)
                    VALUES (%s, %s, 'empty', 0, 0, 0, now())""",
                    [slice_.report_date, slice_.report_type.value],
                )
            # An empty file came for all of VOD; of LIVE there is nothing but a 404.
            connection.execute("UPDATE report_slice SET (revision, report_sha256) = (1, 'x') WHERE report_type = 'VOD'")
            # In one go: the month may be one of those that the page names.
            dates = {"2026-11-01": f"{month}", "2026-12-01": f"{next_month}"}
            query = re.sub("|".join(dates), lambda found: dates[found[0]], QUERIES["2"])
            answer = connection.execute(query.encode()).fetchall()
        days = (next_month - month).days
        assert answer == [("LIVE", 0, days, final), ("VOD", 0, 0, final)]
