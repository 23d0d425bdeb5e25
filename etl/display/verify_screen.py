"""The page of `verify`: which stored slices match their reports, and the first rows that do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from etl.display.date_ranges import Note
from etl.display.run_tables import slice_cells, state_text, told_of
from etl.display.table_layout import Prose, new_table
from etl.display.terminal import printable
from etl.domain.errors import ExitCode, worst
from etl.domain.pipeline_values import plain
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from etl.diagnostics.verify_against_source import Verdict


def verdicts_page(verdicts: Sequence[Verdict], *, not_tried: int = 0) -> Group:
    """A line per slice; below, what there is to say, the first rows that differ, and the sum."""
    table = new_table("date", "type", "result", ">rows", ">only in report", ">only in table", ">seconds differ")
    for verdict in verdicts:
        differences = (verdict.missing, verdict.surplus, verdict.changed)
        figures_of = [f"{figure:,}" for figure in (verdict.rows, *differences)] if verdict.compared else []
        table.add_row(*slice_cells(verdict.slice), state_text(verdict.word), *figures_of)
    notes = [
        Note((verdict.slice,), verdict.word, verdict.message or _difference(verdict), verdict.next_step)
        for verdict in verdicts
        if verdict.message or verdict.next_step
    ]
    parts: list[RenderableType] = [table, Text()]
    if any(verdict.first for verdict in verdicts):
        parts += [_differences_table(verdicts), Text()]
    if notes:
        parts += [*told_of(notes), Text()]
    return Group(*parts, Prose(Text(_proven(verdicts, not_tried)), rest=2))


def _difference(verdict: Verdict) -> str:
    if verdict.missing or verdict.surplus or verdict.changed:
        return "the stored rows do not match the report"
    return f"the sums in content_daily do not match the rows, for {plural(verdict.wrong_sums, 'content')}"


def _proven(verdicts: Sequence[Verdict], not_tried: int) -> str:
    stored = len(verdicts) + not_tried
    rest = f"; {not_tried} not tried" if not_tried else ""
    equal = sum(1 for verdict in verdicts if verdict.word == "equal")
    if any(verdict.compared for verdict in verdicts):
        matching = "matches its report" if equal == 1 else "match their reports"
        return f"{equal} of {plural(stored, 'stored slice')} {matching}{rest}"
    # Where something else has to be done first, the verdicts say what.
    later = worst(verdict.exit_code for verdict in verdicts) in {ExitCode.OK, ExitCode.TRY_LATER}
    return (
        f"nothing verified: 0 of {plural(stored, 'stored slice')} could be compared with the report{rest}"
        f"{'; try again later' if later else ''}"
    )


def _differences_table(verdicts: Sequence[Verdict]) -> RenderableType:
    """The first rows that differ. Seconds have all their digits here: a difference may be in the last."""
    table = new_table("date", "type", "content", "customer", "streaming type", ">report (s)", ">table (s)")
    for verdict in verdicts:
        for row in verdict.first:
            sides = ("none" if row[side] is None else plain(row[side]) for side in ("report_seconds", "table_seconds"))
            names = (Text(printable(row[name])) for name in ("content_id", "customer_id", "streaming_type"))
            table.add_row(*slice_cells(verdict.slice), *names, *sides)
    return table
