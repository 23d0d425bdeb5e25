"""Which slices a command works on, several at a time, and what came of it all.

`pipeline` knows how one slice is brought; here is which ones, in what order, and what happens when a stop is asked for.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from etl.diagnostics import estimate
from etl.domain.errors import ExitCode, Misconfigured, WatchTimeError, WrongUsage
from etl.domain.outcome import FetchOptions, PlannedSlice, Result, Trust
from etl.domain.slices import (
    WHOLE,
    ReportType,
    Shard,
    Slice,
    State,
    dates_between,
    is_settled,
    newest_full_day,
    slices_of,
    target_date,
)
from etl.extract import token_expiry
from etl.job import run_context
from etl.job.thread_executor import Threads
from etl.load import compaction, customer_counts
from etl.pipeline import outcome_log
from etl.runtime.cancellation import Stop
from etl.warehouse import ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Sequence
    from datetime import date

    from etl.config.settings import Settings
    from etl.diagnostics.estimate import Estimate
    from etl.domain.outcome import Outcome
    from etl.job.run_context import RunContext
    from etl.warehouse.ledger import SliceRecord

    # Brings the slices of a plan and gives their outcomes as they come; closed early, it gives up on the others. The
    # outcome of a slice whose credentials were refused is its last but for those of slices already begun.
    Executor = Callable[[Sequence[PlannedSlice]], Generator[Outcome]]

log = structlog.get_logger("watch_time")

# A run counts customers for so long at most; what is left, the next one does.
_COUNTING_S: Final = 300.0

# The states of a slice that a plan may want; None is "never tried".
LOADED_ONLY: Final = frozenset({State.LOADED})
NOT_LOADED: Final = frozenset({None, *State}) - LOADED_ONLY

# A date that lies further back than this from all that is known is taken for a slip of the hand.
FAR_DAYS: Final = 31


class Job:
    """An opened warehouse and source, ready to bring slices.

    Attributes:
        is_refused: the credentials were refused: no other slice is tried any more.
        not_tried: how many slices of the plans were not tried because of that.
    """

    def __init__(
        self,
        settings: Settings,
        place: RunContext,
        executor: Executor,
        now: datetime,
        *,
        requests_per_second: float | None = None,
    ) -> None:
        self._settings = settings
        self._archive = place.archive
        self._executor = executor
        self._requests_per_second = requests_per_second
        self._database = place.database
        self._pipeline = place.pipeline
        self._stop = place.stop
        self._now = now
        self.is_refused = False
        self.not_tried = 0

    def target_plan(self, target: date | None = None, *, accept: bool = False) -> list[PlannedSlice]:
        """The two slices of `target`, or of today minus the lag; worth waiting for while their date is not settled."""
        day = self._target(target)
        self._require_past(day)
        settled = self._is_settled(day)
        ask = FetchOptions(
            wait_s=0.0 if settled else self._settings.not_found_wait_seconds, settled=settled, accept=accept
        )
        return [PlannedSlice(slice_, "the target date", ask) for slice_ in slices_of([day])]

    def lookback_plan(self, target: date | None = None) -> list[PlannedSlice]:
        """What else a daily run takes, oldest first.

        The slices of the look-back window that are not loaded; and the loaded ones of the re-check window, since
        reports may be restated.
        """
        day = self._target(target)
        newest = day - timedelta(days=1)
        missing = self.backfill_plan(day - timedelta(days=self._settings.lookback_days), newest)
        loaded = self.backfill_plan(day - timedelta(days=self._settings.recheck_days), newest, wanted=LOADED_ONLY)
        return sorted([*missing, *loaded], key=lambda planned: planned.slice)

    def backfill_plan(
        self,
        start: date,
        end: date,
        *,
        report_types: Iterable[ReportType] = tuple(ReportType),
        wanted: Collection[State | None] = NOT_LOADED,
        shard: Shard = WHOLE,
        accept: bool = False,
        trust: Trust = Trust.LEDGER,
    ) -> list[PlannedSlice]:
        """The slices from `start` to `end` in one of the `wanted` states, oldest first; None is "never tried".

        A `shard` is a part of the range's dates, whatever their states: it must not depend on what other machines have
        loaded by the time that each of them looks.
        """
        if start > end:
            return []
        self._require_past(end)
        known = self._database.run(lambda connection: ledger.read_range(connection, start, end))
        return [
            PlannedSlice(
                slice_,
                _reason(known.get(slice_)),
                FetchOptions(settled=self._is_settled(slice_.report_date), accept=accept, trust=trust),
            )
            for slice_ in slices_of(shard.of(dates_between(start, end)), report_types)
            if (known[slice_].state if slice_ in known else None) in wanted
        ]

    def require_near(self, plan: Iterable[PlannedSlice], *, is_meant: bool, is_history: bool = False) -> None:
        """Refuse a plan that begins far before the warehouse does: every date between would count as missing for good.

        Args:
            plan: what is to be worked on.
            is_meant: somebody has said that it may begin anywhere.
            is_history: a range was named: while the warehouse is empty, it may begin anywhere too.

        Raises:
            WrongUsage: it begins more than `FAR_DAYS` days before WATCH_TIME_FIRST_DATE; without that, before the
                oldest known date; where nothing is known, before the newest one due.
        """
        start = None if is_meant else min((planned.slice.report_date for planned in plan), default=None)
        begins = self._settings.first_date or self._database.run(ledger.read_oldest_date)
        if begins is None and not is_history:
            begins = self._target(None)
        if start and begins and (days := (begins - start).days) > FAR_DAYS:
            raise WrongUsage(
                f"{start} lies {days:,} days before {begins}, with which the warehouse begins: all dates between would "
                "count as missing",
                next_step="correct the date; if it is what you mean, type the same command with --yes",
            )

    def estimate(self, plan: Iterable[PlannedSlice]) -> Estimate:
        """What working on the plan will cost."""
        return self._database.run(
            lambda connection: estimate.estimate(
                connection,
                [planned.slice for planned in plan],
                concurrency=self._settings.concurrency,
                requests_per_second=self._requests_per_second,
            )
        )

    def work(
        self, plan: Sequence[PlannedSlice], *, on_outcome: Callable[[Outcome], None] = lambda _: None
    ) -> list[Outcome]:
        """Bring every slice of the plan, several at a time; one that fails leaves the others alone.

        Only where credentials are refused the rest is not tried, nor is any later plan: the next slice would meet it
        too.

        `on_outcome` is called in the caller's thread as soon as a slice is done.

        Raises:
            SystemExit, KeyboardInterrupt: as they came; by then every transaction is rolled back or committed, but for
                those of a database that fell silent, which its server gives up by itself.
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
            outcomes = self._graded_again(plan, outcomes)
        return sorted(outcomes, key=lambda outcome: outcome.slice)

    def compact_a_month(self) -> None:
        """Give a settled month one partition, if that can be done at once. What stands in the way is only logged."""
        if self.is_refused:
            return
        try:
            done, trouble = compaction.compact_after_run(
                self._database, self._settings, self._stop, today=self._now.date()
            )
        except WatchTimeError as error:
            done, trouble = None, [error]
        except Exception:
            log.exception("not_compacted")
            return
        for each in trouble:
            log.warning("not_compacted", error=str(each), next_step=each.next_step)
        if done:
            log.info("compacted", month=done.month.name, partitions_before=done.partitions_before)

    def count_customers(self) -> None:
        """Count the customers of what was loaded since they were counted. What stands in the way is only logged."""
        if self.is_refused:
            return
        try:
            counted, left = customer_counts.count_stale(
                self._database, self._settings, self._stop, today=self._now.date(), time_limit_s=_COUNTING_S
            )
        except WatchTimeError as error:
            log.warning("customers_not_counted", error=str(error), next_step=error.next_step)
        except Exception:
            log.exception("customers_not_counted")
        else:
            if counted or left:
                log.info("customers_counted", periods=counted, periods_left=left)

    def settle_archive(self) -> None:
        """Finish in the archive what a run that was killed left unfinished. What stands in the way is only logged."""
        if self._archive is None or self.is_refused:
            return

        from etl.archive import audit  # noqa: PLC0415 - only where there is an archive

        try:
            settled = audit.finish_pending(self._database, self._archive)
        except WatchTimeError as error:
            log.warning("archive_not_settled", error=str(error), next_step=error.next_step)
        except Exception:
            log.exception("archive_not_settled")
        else:
            for slice_ in settled:
                log.info("archive_settled", slice=str(slice_))

    def _graded_again(self, plan: Sequence[PlannedSlice], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes; for settled 404s that nothing spoke for, what they mean now that their neighbours have come."""
        settled = {planned.slice for planned in plan if planned.ask.settled}
        doubtful = [outcome.slice for outcome in outcomes if outcome.result is Result.UNAVAILABLE]
        graded: dict[Slice, Outcome] = {}
        while again := [
            outcome
            for slice_ in doubtful
            if slice_ in settled - graded.keys() and (outcome := self._pipeline.reclassify_not_found(slice_))
        ]:
            # One of a date's two reports may be what speaks for the other.
            for outcome in again:
                outcome_log.outcome_done(outcome)
                graded[outcome.slice] = outcome
        return [
            graded.get(outcome.slice, outcome) if outcome.result is Result.UNAVAILABLE else outcome
            for outcome in outcomes
        ]

    def _target(self, target: date | None) -> date:
        return target or target_date(self._now, self._settings.lag_days)

    def _is_settled(self, day: date) -> bool:
        return is_settled(day, today=self._now.date(), lag_days=self._settings.lag_days)

    def _require_past(self, day: date) -> None:
        newest = newest_full_day(self._now)
        if day > newest:
            local, utc = f"{self._now:%Y-%m-%d %H:%M}", f"{self._now.astimezone(UTC):%Y-%m-%d %H:%M}"
            raise WrongUsage(
                f"{day} is not over yet: it is {local} in {self._settings.time_zone}, {utc} in UTC, and reports are "
                "taken to be of UTC days",
                next_step=f"name {newest} or an earlier date",
            )


@contextmanager
def open_job(
    settings: Settings,
    *,
    stop: Stop | None = None,
    requests_per_second: float | None = None,
    dask: str | None = None,
) -> Iterator[Job]:
    """A job on the configured warehouse and source.

    Args:
        settings: for everything.
        stop: ends the work.
        requests_per_second: the report API is asked no more often; None: as fast as it answers.
        dask: who brings the slices: `local` or the address of a Dask scheduler; None: threads of this process.

    Raises:
        SchemaNotReady, WrongOrganization: before anything is asked of the source.
        ArchiveUnavailable, CredentialsRefused, Misconfigured: the configured archive cannot be looked at.
        Misconfigured, WrongUsage: the cluster may not be used, or the package for it is not installed.
    """
    stop = stop or Stop()
    with run_context.open_run_context(settings, stop, requests_per_second=requests_per_second) as place:
        if warning := token_expiry.warning(settings.require("api_token"), now=datetime.now(UTC)):
            log.warning("token_expires", about=warning, next_step="get a new one and set WATCH_TIME_API_TOKEN")
        executor = _executor(settings, place, requests_per_second, dask)
        yield Job(settings, place, executor, settings.now(), requests_per_second=requests_per_second)


def _executor(settings: Settings, place: RunContext, requests_per_second: float | None, dask: str | None) -> Executor:
    if dask is None:
        return Threads(place, settings.concurrency)

    try:
        from etl.job.dask.executor import Cluster  # noqa: PLC0415 - an extra, and slow to import
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"--dask needs the package {error.name}, which is not installed", next_step="pip install 'watch-time[dask]'"
        ) from None
    return Cluster(dask, settings, place, requests_per_second)


def _reason(known: SliceRecord | None) -> str:
    """Why a slice is worked on."""
    if known is None:
        return "never tried"
    if known.state is State.LOADED:
        return f"loaded {known.loaded_at:%Y-%m-%d}, asked again"
    when = f"{known.state}, last asked {known.checked_at:%Y-%m-%d %H:%M}"
    return f"{when}: {known.reason}" if known.reason else when
