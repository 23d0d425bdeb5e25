"""The command that looks at the archive, and mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from etl.commands import console, options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from etl.archive.audit import Audit


def archive(
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Finish what a crash left unfinished, and remove files nothing refers to.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compare the archive with the ledger: what is whole, missing, unfinished, and what nothing refers to."""
    from etl import db, schema
    from etl.archive import audit, keeping
    from etl.stop import Stop

    settings, stop = console.settings("org_id", "database_url", "archive_url"), Stop()
    with db.opened(settings.require("database_url"), schema=settings.schema_name, stop=stop) as database:
        database.run(lambda connection: schema.require_head(database, connection))
        database.run(lambda connection: schema.require_owner(database, connection, settings.require("org_id")))
        opened = keeping.opened(settings, stop)
        found, removed = audit.examine(database, opened), list[str]()
        if sweep:
            removed = audit.sweep(database, opened, found, stop)
            found = audit.examine(database, opened)
    console.show({**found.as_json(), "removed": removed}, lambda: _page(found, removed), as_json=as_json)
    raise typer.Exit(int(found.exit_code))


def _page(found: Audit, removed: Sequence[str]) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    lines = [f"{found.url}: {found.whole:,} of {found.revisions:,} accepted revisions are archived whole"]
    lines += [
        f"damaged: {key} lacks {name}; bring it back from the store's own versions" for key, name in found.damaged
    ]
    lines += [
        f"not archived: {key}, loaded without the archive; if the source has it still: watch-time backfill --refresh "
        f"--start {key.slice.report_date} --end {key.slice.report_date} --type {key.slice.report_type}"
        for key in found.unarchived
    ]
    lines += [
        f"unknown to this warehouse: {key}; if it is to be rebuilt: watch-time backfill --from-archive"
        for key in found.unknown
    ]
    lines += [
        f"unfinished: {slice_}; the next run, or watch-time archive --sweep, finishes it" for slice_ in found.unfinished
    ]
    lines += [
        f"nothing refers to {file.name}: {file.size_bytes:,} bytes, {file.age_s / 3600:.1f} h old; "
        "watch-time archive --sweep removes it"
        for file in found.unreferenced
    ]
    lines += [f"not of watch-time, and left alone: {name}" for name in found.strangers]
    lines += [f"removed {name}" for name in removed]
    return Group(*(Text(line) for line in lines))
