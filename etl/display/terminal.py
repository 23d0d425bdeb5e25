"""What people see on a terminal: tables of outcomes and states. `progress` has the bar of long work.

Data goes to stdout; everything that only accompanies it goes to stderr.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rich.console import Console, Group
from rich.filesize import decimal as _size
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from etl.diagnostics.status import PRESUMED_EMPTY, SIGNS
from etl.domain.errors import with_request_id
from etl.domain.outcome import Result
from etl.domain.slices import WHOLE, State, slices_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date
    from decimal import Decimal

    from rich.console import ConsoleOptions, RenderableType, RenderResult

    from etl.diagnostics.doctor import Check
    from etl.diagnostics.estimate import Estimate
    from etl.diagnostics.status import SliceStatus
    from etl.domain.outcome import Outcome
    from etl.domain.slices import Shard, Slice
    from etl.load.compaction import Compacted

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600

# What rich takes where there is neither a terminal nor COLUMNS.
_WIDTH_WHERE_UNKNOWN: Final = 80

# Around a cell: above, right, below, left.
_SPACIOUS: Final = (0, 1, 0, 1)
_TIGHT: Final = (0, 1, 0, 0)
# Wider than any table.
_ANY_WIDTH: Final = 100_000

_STYLES: Final = {
    State.LOADED.value: "green",
    Result.UNCHANGED.value: "green",
    State.EMPTY.value: "dim",
    PRESUMED_EMPTY: "dim",
    State.UNAVAILABLE.value: "yellow",
    Result.WITHDRAWN.value: "yellow",
    State.HELD.value: "magenta",
    State.FAILED.value: "red",
    # The verdicts of `doctor`, which takes time to import and is not needed for anything else here.
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}


def stdout() -> Console:
    """The console for data: as wide as the terminal or COLUMNS says, else wide enough for a reason in one line."""
    console = Console(highlight=False)
    unknown = not console.is_terminal and console.width == _WIDTH_WHERE_UNKNOWN
    return Console(highlight=False, width=160) if unknown else console


def stderr() -> Console:
    """The console for what accompanies the data."""
    return Console(stderr=True, highlight=False)


def outcomes_table(outcomes: Sequence[Outcome], shard: Shard = WHOLE, *, not_tried: int = 0) -> RenderableType:
    """One line per slice: what came of it, and what changed; below, what there is to say about some of them."""
    if not outcomes:
        return _nothing_to_do()
    table = new_table("date", "type", "result", ">rows", ">watch time (s)", "changed")
    for outcome in outcomes:
        table.add_row(
            f"{outcome.slice.report_date:%Y-%m-%d}",
            outcome.slice.report_type.value,
            state_text(outcome.result.value),
            _count(outcome.rows),
            _seconds(outcome.watch_seconds, outcome.rows),
            _change(outcome),
        )
    notes = [note for outcome in outcomes for note in _notes(outcome)]
    sums = [Text(), summary(outcomes, shard, not_tried=not_tried)] if len(outcomes) + not_tried > 1 else []
    return Group(_with_notes(table, notes), *sums)


def summary(outcomes: Sequence[Outcome], shard: Shard = WHOLE, *, not_tried: int = 0) -> Text:
    """How many slices ended in which way, or were not tried, and what came of them."""
    counts = [(result.value, sum(1 for outcome in outcomes if outcome.result is result)) for result in Result]
    ends = Text(", ").join(
        Text.assemble(f"{count:,} ", state_text(end)) for end, count in [*counts, ("not tried", not_tried)] if count
    )
    written = sum(outcome.change.written for outcome in outcomes if outcome.change)
    read = sum(outcome.report_bytes for outcome in outcomes)
    return Text.assemble(
        f"{len(outcomes) + not_tried:,} slices{_of(shard)}: ",
        ends,
        f"; {written:,} rows written, {_size(read)} of reports read",
    )


def status_table(statuses: Sequence[SliceStatus]) -> Group:
    """One line per slice: what the warehouse knows of it; below, the reasons where there are any."""
    table = new_table("date", "type", "state", ">rev.", ">rows", ">watch time (s)", "loaded at (UTC)")
    for status in statuses:
        table.add_row(
            f"{status.slice.report_date:%Y-%m-%d}",
            status.slice.report_type.value,
            state_text(status.shown_as),
            _count(status.revision),
            _count(status.rows),
            _seconds(status.watch_seconds, status.rows),
            f"{status.loaded_at:%Y-%m-%d %H:%M}" if status.loaded_at else "",
        )
    reasons = [note(status.slice, status.shown_as, status.reason) for status in statuses if status.reason]
    checks = [note(status.slice, "last check", status.last_check) for status in statuses if status.last_check]
    return _with_notes(table, [*reasons, *checks])


def calendar(statuses: Sequence[SliceStatus]) -> Group:
    """A line per week, a cell per date with a sign for LIVE and one for VOD; then what the signs mean."""
    states = {status.slice: status.shown_as for status in statuses}
    days = sorted({slice_.report_date for slice_ in states})
    table = new_table("week of", *_WEEKDAYS)
    for monday in sorted({day - timedelta(days=day.weekday()) for day in days}):
        week = [monday + timedelta(days=offset) for offset in range(len(_WEEKDAYS))]
        table.add_row(f"{monday:%Y-%m-%d}", *(_cell(day, states) for day in week))
    present = [state for state in SIGNS if state in states.values()]
    legend = Text("  ").join(
        Text.assemble((SIGNS[state], _STYLES.get(state, "cyan")), f" {state}") for state in present
    )
    return Group(table, Text(), Text.assemble("of a date LIVE, then VOD:  ", legend))


def checks_table(checks: Iterable[Check]) -> Table:
    """One line per check, and what to do about it."""
    table = new_table("check", "verdict", "why")
    for check in checks:
        why = Text(check.detail)
        if check.next_step:
            why.append(f"\nnext: {check.next_step}", style="bold")
        table.add_row(check.name, state_text(check.verdict.value), why)
    return table


def compacted_table(done: Sequence[Compacted]) -> RenderableType:
    """One line per month that has one partition now."""
    if not done:
        return Text("no settled month has slices in partitions of their own")
    table = new_table("month", "partition", ">partitions before")
    for compacted in done:
        month = compacted.month
        table.add_row(f"{month.start.report_date:%Y-%m}", month.name, f"{compacted.partitions_before:,}")
    return table


def plan_page(plan: Sequence[tuple[str, str, str]], cost: Estimate, shard: Shard = WHOLE) -> Group:
    """One line per slice that would be worked on: date, type, why; then what it will cost."""
    return Group(plan_table(plan) if plan else _nothing_to_do(), Text(), *_cost(cost, shard))


def _nothing_to_do() -> Text:
    return Text("nothing to do: none of the slices asked for is in a wanted state")


def _of(shard: Shard) -> str:
    return f" of shard {shard}" if shard.count > 1 else ""


def _cost(cost: Estimate, shard: Shard) -> Iterator[Text]:
    slices = f"{cost.slices:,} {'slice' if cost.slices == 1 else 'slices'}{_of(shard)} to ask for"
    if cost.report_bytes is None or cost.duration is None:
        yield Text(f"{slices}{'; no load was timed here yet to estimate from' if cost.slices else ''}")
        return
    basis = "1 load" if cost.loads == 1 else f"{cost.loads:,} loads"
    yield Text(f"{slices}: about {_size(cost.report_bytes)} in {_duration(cost.duration)}, going by the last {basis}")
    if cost.unknown:
        types = " and ".join(cost.unknown)
        yield Text(f"not counted is {types}, of which no load was timed here yet", style="yellow")


def plan_table(plan: Iterable[tuple[str, str, str]]) -> Table:
    """One line per slice that would be worked on: date, type, why."""
    table = new_table("date", "type", "why")
    for date, report_type, why in plan:
        table.add_row(date, report_type, Text(why))
    return table


def _cell(day: date, states: Mapping[Slice, str]) -> Text:
    known = [states.get(slice_) for slice_ in slices_of([day])]
    if not any(known):
        return Text()
    signs = [(SIGNS[state], _STYLES.get(state, "cyan")) if state else (" ", "") for state in known]
    return Text.assemble(f"{day.day:>2} ", *signs)


def _with_notes(table: Table, notes: Sequence[Text]) -> Group:
    return Group(table, *([Text(), *notes] if notes else []))


def _notes(outcome: Outcome) -> Iterator[Text]:
    if outcome.message:
        yield note(outcome.slice, outcome.result.value, with_request_id(outcome.message, outcome.request_id))
    for warning in outcome.warnings:
        yield note(outcome.slice, "warning", warning)
    if outcome.next_step:
        yield Text(f"  next: {outcome.next_step}", style="bold")


def note(slice_: Slice, state: str, text: str) -> Text:
    """A sentence about a slice, for below a table."""
    return Text.assemble(f"{slice_} ", (state, _STYLES.get(state, "yellow")), f": {text}")


class _Table(Table):
    """A table with two spaces between its columns; with one where the terminal has no room for two."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Render it for the width at hand."""
        self.padding = _SPACIOUS
        if Measurement.get(console, options.update_width(_ANY_WIDTH), self).maximum > options.max_width:
            self.padding = _TIGHT
        yield from super().__rich_console__(console, options)


def new_table(*columns: str) -> Table:
    """Columns that begin with `>` are aligned to the right.

    Every column may be folded, because whatever may not is cut off where there is no room: a number without its last
    digit looks like another number.
    """
    table = _Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", overflow="fold")
    return table


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=_STYLES.get(state, "cyan"))


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _seconds(seconds: Decimal, rows: int) -> str:
    return f"{seconds:,f}" if rows else ""


def _duration(duration: timedelta) -> str:
    """Rounded as a person would: an estimate is no stopwatch."""
    seconds = duration.total_seconds()
    if seconds < _MINUTE_S:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOUR_S * 2 else f"{seconds / _HOUR_S:.1f} h"


def _change(outcome: Outcome) -> str:
    if outcome.change is None:
        return ""
    change = outcome.change
    if outcome.revision == 1:
        return "first load"
    return f"+{change.inserted:,} -{change.deleted:,} ~{change.updated:,}"
