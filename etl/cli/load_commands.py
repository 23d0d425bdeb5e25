"""The commands that load: run, backfill, compact."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from etl.cli import options, output
from etl.domain.errors import WatchTimeError, worst
from etl.domain.slices import MAX_CONCURRENCY, WHOLE, ReportType, Shard

if TYPE_CHECKING:
    from etl.diagnostics.backfill_estimate import Estimate
    from etl.domain.outcome import Outcome, PlannedSlice


def run(
    date: Annotated[date | None, options.date_option("Target date; default: today minus WATCH_TIME_LAG_DAYS.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="Accept the target date's held reports.")] = False,
    yes: options.Yes = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Load the target date's reports, missing slices in the look-back window, and restatements.

    Run it on a schedule.
    """
    from etl.job import plan_runner
    from etl.pipeline import outcome_log
    from etl.telemetry import run_telemetry

    trouble = None
    with run_telemetry.over("run") as watched:
        settings = output.settings(*output.NEEDS)
        live = output.live_progress(verbose=verbose, quiet=quiet)
        with plan_runner.open_job(settings, on_pause=live.pause) as opened:
            outcome_log.run_started("run")
            plan = opened.planner.target(date, accept=accept)
            opened.planner.require_near(plan, is_meant=yes or date is None)
            with live:
                live.expect(len(plan))
                watched.outcomes += opened.run(plan, on_outcome=live.done)
                try:
                    plan = opened.planner.lookback(date)
                    live.expect(len(plan))
                    watched.outcomes += opened.run(plan, on_outcome=live.done)
                except WatchTimeError as error:
                    # What came of the target date is known, and must be told.
                    trouble = error
            watched.not_tried = opened.not_tried
            code = _shown("run", watched.outcomes, opened.not_tried, trouble=trouble, quiet=quiet, as_json=as_json)
            watched.tell(code)
            with output.live_progress(verbose=verbose, quiet=quiet) as live:
                opened.finish_archive(live)
                if trouble is None:
                    opened.compact_month(live)
                    opened.count_customers(live)
    raise typer.Exit(code)


def backfill(
    start: Annotated[date | None, options.date_option("First report date.")] = None,
    end: Annotated[date | None, options.date_option("Last report date.")] = None,
    report_type: options.Type = None,
    refresh: Annotated[
        bool,
        typer.Option(
            "--refresh",
            help="Also check loaded slices; reload those changed at the source or in the warehouse.",
        ),
    ] = False,
    reload: Annotated[
        bool,
        typer.Option("--reload", help="Reload every slice, even if unchanged; corrects rows that were edited by hand."),
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="STATE,...", help=f"Only slices in these states: {', '.join(options.WANTED)}."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Split the dates into N parts and load only part I, counted from 0."),
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept the held reports; needs a single date (--start equal to --end).")
    ] = False,
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_CONCURRENCY,
            metavar="N",
            help="Number of slices to load at the same time; default: WATCH_TIME_CONCURRENCY.",
        ),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, metavar="N", help="Send at most N requests a second to the report API.")
    ] = None,
    dask: Annotated[
        str | None,
        typer.Option(
            metavar="local|ADDRESS",
            help="Load with Dask: in local processes, or on the cluster at ADDRESS.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="List the slices to load and why, and estimate the download; send no requests."),
    ] = False,
    from_archive: Annotated[
        bool,
        typer.Option(
            "--from-archive",
            help="Restore from WATCH_TIME_ARCHIVE_URL, not from the API; use --start, --end and --type to restore only "
            "part of it.",
        ),
    ] = False,
    yes: options.Yes = False,
    verbose: options.Verbose = False,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Load the slices of a date range that are not loaded yet, oldest first. Resumes where it left off."""
    from etl.job import plan_runner
    from etl.pipeline import outcome_log
    from etl.telemetry import run_telemetry

    if start and end and start > end:
        raise typer.BadParameter(f"--start {start} is after --end {end}")
    if from_archive:
        if refresh or reload or only or shard or accept or concurrency or rate or dask or dry_run:
            raise typer.BadParameter(
                "--from-archive can be combined with --start, --end, --type, --verbose, --quiet and --json only"
            )
        raise typer.Exit(_replayed(start, end, report_type, verbose=verbose, quiet=quiet, as_json=as_json))
    if start is None or end is None:
        raise typer.BadParameter("give both --start and --end")
    if accept and start != end:
        raise typer.BadParameter(
            "--accept takes one date, whose reports you have checked: --start and --end must be equal"
        )
    if dask:
        options.require_dask_alone(dask, concurrency=concurrency, rate=rate, dry_run=dry_run)
    wanted = options.wanted(only, refresh=refresh or reload)
    trust = options.trust(refresh=refresh, reload=reload)
    part = options.shard(shard)
    with run_telemetry.over("backfill", silent=dry_run) as watched:
        settings = output.settings(*output.NEEDS)
        if concurrency:
            settings = settings.model_copy(update={"concurrency": concurrency})
        live = output.live_progress(verbose=verbose, quiet=quiet)
        with plan_runner.open_job(settings, requests_per_second=rate, dask=dask, on_pause=live.pause) as opened:
            types = (report_type,) if report_type else tuple(ReportType)
            plan = opened.planner.backfill(
                start, end, report_types=types, wanted=wanted, shard=part, accept=accept, trust=trust
            )
            if dry_run:
                _show_plan(plan, opened.planner.estimate(plan), part, as_json=as_json)
                return
            opened.planner.require_near(plan, is_meant=yes, is_history=True)
            outcome_log.run_started("backfill", part)
            with live:
                live.expect(len(plan))
                watched.outcomes += opened.run(plan, on_outcome=live.done)
                opened.finish_archive(live)
            watched.not_tried = opened.not_tried
        raise typer.Exit(_shown("backfill", watched.outcomes, opened.not_tried, part, quiet=quiet, as_json=as_json))


def compact(as_json: options.Json = False) -> None:
    """Merge each settled month into one partition, and update the customer counts.

    Safe to run at any time; readers may wait briefly.
    """
    from etl.display import run_tables
    from etl.load import compact_command

    settings = output.settings("database_url")
    with output.live_progress() as live:
        done, counted, trouble = compact_command.maintain(settings, live)
    document = {
        "compacted": [month.as_json() for month in done],
        "periods_counted": counted,
        "errors": [output.described(error) for error in trouble],
    }
    output.show(document, lambda: run_tables.compacted_page(done, counted), as_json=as_json)
    for error in trouble:
        output.tell(error)
    raise typer.Exit(int(worst(error.exit_code for error in trouble)))


def _shown(
    command: str,
    outcomes: list[Outcome],
    not_tried: int,
    shard: Shard = WHOLE,
    *,
    as_json: bool,
    quiet: bool,
    trouble: WatchTimeError | None = None,
) -> int:
    """Log the end of the run and show its outcomes; returns the most severe exit code, including that of `trouble`."""
    from etl.display import run_tables
    from etl.pipeline import outcome_log

    outcomes = sorted(outcomes, key=lambda outcome: outcome.slice)
    codes = [outcome.exit_code for outcome in outcomes] + ([trouble.exit_code] if trouble else [])
    code = worst(codes)
    outcome_log.run_done(command, outcomes, code, shard, not_tried=not_tried)
    document = {
        "command": command,
        "exit_code": int(code),
        "error": trouble and output.described(trouble),
        **shard.as_json(),
        "not_tried": not_tried,
        "slices": [outcome.as_json() for outcome in outcomes],
    }
    if as_json or code or not quiet:
        output.show(document, lambda: run_tables.outcomes_page(outcomes, shard, not_tried=not_tried), as_json=as_json)
    if trouble:
        output.tell(trouble)
    return int(code)


def _replayed(
    start: date | None, end: date | None, report_type: ReportType | None, *, verbose: bool, quiet: bool, as_json: bool
) -> int:
    """Rebuild the warehouse from the archive; returns the most severe exit code."""
    from etl.pipeline import outcome_log, replay

    settings = output.settings("org_id", "database_url", "archive_url")
    with replay.open_replay(settings) as opened, output.live_progress(verbose=verbose, quiet=quiet) as live:
        plan = opened.plan(start, end, (report_type,) if report_type else tuple(ReportType), progress=live)
        outcome_log.run_started("backfill")
        live.expect(len(plan))
        outcomes = opened.work(plan, on_outcome=live.done)
    return _shown("backfill", outcomes, len(plan) - len(outcomes), quiet=quiet, as_json=as_json)


def _show_plan(plan: list[PlannedSlice], cost: Estimate, shard: Shard, *, as_json: bool) -> None:
    from etl.display import run_tables

    slices = [{**planned.slice.as_json(), "reason": planned.reason} for planned in plan]
    document = {**shard.as_json(), "slices": slices, "estimate": cost.as_json()}
    reasons = [(planned.slice, planned.reason) for planned in plan]
    output.show(document, lambda: run_tables.plan_page(reasons, cost, shard), as_json=as_json)
