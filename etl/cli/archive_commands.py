"""The command that looks at the archive, and mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli import options, output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from etl.archive.audit import Audit

# Of each kind. A warehouse that had no archive for years has thousands of slices that are not in it.
_SHOWN = 5


def archive(
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Finish what a crash left unfinished, and remove files nothing refers to.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compare the archive with the ledger: what is whole, missing, unfinished, and what nothing refers to."""
    from etl.archive import audit
    from etl.archive.archive import open_archive
    from etl.runtime.cancellation import Stop
    from etl.warehouse import schema
    from etl.warehouse.connection import open_warehouse

    settings, stop = output.settings("org_id", "database_url", "archive_url"), Stop()
    with open_warehouse(settings, stop=stop) as database:
        database.run(lambda connection: schema.require_head(database, connection))
        database.run(lambda connection: schema.require_owner(database, connection, settings.require("org_id")))
        opened = open_archive(settings, stop)
        found, removed = audit.audit_archive(database, opened), list[str]()
        if sweep:
            removed = audit.sweep(database, opened, found, stop)
            found = audit.audit_archive(database, opened)
    output.show({**found.as_json(), "removed": removed}, lambda: _page(found, removed), as_json=as_json)
    raise typer.Exit(int(found.exit_code))


def _page(found: Audit, removed: Sequence[str]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    lines = [f"{found.url}: {found.whole:,} of {found.revisions:,} accepted revisions are archived whole"]
    lines += _told(
        "damaged: files of committed revisions are lost",
        [f"{key}: {name}" for key, name in found.damaged],
        "bring them back from the store's own versions or backups",
    )
    lines += _told(
        "unknown: committed revisions that this warehouse does not know",
        [str(key) for key in found.unknown],
        "the next run restores the last one of a slice, if the source still has its report; for the others, and for a "
        "new database, type: watch-time backfill --from-archive",
    )
    lines += _told(
        "unfinished: readers of the archive do not see the newest revision yet",
        [str(slice_) for slice_ in found.unfinished],
        "the next run finishes it, or: watch-time archive --sweep",
    )
    dates = [key.slice.report_date for key in found.unarchived]
    lines += _told(
        "not archived: slices that were loaded without the archive",
        [str(key) for key in found.unarchived],
        f"for what the source has still, type: watch-time backfill --refresh --start {min(dates)} --end {max(dates)}"
        if dates
        else "",
    )
    lines += _told(
        "not archived: earlier revisions that were replaced before there was an archive; nothing brings them back",
        [str(key) for key in found.superseded],
    )
    lines += _told(
        "nothing refers to files of runs that were killed or rolled back, or are at work now",
        [f"{file.name}: {file.size_bytes:,} bytes, {file.age_s / 3600:.1f} h old" for file in found.unreferenced],
        "watch-time archive --sweep removes what is not at work",
    )
    lines += _told("not of watch-time, and left alone", found.foreign)
    lines += _told("removed", removed)
    return Group(*(Text(line) for line in lines))


def _told(what: str, items: Sequence[str], next_step: str = "") -> list[str]:
    """A heading with the number of items, the first of them, and what to do; nothing where there is none."""
    if not items:
        return []
    told = [f"{what} ({len(items):,})", *(f"  {item}" for item in items[:_SHOWN])]
    if len(items) > _SHOWN:
        told.append(f"  and {len(items) - _SHOWN:,} more, which --json lists")
    return told + ([f"  next: {next_step}"] if next_step else [])
