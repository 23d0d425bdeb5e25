"""The page and the picture, drawn from a real warehouse and opened in a real browser."""

from __future__ import annotations

import base64
import csv
import io
import json
import shutil
import struct
import subprocess
import sys
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from conftest import HEADER, TODAY, VOD, Program, Warehouse, hide_settings
from etl.diagnostics import page_reader
from etl.diagnostics.status import SIGNS
from etl.display.page import theme, write_report
from etl.domain.errors import ExitCode, Misconfigured, WrongUsage
from etl.domain.outcome import Result
from etl.domain.slices import ReportType, Slice, dates_between, slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse.transactions import fetch_rows
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
AXE = Path(__file__).parents[2] / ".venv-browser" / "node_modules" / "axe-core" / "axe.min.js"
EVIL_TITLE = (
    "</script><script>alert(1)</script><!-- & \u202e 'x' and a title long enough to need a second line on a phone"
)
UNTITLED_ID = "content without a title"


class View(NamedTuple):
    """A line of a report."""

    slice: Slice
    content: str
    streaming_type: str
    customer: str
    seconds: Decimal


@dataclass
class Drawn:
    """A warehouse of four weeks, what its reports say, and what was drawn of it."""

    warehouse: Warehouse
    figures: Figures
    views: list[View]
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
            write_report.publish(settings, output, FIRST, LAST, now=NOW)
        found = page_reader.read(settings, FIRST, LAST, now=NOW)
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


def _read(bodies: dict[Slice, str]) -> tuple[list[View], dict[str, str]]:
    """The lines of the reports, and the titles, by the standard library."""
    views = []
    titles = {}
    for slice_, body in sorted(bodies.items()):
        for line in csv.DictReader(io.StringIO(body), strict=True):
            titles[line["Content ID"]] = line["Content Title"]
            played = line["Streaming Type"].upper().replace("-", "_").replace(" ", "_")
            seconds = Decimal(line["Watch Time (sec.)"])
            views.append(View(slice_, line["Content ID"], played, line["Customer ID"], seconds))
    return views, titles


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium, best without windows: it opens a page in a third of the CPU time. Tests that look need one."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None:
        skip_missing(f"none of {', '.join(names)} is installed")
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


def bars(looked: Looked) -> dict[tuple[date, str], float]:
    """How high each part of a bar is, by its date and what it is of."""
    found = looked.page.eval_on_selector_all(
        "#chart-watch-time .bar-part",
        "bars => bars.map(bar => [bar.dataset.date, bar.dataset.of, +bar.getAttribute('height')])",
    )
    return {(date.fromisoformat(day), of): height for day, of, height in found}


def assert_bars(looked: Looked, expected: dict[tuple[date, str], Decimal]) -> None:
    """A part of a bar for each figure, as high as its share."""
    found = bars(looked)
    assert found.keys() == expected.keys()
    points_per_second = max(found.values()) / float(max(expected.values()))
    assert found == {
        key: pytest.approx(float(seconds) * points_per_second, abs=0.6) for key, seconds in expected.items()
    }


def fills(looked: Looked) -> set[str]:
    found = looked.page.eval_on_selector_all(
        "#chart-watch-time .bar-part", "bars => bars.map(bar => getComputedStyle(bar).fill)"
    )
    return {*found}


def tiles(looked: Looked) -> dict[str, list[str]]:
    """By their headings."""
    lines = [text.split("\n") for text in looked.page.locator(".tiles > div").all_inner_texts()]
    return {head: rest for head, *rest in lines}


def table(looked: Looked, name: str) -> list[list[str]]:
    """The texts of the cells of the rows that are shown."""
    rows: list[list[str]] = looked.page.eval_on_selector_all(
        f"#{name} tbody tr:not([hidden])",
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.replace(/\\s+/g, ' ').trim()))",
    )
    return rows


def sums_by(
    drawn: Drawn, key: Callable[[View], object], where: Callable[[View], bool] = lambda _: True
) -> dict[Any, Decimal]:
    """Seconds in the reports."""
    sums: defaultdict[object, Decimal] = defaultdict(Decimal)
    for view in drawn.views:
        if where(view):
            sums[key(view)] += view.seconds
    return dict(sums)


def by_kind(drawn: Drawn, where: Callable[[View], bool] = lambda _: True) -> dict[tuple[date, str], Decimal]:
    """What the bars show: zero for what was not watched in a report that is there."""
    nothing = {
        (slice_.report_date, kind): Decimal(0)
        for slice_ in slices_of(dates_between(FIRST, LAST))
        if slice_ not in MISSING
        for kind in KINDS[slice_.report_type]
    }
    return nothing | sums_by(drawn, lambda view: (view.slice.report_date, view.streaming_type), where)


def change_text(now: Decimal, before: Decimal) -> str:
    return f"{100 * (now / before - 1):+.1f}%".replace("-", "−")  # noqa: RUF001 - as the page has it


def hours_text(seconds: Decimal, places: int) -> str:
    return f"{(seconds / 3600).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP):,}"


MISSING = {*GAPS, HELD, LATE_TO_COME}
KINDS = {ReportType.LIVE: ("LIVE", "LIVE_TO_VOD"), ReportType.VOD: ("VOD",)}


class TestFigures:
    """They are those of the reports, counted by other means."""

    def test_seconds_of_every_slice(self, drawn: Drawn) -> None:
        there = sums_by(drawn, lambda view: view.slice) | {QUIET: Decimal(0)}
        assert {
            Slice(day.report_date, report_type): seconds
            for day in drawn.figures.days
            for report_type, seconds in day.seconds.items()
        } == there | dict.fromkeys(MISSING)
        assert drawn.figures.seconds == sum(view.seconds for view in drawn.views)
        assert drawn.figures.complete == 56 - len(MISSING)

    def test_viewers_are_named_customers_over_both_reports(self, drawn: Drawn) -> None:
        named: defaultdict[date, set[str]] = defaultdict(set)
        for view in drawn.views:
            named[view.slice.report_date] |= {view.customer} - {""}
        assert {day.report_date: day.viewers for day in drawn.figures.days} == {
            day: None if {*slices_of([day])} <= MISSING else len(named[day]) for day in dates_between(FIRST, LAST)
        }

    def test_top_content(self, drawn: Drawn) -> None:
        sums = sums_by(drawn, lambda view: view.content)
        top = sorted(sums, key=lambda content: (-sums[content], content))[:100]
        assert {"evil", UNTITLED_ID} <= {*top}
        assert [(one.place, one.content_id, one.title) for one in drawn.figures.top] == [
            (place, content, drawn.titles[content]) for place, content in enumerate(top, 1)
        ]
        assert drawn.figures.contents == len(sums)
        of_day = sums_by(drawn, lambda view: (view.content, view.slice, view.streaming_type))
        anonymous = sums_by(
            drawn, lambda view: (view.content, view.slice, view.streaming_type), lambda view: not view.customer
        )
        assert {
            (one.content_id, Slice(views.report_date, views.kind.report_type), views.kind.streaming_type): (
                views.seconds,
                views.anonymous,
            )
            for one in drawn.figures.top
            for views in one.views
        } == {key: (seconds, anonymous.get(key, 0)) for key, seconds in of_day.items() if key[0] in top}

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
        found = page_reader.read(settings, FIRST, LAST, now=NOW)
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
        found = page_reader.read(newest_warehouse.configured(), FIRST, LAST, now=NOW)
        assert [(one.state, one.next_step) for one in found.open[:2]] == [
            ("held", f"watch-time revisions --start {FIRST} --end {FIRST}"),
            ("held", "watch-time revisions --start 2026-11-02 --end 2026-11-03"),
        ]

    def test_the_last_days_are_provisional(self, drawn: Drawn) -> None:
        assert [day.report_date for day in drawn.figures.days if day.provisional] == [
            *dates_between(date(2026, 11, 15), LAST)
        ]

    def test_no_fact_is_read(self, newest_warehouse: Warehouse) -> None:
        """A month of them takes a minute; without their table the page is the same."""
        newest_warehouse.sync()
        newest_warehouse.count_customers()
        settings = newest_warehouse.configured()
        before = page_reader.read(settings, VOD.report_date, VOD.report_date, now=NOW)
        with psycopg.connect(newest_warehouse.url) as connection:
            connection.execute("DROP TABLE watch_time CASCADE")
        assert page_reader.read(settings, VOD.report_date, VOD.report_date, now=NOW) == before
        assert before.days[0].viewers

    def test_all_of_it_is_of_one_moment(self, newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        """A run that commits between two of our queries is not half seen."""
        newest_warehouse.sync()
        (before,) = newest_warehouse.query("SELECT sum(watch_seconds) FROM content_daily")
        rows = fetch_rows

        def rows_while_a_run_commits(*arguments: Any) -> list[dict[str, Any]]:
            with psycopg.connect(newest_warehouse.url) as connection:
                connection.execute("UPDATE content_daily SET watch_seconds = watch_seconds * 2")
            return rows(*arguments)

        monkeypatch.setattr(page_reader, "fetch_rows", rows_while_a_run_commits)
        found = page_reader.read(newest_warehouse.configured(), VOD.report_date, VOD.report_date, now=NOW)
        assert (found.seconds,) == before
        assert newest_warehouse.query("SELECT sum(watch_seconds) FROM content_daily") != [before]


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
        assert_bars(opened, by_kind(drawn))

    def test_a_missing_report_is_a_band_and_no_zero(self, opened: Looked) -> None:
        days = {slice_.report_date for slice_ in MISSING}
        for chart in ("watch-time", "viewers"):
            assert opened.page.locator(f"#chart-{chart} .gap").count() == len(days)
        assert opened.page.locator("#chart-viewers .point").count() == 28 - 2
        assert opened.page.locator("#chart-viewers .point.partial").count() == len(days) - 2
        # The line is in two pieces, with the days between them on which nothing is there.
        assert (opened.page.locator("#chart-viewers .line").get_attribute("d") or "").count("M") == 2

    def test_axes_have_units_and_name_mondays_wherever_the_reader_is(self, opened: Looked) -> None:
        for chart, unit in (("watch-time", "hours"), ("viewers", "viewers")):
            named = opened.page.locator(f"#chart-{chart} .day-axis").all_text_contents()
            assert named == ["26 Oct", "2 Nov", "9 Nov", "16 Nov"]
            assert opened.page.locator(f"#chart-{chart} .unit").all_text_contents() == [unit]

    def test_whose_warehouse_it_is(self, opened: Looked, drawn: Drawn) -> None:
        assert opened.page.inner_text("#organization") == drawn.warehouse.sandbox.config.org_id

    def test_top_content_is_told(self, opened: Looked, drawn: Drawn) -> None:
        titles = [" ".join(drawn.titles[one.content_id].replace("\u202e", "").split("\n")) for one in drawn.figures.top]
        titles = [title or UNTITLED_ID for title in titles]
        assert opened.page.locator("#top tbody .name bdi").all_text_contents() == titles
        sums = sums_by(drawn, lambda view: view.content)
        assert opened.page.locator("#top tbody .value").all_text_contents() == [
            hours_text(sums[one.content_id], 1) for one in drawn.figures.top
        ]
        others = sum(sums.values(), Decimal(0)) - sum(sums[one.content_id] for one in drawn.figures.top)
        assert opened.page.locator("#top tfoot td").nth(1).text_content() == hours_text(others, 1)

    def test_a_trend_for_each_content(self, opened: Looked) -> None:
        trends = opened.page.eval_on_selector_all(
            "#top .trend path", "paths => paths.map(path => path.getAttribute('d'))"
        )
        assert len(trends) == opened.page.locator("#top tbody tr").count() > 20
        # Two pieces, between them the days without reports; 26 days, each with its height.
        assert {(trend.count("M"), trend.count("L")) for trend in trends} == {(2, 24)}

    def test_a_title_is_text_and_nothing_else(self, opened: Looked, drawn: Drawn) -> None:
        assert opened.page.locator("script").count() == 2
        assert opened.page.locator("#top b, #open b").count() == 0
        assert "<script>alert" not in drawn.page.read_text(encoding="utf-8")
        assert "</script><script>alert(1)</script>" in (opened.page.text_content("#top") or "")
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
        assert f"to request them again, run watch-time backfill --start {quiet} --end {quiet}" in told
        assert "To load all late reports, run watch-time backfill --start 2026-11-04 --end 2026-11-13" in told

    def test_the_days_are_told_as_a_table_too(self, opened: Looked, drawn: Drawn) -> None:
        kinds = by_kind(drawn)
        rows = dict(zip(dates_between(FIRST, LAST), reversed(table(opened, "days")), strict=True))
        for day in drawn.figures.days:
            cells = rows[day.report_date]
            assert cells[0].startswith(str(day.report_date))
            assert ("partial" in cells[0]) == (len(day.missing) == 1)
            assert ("may change" in cells[0]) == day.provisional
            assert cells[1:4] == [
                hours_text(kinds[day.report_date, kind], 2) if (day.report_date, kind) in kinds else _DASH
                for kind in ("LIVE", "LIVE_TO_VOD", "VOD")
            ]
            assert cells[-1] == (_DASH if day.viewers is None else str(day.viewers))
        assert rows[HELD.report_date][0] == "2026-11-13 Fri partial: VOD is missing"

    def test_a_day_is_compared_with_a_week_before(self, opened: Looked, drawn: Drawn) -> None:
        sums = sums_by(drawn, lambda view: view.slice.report_date)
        compared = {row[0][:10]: row[5] for row in table(opened, "days")}
        now, before = sums[date(2026, 11, 19)], sums[date(2026, 11, 12)]
        assert compared["2026-11-19"] == change_text(now, before)
        # Of both days a report is missing on one, or nothing is known before.
        assert compared["2026-11-20"] == compared["2026-11-11"] == compared["2026-10-30"] == _DASH
        assert tiles(opened)["Newest full day"][1] == f"2026-11-19; {change_text(now, before)} from a week before"

    def test_named_and_anonymous_are_told_apart(self, opened: Looked, drawn: Drawn) -> None:
        anonymous = sum(view.seconds for view in drawn.views if not view.customer)
        value, told = tiles(opened)["Anonymous"]
        assert value == f"{100 * anonymous / drawn.figures.seconds:.1f}%"
        assert told == f"{hours_text(Decimal(anonymous), 0)} h of watch time"

    def test_freshness_and_restatements_are_told(self, opened: Looked, drawn: Drawn) -> None:
        freshness = opened.page.locator("#freshness tbody tr").all_inner_texts()
        assert [row.split("\t")[:3] for row in freshness] == [
            ["LIVE", "2026-11-19", "2026-11-03"],
            ["VOD", "2026-11-20", "2026-11-06"],
        ]
        restated = opened.page.locator("#restated tbody tr[data-first]").all_inner_texts()
        assert [row.split("\t")[0] for row in restated] == [str(slice_) for slice_ in RESTATED]
        for row, change in zip(restated, drawn.figures.restatements, strict=True):
            assert f"{change.seconds_before:,f}\t{change.seconds_after:,f}\t" in row
            assert f"+{change.rows_inserted} −{change.rows_deleted} ~{change.rows_updated}" in row  # noqa: RUF001

    def test_no_customer_is_named(self, drawn: Drawn) -> None:
        text = drawn.page.read_text(encoding="utf-8")
        own = text.partition("<script>")[0]
        assert 'id="data"' in own
        # Shorter ones, such as 0 and null, are parts of other texts.
        customers = {view.customer for view in drawn.views if len(view.customer) > 7}
        assert "customer-of-the-evil" in customers
        assert [customer for customer in customers if customer in own] == []

    def test_charts_follow_the_readers_scheme_at_once_and_paper_is_light(self, browser: Browser, drawn: Drawn) -> None:
        def colours(looked: Looked) -> tuple[str, str, set[str]]:
            ground = looked.page.evaluate("getComputedStyle(document.body).backgroundColor")
            label = looked.page.evaluate("getComputedStyle(document.querySelector('.axis')).fill")
            return ground, label, fills(looked)

        with observing(browser, drawn.page, color_scheme="light") as looked:
            light = colours(looked)
            looked.page.emulate_media(color_scheme="dark")
            dark = colours(looked)
            looked.page.emulate_media(color_scheme="dark", media="print")
            printed = colours(looked)
        assert light[2] == {_rgb(theme.LIGHT[name]) for name in ("live", "live-other", "vod")}
        assert dark[2] == {_rgb(theme.DARK[name]) for name in ("live", "live-other", "vod")}
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
            for chart in ("watch-time", "viewers"):
                box = looked.page.locator(f"#chart-{chart} svg").bounding_box()
                assert box
                assert width * 0.4 < box["width"] <= width

    def test_whoever_cannot_see_it_is_told(self, opened: Looked) -> None:
        labels = "charts => charts.map(chart => chart.ariaLabel.length > 30)"
        assert opened.page.eval_on_selector_all(".chart[role=img]", labels) == [True, True]
        for name in ("Freshness", "Watch time per day", "Coverage", "Top content", "Open reports", "Restatements"):
            assert opened.page.get_by_role("region", name=name, exact=True).count() == 1
        tables = opened.page.locator("table").count()
        assert opened.page.locator("table > caption").count() == tables
        assert opened.page.locator("thead th:not([scope=col]), tbody th:not([scope=row])").count() == 0

    def test_it_is_small(self, drawn: Drawn) -> None:
        assert drawn.page.stat().st_size < 1_000_000


class TestPicking:
    """What is drawn after each click."""

    @pytest.fixture
    def looked(self, browser: Browser, drawn: Drawn) -> Iterator[Looked]:
        with observing(browser, drawn.page, viewport={"width": 1200, "height": 900}) as looked:
            yield looked
            assert looked.noise == []
            assert looked.requests == [drawn.page.as_uri()]

    def test_a_day_by_its_bar(self, looked: Looked, drawn: Drawn) -> None:
        before = tiles(looked), table(looked, "top"), bars(looked)
        day = date(2026, 11, 10)
        looked.page.locator(f"#chart-watch-time .hit[data-date='{day}']").click()
        of_day = sums_by(drawn, lambda view: view.content, lambda view: view.slice.report_date == day)
        assert tiles(looked)["Watched"] == [
            f"{hours_text(sum(of_day.values(), Decimal(0)), 0)} h",
            self._on_the_day_before(drawn, day),
        ]
        assert tiles(looked)["Reports loaded"] == ["2 of 2", "none late"]
        shown = {one.content_id: one for one in drawn.figures.top if one.content_id in of_day}
        most = sorted(shown, key=lambda content: (-of_day[content], shown[content].place))
        rows = table(looked, "top")
        assert [row[2] for row in rows] == [hours_text(of_day[content], 1) for content in most[: len(rows)]]
        assert [
            row[1].split("VOD")[0].split("LIVE")[0].strip().endswith(content)
            for row, content in zip(rows, most, strict=False)
        ]
        assert looked.page.locator("#chart-watch-time .bar-part:not(.pale-day)").count() == 3
        assert looked.page.locator("#calendar td[data-date]:not(.outside)").count() == 1
        assert table(looked, "open") == [["Nothing matches the selection."]]
        assert looked.page.inner_text("#h-top") == f"Top content: {day}"
        looked.page.get_by_role("button", name=f"Remove filter: {day}").click()
        assert (tiles(looked), table(looked, "top"), bars(looked)) == before

    @staticmethod
    def _on_the_day_before(drawn: Drawn, day: date) -> str:
        sums = sums_by(drawn, lambda view: view.slice.report_date)
        return f"{change_text(sums[day], sums[day - timedelta(1)])} from the day before"

    def test_a_day_by_the_keyboard(self, looked: Looked) -> None:
        button = looked.page.locator("#calendar").get_by_role("button", name="Show only November 13, 2026")
        button.focus()
        looked.page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "true"
        assert looked.page.inner_text("#told") == f"Shown: {HELD.report_date}"
        assert tiles(looked)["Newest full day"] == [_DASH, "no day has both reports"]
        assert [row[2] for row in table(looked, "open")] == ["! held"]
        looked.page.keyboard.press("Enter")
        assert button.get_attribute("aria-pressed") == "false"
        assert len(table(looked, "open")) == 5

    def test_the_keyboard_stays_where_it_was(self, looked: Looked) -> None:
        name = looked.page.locator("#top button.name").nth(3)
        told = name.inner_text()
        name.focus()
        looked.page.keyboard.press("Enter")
        assert looked.page.inner_text("#h-watch-time") == f"Watch time per day: {told}"
        assert looked.page.evaluate("document.activeElement.innerText") == told
        looked.page.locator("#picked .chip").focus()
        looked.page.keyboard.press("Enter")
        assert looked.page.inner_text("#h-watch-time") == "Watch time per day"
        assert looked.page.evaluate("document.activeElement.id") == "from"

    def test_a_content(self, looked: Looked, drawn: Drawn) -> None:
        content = drawn.figures.top[3]
        title = looked.page.locator("#top button.name").nth(3)
        told = title.inner_text()
        title.click()
        assert_bars(looked, by_kind(drawn, lambda view: view.content == content.content_id))
        assert looked.page.inner_text("#h-watch-time") == f"Watch time per day: {told}"
        of_content = sums_by(drawn, lambda view: view.slice, lambda view: view.content == content.content_id)
        assert tiles(looked)["Watched"][0] == f"{hours_text(sum(of_content.values(), Decimal(0)), 0)} h"
        looked.page.locator("summary").click()
        totals = {row[0][:10]: row[4] for row in table(looked, "days")}
        day = date(2026, 11, 10)
        assert totals[str(day)] == hours_text(
            sum((of_content.get(one, Decimal(0)) for one in slices_of([day])), Decimal(0)), 2
        )
        # Only it, on one day.
        looked.page.locator("#days").get_by_role("button", name=f"Show only {day}").click()
        assert (
            tiles(looked)["Watched"][0]
            == f"{hours_text(sum((of_content.get(one, Decimal(0)) for one in slices_of([day])), Decimal(0)), 0)} h"
        )
        looked.page.get_by_role("button", name="Show everything").click()
        assert_bars(looked, by_kind(drawn))

    def test_a_range_inside_the_data(self, looked: Looked, drawn: Drawn) -> None:
        start = LAST - timedelta(6)
        looked.page.get_by_role("button", name="Last 7 days").click()
        assert looked.page.input_value("#from") == str(start)
        week = {key: seconds for key, seconds in by_kind(drawn).items() if key[0] >= start}
        assert_bars(looked, week)
        both = [
            (slice_, Slice(slice_.report_date - timedelta(7), slice_.report_type))
            for slice_ in slices_of(dates_between(start, LAST))
        ]
        sums = sums_by(drawn, lambda view: view.slice)
        compared = [(sums[now], sums[then]) for now, then in both if not {now, then} & MISSING]
        change = change_text(
            sum((now for now, _ in compared), Decimal(0)), sum((then for _, then in compared), Decimal(0))
        )
        assert tiles(looked)["Watched"] == [
            f"{hours_text(sum(week.values(), Decimal(0)), 0)} h",
            f"{change} from the 7 days before; like for like, {14 - len(compared)} reports left out",
        ]
        paths = looked.page.locator("#top tr:not([hidden]) .trend path")
        assert (paths.first.get_attribute("d") or "").count("L") == 6
        # A date without data is refused by the field, and changes nothing.
        looked.page.fill("#from", str(FIRST - timedelta(1)))
        assert_bars(looked, week)
        looked.page.fill("#from", str(FIRST))
        assert_bars(looked, by_kind(drawn))

    def test_named_against_anonymous(self, looked: Looked, drawn: Drawn) -> None:
        looked.page.get_by_label("identified and anonymous").check()
        sums = sums_by(drawn, lambda view: (view.slice.report_date, "identified" if view.customer else "anonymous"))
        assert_bars(looked, sums)
        assert looked.page.locator("#legend li").all_inner_texts() == [" identified", " anonymous"]

    def test_a_search_and_an_order(self, looked: Looked, drawn: Drawn) -> None:
        assert len(table(looked, "top")) == 20
        looked.page.locator("#more").click()
        assert len(table(looked, "top")) == 100
        looked.page.fill("#text", "  RIVER ")
        found = [one for one in drawn.figures.top if "river" in one.title.lower()]
        assert [row[0] for row in table(looked, "top")] == [str(one.place) for one in found]
        assert looked.page.inner_text("#found") == f"{len(found)} found"
        looked.page.fill("#text", "")
        head = looked.page.locator("#top th[data-sort=anonymous]")
        head.get_by_role("button").click()
        assert head.get_attribute("aria-sort") == "descending"
        shares = [float(row[5].removesuffix("%")) for row in table(looked, "top")]
        assert shares == sorted(shares, reverse=True)
        head.get_by_role("button").click()
        assert [float(row[5].removesuffix("%")) for row in table(looked, "top")] == sorted(shares)

    def test_every_table_as_csv(self, looked: Looked, drawn: Drawn) -> None:
        documents = {}
        for button in looked.page.locator("button.csv").all():
            with looked.page.expect_download() as waiting:
                button.click()
            text = waiting.value.path().read_text(encoding="utf-8-sig")
            documents[waiting.value.suggested_filename] = list(csv.DictReader(io.StringIO(text), strict=True))
        assert {*documents} == {
            f"watch-time-{name}-{FIRST}-{LAST}.csv"
            for name in ("freshness", "days", "calendar", "top", "open", "restated")
        }
        days = documents[f"watch-time-days-{FIRST}-{LAST}.csv"]
        kinds = by_kind(drawn)
        assert {
            (date.fromisoformat(row["date"]), kind): Decimal(row[f"{kind.lower()}_seconds"])
            for row in days
            for kind in ("LIVE", "LIVE_TO_VOD", "VOD")
            if row[f"{kind.lower()}_seconds"]
        } == kinds
        top = documents[f"watch-time-top-{FIRST}-{LAST}.csv"]
        sums = sums_by(drawn, lambda view: view.content)
        assert [(row["content_id"], Decimal(row["watch_seconds"])) for row in top] == [
            (one.content_id, sums[one.content_id]) for one in drawn.figures.top
        ]
        calendar = documents[f"watch-time-calendar-{FIRST}-{LAST}.csv"]
        assert calendar[-1] == {"date": str(LAST), "LIVE": "unavailable", "VOD": "loaded"}

    def test_everything_is_there_without_javascript(self, browser: Browser, looked: Looked, drawn: Drawn) -> None:
        context = browser.new_context(java_script_enabled=False)
        page = context.new_page()
        page.goto(drawn.page.as_uri())
        plain = Looked(page, [], [])
        assert tiles(plain) == tiles(looked)
        for name in ("days", "freshness", "open", "restated"):
            assert table(plain, name) == table(looked, name)
        looked.page.locator("#more").click()
        assert table(plain, "top") == table(looked, "top")
        assert page.locator("button:visible, input:visible").count() == 0
        # And what the script draws of the same choice is the same as well.
        looked.page.locator("#calendar button").first.click()
        looked.page.get_by_role("button", name="Show everything").click()
        assert tiles(plain) == tiles(looked)
        assert table(plain, "top") == table(looked, "top")
        context.close()


class TestAccessibility:
    """By axe-core, which knows the rules of WCAG."""

    # Contrast depends on the scheme, everything else on the width.
    @pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
    def test_no_violation(self, browser: Browser, drawn: Drawn, scheme: str, width: int) -> None:
        if not AXE.is_file():
            skip_missing("axe-core is not installed: type: make axe")
        with observing(browser, drawn.page, viewport={"width": width, "height": 900}, color_scheme=scheme) as looked:
            looked.page.evaluate(AXE.read_text(encoding="utf-8"))
            assert self._violations(looked) == []
            looked.page.locator("summary").click()
            looked.page.locator("#calendar button").nth(5).click()
            looked.page.locator("#top tr:not([hidden]) button.name").first.click()
            looked.page.locator("#top th[data-sort=title] button").click()
            assert self._violations(looked) == []

    @staticmethod
    def _violations(looked: Looked) -> list[str]:
        found = looked.page.evaluate("axe.run()")
        assert len(found["passes"]) > 20
        return [
            f"{violation['id']}: {node['html'][:200]} {node['failureSummary']}"
            for violation in found["violations"]
            for node in violation["nodes"]
        ]


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
        write_report.publish(warehouse_with_gaps.configured(), tmp_path / "page.html", LAST, LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            assert tiles(looked)["Reports loaded"] == [
                "2 of 2",
                "none late",
                f"{2 * 26} late before this range",
            ]
            assert looked.page.locator("#open").count() == 0
            late = 2 * len([*dates_between(FIRST, LAST)][1:-1])
            assert looked.page.inner_text("#elsewhere") == (
                f"{late} late before this range: watch-time backfill --start 2026-10-25 --end 2026-11-19"
            )

    def test_late_reports_of_the_range_are_those_that_are_open(
        self, browser: Browser, warehouse_with_gaps: Warehouse, tmp_path: Path
    ) -> None:
        write_report.publish(
            warehouse_with_gaps.configured(), tmp_path / "page.html", LAST - timedelta(1), LAST, now=NOW
        )
        with observing(browser, tmp_path / "page.html") as looked:
            assert tiles(looked)["Reports loaded"] == ["2 of 4", "2 late", "50 late before this range"]
            assert looked.page.locator("#open tbody tr").all_inner_texts()[0].startswith("LIVE, VOD\t2026-11-19")
            assert "50 late before this range" in looked.page.inner_text("#elsewhere")

    def test_charts_begin_at_the_first_date_that_anything_is_known_of(
        self, browser: Browser, warehouse_with_gaps: Warehouse, tmp_path: Path
    ) -> None:
        write_report.publish(
            warehouse_with_gaps.configured(), tmp_path / "page.html", FIRST - timedelta(9), LAST, now=NOW
        )
        with observing(browser, tmp_path / "page.html") as looked:
            assert min(bars(looked))[0] == FIRST
            assert looked.page.locator("#chart-watch-time .hit").count() == 28
            assert f"{FIRST} to {LAST}, 28 days; there is no data for earlier dates" in looked.page.inner_text("header")


def test_words_on_both_sides_of_a_line_end_in_a_title_stay_apart(
    browser: Browser, newest_warehouse: Warehouse, tmp_path: Path
) -> None:
    """The page showed `3799with commentary`."""
    body = f'{HEADER}"3799\nwith\tcommentary\r\n",c1,VOD,,u1,3600\n"a\x1b[31mb",c2,VOD,,u1,1800\n=1+1,c3,VOD,,u1,60\n'
    assert newest_warehouse.sync(body, slice_=Slice(LAST, ReportType.VOD)).result is Result.LOADED
    for name in ("page.html", "page.png"):
        write_report.publish(newest_warehouse.configured(), tmp_path / name, LAST, LAST, now=NOW)
    with observing(browser, tmp_path / "page.html") as looked:
        titles = ["3799 with commentary", "a[31mb", "=1+1"]
        assert looked.page.locator("#top .name bdi").all_text_contents() == titles
        with looked.page.expect_download() as waiting:
            looked.page.locator("[data-csv=top]").click()
        assert [
            row["title"] for row in csv.DictReader(io.StringIO(waiting.value.path().read_text(encoding="utf-8-sig")))
        ] == [
            *titles[:-1],
            "'=1+1",  # a text, and no formula
        ]


def test_customers_that_are_not_counted_yet_are_neither_zero_nor_missing(
    browser: Browser, newest_warehouse: Warehouse, tmp_path: Path
) -> None:
    days = [*dates_between(LAST - timedelta(2), LAST)]
    for slice_ in slices_of(days):
        newest_warehouse.sync(HEADER + "t,c1,VOD,,u1,3600\n", slice_=slice_)
        if slice_.report_date == days[0]:
            newest_warehouse.count_customers()
    for name in ("page.html", "page.png"):
        write_report.publish(newest_warehouse.configured(), tmp_path / name, days[0], LAST, now=NOW)
    with observing(browser, tmp_path / "page.html") as looked:
        assert [row[-1] for row in table(looked, "days")] == ["not yet counted", "not yet counted", "1"]
        assert looked.page.inner_text("#uncounted") == "Not yet counted: 2 days"
        assert looked.page.locator("#chart-viewers .point").count() == 1
        assert tiles(looked)["Most viewers in a day"] == ["1", f"identified viewers on {days[0]}"]
        looked.page.locator("#calendar").get_by_role("button", name="Show only November 20, 2026").click()
        assert tiles(looked)["Most viewers in a day"] == [_DASH, "not yet counted"]


class TestEmptyWarehouse:
    def test_the_page_says_that_nothing_is_loaded(
        self, browser: Browser, newest_warehouse: Warehouse, tmp_path: Path
    ) -> None:
        for name in ("page.html", "page.png"):
            write_report.publish(newest_warehouse.configured(), tmp_path / name, FIRST, LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            assert looked.noise == []
            assert "Nothing is loaded for this range" in looked.page.inner_text("#bare")
            assert looked.page.locator("#calendar .sign.never-tried").count() == 56
            assert looked.page.locator(".chart").count() == 0
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
        write_report.publish(newest_warehouse.configured(), tmp_path / "page.html", LAST, LAST, now=NOW)
        write_report.publish(newest_warehouse.configured(), tmp_path / "page.png", LAST, LAST, now=NOW)
        with observing(browser, tmp_path / "page.html") as looked:
            assert looked.noise == []
            assert bars(looked) == {(LAST, "VOD"): 0}
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
            assert (done.returncode, done.stdout) == (
                0,
                f"wrote {name}: 2026-11-10 to 2026-11-20, {written.stat().st_size:,} bytes\n",
            ), done.stderr
            assert written.stat().st_mode & 0o777 == 0o666 & ~write_report._umask()
        # Of earlier dates nothing is known.
        text = (program.folder / "page.html").read_text(encoding="utf-8")
        assert f"<title>Watch time, {VOD.report_date} to 2026-11-20</title>" in text

    def test_titles_that_no_font_here_has_are_told(self, program: Program, newest_warehouse: Warehouse) -> None:
        newest_warehouse.sync(HEADER + "\U00010570\U00010571 and more,c1,VOD,,u1,60\n")
        program("report", "--output", "page.html")
        done = program("report", "--output", "page.png", "--start", f"{VOD.report_date}")
        assert done.returncode == 0
        assert "no installed font has VITHKUQI (\U00010571)" in done.stderr
        assert "fonts-noto-cjk" in done.stderr
        checks = json.loads(program("doctor", "--json").stdout)
        (fonts,) = [check for check in checks if check["check"] == "fonts"]
        assert fonts["verdict"] == "warning"
        assert "no installed font has VITHKUQI" in fonts["detail"]

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
            write_report.publish(newest_warehouse.configured(), tmp_path / "page.png", FIRST, LAST, now=NOW)
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
            write_report.publish(newest_warehouse.configured(), output, FIRST, LAST, now=NOW)
        assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("page.html", "old")]

    def test_help_does_not_load_the_drawing_libraries(self) -> None:
        code = (
            "import sys, etl.cli.main; print({'altair', 'jinja2', 'vl_convert', 'etl.display.page'} & {*sys.modules})"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"

    def test_the_longest_range_is_a_year(self, newest_warehouse: Warehouse, tmp_path: Path) -> None:
        with pytest.raises(WrongUsage, match="367 days are too many"):
            write_report.publish(newest_warehouse.configured(), tmp_path / "a.html", LAST - timedelta(366), LAST)


def _rgb(colour: str) -> str:
    return f"rgb({', '.join(str(part) for part in bytes.fromhex(colour[1:]))})"
