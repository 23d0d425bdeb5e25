"""The read-only commands: they inspect the warehouse and what it depends on."""

from __future__ import annotations

import gc
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from etl.cli import options
from etl.cli import output as out
from etl.domain.errors import ExitCode, worst
from etl.domain.slices import ReportType, slices_of


def status(
    start: options.Start = None,
    end: options.End = None,
    check: Annotated[
        bool, typer.Option("--check", help="Exit with 75 if a slice is late; without --start, check all known dates.")
    ] = False,
    every_slice: Annotated[bool, typer.Option("--all", help="List every slice as well.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show what is loaded, what is missing and why, how fresh the data is, and the totals."""
    gc.disable()  # it is done in less than half a second, a tenth of which would go into looking for garbage
    from etl.diagnostics import status
    from etl.display import status_screen

    settings = out.settings("database_url")
    first, last = out.date_range(settings, start, end)
    found = status.read(settings, first, last, judged_from=start)
    out.show(found.as_json(), lambda: status_screen.status_page(found, every_slice=every_slice), as_json=as_json)
    if check and found.overview.late:
        raise typer.Exit(int(ExitCode.TRY_LATER))


def revisions(
    start: Annotated[date | None, options.date_option("First date; default: the oldest.")] = None,
    end: Annotated[date | None, options.date_option("Last date; default: today.")] = None,
    as_json: options.Json = False,
) -> None:
    """List restated reports, and held reports with the command that accepts them."""
    from etl.diagnostics import status
    from etl.display import revisions_screen

    settings = out.settings("database_url")
    changes, held = status.restatements(settings, start or date.min, end or settings.today())
    document = {"revisions": [change.as_json() for change in changes], "held": [slice_.as_json() for slice_ in held]}
    out.show(document, lambda: revisions_screen.restatements_page(changes, held), as_json=as_json)


def explain(
    date: Annotated[date, typer.Argument(parser=options.day, metavar=options.DAY, help="Report date.")],
    report_type: options.Type = None,
    as_json: options.Json = False,
) -> None:
    """Show the history of a date: checks, accepted revisions, rejected lines, and what happens next."""
    from etl.diagnostics import explain
    from etl.display import explain_screen

    types = (report_type,) if report_type else tuple(ReportType)
    stories = explain.read(out.settings("database_url"), slices_of([date], types))
    out.show([story.as_json() for story in stories], lambda: explain_screen.stories_page(stories), as_json=as_json)


def verify(
    start: options.Start = None,
    end: options.End = None,
    report_type: options.Type = None,
    file: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Compare with this CSV; requires a single date and --type.",
        ),
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Compare stored slices with their reports, row by row.

    Exits with 65 if a slice differs, and with 75 if none could be compared.
    """
    from etl.diagnostics import verify_against_source
    from etl.display import verify_screen

    if file and (start is None or start != end or report_type is None):
        raise typer.BadParameter("--file is the report of one slice: give one date as --start and --end, and a --type")
    types = (report_type,) if report_type else tuple(ReportType)
    settings = out.settings("database_url") if file else out.settings(*out.NEEDS)
    first, last = out.date_range(settings, start, end)
    with verify_against_source.open_verification(settings, with_source=file is None) as opened:
        stored = opened.stored(first, last, types)
        with out.live_progress() as live:
            live.expect(len(stored))
            verdicts = opened.compare_all(
                stored, file=file, on_verdict=lambda verdict: live.advance(f"{verdict.slice} {verdict.word}")
            )
    out.show(
        [verdict.as_json() for verdict in verdicts],
        lambda: verify_screen.verdicts_page(verdicts, not_tried=len(stored) - len(verdicts)),
        as_json=as_json,
    )
    raise typer.Exit(int(verify_against_source.exit_code(verdicts)))


def report(
    output: Annotated[
        Path,
        typer.Option(dir_okay=False, metavar="FILE", help="Output file: *.html for a page, *.png for an image."),
    ],
    start: Annotated[date | None, options.date_option("First date; default: 27 days before --end.")] = None,
    end: options.End = None,
) -> None:
    """Summarize the warehouse in a self-contained HTML page, or in an image to post in a chat."""
    from etl.diagnostics.check_result import FONTS_NEXT_STEP
    from etl.display.page import write_report

    if output.suffix.lower() not in write_report.ENDINGS:
        raise typer.BadParameter(f"--output {output}: its name must end in {' or '.join(write_report.ENDINGS)}")
    settings = out.settings("database_url")
    first, last = out.date_range(settings, start, end, days=write_report.DAYS_SHOWN)
    with out.live_progress() as live:
        live.begin(f"writing {output}")
        written = write_report.publish(settings, output, first, last)
    out.say(f"wrote {output}: {first} to {last}, {written.size:,} bytes")
    if written.boxes:
        out.warn(f"titles show boxes: {written.boxes}", "fonts_missing", fonts=written.boxes)
        out.advise(FONTS_NEXT_STEP)


def doctor(as_json: options.Json = False) -> None:
    """Check settings, database, API, clock, download host and archive, and suggest fixes."""
    from etl.diagnostics import doctor
    from etl.display import run_tables
    from etl.display.page import write_report

    with out.live_progress() as live:
        checks = list(doctor.run_checks(write_report.examine_fonts, live))
    out.show([check.as_json() for check in checks], lambda: run_tables.checks_page(checks), as_json=as_json)
    raise typer.Exit(int(worst(check.exit_code for check in checks)))
