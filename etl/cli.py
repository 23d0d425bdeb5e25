"""The command line: parse, call one function, map errors to exit codes.

What a command needs is imported when it runs, so that `--help` and `status` start at once.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated, NoReturn

import structlog
import typer

from etl import __version__, logs
from etl.commands import console, looking, trying, working
from etl.environment import PREFIX
from etl.errors import ExitCode, WatchTimeError
from etl.stop import exit_on_signals

app = typer.Typer(
    name="watch-time",
    help="BlendVision One's daily watch-time reports, brought into Postgres.",
    epilog=f"Settings come from {PREFIX}* variables or a .env file here. New here? Try: watch-time demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command; the process ends with a code of `etl.errors.ExitCode`."""
    exit_on_signals()
    logs.configure()
    logs.take_over_stderr()
    try:
        app()
    except SystemExit as end:
        # What the parser refuses it has told already, on stderr.
        if end.code == ExitCode.USAGE:
            _end(ExitCode.USAGE, {"class": "WrongUsage", "message": "the command line is wrong; stderr says in what"})
        raise
    except WatchTimeError as error:
        console.tell(error)
        _end(error.exit_code, console.described(error))
    except Exception:  # noqa: BLE001 - the last line of defence; it ends with the code for bugs
        structlog.get_logger("watch_time").exception("bug")
        message = "a bug in watch-time; the log line above has the traceback"
        typer.secho(f"error: {message}", err=True, fg=typer.colors.RED)
        _end(ExitCode.BUG, {"class": "Bug", "message": message})


def _end(code: ExitCode, error: dict[str, object]) -> NoReturn:
    """End with `code`; who asked for a document gets one in any case."""
    if "--json" in sys.argv:
        console.say(json.dumps({"exit_code": int(code), "error": error}, indent=2))
    raise SystemExit(int(code)) from None


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        console.say(f"watch-time {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Say nothing: the options of all commands stand here."""


for command in (
    working.run,
    working.backfill,
    looking.status,
    looking.revisions,
    looking.explain,
    looking.verify,
    looking.report,
    working.compact,
    looking.doctor,
    working.migrate,
    trying.demo,
    trying.sandbox,
):
    app.command()(command)
