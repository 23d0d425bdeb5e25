"""The command line: parse, call one function, map errors to exit codes.

What a command needs is imported when it runs, so that `--help` and `status` start at once.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from etl import __version__, logs
from etl.errors import ExitCode, WatchTimeError, worst
from etl.redact import redact
from etl.settings import PREFIX, Settings, unknown_variables
from etl.slices import ReportType, target_date
from etl.stop import exit_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from etl.job import Planned
    from etl.outcome import Outcome
    from etl.settings import Need

app = typer.Typer(
    name="watch-time",
    help="BlendVision One's daily watch-time reports, brought into Postgres.",
    epilog=f"Settings come from {PREFIX}* variables or a .env file here. New here? Try: watch-time demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# `status` shows two weeks unless told otherwise: what the daily job touches, and as much again.
_STATUS_DAYS = 14
_NEEDS: tuple[Need, ...] = ("api_token", "org_id", "database_url")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no date; write it like 2026-11-20") from None


_DAY = "YYYY-MM-DD"
_Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of a table.")]


def main() -> None:
    """Run the command; the process ends with a code of `etl.errors.ExitCode`."""
    exit_on_signals()
    logs.configure()
    logs.take_over_stderr()
    try:
        app()
    except WatchTimeError as error:
        _tell(error)
        if "--json" in sys.argv:
            typer.echo(json.dumps({"exit_code": int(error.exit_code), "error": _described(error)}, indent=2))
        raise SystemExit(int(error.exit_code)) from None
    except Exception:  # noqa: BLE001 - the last line of defence; it ends with the code for bugs
        structlog.get_logger("watch_time").exception("bug")
        typer.secho("error: a bug in watch-time; the log line above has the traceback", err=True, fg=typer.colors.RED)
        raise SystemExit(int(ExitCode.BUG)) from None


def _show_version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        typer.echo(f"watch-time {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Say nothing: the options of all commands stand here."""


@app.command()
def run(
    date: Annotated[
        date | None, typer.Option(parser=_day, metavar=_DAY, help="Target date; default: today minus LAG_DAYS.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Load the target date's LIVE and VOD reports, then what the look-back window lacks. The daily job."""
    from etl import job

    trouble = None
    with job.opened(_settings(*_NEEDS)) as opened:
        outcomes = opened.work(opened.target_plan(date))
        try:
            outcomes += opened.work(opened.lookback_plan(date))
        except WatchTimeError as error:
            # What came of the target date is known, and must be told.
            trouble = error
    _finish("run", outcomes, trouble=trouble, as_json=as_json)


@app.command()
def backfill(
    start: Annotated[date, typer.Option(parser=_day, metavar=_DAY, help="First report date.")],
    end: Annotated[date, typer.Option(parser=_day, metavar=_DAY, help="Last report date.")],
    report_type: Annotated[
        ReportType | None, typer.Option("--type", case_sensitive=False, help="One report only; default: both.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask again for loaded slices too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the slices and why; ask nothing.")] = False,
    as_json: _Json = False,
) -> None:
    """Load the slices of a range that are not loaded, oldest first. Killed, it goes on where it was."""
    from etl import job, screens

    if start > end:
        raise typer.BadParameter(f"--start {start} is after --end {end}")
    with job.opened(_settings(*_NEEDS)) as opened:
        types = (report_type,) if report_type else tuple(ReportType)
        plan = opened.backfill_plan(start, end, report_types=types, refresh=refresh)
        if dry_run:
            _show_plan(plan, as_json=as_json)
            return
        console = screens.stderr()
        if console.is_terminal:
            logs.only_warnings()
        with screens.progress(len(plan), console) as advance:
            outcomes = opened.work(plan, on_outcome=advance)
    _finish("backfill", outcomes, as_json=as_json)


@app.command()
def status(
    start: Annotated[
        date | None, typer.Option(parser=_day, metavar=_DAY, help="First date; default: two weeks before the last.")
    ] = None,
    end: Annotated[
        date | None, typer.Option(parser=_day, metavar=_DAY, help="Last date; default: the target date.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Show what the warehouse knows of each slice."""
    from etl import screens, status

    settings = _settings("database_url")
    last = end or target_date(settings.today(), settings.lag_days)
    first = start or last - timedelta(days=_STATUS_DAYS - 1)
    if first > last:
        raise typer.BadParameter(f"--start {first} is after --end {last}")
    statuses = status.read(settings, first, last)
    _show([line.as_json() for line in statuses], lambda: screens.status_page(statuses), as_json=as_json)


@app.command()
def migrate() -> None:
    """Create the tables, or bring them to this version. Safe to run at any time, also several at once."""
    from etl import db, schema

    settings = _settings("database_url")
    with db.opened(settings.require("database_url"), schema=settings.schema_name) as database:
        before, after = schema.migrate(database)
        what = "is at" if before == after else f"went from {before or 'nothing'} to"
        typer.echo(f"schema {settings.schema_name} of {database} {what} version {after}")


@app.command()
def doctor(as_json: _Json = False) -> None:
    """Look at settings, database, API, clock and download host, and say what to do about what is amiss."""
    from etl import doctor, screens

    checks = list(doctor.examine())
    _show([check.as_json() for check in checks], lambda: screens.checks_table(checks), as_json=as_json)
    raise typer.Exit(int(worst(check.exit_code for check in checks)))


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0: any free one.")] = 8080,
    rows: Annotated[int, typer.Option(min=0, help="Rows of a report.")] = 2_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 1,
) -> None:
    """Serve a stand-in for BlendVision's report API, with data of any size, until stopped."""
    from etl.sandbox.demo import serve

    serve(host=host, port=port, rows=rows, seed=seed)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's database is kept.")] = Path("watch-time-demo"),
) -> None:
    """Show the job at work: an embedded Postgres, the sandbox, two weeks of reports. Under a minute."""
    from etl.sandbox.demo import show

    show(folder)


def _settings(*needs: Need) -> Settings:
    """The settings; from here on their secrets are masked in everything that is logged."""
    settings = Settings.load(needs)
    logs.configure(secrets=settings.secrets())
    for name, nearest in unknown_variables().items():
        structlog.get_logger("watch_time").warning("unknown_setting", name=name, did_you_mean=nearest)
    return settings


def _finish(command: str, outcomes: list[Outcome], *, as_json: bool, trouble: WatchTimeError | None = None) -> None:
    """Log the run's line, show its outcomes, and end with the gravest exit code, that of `trouble` included."""
    from etl import job, screens

    codes = [outcome.exit_code for outcome in outcomes] + ([trouble.exit_code] if trouble else [])
    code = worst(codes)
    job.log_summary(command, outcomes, code)
    document = {
        "command": command,
        "exit_code": int(code),
        "error": trouble and _described(trouble),
        "slices": [outcome.as_json() for outcome in outcomes],
    }
    _show(document, lambda: screens.outcomes_table(outcomes), as_json=as_json)
    if trouble:
        _tell(trouble)
    raise typer.Exit(int(code))


def _described(error: WatchTimeError) -> dict[str, object]:
    return {
        "class": type(error).__name__,
        "message": redact(error.message),
        "next_step": redact(error.next_step),
        "exit_code": int(error.exit_code),
    }


def _tell(error: WatchTimeError) -> None:
    typer.secho(redact(f"error: {error.message}"), err=True, fg=typer.colors.RED)
    typer.echo(redact(f"  next: {error.next_step}"), err=True)


def _show_plan(plan: list[Planned], *, as_json: bool) -> None:
    from etl import screens

    lines = [(str(planned.slice.report_date), planned.slice.report_type.value, planned.reason) for planned in plan]
    document = [dict(zip(("report_date", "report_type", "reason"), line, strict=True)) for line in lines]
    _show(document, lambda: screens.plan_table(lines), as_json=as_json)


def _show(document: object, table: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Data to stdout: the document, or the table."""
    from etl import screens

    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        screens.stdout().print(table())
