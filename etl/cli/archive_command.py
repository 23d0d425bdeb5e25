"""The command that checks and cleans up the archive."""

from __future__ import annotations

from typing import Annotated

import typer

from etl.cli import options, output


def archive(
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Finish what a crash left unfinished, and delete unreferenced files.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Compare the archive with the ledger: what is complete, missing, unfinished or unreferenced."""
    from etl.archive import audit
    from etl.archive.archive import open_archive
    from etl.display import archive_screen
    from etl.warehouse import schema

    settings = output.settings("org_id", "database_url", "archive_url")
    with schema.open_checked(settings) as database, output.live_progress() as live:
        live.begin(f"listing {settings.archive_url}")
        opened = open_archive(settings, database.stop)
        found, removed = audit.audit_archive(database, opened, live), list[str]()
        if sweep:
            removed = audit.sweep(database, opened, found, live)
            found = audit.audit_archive(database, opened, live)
    output.show(
        {**found.as_json(), "removed": removed}, lambda: archive_screen.audit_page(found, removed), as_json=as_json
    )
    raise typer.Exit(int(found.exit_code))
