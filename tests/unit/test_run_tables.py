"""What people see: tables that hold what they were given, to the letter, whatever the width."""

from __future__ import annotations

import io
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Literal

import pytest
from rich.console import Console, Group, RenderableType
from rich.progress import Progress

from etl.diagnostics.backfill_estimate import Estimate
from etl.diagnostics.check_result import Check, Verdict
from etl.diagnostics.status import NEVER_TRIED, SliceStatus
from etl.display import progress, status_screen
from etl.display.run_tables import checks_page, compacted_page, outcomes_page, plan_page
from etl.display.status_screen import status_table
from etl.display.table_layout import new_table
from etl.domain.errors import ExitCode
from etl.domain.outcome import Outcome, Pause, Result
from etl.domain.pipeline_values import Change
from etl.domain.slices import ReportType, Slice, State, dates_between, slices_of
from etl.load.compaction import Compacted
from etl.load.partition_bounds import Partition
from etl.pipeline import guards
from etl.warehouse.freshness import Freshness, Lag, Overview

if TYPE_CHECKING:
    from collections.abc import Callable

VOD = Slice(date(2026, 11, 16), ReportType.VOD)
NOTHING = "nothing to do: every slice in this range is loaded, or in a state that --only leaves out"
BRACKETS = "column [red]Viewer[/red] is [/no] [link=https://x]column[/link] \\[of] ours"


def shown(table: RenderableType, *, width: int = 200, terminal: bool = False) -> str:
    stream = io.StringIO()
    colours: Literal["standard"] | None = "standard" if terminal else None
    Console(file=stream, width=width, force_terminal=terminal, highlight=False, color_system=colours).print(table)
    return stream.getvalue()


def words(table: RenderableType) -> list[list[str]]:
    """The words of each line under the header."""
    return [line.split() for line in shown(table).splitlines()[1:]]


def status(state: str, **figures: object) -> SliceStatus:
    nothing = {"revision": 0, "rows": 0, "watch_seconds": Decimal(0), "checked_at": None, "loaded_at": None}
    nothing |= {"reason": None, "error_code": None, "last_check": None, "shown_as": state}
    return SliceStatus(VOD, state, **{**nothing, **figures})  # type: ignore[arg-type]  # named as they are


def test_a_first_load_shows_what_came() -> None:
    change = Change(inserted=1234, updated=0, deleted=0, unchanged=0, merged=0, repeated=0)
    outcome = Outcome(
        VOD, Result.LOADED, revision=1, rows=1234, watch_seconds=Decimal("98765.4321"), change=change
    )  # fmt: skip
    assert words(outcomes_page([outcome])) == [["2026-11-16", "VOD", "loaded", "1,234", "98,765.432", "first", "load"]]


def test_a_restated_report_shows_what_changed_and_what_to_know() -> None:
    change = Change(inserted=1000, updated=2, deleted=3, unchanged=0, merged=0, repeated=0)
    outcome = Outcome(VOD, Result.LOADED, revision=2, rows=9, change=change, warnings=("one", "two"))
    line, _, *notes = shown(outcomes_page([outcome])).splitlines()[1:]
    assert line.endswith("+1,000 -3 ~2")
    assert notes == ["2026-11-16 VOD warning: one", "2026-11-16 VOD warning: two"]


def test_what_is_said_of_many_slices_is_said_once() -> None:
    """With ranges of dates, and a command for all of them."""
    days = [date(2026, 1, day) for day in (1, 2, 3, 9)]
    outcomes = [
        Outcome(slice_, Result.FAILED, message=f"the API returned 503 for {slice_}: busy", next_step=_reload(slice_))
        for slice_ in slices_of(days)
    ]
    text = shown(outcomes_page(outcomes)).partition("\n\n")[2]
    assert text.splitlines()[:3] == [
        "8 slices failed: the API returned 503: busy (2026-01-01 to 2026-01-03, 6 slices; 2026-01-09, 2 slices)",
        "  next: load them again:",
        "    watch-time backfill --start 2026-01-01 --end 2026-01-09 --reload",
    ]
    (one,) = outcomes[:1]
    assert f"{one.slice} failed: the API returned 503 for {one.slice}: busy" in shown(outcomes_page([one]))


def test_what_a_person_must_look_at_one_by_one_gets_no_command_for_all() -> None:
    outcomes = [
        Outcome(slice_, Result.HELD, message="half the rows", next_step=f"accept it: `{guards.accept_command(slice_)}`")
        for slice_ in slices_of([date(2026, 1, 1)])
    ]
    text = shown(outcomes_page(outcomes))
    assert "2026-01-01, 2 slices held: half the rows\n  next: for the first of them, accept it:\n" in text
    assert text.count("--accept") == 1
    assert "--start 2026-01-01 --end 2026-01-01 --type LIVE --accept" in text


def test_refused_credentials_are_told_once_for_all_slices() -> None:
    refused = Outcome(
        VOD, Result.FAILED, ExitCode.CREDENTIALS_REFUSED, f"the API refuses the token: 401 for {VOD}: no", "check it"
    )
    text = shown(outcomes_page([refused], not_tried=127)).partition("\n\n")[2]
    assert text.splitlines()[:2] == ["128 slices: the API refuses the token: 401: no", "  next: check it"]


def test_a_plan_is_told_in_ranges_of_dates() -> None:
    january = slices_of(dates_between(date(2026, 1, 1), date(2026, 1, 31)))
    plan = [(slice_, "never tried") for slice_ in january]
    later = [Slice(date(2026, 2, day), ReportType.VOD) for day in (1, 2)]
    plan += [(slice_, f"failed, last checked {slice_.report_date} 04:05: down") for slice_ in later]
    page = shown(plan_page(plan, Estimate(64, None, None, 0, ())))
    assert page.splitlines()[:2] == [
        "2026-01-01 to 2026-01-31, 62 slices: never tried",
        "2026-02-01 to 2026-02-02 VOD, 2 slices: failed: down",
    ]


def test_decimal_points_stand_below_each_other_and_nine_digits_of_seconds_are_hours() -> None:
    few = [Decimal("0.5"), Decimal(12), Decimal("3.14159")]
    table = [line.split()[4] for line in shown(_outcomes_of(few)).splitlines()[1:4]]
    assert table == ["0.500", "12.000", "3.142"]
    many = shown(_outcomes_of([*few, Decimal(360_000_000)]))
    assert "watch time (h)" in many
    assert "100,000.000" in many
    assert len({line.index(".") for line in many.splitlines()[1:5]}) == 1


def _outcomes_of(seconds: list[Decimal]) -> RenderableType:
    return outcomes_page([Outcome(VOD, Result.LOADED, rows=7, watch_seconds=value) for value in seconds])


def _reload(slice_: Slice) -> str:
    day = slice_.report_date
    return f"load them again: `watch-time backfill --start {day} --end {day} --type {slice_.report_type} --reload`"


def test_a_failure_comes_with_what_to_do() -> None:
    outcomes = [Outcome(VOD, Result.UNCHANGED), Outcome(VOD, Result.FAILED, message="down", next_step="run again")]
    _, _, *notes = shown(outcomes_page(outcomes)).splitlines()[1:]
    assert notes[:3] == ["", "2026-11-16 VOD failed: down", "  next: run again"]


def test_several_slices_are_summed_up() -> None:
    change = Change(inserted=1000, updated=2, deleted=3, unchanged=0, merged=0, repeated=0)
    loaded = Outcome(VOD, Result.LOADED, change=change, report_bytes=1_500_000)
    page = shown(outcomes_page([loaded, loaded, Outcome(VOD, Result.EMPTY)]))
    assert page.splitlines()[-1] == "3 slices: 2 loaded, 1 empty; 2,010 rows written, 3.0 MB of reports read"


@pytest.mark.parametrize(
    ("cost", "told"),
    [
        (Estimate(3, 3_000, timedelta(seconds=0.2), 9, ()), "3 slices to request: about 3.0 kB in 1 s, LAST 9 loads"),
        (Estimate(1, 10**9, timedelta(minutes=90), 1, ()), "1 slice to request: about 1.0 GB in 90 min, LAST load"),
        (
            Estimate(730, 5_000, timedelta(hours=3), 60, (ReportType.LIVE,)),
            "730 slices to request: about 5.0 kB in 3.0 h, LAST 60 loads\n"  # noqa: ISC004 - two lines
            "the estimate excludes LIVE: no report has been loaded yet",
        ),
        (
            Estimate(2, None, None, 0, (ReportType.VOD,)),
            "2 slices to request; no estimate: nothing has been loaded yet",
        ),
        (Estimate(0, None, None, 0, ()), "0 slices to request"),
    ],
)
def test_a_plan_ends_with_its_cost(cost: Estimate, told: str) -> None:
    page = shown(plan_page([(VOD, "never tried")], cost))
    assert page.partition("\n\n")[2].strip() == told.replace("LAST", "estimated from the last")


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(outcomes_page([]), id="outcomes"),
        pytest.param(plan_page([], Estimate(0, None, None, 0, ())), id="dry run"),
    ],
)
def test_nothing_to_do_is_a_sentence_and_no_header_without_lines(page: RenderableType) -> None:
    assert shown(page).splitlines()[0] == NOTHING
    assert "type" not in shown(page)


def test_where_there_is_nothing_to_say_there_is_only_the_table() -> None:
    assert len(words(outcomes_page([Outcome(VOD, Result.UNCHANGED)]))) == 1
    assert len(words(status_table([status("loaded")]))) == 1


@pytest.mark.parametrize("result", list(Result))
def test_every_result_has_a_line(result: Result) -> None:
    line, *_ = words(outcomes_page([Outcome(VOD, result, message="why")]))
    assert line == ["2026-11-16", "VOD", result.value]


def test_every_state_has_a_line_and_a_colour() -> None:
    states = [*(state.value for state in State), NEVER_TRIED]
    table = status_table([status(state) for state in states])
    assert [" ".join(line[2:]) for line in words(table)] == states
    coloured = shown(table, terminal=True).splitlines()[1:]
    assert all(re.search(rf"\x1b\[\d+m{state}", line) for state, line in zip(states, coloured, strict=True))


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_a_colour(verdict: Verdict) -> None:
    line = shown(checks_page([Check("API", verdict, "why")]), terminal=True).splitlines()[1]
    assert re.search(rf"\x1b\[3[1-3]m{verdict}", line)


def test_a_status_line_has_figures_and_time() -> None:
    loaded_at = datetime(2026, 11, 18, 4, 5, 6, tzinfo=UTC)
    line = status("loaded", revision=3, rows=2_000_000, watch_seconds=Decimal("1E+6"), loaded_at=loaded_at)
    assert words(status_table([line])) == [
        ["2026-11-16", "VOD", "loaded", "3", "2,000,000", "1,000,000.000", "2026-11-18", "04:05"]
    ]


@pytest.mark.parametrize(
    "table",
    [
        pytest.param(outcomes_page([Outcome(VOD, Result.FAILED, message=BRACKETS)]), id="outcomes"),
        pytest.param(outcomes_page([Outcome(VOD, Result.LOADED, warnings=(BRACKETS,))]), id="warnings"),
        pytest.param(Group(*status_screen.not_loaded([status("failed", reason=BRACKETS)])), id="status"),
        pytest.param(plan_page([(VOD, BRACKETS)], Estimate(1, None, None, 0, ())), id="plan"),
        pytest.param(checks_page([Check("API", Verdict.PROBLEM, BRACKETS)]), id="check"),
        pytest.param(checks_page([Check("API", Verdict.PROBLEM, "", BRACKETS)]), id="next step"),
    ],
)
def test_brackets_are_text(table: RenderableType) -> None:
    assert BRACKETS in shown(table)


SECONDS = Decimal("38221278.121")
AT = datetime(2026, 11, 18, 14, 5, 6, tzinfo=UTC)
MONTH = Partition("watch_time_202610", VOD, VOD)


def _figures(rows: int) -> list[tuple[str, RenderableType, list[str]]]:
    """Tables of large slices, and what each must show to the letter; words may stand in different lines."""
    count = f"{rows:,}"
    change = Change(inserted=rows, updated=rows, deleted=rows, unchanged=0, merged=0, repeated=0)
    outcomes = [Outcome(VOD, result, revision=2, rows=rows, watch_seconds=SECONDS, change=change) for result in Result]
    states = [
        status(state, revision=12, rows=rows, watch_seconds=SECONDS, loaded_at=AT)
        for state in (*(state.value for state in State), NEVER_TRIED)
    ]
    lag = Lag(timedelta(days=1.3), timedelta(days=12.5), rows)
    freshness = Overview(
        VOD.report_date,
        VOD.report_date,
        tuple(Freshness(report_type, VOD.report_date, VOD.report_date, lag) for report_type in ReportType),
        gaps=(),
        late=(),
        presumed=(),
    )
    slice_ = ["2026-11-16", "VOD"]
    large = [count, "38,221,278.121"]
    return [
        (
            "outcomes",
            outcomes_page(outcomes),
            [*slice_, *large, f"+{count}", f"-{count}", f"~{count}", *map(str, Result)],
        ),
        ("status", status_table(states), [*slice_, *large, "12", "2026-11-18", "14:05", *map(str, State)]),
        ("plan", plan_page([(VOD, "never tried")], Estimate(1, None, None, 0, ())), ["2026-11-16", "VOD:", "tried"]),
        ("compacted", compacted_page([Compacted(MONTH, rows)], 0), ["2026-11", MONTH.name, count]),
        (
            "freshness",
            next(status_screen.freshness(freshness)),
            ["LIVE", "VOD", "2026-11-16", "1.3", "12.5", "days", count],
        ),
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("rows", [2_012_345, 99_012_345])
@pytest.mark.parametrize("table", range(5), ids=["outcomes", "status", "plan", "compacted", "freshness"])
def test_a_narrow_terminal_cuts_no_digit_off(table: int, rows: int, width: int) -> None:
    _, page, told = _figures(rows)[table]
    text = shown(page, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert {*told} <= {*text.split()}, "and nothing torn apart"


@pytest.mark.parametrize("rows", [2_012_345, 99_012_345])
def test_eighty_columns_show_a_slice_in_a_line_or_two(rows: int) -> None:
    (_, outcomes, _), (_, states, _), *_ = _figures(rows)
    assert len(shown(states, width=80).splitlines()) == 1 + len(State) + 1
    lines = shown(outcomes, width=80).partition("\n\n")[0].splitlines()
    assert len(lines) <= 1 + 2 * len(Result)


REASON = " ".join(f"word{number}" for number in range(100)) + " " + "x" * 300


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize(
    "table",
    [
        pytest.param(outcomes_page([Outcome(VOD, Result.HELD, message=REASON)]), id="outcomes"),
        pytest.param(Group(*status_screen.not_loaded([status("held", reason=REASON)])), id="status"),
        pytest.param(plan_page([(VOD, REASON)], Estimate(1, None, None, 0, ())), id="plan"),
        pytest.param(checks_page([Check("API", Verdict.PROBLEM, REASON)]), id="checks"),
    ],
)
def test_long_reasons_are_wrapped_and_lose_nothing(table: RenderableType, width: int) -> None:
    text = shown(table, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert REASON.replace(" ", "") in "".join(text.split())


def test_checks_come_with_what_to_do() -> None:
    check = Check("clock", Verdict.WARNING, "an hour behind", "set the clock")
    assert shown(checks_page([check])).splitlines()[1:] == [
        "clock  warning  an hour behind",
        "",
        "  next (clock): set the clock",
    ]


def test_ids_that_people_paste_stay_whole() -> None:
    """Where they do not fit beside each other, a row becomes a block, and each stands beside its name."""
    ids = ["f83e8b6a-4f72-4020-842b-c5fe6358ab67", "e9daa8bb-5035-4a45-8b0f-725467f4906c"]
    table = new_table("date", "type", "content", "customer", ">report (s)")
    table.add_row("2026-11-28", "LIVE", *ids, "1434")
    for width in (60, 80):
        lines = [line.split() for line in shown(table, width=width).splitlines()]
        assert lines[1:3] == [["content", ids[0]], ["customer", ids[1]]]


NOON = datetime(2026, 11, 30, 12, 26, tzinfo=UTC)


@pytest.mark.parametrize("is_shown", [False, True])
def test_progress_is_shown_where_it_is_wanted(is_shown: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100)
    with progress.LiveProgress(console, is_shown=is_shown) as live:
        live.expect(2)
        live.done(Outcome(VOD, Result.LOADED))
    assert ("2026-11-16 VOD loaded" in stream.getvalue()) is is_shown
    assert ("1/2" in stream.getvalue()) is is_shown


def _live_lines(width: int, *steps: Callable[[progress.LiveProgress], None], now_s: float = 0) -> list[str]:
    """What stands on the screen after these steps, made at second 0."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    seconds = [0.0]
    live = progress.LiveProgress(console, is_shown=False, clock=lambda: seconds[0], now=lambda: NOON)
    for step in steps:
        step(live)
    seconds[0] = now_s
    with console.capture() as captured:
        console.print(Group(*live._bar.get_renderables()))
    return re.sub(r"\x1b\[[\d;]*m", "", captured.get()).splitlines()


WAITING = Pause("not published (404)", attempt=3, seconds=120, gives_up_s=900)
RETRYING = Pause("the report API returned 503: " + "busy " * 30, attempt=1, seconds=5)


@pytest.mark.parametrize(
    ("now_s", "when"), [(0, "next check in 2 min"), (100, "next check in 20 s"), (121, "checking")]
)
def test_who_waits_reads_for_what_and_until_when(now_s: float, when: str) -> None:
    lines = _live_lines(120, lambda live: live.expect(1), lambda live: live.pause(VOD, WAITING), now_s=now_s)
    assert lines[1:] == [f"{VOD}: not published (404), {when}, gives up at 12:41"]


def test_a_retry_takes_one_line_which_ends_with_it() -> None:
    steps = (lambda live: live.expect(1), lambda live: live.pause(VOD, RETRYING))
    lines = _live_lines(80, *steps)
    assert lines[1].startswith(f"retrying {VOD}, attempt 2 in 5 s: the report API returned 503: busy")
    assert (len(lines), len(lines[1])) == (2, 80)
    done = _live_lines(80, *steps, lambda live: live.done(Outcome(VOD, Result.LOADED)))
    assert len(done) == 1


@pytest.mark.parametrize(
    ("of", "reached", "now_s", "line"),
    [
        pytest.param(0, 0, 0, "2026-10: copying rows", id="just begun"),
        pytest.param(0, 0, 41.9, "2026-10: copying rows, 41 s", id="of nobody knows how much"),
        pytest.param(
            24_800_000, 12_400_000, 100, "2026-10: copying rows, 12,400,000 of 24,800,000, 100 s", id="half of it"
        ),
    ],
)
def test_what_is_worked_on_has_a_line_until_its_step_is_done(of: int, reached: int, now_s: float, line: str) -> None:
    def begin(live: progress.LiveProgress) -> None:
        live.begin("2026-10: copying rows", of=of)
        live.reach(reached)

    assert _live_lines(60, begin, now_s=now_s) == [line], "and no bar where there are no steps"
    assert _live_lines(60, lambda live: live.expect(2), begin, now_s=now_s)[1:] == [line]
    (bar,) = _live_lines(60, lambda live: live.expect(2), begin, lambda live: live.advance("2026-10 merged"))
    assert bar.startswith("2026-10 merged ")
    assert " 1/2 " in bar


def test_nothing_is_drawn_where_there_is_nothing_to_do() -> None:
    stream = io.StringIO()
    with progress.LiveProgress(Console(file=stream, force_terminal=True, width=80), is_shown=True) as live:
        live.expect(0)
    assert stream.getvalue() == ""


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_bar_does_not_jump(width: int) -> None:
    """Whatever the last result was, what stands to the right of it stays where it is."""
    bars = set()
    for result in Result:
        done = Outcome(VOD, result)
        (line,) = _live_lines(width, lambda live: live.expect(1460), partial(progress.LiveProgress.done, outcome=done))
        assert line.startswith(f"{VOD} {result}")
        assert len(line) <= width
        bars.add(line[len("2026-11-16 LIVE unavailable") :])
    assert len(bars) == 1


@pytest.mark.parametrize(("seconds_each", "told"), [(0.1, "10.0/s"), (30, "2.0/min")])
def test_progress_has_a_rate(seconds_each: float, told: str) -> None:
    now_s = 0.0
    bar = Progress(get_time=lambda: now_s, disable=True)
    task = bar.add_task("slices", total=10)
    assert progress.Speed().render(bar.tasks[task]).plain == ""
    for _ in range(5):
        now_s += seconds_each
        bar.advance(task)
    assert progress.Speed().render(bar.tasks[task]).plain == told
