"""The page of `explain`: the history of a slice."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.text import Text

from etl.diagnostics.status import NEVER_TRIED, shown_as
from etl.display import number_format
from etl.display.message_layout import hint
from etl.display.run_tables import rows_changed, state_text
from etl.display.table_layout import Prose, new_table
from etl.display.terminal import printable
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from etl.diagnostics.explain import Story

# Enough of a hash to tell a slice's reports apart.
_SHA_SHOWN: Final = 8


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
        table.add_row(f"{row['line_number']:,}", Text(row["reason"]), Text(printable(row["raw_text"])))
    return table
