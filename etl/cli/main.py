"""The command line: parse, call one function, map errors to exit codes.

What a command needs is imported when it runs, so that `--help` and `status` start at once.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, Final, NoReturn

import structlog
import typer

from etl import __version__
from etl.cli import (
    archive_command,
    diagnostics_commands,
    load_commands,
    output,
    sandbox_commands,
    setup_commands,
    sql_command,
)
from etl.config.environment import PREFIX
from etl.domain.errors import ExitCode, WatchTimeError
from etl.runtime import logs
from etl.runtime.cancellation import exit_on_signals

# What the parser's library ends with where a question is answered by Ctrl-D; and what Ctrl-C ends with.
_GIVEN_UP: Final = 1
_INTERRUPTED: Final = 130

app = typer.Typer(
    name="watch-time",
    help="Load BlendVision One's daily watch-time reports into Postgres.",
    epilog=f"Settings come from {PREFIX}* environment variables, or from .env in the current directory. New here? Try "
    "watch-time demo, then watch-time init.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def main() -> None:
    """Run the command, and exit with a code of `etl.domain.errors.ExitCode`."""
    exit_on_signals()
    output.open_streams()
    logs.configure()
    logs.take_over_stderr()
    try:
        _run()
    except SystemExit as end:
        lost = output.lost_output()
        if lost is None:
            raise
        output.tell(lost)
        # Any other code is as grave or graver.
        raise SystemExit(end.code or int(lost.exit_code)) from None


def _run() -> None:
    try:
        PROGRAM()
    except SystemExit as end:
        # What the parser refuses it has told already, on stderr.
        if end.code == ExitCode.USAGE:
            _end(ExitCode.USAGE, {"class": "WrongUsage", "message": "wrong command line; see stderr"})
        if end.code == _GIVEN_UP:
            raise SystemExit(_INTERRUPTED) from None
        raise
    except WatchTimeError as error:
        output.tell(error)
        _end(error.exit_code, output.described(error))
    except Exception:  # noqa: BLE001 - the last line of defence; it ends with the code for bugs
        structlog.get_logger("watch_time").exception("bug")
        message = "this is a bug in watch-time; the traceback is in the log line above"
        typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
        _end(ExitCode.BUG, {"class": "Bug", "message": message})


def _end(code: ExitCode, error: dict[str, object]) -> NoReturn:
    """Exit with `code`; with --json, always print a document."""
    if "--json" in sys.argv:
        output.say(json.dumps({"exit_code": int(code), "error": error}, indent=2))
    raise SystemExit(int(code)) from None


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        output.say(f"watch-time {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Declare the options of the program itself."""


# Each command, its line in the list of commands, and examples that run unchanged.
_COMMANDS: Final = (
    (
        setup_commands.init,
        "Prompt for token, organization and database; write .env.",
        ("init", "init --token-file token --org-id my-org --database-url embedded:warehouse --yes"),
    ),
    (load_commands.run, "Load what is due, missing or restated. Run it on a schedule.", ("run", "run --json")),
    (
        load_commands.backfill,
        "Load a range of dates, oldest first.",
        (
            "backfill --start 2026-01-01 --end 2026-03-31 --dry-run",
            "backfill --start 2026-01-01 --end 2026-03-31 --yes",
            "backfill --start 2026-01-15 --end 2026-01-15 --type VOD --refresh",
            "backfill --start 2026-01-15 --end 2026-01-15 --type VOD --reload",
            "backfill --start 2025-01-01 --end 2025-12-31 --yes --shard 0/4",
            "backfill --start 2026-04-01 --end 2026-04-07 --dask local --concurrency 4",
            "backfill --from-archive",
        ),
    ),
    (
        diagnostics_commands.status,
        "Show what is loaded, what is missing, and how fresh it is.",
        ("status", "status --check", "status --start 2026-01-01 --end 2026-01-31"),
    ),
    (
        diagnostics_commands.revisions,
        "List restated and held reports.",
        ("revisions", "revisions --start 2026-01-01"),
    ),
    (
        diagnostics_commands.explain,
        "Show the history of one date.",
        ("explain 2026-01-15", "explain 2026-01-15 --type VOD"),
    ),
    (
        diagnostics_commands.verify,
        "Compare stored slices with their reports, row by row.",
        (
            "verify --start 2026-01-01 --end 2026-01-31",
            "verify --start 2026-01-15 --end 2026-01-15 --type VOD --file report.csv",
        ),
    ),
    (
        diagnostics_commands.report,
        "Summarize the warehouse in an HTML page or an image.",
        ("report --output watch-time.html", "report --output watch-time.png"),
    ),
    (
        sql_command.sql,
        "Open psql, or run a query.",
        (
            'sql "SELECT report_date, sum(watch_seconds) FROM watch_time_daily GROUP BY 1 ORDER BY 1"',
            'sql "SELECT title FROM content" --json',
        ),
    ),
    (load_commands.compact, "Merge each settled month into one partition.", ("compact",)),
    (
        archive_command.archive,
        "Compare the archive with the ledger; --sweep cleans up.",
        ("archive", "archive --sweep"),
    ),
    (diagnostics_commands.doctor, "Check everything that a run depends on.", ("doctor",)),
    (setup_commands.migrate, "Create the tables, or migrate them to this version.", ("migrate",)),
    (
        sandbox_commands.demo,
        "Try watch-time without an account or a database.",
        ("demo", "demo --folder /tmp/demo"),
    ),
    (
        sandbox_commands.sandbox,
        "Serve a local mock of BlendVision's report API.",
        ("sandbox", "sandbox --port 0 --rows 100000"),
    ),
)
for _command, _line, _examples in _COMMANDS:
    # click fills paragraphs, but for those that begin with this mark.
    _shown = "\n".join(("\b", "Examples:", *(f"  watch-time {example}" for example in _examples)))
    app.command(short_help=_line, epilog=_shown)(_command)

PROGRAM: Final = typer.main.get_command(app)
"""All commands with their options."""
