"""The page and the picture, drawn from a real warehouse and opened in a real browser."""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import struct
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from conftest import HEADER, TODAY, VOD, Program, Warehouse, hide_settings
from etl.diagnostics import page_data
from etl.diagnostics.status import SIGNS
from etl.display.page import publish, theme
from etl.domain.errors import ExitCode, Misconfigured, WrongUsage
from etl.domain.outcome import Result
from etl.domain.slices import ReportType, Slice, dates_between, slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse.connection import fetch_rows, statement
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Dialog, Page

    from etl.diagnostics.page_data import Figures
    from postgres import Server

FIRST, LAST = date(2026, 10, 24), date(2026, 11, 20)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GAPS = [Slice(date(2026, 11, 4), ReportType.LIVE), *slices_of(dates_between(date(2026, 11, 7), date(2026, 11, 8)))]
QUIET = Slice(date(2026, 10, 31), ReportType.LIVE)
LATE_TO_COME = Slice(LAST, ReportType.LIVE)
RESTATED = [Slice(date(2026, 11, 2), ReportType.VOD), Slice(date(2026, 11, 11), ReportType.LIVE)]
HELD = Slice(date(2026, 11, 13), ReportType.VOD)
HELD_WITH_FACTS = Slice(date(2026, 11, 16), ReportType.VOD)
EVIL = Slice(date(2026, 10, 28), ReportType.VOD)
_DASH = "\u2013"
EVIL_TITLE = (
    "</script><script>alert(1)</script><!-- & \u202e 'x' and a title long enough to need a second line on a phone"
)
UNTITLED_ID = "content without a title"


@dataclass
class Drawn:
    """A warehouse of four weeks, what its reports say, and what was drawn of it."""

    warehouse: Warehouse
    figures: Figures
    views: list[tuple[Slice, str, str, Decimal]]
    titles: dict[str, str]
    page: Path
    picture: Path


@pytest.fixture(scope="module")
def drawn(newest_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drawn]:
    """Four weeks with gaps, a quiet report, restatements, held reports, and titles that mean harm."""
    folder = tmp_path_factory.mktemp("drawn")
    config = SandboxConfig(
        vod_rows=300, live_rows=110, titles=60, customers=900, quiet_one_day_in=0, today=lambda: TODAY
    )
    sandbox = Sandbox(config)
    with pytest.MonkeyPatch.context() as patch, newest_server.database() as url, running(sandbox) as base_url:
        hide_settings(patch, folder)
        warehouse = Warehouse(url, sandbox, base_url)
        bodies = _bring(warehouse)
        warehouse.count_customers()
        settings = warehouse.configured()
        page, picture = folder / "page.html", folder / "page.png"
        for output in (page, picture):
            publish.publish(settings, output, FIRST, LAST, now=NOW)
        found = page_data.read(settings, FIRST, LAST, now=NOW)
        yield Drawn(warehouse, found, *_read(bodies), page, picture)


def _bring(warehouse: Warehouse) -> dict[Slice, str]:
    """Fill the warehouse; gives the report that each slice is stored from."""
    sandbox = warehouse.sandbox
    for slice_ in (QUIET, LATE_TO_COME):
        sandbox.withdraw(slice_)
    evil = sandbox.report(EVIL).path.read_text(encoding="utf-8")
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow([EVIL_TITLE, "evil", "VOD", "", "customer-of-the-evil", "3000000.125"])
    writer.writerow(["", UNTITLED_ID, "VOD", "", "", "2000000"])
    bodies = {EVIL: evil + lines.getvalue()}
    assert warehouse.sync(bodies[EVIL], slice_=EVIL).result is Result.LOADED
    with warehouse.job(concurrency=2) as opened:
        plan = [
            one
            for one in opened.planner.backfill(FIRST, LAST)
            if one.slice not in GAPS and one.slice not in (EVIL, HELD)
        ]
        results = {outcome.slice: outcome.result for outcome in opened.run(plan)}
    assert results.pop(LATE_TO_COME) is Result.UNAVAILABLE
    results.pop(QUIET)
    assert set(results.values()) == {Result.LOADED}
    # Asked again, now that the source is done with its date.
    with warehouse.job() as opened:
        plan = opened.planner.backfill(QUIET.report_date, QUIET.report_date, report_types=[QUIET.report_type])
        assert [outcome.result for outcome in opened.run(plan)] == [Result.EMPTY]
    for slice_ in RESTATED:
        sandbox.restate(slice_)
        assert warehouse.sync(slice_=slice_).revision == 2
    for slice_ in results:
        bodies[slice_] = sandbox.report(slice_).path.read_text(encoding="utf-8")
    for slice_ in (HELD, HELD_WITH_FACTS):
        assert warehouse.sync(HEADER + "<b>t</b>,c1,VOD,,u1,-1\n", slice_=slice_).result is Result.HELD
    return bodies


def _read(bodies: dict[Slice, str]) -> tuple[list[tuple[Slice, str, str, Decimal]], dict[str, str]]:
    """The lines of the reports as slice, content, customer and seconds, and the titles, by the standard library."""
    views = []
    titles = {}
    for slice_, body in sorted(bodies.items()):
        for line in csv.DictReader(io.StringIO(body), strict=True):
            titles[line["Content ID"]] = line["Content Title"]
            views.append((slice_, line["Content ID"], line["Customer ID"], Decimal(line["Watch Time (sec.)"])))
    return views, titles


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium; without one the tests that look are skipped, unless all of them are asked for."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        skip_missing("no chromium, chromium-browser or google-chrome is installed")
    from playwright.sync_api import sync_playwright

    quiet = ("quic", "background-networking", "component-update", "sync", "gpu")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in quiet)]
        )
        yield opened
        opened.close()


@dataclass
class Looked:
    """A page in a browser, and all that it said and asked for meanwhile."""

    page: Page
    noise: list[str]
    requests: list[str]


@contextmanager
def observing(browser: Browser, file: Path, **options: Any) -> Iterator[Looked]:
    """Open the file, with its charts drawn; a zone far to the west shows dates that slip."""
    context = browser.new_context(timezone_id="Pacific/Pago_Pago", **options)
    page = context.new_page()
    looked = Looked(page, [], [])
    page.on("console", lambda message: looked.noise.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: looked.noise.append(str(error)))

    def refuse(dialog: Dialog) -> None:
        looked.noise.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", refuse)
    page.on("request", lambda request: looked.requests.append(request.url))
    page.goto(file.as_uri())
    page.wait_for_selector("html[data-drawn]")
    yield looked
    context.close()


@pytest.fixture(scope="module")
def opened(browser: Browser, drawn: Drawn) -> Iterator[Looked]:
    """The page on a desk, light. Tests leave it as it is."""
    with observing(browser, drawn.page, viewport={"width": 1200, "height": 900}, color_scheme="light") as looked:
        yield looked


def marks(looked: Looked, name: str) -> list[dict[str, Any]]:
    """What is drawn under this name: label, height, fill and path of each mark."""
    found = looked.page.eval_on_selector_all(
        f".{name}_marks > path, .{name}_marks > text",
        """marks => marks.map(mark => ({
            label: mark.getAttribute("aria-label"), text: mark.textContent, path: mark.getAttribute("d"),
            height: mark.getBBox().height, fill: getComputedStyle(mark).fill}))""",
    )
    assert isinstance(found, list)
    return found


def sums_by(drawn: Drawn, key: Callable[[Slice, str], object]) -> dict[Any, Decimal]:
    """Seconds in the reports."""
    sums: defaultdict[object, Decimal] = defaultdict(Decimal)
    for slice_, content, _, seconds in drawn.views:
        sums[key(slice_, content)] += seconds
    return dict(sums)


def hours_text(seconds: Decimal, places: int) -> str:
    return f"{(seconds / 3600).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"


MISSING = {*GAPS, HELD, LATE_TO_COME}


class TestFigures:
    """They are those of the reports, counted by other means."""

    def test_seconds_of_every_slice(self, drawn: Drawn) -> None:
        there = sums_by(drawn, lambda slice_, _: slice_) | {QUIET: Decimal(0)}
        assert {
            Slice(day.report_date, report_type): seconds
            for day in drawn.figures.days
            for report_type, seconds in day.seconds.items()
        } == there | dict.fromkeys(MISSING)
        assert drawn.figures.seconds == sum(seconds for _, _, _, seconds in drawn.views)
        assert drawn.figures.complete == 56 - len(MISSING)

    def test_viewers_are_named_customers_over_both_reports(self, drawn: Drawn) -> None:
        named: defaultdict[date, set[str]] = defaultdict(set)
        for slice_, _, customer, _ in drawn.views:
            named[slice_.report_date] |= {customer} - {""}
        assert {day.report_date: day.viewers for day in drawn.figures.days} == {
            day: None if {*slices_of([day])} <= MISSING else len(named[day]) for day in dates_between(FIRST, LAST)
        }

    def test_top_content(self, drawn: Drawn) -> None:
        sums = sums_by(drawn, lambda _, content: content)
        top = sorted(sums, key=lambda content: (-sums[content], content))[:10]
        assert {"evil", UNTITLED_ID} <= {*top}
        assert [(one.place, one.content_id, one.title, one.total) for one in drawn.figures.top] == [
            (place, content, drawn.titles[content], sums[content]) for place, content in enumerate(top, 1)
        ]
        of_type = sums_by(drawn, lambda slice_, content: (content, slice_.report_type))
        assert {
            (one.content_id, report_type): seconds
            for one in drawn.figures.top
            for report_type, seconds in one.seconds.items()
        } == {key: seconds for key, seconds in of_type.items() if key[0] in top}

    def test_what_is_open_is_told_with_those_first_that_need_a_person(self, drawn: Drawn) -> None:
        assert [(one.state, one.first, one.last, len(one.report_types)) for one in drawn.figures.open] == [
            ("held", HELD.report_date, HELD.report_date, 1),
            ("held", HELD_WITH_FACTS.report_date, HELD_WITH_FACTS.report_date, 1),
            ("never tried", GAPS[0].report_date, GAPS[0].report_date, 1),
            ("never tried", GAPS[1].report_date, GAPS[-1].report_date, 2),
            ("unavailable", LAST, LAST, 1),
        ]
        assert drawn.figures.open[3].next_step == "watch-time backfill --start 2026-11-07 --end 2026-11-08"

    def test_of_dates_before_the_first_one_that_matters_nothing_is_open(self, drawn: Drawn) -> None:
        settings = drawn.warehouse.configured(first_date=GAPS[-1].report_date)
        found = page_data.read(settings, FIRST, LAST, now=NOW)
        assert [(one.first, one.last) for one in found.open if one.state == "never tried"] == [
            (GAPS[-1].report_date, GAPS[-1].report_date)
        ]

    def test_held_stretches_are_not_asked_for_again_but_looked_at(self, newest_warehouse: Warehouse) -> None:
        """A backfill would hold them again; `revisions` tells of each what accepts it."""
        both, *alone = (
            slices_of([FIRST]),
            *slices_of(dates_between(date(2026, 11, 2), date(2026, 11, 3)), [ReportType.VOD]),
        )
        for slice_ in (*both, *alone):
            assert newest_warehouse.sync(HEADER + "t,c1,VOD,,u1,-1\n", slice_=slice_).result is Result.HELD
        found = page_data.read(newest_warehouse.configured(), FIRST, LAST, now=NOW)
        assert [(one.state, one.next_step) for one in found.open[:2]] == [
            ("held", f"watch-time revisions --start {FIRST} --end {FIRST}"),
            ("held", "watch-time revisions --start 2026-11-02 --end 2026-11-03"),
        ]

    def test_the_last_days_are_provisional(self, drawn: Drawn) -> None:
        assert [day.report_date for day in drawn.figures.days if day.provisional] == [
            *dates_between(date(2026, 11, 15), LAST)
        ]

    @pytest.mark.parametrize("query", ["diagnostics/read_page_sums", "diagnostics/read_daily_customers"])
    def test_no_fact_is_read(self, drawn: Drawn, query: str) -> None:
        with psycopg.connect(drawn.warehouse.url) as connection:
            explain = sql.SQL("EXPLAIN {}").format(statement(query))
            asked = {"start": date(2026, 11, 1), "end": date(2026, 11, 2), "most": 10}
            plan = connection.execute(explain, asked).fetchall()
        assert "watch_time_2" not in str(plan)

    def test_all_of_it_is_of_one_moment(self, newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that commits between two of our queries is not half seen."""
        newest_warehouse.sync()
        (before,) = newest_warehouse.query("SELECT sum(watch_seconds) FROM watch_time")
        rows = fetch_rows

        def rows_while_a_run_commits(*arguments: Any) -> list[dict[str, Any]]:
            with psycopg.connect(newest_warehouse.url) as connection:
                connection.execute("UPDATE watch_time SET watch_seconds = watch_seconds * 2")
            return rows(*arguments)

        monkeypatch.setattr(page_data, "fetch_rows", rows_while_a_run_commits)
        found = page_data.read(newest_warehouse.configured(), VOD.report_date, VOD.report_date, now=NOW)
        assert (found.seconds,) == before
        assert newest_warehouse.query("SELECT sum(watch_seconds) FROM watch_time") != [before]


class TestPage:
    """What a browser makes of it."""

    def test_it_is_silent_and_asks_for_nothing(self, opened: Looked, drawn: Drawn) -> None:
        assert opened.page.get_attribute("html", "data-drawn") == "all"
        assert opened.noise == []
        assert opened.requests == [drawn.page.as_uri()]

    def test_its_policy_forbids_requests_and_foreign_scripts(self, browser: Browser, drawn: Drawn) -> None:
        with observing(browser, drawn.page) as looked:
            looked.page.evaluate(
                """() => {
                    const add = (tag, values) =>
                        document.body.append(Object.assign(document.createElement(tag), values));
                    add("img", {src: "http://127.0.0.1:9/a.png"});
                    add("script", {src: "http://127.0.0.1:9/a.js"});
                    add("script", {textContent: "window.ran = 1"});
                }"""
            )
            looked.page.wait_for_timeout(300)
            assert looked.page.evaluate("window.ran") is None
            assert sum("Content Security Policy" in line for line in looked.noise) == 3

    def test_a_bar_for_every_report_as_high_as_its_hours(self, opened: Looked, drawn: Drawn) -> None:
        bars = {}
        for mark in marks(opened, "sums"):
            day, report = re.search(r"date: ([\d-]+);.*report: (\w+)", mark["label"]).groups()  # type: ignore[union-attr]
            bars[Slice(date.fromisoformat(day), ReportType(report))] = mark["height"]
        expected = sums_by(drawn, lambda slice_, _: slice_) | {QUIET: Decimal(0)}
        assert bars.keys() == expected.keys()
        points_per_second = max(bars.values()) / float(max(expected.values()))
        assert bars == {
            slice_: pytest.approx(float(seconds) * points_per_second, abs=0.6) for slice_, seconds in expected.items()
        }

    def test_a_missing_report_is_a_band_and_no_zero(self, opened: Looked) -> None:
        days = {slice_.report_date for slice_ in MISSING}
        for chart in ("watch_time", "viewers"):
            assert opened.page.locator(f"[data-chart={chart}] .gaps_marks > path").count() == len(days)
        assert len(marks(opened, "counts")) == 28 - 2
        # The line is in two pieces, with the days between them on which nothing is there.
        (line,) = marks(opened, "trend")
        assert line["path"].count("M") == 2

    def test_the_axis_names_mondays_wherever_the_reader_is(self, opened: Looked) -> None:
        labels = opened.page.locator("[data-chart=watch_time] .role-axis-label text").all_text_contents()
        assert [label for label in labels if not label.replace(",", "").isdigit()] == [
            "26 Oct",
            "2 Nov",
            "9 Nov",
            "16 Nov",
        ]

    def test_top_content_is_drawn_and_told(self, opened: Looked, drawn: Drawn) -> None:
        titles = [drawn.titles[one.content_id].replace("\u202e", "") or UNTITLED_ID for one in drawn.figures.top]
        assert [mark["text"] for mark in marks(opened, "titles")] == [
            f"{place}. {title}" for place, title in enumerate(titles, 1)
        ]
        table = opened.page.locator("#top tbody tr")
        assert table.locator("bdi").all_text_contents()[::2] == titles
        assert table.locator("td:nth-child(3)").all_text_contents() == [
            hours_text(one.total, 1) for one in drawn.figures.top
        ]

    def test_a_title_is_text_and_nothing_else(self, opened: Looked, drawn: Drawn) -> None:
        assert opened.page.locator("script").count() == 3
        assert opened.page.locator("#top b, #open b").count() == 0
        assert "<script>alert" not in drawn.page.read_text(encoding="utf-8")
        assert "</script><script>alert(1)</script>" in opened.page.inner_text("#top")
        assert "<b>" not in opened.page.inner_html("#open")

    def test_the_calendar_has_every_slice_in_its_state(self, opened: Looked, drawn: Drawn) -> None:
        told = opened.page.eval_on_selector_all("#calendar .sign", "signs => signs.map(sign => sign.title)")
        assert sorted(told) == sorted(f"{one.slice}: {one.shown_as}" for one in drawn.figures.slices)
        assert len(told) == 56
        for slice_, state in (
            (HELD, "held"),
            (QUIET, "presumed empty"),
            (LATE_TO_COME, "unavailable"),
            (GAPS[0], "never tried"),
        ):
            sign = opened.page.locator(f"#calendar .sign[title='{slice_}: {state}']")
            assert sign.inner_text().split("\n")[0].startswith(SIGNS[state])
        cells = opened.page.locator("#calendar tbody tr").nth(1).locator("td .day").all_text_contents()
        assert cells == ["26", "27", "28", "29", "30", "31", "1"]

    def test_what_is_presumed_and_what_is_late_come_with_what_to_type(self, opened: Looked) -> None:
        told = opened.page.locator("section[aria-labelledby=h-freshness]").inner_text()
        quiet = QUIET.report_date
        assert f"1 of these slices; to ask again, type watch-time backfill --start {quiet} --end {quiet}" in told
        assert "all that is late, type watch-time backfill --start 2026-11-04 --end 2026-11-13" in told

    def test_the_days_are_told_as_a_table_too(self, opened: Looked, drawn: Drawn) -> None:
        rows = opened.page.eval_on_selector_all(
            "#days tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
        )
        assert rows == [
            [
                str(day.report_date),
                *(_DASH if seconds is None else hours_text(seconds, 2) for seconds in day.seconds.values()),
                _DASH if day.viewers is None else str(day.viewers),
            ]
            for day in drawn.figures.days
        ]

    def test_freshness_and_restatements_are_told(self, opened: Looked, drawn: Drawn) -> None:
        freshness = opened.page.locator("#freshness tbody tr").all_inner_texts()
        assert [row.split("\t")[:3] for row in freshness] == [
            ["LIVE", "2026-11-19", "2026-11-03"],
            ["VOD", "2026-11-20", "2026-11-06"],
        ]
        restated = opened.page.locator("#restated tbody tr").all_inner_texts()
        assert [row.split("\t")[0] for row in restated] == [str(slice_) for slice_ in RESTATED]
        for row, change in zip(restated, drawn.figures.restatements, strict=True):
            assert f"{change.seconds_before:,f}\t{change.seconds_after:,f}\t" in row
            assert f"+{change.rows_inserted} −{change.rows_deleted} ~{change.rows_updated}" in row  # noqa: RUF001

    def test_no_customer_is_named(self, drawn: Drawn) -> None:
        text = drawn.page.read_text(encoding="utf-8")
        own = text.partition("<script>")[0]
        assert '"charts"' in own
        # Shorter ones, such as 0 and null, are parts of other texts.
        customers = {customer for _, _, customer, _ in drawn.views if len(customer) > 7}
        assert "customer-of-the-evil" in customers
        assert [customer for customer in customers if customer in own] == []

    def test_the_library_is_there_once(self, drawn: Drawn) -> None:
        assert drawn.page.read_text(encoding="utf-8").count("window.vegaEmbed=") == 1

    def test_charts_follow_the_readers_scheme_at_once_and_paper_is_light(self, browser: Browser, drawn: Drawn) -> None:
        def colours(looked: Looked) -> tuple[str, str, set[str]]:
            ground = looked.page.evaluate("getComputedStyle(document.body).backgroundColor")
            label = looked.page.evaluate("getComputedStyle(document.querySelector('.role-axis-label text')).fill")
            return ground, label, {mark["fill"] for mark in marks(looked, "sums")}

        with observing(browser, drawn.page, color_scheme="light") as looked:
            light = colours(looked)
            looked.page.emulate_media(color_scheme="dark")
            dark = colours(looked)
            looked.page.emulate_media(color_scheme="dark", media="print")
            printed = colours(looked)
        assert light[2] == {_rgb(theme.LIGHT["live"]), _rgb(theme.LIGHT["vod"])}
        assert dark[2] == {_rgb(theme.DARK["live"]), _rgb(theme.DARK["vod"])}
        assert dark[:2] == (_rgb(theme.DARK["sheet"]), _rgb(theme.DARK["soft"]))
        assert printed[1:] == light[1:]

    @pytest.mark.parametrize("width", [320, 390, 700, 900])
    def test_a_phone_or_tablet_need_not_scroll_sideways(self, browser: Browser, drawn: Drawn, width: int) -> None:
        with observing(
            browser, drawn.page, viewport={"width": width, "height": 844}, is_mobile=True, has_touch=True
        ) as looked:
            looked.page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
            assert looked.noise == []
            wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert looked.page.evaluate(wide) <= 0
            assert looked.page.evaluate("innerWidth") == width
            for chart in ("watch_time", "viewers", "top_content"):
                box = looked.page.locator(f"[data-chart={chart}] svg").bounding_box()
                assert box
                assert width * 0.4 < box["width"] <= width

    def test_whoever_cannot_see_it_is_told(self, opened: Looked) -> None:
        labels = "charts => charts.map(chart => chart.ariaLabel.length > 30)"
        assert opened.page.eval_on_selector_all("[role=img]:has(> [data-chart])", labels) == [True, True, True]
        for name in ("Freshness", "Watch time per day", "Coverage", "Top content", "Open reports", "Restatements"):
            assert opened.page.get_by_role("region", name=name, exact=True).count() == 1
        tables = opened.page.locator("table").count()
        assert opened.page.locator("table > caption").count() == tables
        assert opened.page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0


class TestDatesThatAreNotShown:
    """The first report is of weeks before the range, and what came between was never loaded."""

    @pytest.fixture
    def warehouse_with_gaps(self, newest_warehouse: Warehouse) -> Warehouse:
        for slice_ in slices_of([FIRST, LAST]):
            assert newest_warehouse.sync(slice_=slice_).result is Result.LOADED
        return newest_warehouse

    def test_late_reports_of_other_dates_are_not_counted_among_those_shown(
        self, browser: Browser, warehouse_with_gaps: Warehouse, tmp_path: Path
    ) -> None:
        """The tile said `56 of 56` and `24 late`, beside `Open reports: none`."""
        publish.publish(warehouse_with_gaps.configured(), tmp_path / "page.html", LAST, LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            tile = looked.page.locator(".tiles div").nth(1)
            assert tile.inner_text().split("\n") == ["Reports loaded", "2 of 2", "none of them is late"]
            assert looked.page.locator("#open").count() == 0
            late = 2 * len([*dates_between(FIRST, LAST)][1:-1])
            assert looked.page.inner_text("#elsewhere") == (
                f"Not shown here: {late} late reports of other dates, the oldest 2026-10-25 LIVE. "
                "next: watch-time status --start 2026-10-25 --end 2026-11-19"
            )

    def test_late_reports_of_the_range_are_those_that_are_open(
        self, browser: Browser, warehouse_with_gaps: Warehouse, tmp_path: Path
    ) -> None:
        publish.publish(warehouse_with_gaps.configured(), tmp_path / "page.html", LAST - timedelta(1), LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            tile = looked.page.locator(".tiles div").nth(1)
            assert tile.inner_text().split("\n") == ["Reports loaded", "2 of 4", "2 late"]
            assert looked.page.locator("#open tbody tr").all_inner_texts()[0].startswith("LIVE, VOD\t2026-11-19")
            assert "50 late reports of other dates" in looked.page.inner_text("#elsewhere")


def test_words_on_both_sides_of_a_line_end_in_a_title_stay_apart(
    browser: Browser, newest_warehouse: Warehouse, tmp_path: Path
) -> None:
    """The page showed `3799with commentary`."""
    body = f'{HEADER}"3799\nwith\tcommentary\r\n",c1,VOD,,u1,3600\n"a\x1b[31mb",c2,VOD,,u1,1800\n'
    assert newest_warehouse.sync(body, slice_=Slice(LAST, ReportType.VOD)).result is Result.LOADED
    for name in ("page.html", "page.png"):
        publish.publish(newest_warehouse.configured(), tmp_path / name, LAST, LAST, now=NOW)
    with observing(browser, tmp_path / "page.html") as looked:
        titles = ["3799 with commentary", "a[31mb"]
        assert [mark["text"] for mark in marks(looked, "titles")] == [f"{n}. {one}" for n, one in enumerate(titles, 1)]
        assert looked.page.locator("#top bdi").all_text_contents()[::2] == titles


class TestEmptyWarehouse:
    def test_the_page_says_that_nothing_is_loaded(
        self, browser: Browser, newest_warehouse: Warehouse, tmp_path: Path
    ) -> None:
        for name in ("page.html", "page.png"):
            publish.publish(newest_warehouse.configured(), tmp_path / name, FIRST, LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            assert looked.noise == []
            assert "Nothing is loaded in this range" in looked.page.inner_text("#bare")
            assert looked.page.locator("#calendar .sign.never-tried").count() == 56
            assert looked.page.locator("[data-chart]").count() == 0
        assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")

    def test_a_range_without_viewing_is_drawn_as_zeros(
        self, browser: Browser, newest_warehouse: Warehouse, tmp_path: Path
    ) -> None:
        with psycopg.connect(newest_warehouse.url) as connection:
            connection.execute(
                "INSERT INTO report_slice (report_date, report_type, state, revision, rows_stored, watch_seconds, "
                "checked_at) VALUES (%s, 'VOD', 'empty', 0, 0, 0, now())",
                [LAST],
            )
        publish.publish(newest_warehouse.configured(), tmp_path / "page.html", LAST, LAST, now=NOW)
        publish.publish(newest_warehouse.configured(), tmp_path / "page.png", LAST, LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            assert looked.noise == []
            assert [mark["height"] for mark in marks(looked, "sums")] == [0]
            assert looked.page.locator("#top").count() == 0


class TestPicture:
    def test_it_is_wide_enough_for_chat_and_shows_the_bars(self, browser: Browser, drawn: Drawn) -> None:
        data = drawn.picture.read_bytes()
        assert data.startswith(b"\x89PNG")
        width, height = struct.unpack(">II", data[16:24])
        assert 1100 <= width <= 1300
        assert width < height < 3 * width
        context = browser.new_context()
        counts = context.new_page().evaluate(
            """async ([source, colours]) => {
                const image = Object.assign(new Image(), {src: source});
                await image.decode();
                const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
                canvas.drawImage(image, 0, 0);
                const pixels = canvas.getImageData(0, 0, image.width, image.height).data;
                const counts = {};
                for (let at = 0; at < pixels.length; at += 4) {
                    const colour = "rgb(" + pixels[at] + ", " + pixels[at + 1] + ", " + pixels[at + 2] + ")";
                    if (colours.includes(colour)) counts[colour] = (counts[colour] ?? 0) + 1;
                }
                return counts;
            }""",
            [
                f"data:image/png;base64,{base64.b64encode(data).decode()}",
                [_rgb(theme.LIGHT[name]) for name in ("live", "vod", "viewers", "gap", "loaded", "held", "paper")],
            ],
        )
        context.close()
        shares = {name: counts.get(_rgb(theme.LIGHT[name]), 0) for name in theme.LIGHT}
        assert shares["paper"] > shares["vod"] > shares["live"] > 1000
        # 47 loaded cells and two held ones, of equal size.
        assert shares["loaded"] / 47 == pytest.approx(shares["held"] / 2, rel=0.1)
        assert min(shares["gap"], shares["viewers"]) > 500


class TestPublishing:
    """The command, and what may stand in its way."""

    def test_the_command_says_what_it_wrote(self, program: Program, newest_warehouse: Warehouse) -> None:
        newest_warehouse.sync()
        for name in ("page.html", "page.PNG"):
            done = program("report", "--output", name, "--start", "2026-11-10", "--end", "2026-11-20")
            written = program.folder / name
            assert (done.returncode, done.stdout) == (0, f"{name}: {written.stat().st_size:,} bytes\n"), done.stderr
            assert written.stat().st_mode & 0o777 == 0o666 & ~publish._umask()
        assert "2026-11-10 to 2026-11-20" in (program.folder / "page.html").read_text(encoding="utf-8")

    def test_it_shows_four_weeks_up_to_the_newest_due_date(self, program: Program) -> None:
        last = datetime.now(UTC).date() - timedelta(days=2)
        assert program("report", "--output", "page.html").returncode == 0
        text = (program.folder / "page.html").read_text(encoding="utf-8")
        assert f"Watch time, {last - timedelta(days=27)} to {last}" in text

    @pytest.mark.parametrize(
        ("arguments", "code", "told"),
        [
            pytest.param(["--output", "page.pdf"], ExitCode.USAGE, ".html or .png", id="ending"),
            pytest.param(
                ["--output", "none/page.html"], ExitCode.MISCONFIGURED, "none/page.html cannot be", id="folder"
            ),
            pytest.param(
                ["--output", "page.html", "--start", "2020-01-01"], ExitCode.USAGE, "are too many", id="too long"
            ),
            pytest.param([], ExitCode.USAGE, "--output", id="no output"),
        ],
    )
    def test_it_says_what_is_wrong(self, program: Program, arguments: list[str], code: ExitCode, told: str) -> None:
        done = program("report", *arguments)
        assert done.returncode == code
        assert told in " ".join(done.stderr.split())
        assert [*program.folder.glob("**/*.html")] == []

    def test_a_missing_extra_is_named_with_the_command_that_brings_it(
        self, newest_warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "vl_convert", None)
        with pytest.raises(Misconfigured, match="vl_convert is not installed") as caught:
            publish.publish(newest_warehouse.configured(), tmp_path / "page.html", FIRST, LAST, now=NOW)
        assert caught.value.next_step == "pip install 'watch-time[report]'"

    def test_an_old_file_stays_whole_when_the_new_one_cannot_take_its_place(
        self, newest_warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = tmp_path / "page.html"
        output.write_text("old")

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(type(output), "replace", refuse)
        with pytest.raises(Misconfigured, match=r"page\.html cannot be written: Permission denied"):
            publish.publish(newest_warehouse.configured(), output, FIRST, LAST, now=NOW)
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page.html", "old")]

    def test_help_does_not_load_the_drawing_libraries(self) -> None:
        code = (
            "import sys, etl.cli.main; print({'altair', 'jinja2', 'vl_convert', 'etl.display.page'} & {*sys.modules})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"

    def test_the_longest_range_is_a_year(self, newest_warehouse: Warehouse, tmp_path: Path) -> None:
        with pytest.raises(WrongUsage, match="367 days are too many"):
            publish.publish(newest_warehouse.configured(), tmp_path / "a.html", LAST - timedelta(366), LAST)


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(part) for part in bytes.fromhex(colour[1:]))})"
