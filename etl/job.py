"""Which slices a command works on, several at a time, and what came of it all.

`pipeline` knows how one slice is brought; here is which ones, in what order, and what happens when a stop is asked for.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import structlog

from etl import api_token, compact, db, estimate, ledger, run_log, schema, source
from etl.errors import WatchTimeError, WrongUsage
from etl.outcome import Ask, Outcome, Result
from etl.pipeline import Pipeline
from etl.slices import WHOLE, ReportType, Shard, Slice, State, dates_between, is_settled, slices_of, target_date
from etl.stop import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import date

    from etl.archive.keeping import Archive
    from etl.db import Database
    from etl.estimate import Estimate
    from etl.ledger import SliceRecord
    from etl.settings import Settings

log = structlog.get_logger("watch_time")

# After SIGTERM, statements are cancelled on the server and rolled back; a worker that hangs in the network holds no
# transaction and is left behind. With the rest of the way out, which may stop an embedded server, this stays under
# five seconds.
_STOP_PATIENCE_S: Final = 3.0


# The states of a slice that a plan may want; None is "never tried".
LOADED_ONLY: Final = frozenset({State.LOADED})
NOT_LOADED: Final = frozenset({None, *State}) - LOADED_ONLY


@dataclass(frozen=True, slots=True)
class Planned:
    """A slice to be worked on, and why."""

    slice: Slice
    reason: str
    ask: Ask


class Job:
    """An opened warehouse and source, ready to bring slices."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        pipeline: Pipeline,
        stop: Stop,
        today: date,
        *,
        archive: Archive | None = None,
        requests_per_second: float | None = None,
    ) -> None:
        self._settings = settings
        self._archive = archive
        self._requests_per_second = requests_per_second
        self._database = database
        self._pipeline = pipeline
        self._stop = stop
        self._today = today

    def target_plan(self, target: date | None = None, *, accept: bool = False) -> list[Planned]:
        """The two slices of `target`, or of today minus the lag; worth waiting for while their date is not settled."""
        day = self._target(target)
        self._require_past(day)
        settled = self._is_settled(day)
        ask = Ask(wait_s=0.0 if settled else self._settings.not_found_wait_seconds, settled=settled, accept=accept)
        return [Planned(slice_, "the target date", ask) for slice_ in slices_of([day])]

    def lookback_plan(self, target: date | None = None) -> list[Planned]:
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
    ) -> list[Planned]:
        """The slices from `start` to `end` in one of the `wanted` states, oldest first; None is "never tried".

        A `shard` is a part of the range's dates, whatever their states: it must not depend on what other machines have
        loaded by the time that each of them looks.
        """
        if start > end:
            return []
        self._require_past(end)
        known = self._database.run(lambda connection: ledger.read_range(connection, start, end))
        return [
            Planned(
                slice_,
                _reason(known.get(slice_)),
                Ask(settled=self._is_settled(slice_.report_date), accept=accept),
            )
            for slice_ in slices_of(shard.of(dates_between(start, end)), report_types)
            if (known[slice_].state if slice_ in known else None) in wanted
        ]

    def estimate(self, plan: Iterable[Planned]) -> Estimate:
        """What working on the plan will cost."""
        return self._database.run(
            lambda connection: estimate.estimate(
                connection,
                [planned.slice for planned in plan],
                concurrency=self._settings.concurrency,
                requests_per_second=self._requests_per_second,
            )
        )

    def work(self, plan: Sequence[Planned], *, on_outcome: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
        """Bring every slice of the plan, several at a time; one that fails leaves the others alone.

        `on_outcome` is called in the caller's thread as soon as a slice is done.

        Raises:
            SystemExit, KeyboardInterrupt: as they came; by then every transaction is rolled back or committed, but for
                those of a database that fell silent, which its server gives up by itself.
        """
        todo = queue.SimpleQueue[Planned]()
        done = queue.SimpleQueue[Outcome | BaseException]()
        for planned in plan:
            todo.put(planned)
        # Daemons: a worker that hangs in the network must not keep a stopped process alive.
        workers = [
            threading.Thread(target=self._worker, args=(todo, done), name=f"slices-{number}", daemon=True)
            for number in range(min(self._settings.concurrency, len(plan)))
        ]
        for worker in workers:
            worker.start()
        outcomes: list[Outcome] = []
        try:
            for _ in plan:
                outcome = done.get()
                if isinstance(outcome, BaseException):
                    raise outcome  # noqa: TRY301 - it is the worker's, and ends the work here
                run_log.outcome_done(outcome)
                outcomes.append(outcome)
                on_outcome(outcome)
        except BaseException:
            self._give_up(workers, unfinished=len(plan) - len(outcomes))
            raise
        return sorted(self._graded_again(plan, outcomes), key=lambda outcome: outcome.slice)

    def compact_a_month(self) -> None:
        """Give a settled month one partition, if that can be done at once. What stands in the way is only logged."""
        try:
            done = compact.compact_after_run(self._database, self._settings, self._stop, today=self._today)
        except WatchTimeError as error:
            log.warning("not_compacted", error=str(error), next_step=error.next_step)
        except Exception:
            log.exception("not_compacted")
        else:
            if done:
                log.info("compacted", month=done.month.name, partitions_before=done.partitions_before)

    def settle_archive(self) -> None:
        """Finish in the archive what a run that was killed left unfinished. What stands in the way is only logged."""
        if self._archive is None:
            return

        from etl.archive import audit  # noqa: PLC0415 - only where there is an archive

        try:
            settled = audit.settle(self._database, self._archive)
        except WatchTimeError as error:
            log.warning("archive_not_settled", error=str(error), next_step=error.next_step)
        except Exception:
            log.exception("archive_not_settled")
        else:
            for slice_ in settled:
                log.info("archive_settled", slice=str(slice_))

    def _graded_again(self, plan: Sequence[Planned], outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The outcomes; for settled 404s that nothing spoke for, what they mean now that their neighbours have come."""
        settled = {planned.slice for planned in plan if planned.ask.settled}
        doubtful = [outcome.slice for outcome in outcomes if outcome.result is Result.UNAVAILABLE]
        graded: dict[Slice, Outcome] = {}
        while again := [
            outcome
            for slice_ in doubtful
            if slice_ in settled - graded.keys() and (outcome := self._pipeline.graded_again(slice_))
        ]:
            # One of a date's two reports may be what speaks for the other.
            for outcome in again:
                run_log.outcome_done(outcome)
                graded[outcome.slice] = outcome
        return [
            graded.get(outcome.slice, outcome) if outcome.result is Result.UNAVAILABLE else outcome
            for outcome in outcomes
        ]

    def _worker(self, todo: queue.SimpleQueue[Planned], done: queue.SimpleQueue[Outcome | BaseException]) -> None:
        try:
            while True:
                planned = todo.get_nowait()
                self._stop.check()
                done.put(self._pipeline.bring(planned.slice, planned.ask))
        except (queue.Empty, Stopped):
            return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            done.put(error)

    def _give_up(self, workers: Sequence[threading.Thread], *, unfinished: int) -> None:
        """Ask the workers to stop, and give them a moment to roll back."""
        self._stop.request()
        self._database.cancel()
        deadline = time.monotonic() + _STOP_PATIENCE_S
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
        log.warning("stopped", unfinished=unfinished)

    def _target(self, target: date | None) -> date:
        return target or target_date(self._today, self._settings.lag_days)

    def _is_settled(self, day: date) -> bool:
        return is_settled(day, today=self._today, lag_days=self._settings.lag_days)

    def _require_past(self, day: date) -> None:
        if day >= self._today:
            raise WrongUsage(
                f"{day} is not over yet: it is {self._today} in {self._settings.time_zone}",
                next_step="name an earlier date, or set WATCH_TIME_TIME_ZONE",
            )


@contextmanager
def opened(settings: Settings, *, stop: Stop | None = None, requests_per_second: float | None = None) -> Iterator[Job]:
    """A job on the configured warehouse and source.

    Args:
        settings: for everything.
        stop: ends the work.
        requests_per_second: the report API is asked no more often; None: as fast as it answers.

    Raises:
        SchemaNotReady, WrongOrganization: before anything is asked of the source.
        ArchiveUnavailable, CredentialsRefused, Misconfigured: the configured archive cannot be looked at.
    """
    stop = stop or Stop()
    with db.opened(settings.require("database_url"), schema=settings.schema_name, stop=stop) as database:
        database.run(lambda connection: schema.require_head(database, connection))
        database.run(lambda connection: schema.require_owner(database, connection, settings.require("org_id")))
        if warning := api_token.warning(settings.require("api_token"), now=datetime.now(UTC)):
            log.warning("token_expires", about=warning, next_step="get a new one and set WATCH_TIME_API_TOKEN")
        archive = _archive(settings, stop)
        with source.opened(settings, stop, requests_per_second=requests_per_second) as reports:
            yield Job(
                settings,
                database,
                Pipeline(settings, database, reports, stop, archive),
                stop,
                settings.today(),
                archive=archive,
                requests_per_second=requests_per_second,
            )


def _archive(settings: Settings, stop: Stop) -> Archive | None:
    if settings.archive_url is None:
        return None

    from etl.archive import keeping  # noqa: PLC0415 - only where there is an archive

    return keeping.opened(settings, stop)


def _reason(known: SliceRecord | None) -> str:
    """Why a slice is worked on."""
    if known is None:
        return "never tried"
    if known.state is State.LOADED:
        return f"loaded {known.loaded_at:%Y-%m-%d}, asked again"
    when = f"{known.state}, last asked {known.checked_at:%Y-%m-%d %H:%M}"
    return f"{when}: {known.reason}" if known.reason else when
