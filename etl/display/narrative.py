"""What people read in sentences: the story of a slice, and what changed after first publication."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.text import Text

from etl.diagnostics.status import shown_as
from etl.display.terminal import calendar, new_table, note, state_text, status_table
from etl.domain.errors import ExitCode, worst
from etl.domain.report_values import plain
from etl.pipeline.guards import remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from etl.diagnostics.explain import Story
    from etl.diagnostics.status import SliceStatus, Status
    from etl.diagnostics.verify import Verdict
    from etl.domain.slices import Slice
    from etl.warehouse.freshness import Overview
    from etl.warehouse.ledger import Restatement

# So many late slices are named; `status --json` has them all.
_LISTED: Final = 6


def status_page(status: Status) -> Group:
    """The calendar; how fresh the whole is; and the slices one by one."""
    return Group(calendar(status.slices), Text(), *freshness(status.overview), Text(), status_table(status.slices))


def freshness(overview: Overview) -> Iterator[RenderableType]:
    """By report date: what is stored and complete, how long reports usually take; what is missing, and what is late."""
    table = new_table("type", "newest stored", "complete up to", ">first seen after", ">99 % within", ">of dates")
    for fresh in overview.freshness:
        lag = fresh.lag and (in_days(fresh.lag.median), in_days(fresh.lag.p99), f"{fresh.lag.dates:,}")
        dates = (f"{day}" if day else "none" for day in (fresh.newest_stored, fresh.complete_up_to))
        table.add_row(fresh.report_type.value, *dates, *(lag or ()))
    yield table
    if overview.gaps:
        more = f", and {len(overview.gaps) - 1:,} more" if len(overview.gaps) > 1 else ""
        yield Text(f"oldest gap: {overview.gaps[0]}{more}")
    if overview.late:
        first = overview.late[0]
        yield Text.assemble(("late", "red"), f": {_listed(overview.late)}")
        yield Text(f"  why: watch-time explain {first.report_date} --type {first.report_type}")
        yield Text(f"  next: {overview.fetch_late}", style="bold")
        if overview.leave_out_late:
            yield Text(f"  or, if nothing before that date matters, set {overview.leave_out_late}", style="bold")
    if overview.presumed:
        yield Text(f"presumed empty, since the source answers 404: {_listed(overview.presumed)}")
        yield Text(f"  to ask again: {overview.fetch_presumed}")


def in_days(duration: timedelta) -> str:
    """Days with one digit: a report is seen when it is asked for, which is not to the minute."""
    return f"{duration / timedelta(days=1):.1f} days"


def _listed(slices: Sequence[Slice]) -> str:
    more = f" and {len(slices) - _LISTED:,} more" if len(slices) > _LISTED else ""
    return ", ".join(map(str, slices[:_LISTED])) + more


def restatements_page(restatements: Iterable[Restatement], held: Sequence[SliceStatus]) -> Group:
    """A line for every change after first publication; then the slices that are held, and what accepts them."""
    lines = [
        Text(
            f"{change.slice}: {change.seconds_before:,f} s -> {change.seconds_after:,f} s, +{change.rows_inserted:,} "
            f"-{change.rows_deleted:,} ~{change.rows_updated:,} rows (revision {change.revision}, "
            f"{change.loaded_at:%Y-%m-%d %H:%M} UTC)"
        )
        for change in restatements
    ]
    for status in held:
        lines += [
            note(status.slice, status.state, status.reason or ""),
            Text(f"  next: {remedy(status.slice, status.error_code)}", style="bold"),
        ]
    return Group(*(lines or [Text("nothing changed after first publication, and nothing is held")]))


def verdicts_page(verdicts: Sequence[Verdict], *, not_tried: int = 0) -> Group:
    """A line per slice, the first differing rows of each below it; then the sum."""
    lines: list[Text] = []
    for verdict in verdicts:
        figures = f", {verdict.rows:,} rows" if verdict.compared else ""
        if verdict.exit_code and verdict.compared:
            figures += (
                f": {verdict.missing:,} missing, {verdict.surplus:,} surplus, {verdict.changed:,} with other seconds"
            )
        message = f": {verdict.message}" if verdict.message else ""
        style = "red" if verdict.exit_code else "green" if verdict.compared else "yellow"
        lines.append(Text.assemble(f"{verdict.slice} ", (verdict.word, style), figures, message))
        if verdict.next_step:
            lines.append(Text(f"  next: {verdict.next_step}", style="bold"))
        lines += [_told_difference(row) for row in verdict.first]
    return Group(*lines, Text(), Text(_proven(verdicts, not_tried)))


def _proven(verdicts: Sequence[Verdict], not_tried: int) -> str:
    stored = len(verdicts) + not_tried
    rest = f"; {not_tried} not tried" if not_tried else ""
    equal = sum(1 for verdict in verdicts if verdict.word == "equal")
    if any(verdict.compared for verdict in verdicts):
        return f"{equal} of {stored} stored slices equal their reports{rest}"
    # Where something else has to be done first, the verdicts say what.
    later = worst(verdict.exit_code for verdict in verdicts) in {ExitCode.OK, ExitCode.TRY_LATER}
    return (
        f"nothing is proven: not one of {stored} stored slices could be compared with its report{rest}"
        f"{'; try again later' if later else ''}"
    )


def _told_difference(row: Mapping[str, Any]) -> Text:
    sides = [
        "nothing" if row[side] is None else f"{plain(row[side])} s" for side in ("report_seconds", "table_seconds")
    ]
    key = f"content {row['content_id']!r}, customer {row['customer_id']!r}, {_printable(row['streaming_type'])}"
    return Text(f"  {key}: the report has {sides[0]}, the table {sides[1]}")


def stories_page(stories: Iterable[Story]) -> Group:
    """The stories, one after the other."""
    return Group(*(part for story in stories for part in (story_page(story), Text())))


def story_page(story: Story) -> Group:
    """A slice's story, as a person would tell it."""
    record = story.record
    lines = [Text.assemble((f"{story.slice}  ", "bold"), state_text(shown_as(record)))]
    if record and record.revision:
        lines.append(
            Text(f"stored: revision {record.revision}, {record.rows_stored:,} rows, {record.watch_seconds:,f} s")
        )
    if record and record.reason:
        lines.append(Text(f"because: {record.reason}"))
    parts = (
        ("what the checks met", [_told_check(check) for check in story.checks]),
        ("what was accepted", [_told_revision(revision) for revision in story.revisions]),
        ("what was rejected", [_told_reject(reject) for reject in story.rejects]),
        ("what happens next", [Text(f"  {story.next_step}")]),
    )
    for title, told in parts:
        if told:
            lines += [Text(), Text(title, style="bold"), *told]
    return Group(*lines)


def _told_check(check: Mapping[str, Any]) -> Text:
    times = f", {check['times']} times up to {check['last_at']:%Y-%m-%d %H:%M}" if check["times"] > 1 else ""
    message = f": {check['message']}" if check["message"] else ""
    return Text.assemble(f"  {check['first_at']:%Y-%m-%d %H:%M}  ", state_text(check["result"]), f"{times}{message}")


def _told_revision(revision: Mapping[str, Any]) -> Text:
    text = (
        f"  {revision['loaded_at']:%Y-%m-%d %H:%M}  revision {revision['revision']}, sha256 "
        f"{revision['report_sha256'][:12]}, {revision['report_bytes']:,} bytes: "
        f"{revision['seconds_before']:,f} s -> {revision['seconds_after']:,f} s, +{revision['rows_inserted']:,} "
        f"-{revision['rows_deleted']:,} ~{revision['rows_updated']:,} rows, {revision['rows_unchanged']:,} unchanged, "
        f"{revision['rows_merged']:,} merged, {revision['rows_rejected']:,} rejected; "
        f"watch-time {revision['code_version']}"
    )
    return Text(text + (f"; accepted by hand: {revision['overruled']}" if revision["overruled"] else ""))


def _told_reject(reject: Mapping[str, Any]) -> Text:
    return Text(
        f"  sha256 {reject['report_sha256'][:12]}, line {reject['line_number']:,} (of {reject['count']:,} kept): "
        f"{reject['reason']}: {_printable(reject['raw_text'])}"
    )


def _printable(text: str) -> str:
    """Without control characters: a line of a report must not steer the terminal of whoever reads it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
