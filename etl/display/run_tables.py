"""What people see of runs, plans, checks and merged months, as tables; other screens take their words and colours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from etl.diagnostics.status import PRESUMED_EMPTY
from etl.display import number_format
from etl.display.date_ranges import Note, fold, listed, ranges, ranges_by_reason
from etl.display.message_layout import hint
from etl.display.table_layout import Prose, new_table
from etl.domain.errors import ExitCode, with_request_id
from etl.domain.outcome import Result
from etl.domain.plurals import plural
from etl.domain.slices import WHOLE, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rich.console import RenderableType

    from etl.diagnostics.backfill_estimate import Estimate
    from etl.diagnostics.check_result import Check
    from etl.domain.outcome import Outcome
    from etl.domain.slices import Shard, Slice
    from etl.load.compaction import Compacted

# So many ranges are named of what is said of many slices.
_RANGES_NAMED: Final = 3

_STYLES: Final = {
    State.LOADED.value: "green",
    Result.UNCHANGED.value: "green",
    State.EMPTY.value: "dim",
    PRESUMED_EMPTY: "dim",
    State.UNAVAILABLE.value: "yellow",
    Result.WITHDRAWN.value: "yellow",
    State.HELD.value: "magenta",
    State.FAILED.value: "red",
    # The verdicts of `doctor` and `verify`, which take time to import and are not needed for anything else here.
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
    "equal": "green",
    "differs": "red",
    "not compared": "yellow",
}


def outcomes_page(outcomes: Sequence[Outcome], shard: Shard = WHOLE, *, not_tried: int = 0) -> RenderableType:
    """One line per slice: what came of it, and what changed; below, what there is to say about some of them."""
    if not outcomes:
        return _nothing_to_do()
    watch_time = number_format.WatchTime(outcome.watch_seconds for outcome in outcomes)
    table = new_table("date", "type", "result", ">rows", f">watch time ({watch_time.unit})", "rows changed")
    for outcome in outcomes:
        table.add_row(
            *slice_cells(outcome.slice),
            state_text(outcome.result.value),
            number_format.count(outcome.rows),
            watch_time.show(outcome.watch_seconds) if outcome.rows else "",
            _change(outcome),
        )
    parts: list[RenderableType] = [table]
    if notes := list(told_of(note for outcome in outcomes for note in _notes(outcome, not_tried))):
        parts += [Text(), *notes]
    if len(outcomes) + not_tried > 1:
        parts += [Text(), summary(outcomes, shard, not_tried=not_tried)]
    return Group(*parts)


def summary(outcomes: Sequence[Outcome], shard: Shard = WHOLE, *, not_tried: int = 0) -> Prose:
    """How many slices ended in which way, or were not tried, and what came of them."""
    counts = [(result.value, sum(1 for outcome in outcomes if outcome.result is result)) for result in Result]
    written = sum(outcome.change.written for outcome in outcomes if outcome.change)
    read = sum(outcome.report_bytes for outcome in outcomes)
    return Prose(
        Text.assemble(
            f"{len(outcomes) + not_tried:,} slices{_of(shard)}: ",
            counted([*counts, ("not tried", not_tried)]),
            f"; {plural(written, 'row')} written, {number_format.size(read)} of reports read",
        ),
        rest=2,
    )


def counted(counts: Iterable[tuple[str, int]]) -> Text:
    """How many there are in each state, those left out of which there are none."""
    return Text(", ").join(Text.assemble(f"{count:,} ", state_text(state)) for state, count in counts if count)


def checks_page(checks: Sequence[Check]) -> Group:
    """One line per check; below, what to do about those that found something."""
    table = new_table("check", "status", "detail")
    for check in checks:
        table.add_row(check.name, state_text(check.verdict.value), Text(check.detail))
    steps = [
        line for check in checks if check.next_step for line in hint(check.next_step, label=f"next ({check.name})")
    ]
    return Group(table, *([Text(), *steps] if steps else []))


def compacted_page(done: Sequence[Compacted], periods_counted: int) -> RenderableType:
    """One line per month that has one partition now; then for how many days and months customers were counted."""
    told = f"customers counted for {plural(periods_counted, 'period')} (days and settled months)"
    return Group(_compacted(done), *([Text(), Text(told)] if periods_counted else []))


def _compacted(done: Sequence[Compacted]) -> RenderableType:
    if not done:
        return Text("no month to merge: every settled month has one partition already")
    table = new_table("month", "partition", ">partitions before")
    for compacted in done:
        month = compacted.month
        table.add_row(month.month, month.name, f"{compacted.partitions_before:,}")
    return table


def plan_page(plan: Iterable[tuple[Slice, str]], cost: Estimate, shard: Shard = WHOLE) -> Group:
    """The slices that would be worked on, and why, as ranges of dates; then what it will cost."""
    lines: list[RenderableType] = list(reasons(plan))
    return Group(*(lines or [_nothing_to_do()]), Text(), *_cost(cost, shard))


def reasons(slices: Iterable[tuple[Slice, str]], *, indent: int = 0) -> Iterator[Prose]:
    """A line for each range of slices of which the same is said."""
    for range_, reason in ranges_by_reason(slices):
        state, separator, rest = reason.partition(":")
        yield Prose(Text.assemble(f"{range_}: ", state_text(state), separator, rest), first=indent, rest=indent + 2)


def _nothing_to_do() -> Text:
    return Text("nothing to do: every slice in this range is loaded, or in a state that --only leaves out")


def _of(shard: Shard) -> str:
    return f" of shard {shard}" if shard.count > 1 else ""


def _cost(cost: Estimate, shard: Shard) -> Iterator[Prose]:
    slices = f"{plural(cost.slices, 'slice')}{_of(shard)} to request"
    if cost.report_bytes is None or cost.duration is None:
        yield Prose(Text(f"{slices}{'; no estimate: nothing has been loaded yet' if cost.slices else ''}"))
        return
    basis = "the last load" if cost.loads == 1 else f"the last {cost.loads:,} loads"
    size, duration = number_format.size(cost.report_bytes), number_format.duration(cost.duration)
    yield Prose(Text(f"{slices}: about {size} in {duration}, estimated from {basis}"))
    if cost.unknown:
        types = " and ".join(cost.unknown)
        yield Prose(Text(f"the estimate excludes {types}: no report has been loaded yet", style="yellow"))


def told_of(notes: Iterable[Note]) -> Iterator[RenderableType]:
    """Sentences about slices, for below a table: what is said of many alike is said once."""
    for note in fold(list(notes)):
        yield Prose(_about(note), rest=2)
        if note.next_step:
            yield from hint(note.next_step)


def _about(note: Note) -> Text:
    state = (note.state, _STYLES.get(note.state, "yellow"))
    if note.besides:
        return Text(f"{len(note.slices) + note.besides:,} slices: {note.of_all().text}")
    if len(note.slices) == 1:
        return Text.assemble(f"{note.slices[0]} ", state, f": {note.text}")
    found = ranges(note.slices)
    if len(found) == 1:
        return Text.assemble(f"{found[0]} ", state, f": {note.text}")
    return Text.assemble(f"{len(note.slices):,} slices ", state, f": {note.text} ({listed(found, _RANGES_NAMED)})")


def _notes(outcome: Outcome, not_tried: int) -> Iterator[Note]:
    this = (outcome.slice,)
    if outcome.message:
        message = with_request_id(outcome.message, outcome.request_id)
        besides = not_tried if outcome.exit_code is ExitCode.CREDENTIALS_REFUSED else 0
        yield Note(this, outcome.result.value, message, outcome.next_step, besides)
    elif outcome.next_step:
        yield Note(this, outcome.result.value, "see below", outcome.next_step)
    for warning in outcome.warnings:
        if warning != outcome.message:
            yield Note(this, "warning", warning)


def slice_cells(slice_: Slice) -> tuple[str, str]:
    """A slice's date and type, for the first two columns of a table."""
    return f"{slice_.report_date:%Y-%m-%d}", slice_.report_type.value


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state, style=style_of(re.split("[,:]", state)[0]))


def style_of(state: str) -> str:
    """The colour of a state."""
    return _STYLES.get(state, "cyan")


def _change(outcome: Outcome) -> str:
    if outcome.change is None:
        return ""
    if outcome.revision == 1 and outcome.change.inserted == outcome.change.stored:
        return "first load"
    return rows_changed(outcome.change.inserted, outcome.change.deleted, outcome.change.updated)


def rows_changed(inserted: int, deleted: int, updated: int) -> str:
    """How many rows came, went and changed."""
    return f"+{inserted:,} -{deleted:,} ~{updated:,}"
