"""Runs the slices of a plan, several at a time, and summarizes the outcomes.

`pipeline` syncs one slice, and `planner` selects slices; this module handles stop requests, and the work after the
last slice.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from etl.domain.errors import ExitCode, Misconfigured, WatchTimeError
from etl.domain.outcome import Result
from etl.extract import token_expiry_warning
from etl.job import run_context
from etl.job.planner import Planner
from etl.job.thread_executor import ThreadExecutor
from etl.load import compaction, distinct_customers
from etl.pipeline import outcome_log
from etl.runtime.progress_reporter import SILENT, ProgressReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from etl.config.settings import Settings
    from etl.domain.outcome import Outcome, Pause, PlannedSlice
    from etl.domain.slices import Slice
    from etl.job.run_context import RunContext
    from etl.runtime.cancellation import Stop

    # Syncs the slices of a plan and returns their outcomes as they come; closed early, it gives up on the others. The
    # outcome of a slice whose credentials were refused is its last but for those of slices already begun.
    Executor = Callable[[Sequence[PlannedSlice]], Generator[Outcome]]

log = structlog.get_logger("watch_time")

# A run counts customers for at most this long; the next run does the rest.
_COUNTING_S: Final = 300.0


class Job:
    """An opened warehouse and source, ready to sync slices.

    Attributes:
        context: database, source and archive.
        planner: selects the slices to sync.
        is_refused: the credentials were refused, so no more slices are tried.
        not_tried: how many slices of the plans were not tried because of that.
    """

    def __init__(self, settings: Settings, context: RunContext, planner: Planner, executor: Executor) -> None:
        self.planner = planner
        self.is_refused = False
        self.not_tried = 0
        self._settings = settings
        self.context = context
        self._executor = executor

    def run(
        self, plan: Sequence[PlannedSlice], *, on_outcome: Callable[[Outcome], None] = lambda _: None
    ) -> list[Outcome]:
        """Sync every slice of the plan, several at a time; a failure does not affect the other slices.

        Only refused credentials end this plan and all later ones, because the next slice would fail too.

        `on_outcome` is called in the caller's thread as soon as a slice is done.

        Raises:
            SystemExit, KeyboardInterrupt: re-raised after every transaction is rolled back or committed, unless the
                database does not respond; its server then rolls back by itself.
        """
        outcomes: list[Outcome] = []
        if self.is_refused:
            self.not_tried += len(plan)
            return outcomes
        try:
            with closing(self._executor(plan)) as done:
                for outcome in done:
                    outcome_log.outcome_done(outcome)
                    outcomes.append(outcome)
                    on_outcome(outcome)
        except BaseException:
            log.warning("stopped", unfinished=len(plan) - len(outcomes))
            raise
        self.is_refused = any(outcome.exit_code is ExitCode.CREDENTIALS_REFUSED for outcome in outcomes)
        self.not_tried += len(plan) - len(outcomes)
        if not self.is_refused:
            outcomes = self._reclassify_not_found(plan, outcomes)
        return sorted(outcomes, key=lambda outcome: outcome.slice)

    def compact_month(self, progress: ProgressReporter = SILENT) -> None:
        """Compact a settled month, if that is possible without waiting. Errors are logged and do not fail the run."""
        if self.is_refused:
            return
        with _errors_logged("not_compacted"):
            done, trouble = compaction.compact_after_run(
                self.context.database,
                self._settings,
                self.context.database.stop,
                today=self.planner.today,
                progress=progress,
            )
            for each in trouble:
                log.warning("not_compacted", error=str(each), next_step=each.next_step)
            if done:
                log.info("compacted", month=done.month.name, partitions_before=done.partitions_before)

    def count_customers(self, progress: ProgressReporter = SILENT) -> None:
        """Count the customers of periods loaded since the last count. Errors are logged and do not fail the run."""
        if self.is_refused:
            return
        with _errors_logged("customers_not_counted"):
            counted, left = distinct_customers.count_stale(
                self.context.database,
                self._settings,
                self.context.database.stop,
                today=self.planner.today,
                time_limit_s=_COUNTING_S,
                progress=progress,
            )
            if counted or left:
                log.info("customers_counted", periods=counted, periods_left=left)

    def finish_archive(self, progress: ProgressReporter = SILENT) -> None:
        """Finish in the archive what a killed run left unfinished. Errors are logged and do not fail the run."""
        archive = self.context.archive
        if archive is None or self.is_refused:
            return

        from etl.archive import audit  # noqa: PLC0415 - only where there is an archive

        with _errors_logged("archive_not_finished"):
            for slice_ in audit.finish_pending(self.context.database, archive, progress):
                log.info("archive_finished", slice=str(slice_))

    def _reclassify_not_found(self, plan: Sequence[PlannedSlice], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Reclassify settled 404s that lacked evidence, now that their neighbours are loaded; returns all outcomes."""
        settled = {planned.slice for planned in plan if planned.ask.settled}
        doubtful = [outcome.slice for outcome in outcomes if outcome.result is Result.UNAVAILABLE]
        reclassified: dict[Slice, Outcome] = {}
        while again := [
            outcome
            for slice_ in doubtful
            if slice_ in settled - reclassified.keys()
            and (outcome := self.context.pipeline.reclassify_not_found(slice_))
        ]:
            # One of a date's two reports may be the evidence for the other.
            for outcome in again:
                outcome_log.outcome_done(outcome)
                reclassified[outcome.slice] = outcome
        return [
            reclassified.get(outcome.slice, outcome) if outcome.result is Result.UNAVAILABLE else outcome
            for outcome in outcomes
        ]


@contextmanager
def _errors_logged(event: str) -> Iterator[None]:
    """Log errors as this event instead of raising them."""
    try:
        yield
    except WatchTimeError as error:
        log.warning(event, error=str(error), next_step=error.next_step)
    except Exception:
        log.exception(event)


@contextmanager
def open_job(
    settings: Settings,
    *,
    stop: Stop | None = None,
    now: datetime | None = None,
    requests_per_second: float | None = None,
    dask: str | None = None,
    on_pause: Callable[[Slice, Pause], None] = lambda _slice, _pause: None,
) -> Iterator[Job]:
    """A job on the configured warehouse and source; its parameters are those of `run_context.open_run_context`.

    `dask` says who syncs the slices: `local` or the address of a Dask scheduler; None: threads of this process. `now`
    is in the configured zone; None: as the clock says.

    Raises:
        SchemaNotReady, WrongOrganization: before any request to the source.
        ArchiveUnavailable, CredentialsRefused, Misconfigured: the configured archive cannot be read.
        Misconfigured, WrongUsage: the cluster may not be used, or the package for it is not installed.
    """
    with run_context.open_run_context(
        settings, stop, requests_per_second=requests_per_second, on_pause=on_pause
    ) as context:
        if warning := token_expiry_warning.warning(settings.require("api_token"), now=datetime.now(UTC)):
            log.warning("token_expires", message=warning, next_step="create a new one and set WATCH_TIME_API_TOKEN")
        planner = Planner(settings, context.database, now or settings.now(), requests_per_second=requests_per_second)
        executor = _executor(settings, context, dask, requests_per_second=requests_per_second, on_pause=on_pause)
        yield Job(settings, context, planner, executor)


def _executor(
    settings: Settings,
    context: RunContext,
    dask: str | None,
    *,
    requests_per_second: float | None,
    on_pause: Callable[[Slice, Pause], None],
) -> Executor:
    if dask is None:
        return ThreadExecutor(context, settings.concurrency)

    try:
        from etl.job.dask.executor import DaskExecutor  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"--dask needs the package {error.name}, which is not installed",
            next_step="`pip install 'watch-time[dask]'`",
        ) from None
    return DaskExecutor(dask, settings, context, requests_per_second=requests_per_second, on_pause=on_pause)
