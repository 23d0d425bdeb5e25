"""The command line: parse, call one function, map errors to exit codes.

What a command needs is imported when it runs, so that `--help` and `status` start at once.
"""

from __future__ import annotations

import json
import sys
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import structlog
import typer

from etl import __version__, logs, options
from etl.environment import PREFIX
from etl.errors import ExitCode, WatchTimeError, worst
from etl.redact import redact
from etl.report import plain
from etl.settings import Settings, unknown_variables
from etl.slices import ReportType, slices_of, target_date
from etl.stop import exit_on_signals

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from etl.estimate import Estimate
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

# Two weeks unless told otherwise: what the daily job touches, and as much again.
_DAYS_SHOWN = 14
_NEEDS: tuple[Need, ...] = ("api_token", "org_id", "database_url")


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
        date | None,
        typer.Option(parser=options.day, metavar=options.DAY, help="Target date; default: today minus LAG_DAYS."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take the target date's reports in spite of the guards.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Load the target date's reports, what the look-back window lacks, and what was restated. The daily job."""
    from etl import job, watch

    trouble = None
    with watch.over("run") as outcomes:
        with job.opened(_settings(*_NEEDS)) as opened:
            outcomes.extend(opened.work(opened.target_plan(date, accept=accept)))
            try:
                outcomes.extend(opened.work(opened.lookback_plan(date)))
            except WatchTimeError as error:
                # What came of the target date is known, and must be told.
                trouble = error
            else:
                opened.compact_a_month()
        _finish("run", outcomes, trouble=trouble, as_json=as_json)


@app.command()
def backfill(
    start: Annotated[date, typer.Option(parser=options.day, metavar=options.DAY, help="First report date.")],
    end: Annotated[date, typer.Option(parser=options.day, metavar=options.DAY, help="Last report date.")],
    report_type: Annotated[
        ReportType | None, typer.Option("--type", case_sensitive=False, help="One report only; default: both.")
    ] = None,
    refresh: Annotated[bool, typer.Option("--refresh", help="Ask again for loaded slices too.")] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="STATE,...", help=f"Only slices in these states, of: {', '.join(options.WANTED)}."),
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts of the slices, counted from 0.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Take the reports of one date in spite of the guards.")
    ] = False,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=32, help="How many slices at the same time; default: as set.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="At most so many requests a second to the report API.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the slices and why, and estimate the cost; ask nothing.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Load the slices of a range that are not loaded, oldest first. Killed, it goes on where it was."""
    from etl import job, screens, watch

    if start > end:
        raise typer.BadParameter(f"--start {start} is after --end {end}")
    if accept and start != end:
        raise typer.BadParameter("--accept is for one date: a person has looked at its reports")
    wanted = options.wanted(only, refresh=refresh)
    part = options.shard(shard)
    with watch.over("backfill", silent=dry_run) as outcomes:
        settings = _settings(*_NEEDS)
        if concurrency:
            settings = settings.model_copy(update={"concurrency": concurrency})
        with job.opened(settings, requests_per_second=rate) as opened:
            types = (report_type,) if report_type else tuple(ReportType)
            plan = opened.backfill_plan(start, end, report_types=types, wanted=wanted, shard=part, accept=accept)
            if dry_run:
                _show_plan(plan, opened.estimate(plan), as_json=as_json)
                return
            console = screens.stderr()
            if console.is_terminal:
                logs.only_warnings()
            with screens.progress(len(plan), console) as advance:
                outcomes.extend(opened.work(plan, on_outcome=advance))
        _finish("backfill", outcomes, as_json=as_json)


@app.command()
def status(
    start: options.Start = None,
    end: options.End = None,
    check: Annotated[
        bool, typer.Option("--check", help="End with 75 when a slice is late; from --start on, or of all known dates.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Show how fresh the warehouse is, what is missing, and what is known of each slice."""
    from etl import sentences, status

    settings = _settings("database_url")
    first, last = _range(settings, start, end)
    found = status.read(settings, first, last, judged_from=start)
    _show(found.as_json(), lambda: sentences.status_page(found), as_json=as_json)
    if check and found.overview.late:
        raise typer.Exit(int(ExitCode.TRY_LATER))


@app.command()
def revisions(
    start: Annotated[
        date | None,
        typer.Option(parser=options.day, metavar=options.DAY, help="First date; default: the first of all."),
    ] = None,
    end: Annotated[
        date | None, typer.Option(parser=options.day, metavar=options.DAY, help="Last date; default: today.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """List what changed after first publication, and what is held and how to accept it."""
    from etl import sentences, status

    settings = _settings("database_url")
    changes, held = status.restatements(settings, start or date.min, end or settings.today())
    document = {"revisions": [change.as_json() for change in changes], "held": [slice_.as_json() for slice_ in held]}
    _show(document, lambda: sentences.restatements_page(changes, held), as_json=as_json)


@app.command()
def explain(
    date: Annotated[date, typer.Argument(parser=options.day, metavar=options.DAY, help="The slice's date.")],
    report_type: Annotated[
        ReportType | None, typer.Option("--type", case_sensitive=False, help="One report only; default: both.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Tell the whole story of a date's slices: asked, answered, accepted, rejected, and what happens next."""
    from etl import explain, sentences

    types = (report_type,) if report_type else tuple(ReportType)
    stories = explain.read(_settings("database_url"), slices_of([date], types))
    _show([story.as_json() for story in stories], lambda: sentences.stories_page(stories), as_json=as_json)


@app.command()
def verify(
    start: options.Start = None,
    end: options.End = None,
    report_type: Annotated[
        ReportType | None, typer.Option("--type", case_sensitive=False, help="One report only; default: both.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Compare with this CSV; for one date and --type.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Prove, row by row, that stored slices equal the reports of the source; 65 when one does not."""
    from etl import sentences, verify

    if file and (start is None or start != end or report_type is None):
        raise typer.BadParameter("--file is the report of one slice: name one date and its --type")
    types = (report_type,) if report_type else tuple(ReportType)
    settings = _settings("database_url") if file else _settings(*_NEEDS)
    first, last = _range(settings, start, end)
    with verify.opened(settings, with_source=file is None) as opened:
        verdicts = [opened.compare(slice_, file=file) for slice_ in opened.stored(first, last, types)]
    _show([verdict.as_json() for verdict in verdicts], lambda: sentences.verdicts_page(verdicts), as_json=as_json)
    raise typer.Exit(int(worst(verdict.exit_code for verdict in verdicts)))


@app.command()
def report(
    output: Annotated[
        Path, typer.Option(dir_okay=False, metavar="FILE", help="A page where it ends in .html; a picture: .png.")
    ],
    start: Annotated[
        date | None, typer.Option(parser=options.day, metavar=options.DAY, help="First date; default: 28 days in all.")
    ] = None,
    end: options.End = None,
) -> None:
    """Draw the warehouse: one page that needs no network, or a picture for chat."""
    from etl.page import publish

    if output.suffix.lower() not in publish.ENDINGS:
        raise typer.BadParameter(f"--output {output}: its name must end in {' or '.join(publish.ENDINGS)}")
    settings = _settings("database_url")
    first, last = _range(settings, start, end, days=publish.DAYS_SHOWN)
    size = publish.publish(settings, output, first, last)
    typer.echo(f"{output}: {size:,} bytes")


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
def compact(as_json: options.Json = False) -> None:
    """Give every settled month one partition instead of one for each slice. Safe at any time; readers go on."""
    from etl import compact, screens

    done, trouble = compact.compact_all(_settings("database_url"))
    document = {
        "compacted": [month.as_json() for month in done],
        "errors": [_described(error) for error in trouble],
    }
    _show(document, lambda: screens.compacted_table(done), as_json=as_json)
    for error in trouble:
        _tell(error)
    raise typer.Exit(int(worst(error.exit_code for error in trouble)))


@app.command()
def doctor(as_json: options.Json = False) -> None:
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


def _range(settings: Settings, start: date | None, end: date | None, *, days: int = _DAYS_SHOWN) -> tuple[date, date]:
    """The dates from `start` to `end`; without them, `days` up to the target date."""
    last = end or target_date(settings.today(), settings.lag_days)
    first = start or last - timedelta(days=days - 1)
    if first > last:
        raise typer.BadParameter(f"--start {first} is after --end {last}")
    return first, last


def _finish(command: str, outcomes: list[Outcome], *, as_json: bool, trouble: WatchTimeError | None = None) -> None:
    """Log the run's line, show its outcomes, and end with the gravest exit code, that of `trouble` included."""
    from etl import run_log, screens

    codes = [outcome.exit_code for outcome in outcomes] + ([trouble.exit_code] if trouble else [])
    code = worst(codes)
    run_log.run_done(command, outcomes, code)
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


def _plain(value: object) -> str:
    """What JSON has no type for: decimals with all their digits, moments in ISO 8601."""
    return plain(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else str(value)


def _tell(error: WatchTimeError) -> None:
    typer.secho(redact(f"error: {error.message}"), err=True, fg=typer.colors.RED)
    typer.echo(redact(f"  next: {error.next_step}"), err=True)


def _show_plan(plan: list[Planned], cost: Estimate, *, as_json: bool) -> None:
    from etl import screens

    lines = [(str(planned.slice.report_date), planned.slice.report_type.value, planned.reason) for planned in plan]
    slices = [dict(zip(("report_date", "report_type", "reason"), line, strict=True)) for line in lines]
    document = {"slices": slices, "estimate": cost.as_json()}
    _show(document, lambda: screens.plan_page(lines, cost), as_json=as_json)


def _show(document: object, table: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Data to stdout: the document, or the table."""
    from etl import screens

    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))
    else:
        screens.stdout().print(table())
