"""The pages about slices: what was restated or is held, what `verify` found, and the history of one."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.text import Text

from etl.diagnostics.status import NEVER_TRIED, shown_as
from etl.display import number_format
from etl.display.date_ranges import Note
from etl.display.hints import hint
from etl.display.run_tables import rows_changed, slice_cells, state_text, told_of
from etl.display.table_layout import Prose, new_table
from etl.domain.errors import ExitCode, worst
from etl.domain.pipeline_values import plain
from etl.domain.plurals import plural
from etl.pipeline.guards import remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from etl.diagnostics.explain import Story
    from etl.diagnostics.status import SliceStatus
    from etl.diagnostics.verify import Verdict
    from etl.warehouse.revisions import Restatement

# Enough of a hash to tell a slice's reports apart.
_SHA_SHOWN: Final = 8


def restatements_page(restatements: Sequence[Restatement], held: Sequence[SliceStatus]) -> Group:
    """A line for every change after first publication; then the slices that are held, and what accepts them."""
    parts: list[RenderableType] = []
    if restatements:
        watch_time = number_format.WatchTime(
            seconds for change in restatements for seconds in (change.seconds_before, change.seconds_after)
        )
        unit = watch_time.unit
        table = new_table(
            "date", "type", ">revision", f">before ({unit})", f">after ({unit})", "rows changed", "=loaded at (UTC)"
        )
        for change in restatements:
            table.add_row(
                *slice_cells(change.slice),
                f"{change.revision:,}",
                watch_time.show(change.seconds_before),
                watch_time.show(change.seconds_after),
                rows_changed(change.rows_inserted, change.rows_deleted, change.rows_updated),
                number_format.minute(change.loaded_at),
            )
        parts.append(table)
    notes = [
        Note((status.slice,), status.state, status.reason or "", remedy(status.slice, status.error_code))
        for status in held
    ]
    if notes:
        parts += [*([Text()] if parts else []), *told_of(notes)]
    return Group(*(parts or [Text("nothing was restated, and nothing is held")]))


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
            names = (Text(_printable(row[name])) for name in ("content_id", "customer_id", "streaming_type"))
            table.add_row(*slice_cells(verdict.slice), *names, *sides)
    return table


def stories_page(stories: Iterable[Story]) -> Group:
    """The stories, one after the other."""
    return Group(*(part for story in stories for part in (story_page(story), Text())))


def story_page(story: Story) -> Group:
    """A slice's history: what is stored, and each check, revision and rejected line; then what happens next."""
    record = story.record
    state = shown_as(record) if record else NEVER_TRIED
    lines: list[RenderableType] = [Text.assemble((f"{story.slice}  ", "bold"), state_text(state))]
    if record and record.revision:
        watched = number_format.WatchTime([record.watch_seconds]).with_unit(record.watch_seconds)
        lines.append(Text(f"stored: revision {record.revision}, {plural(record.rows_stored, 'row')}, {watched}"))
    if record and record.reason:
        lines.append(Prose(Text(f"reason: {record.reason}"), rest=2))
    parts: list[tuple[str, Sequence[object], Iterable[RenderableType]]] = [
        ("Checks", story.checks, [_checks_table(story.checks)]),
        ("Accepted revisions", story.revisions, [_revisions_table(story.revisions), *_overridden(story.revisions)]),
    ]
    for sha256, found in groupby(story.rejects, lambda row: str(row["report_sha256"])):
        rejects = list(found)
        parts.append((_rejects_title(sha256, rejects), rejects, [_rejects_table(rejects)]))
    for title, rows, told in parts:
        if rows:
            lines += [Text(), Text(title, style="bold"), *told]
    return Group(*lines, Text(), *hint(story.next_step))


def _checks_table(checks: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = new_table("=first (UTC)", "=last (UTC)", ">count", "result", "message")
    for check in checks:
        last = number_format.minute(check["last_at"]) if check["times"] > 1 else ""
        message = Text(check["message"] or "")
        table.add_row(
            number_format.minute(check["first_at"]), last, f"{check['times']:,}", state_text(check["result"]), message
        )
    return table


def _revisions_table(revisions: Sequence[Mapping[str, Any]]) -> RenderableType:
    watch_time = number_format.WatchTime(row[side] for row in revisions for side in ("seconds_before", "seconds_after"))
    table = new_table(
        ">revision",
        "=loaded at (UTC)",
        f">watch time ({watch_time.unit})",
        "=rows changed",
        ">merged",
        ">rejected",
        "sha256",
    )
    for row in revisions:
        table.add_row(
            f"{row['revision']:,}",
            number_format.minute(row["loaded_at"]),
            watch_time.show(row["seconds_after"]),
            rows_changed(row["rows_inserted"], row["rows_deleted"], row["rows_updated"]),
            f"{row['rows_merged']:,}",
            f"{row['rows_rejected']:,}",
            row["report_sha256"][:_SHA_SHOWN],
        )
    return table


def _overridden(revisions: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    for row in revisions:
        if row["overruled"]:
            yield Prose(Text(f"revision {row['revision']} was accepted by hand: {row['overruled']}"), rest=2)


def _rejects_title(sha256: str, rejects: Sequence[Mapping[str, Any]]) -> str:
    total, shown = rejects[0]["count"], len(rejects)
    count = f"{total:,}" if shown == total else f"the first {shown:,} of {total:,}"
    return f"Rejected lines of report {sha256[:_SHA_SHOWN]}: {count}"


def _rejects_table(rejects: Sequence[Mapping[str, Any]]) -> RenderableType:
    table = new_table(">line", "reason", "text")
    for row in rejects:
        table.add_row(f"{row['line_number']:,}", Text(row["reason"]), Text(_printable(row["raw_text"])))
    return table


def _printable(text: str) -> str:
    """Without control characters: a line of a report must not steer the terminal of whoever reads it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
