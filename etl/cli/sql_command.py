"""The command that queries the warehouse with SQL."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from etl.cli import options, output


def sql(
    statement: Annotated[
        str | None, typer.Argument(metavar="STATEMENT", help="SQL statement; default: open psql.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, metavar="FILE", help="Run a file of statements with psql."),
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Allow changes to the warehouse.")] = False,
    as_json: options.Json = False,
) -> None:
    """Open psql on the configured warehouse, or run a statement or a file. Read-only by default.

    The search path is the configured schema. Results are printed as a table, or with --json as an array of objects.
    """
    from etl.diagnostics import sql_runner
    from etl.display import query_table

    if statement and file:
        raise typer.BadParameter("give a statement or --file, not both")
    if as_json and not statement:
        raise typer.BadParameter("--json needs a statement")
    settings = output.settings("database_url")
    if statement is None:
        raise typer.Exit(sql_runner.psql(settings, file, writable=write))
    with output.live_progress() as live:
        live.begin("running the statement")
        result = sql_runner.run(settings, statement, writable=write)
    output.show(result.as_json(), lambda: query_table.result_page(result), as_json=as_json)
