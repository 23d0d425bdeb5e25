"""The page of `archive`: what is archived, and what is damaged, missing, unfinished or unreferenced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from etl.display.message_layout import hint
from etl.display.table_layout import Prose
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from etl.archive.audit import Audit

# Of each kind. A warehouse that had no archive for years has thousands of slices that are not in it.
_SHOWN: Final = 5


def audit_page(found: Audit, removed: Sequence[str]) -> RenderableType:
    """What is archived, and of each kind of trouble the first few cases and what to do about them."""
    first = f"{found.url}: {found.whole:,} of {plural(found.revisions, 'accepted revision')} fully archived"
    lines: list[RenderableType] = [Prose(Text(first))]
    lines += _told(
        "damaged: files of committed revisions are missing",
        [f"{key}: {name}" for key, name in found.damaged],
        "restore them from the store's versions or backups",
    )
    lines += _told(
        "unknown: committed revisions that are not in this warehouse",
        [str(key) for key in found.unknown],
        "the next run restores the newest one of each slice, if the API still has its report; for the others, and for "
        "a new database: `watch-time backfill --from-archive`",
    )
    lines += _told(
        "unfinished: readers of the archive do not see the newest revision yet",
        [str(slice_) for slice_ in found.unfinished],
        "the next run finishes them; to finish them now: `watch-time archive --sweep`",
    )
    dates = [key.slice.report_date for key in found.unarchived]
    lines += _told(
        "not archived: slices that were loaded without the archive",
        [str(key) for key in found.unarchived],
        f"archive those that the API still has: `watch-time backfill --start {min(dates)} --end {max(dates)} --refresh`"
        if dates
        else "",
    )
    lines += _told(
        "not archived: earlier revisions, replaced before the archive was set up; they cannot be restored",
        [str(key) for key in found.superseded],
    )
    lines += _told(
        "unreferenced: files of runs that were killed, rolled back or are still running",
        [
            f"{file.name}: {plural(file.size_bytes, 'byte')}, {file.age_s / 3600:.1f} h old"
            for file in found.unreferenced
        ],
        "remove those of runs that have ended: `watch-time archive --sweep`",
    )
    lines += _told("foreign: not written by watch-time, left alone", found.foreign)
    lines += _told("removed", removed)
    return Group(*lines)


def _told(what: str, items: Sequence[str], next_step: str = "") -> Iterator[RenderableType]:
    """A heading with the number of items, the first of them, and what to do; nothing where there is none."""
    if not items:
        return
    yield Prose(Text(f"{what} ({len(items):,})"), rest=2)
    for item in items[:_SHOWN]:
        yield Prose(Text(item), first=2, rest=4)
    if len(items) > _SHOWN:
        yield Text(f"  and {len(items) - _SHOWN:,} more; use --json to list them all")
    if next_step:
        yield from hint(next_step)
