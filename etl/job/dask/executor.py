"""Bringing the slices of a plan on a Dask cluster: `backfill --dask`.

The scheduler hands slices out, and again where a worker died; the slice's lock and the ledger make that safe. The
plan, the log, the bar and the summary stay with the command. What a worker does is in `worker`.
"""

from __future__ import annotations

import itertools
import queue
import secrets
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from distributed import Future, KilledWorker

from etl import __version__
from etl.domain.errors import (
    ClusterUnavailable,
    CredentialsRefused,
    DatabaseUnavailable,
    ExitCode,
    Misconfigured,
    WatchTimeError,
)
from etl.domain.outcome import Outcome, Result, refusal
from etl.job.dask import database_identity, worker
from etl.job.dask.client import best_effort_within, connected, started, trusted
from etl.runtime.cancellation import Stopped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from dask.typing import Key
    from distributed import Client

    from etl.config.settings import Settings
    from etl.domain.outcome import PlannedSlice
    from etl.job.run_context import RunContext

log = structlog.get_logger("watch_time")

LOCAL: Final = "local"

_POLL_S: Final = 1.0
# Clusters that grow with their work start a first worker on a machine that may have to be started first.
_NO_WORKER_S: Final = 120.0
_NO_WORKER_TOLD_S: Final = 5.0
# As for threads: see `etl.job.thread_executor`. Closing the client and a cluster of our own comes after it.
_ROLL_BACK_S: Final = 2.0
_STOP_TIMEOUT_S: Final = 2.5
_END_S: Final = 2.0


class Cluster:
    """The workers of a Dask scheduler, or processes of this machine for the time of a plan."""

    def __init__(
        self, address: str, settings: Settings, place: RunContext, requests_per_second: float | None = None
    ) -> None:
        """Nothing is asked of the cluster yet.

        Args:
            address: `local`, or of a scheduler.
            settings: of the command.
            place: its own workplace.
            requests_per_second: to the report API, of all workers; for `local` only.

        Raises:
            WrongUsage: it is no address.
            Misconfigured: it may not be used: what it says would be believed without knowing who says it.
        """
        self._address = None if address == LOCAL else trusted(address, without_tls=settings.dask_without_tls)
        self._settings = settings
        self._place = place
        self._requests_per_second = requests_per_second
        if self._address and settings.archive_url and "://" not in settings.archive_url:
            raise Misconfigured(
                f"the archive {settings.archive_url} is a folder, and where the workers of {self._address} run it may "
                "be another one",
                next_step="use an object store as WATCH_TIME_ARCHIVE_URL, or --dask local",
            )

    def __call__(self, plan: Sequence[PlannedSlice]) -> Generator[Outcome]:
        """The outcomes, as slices are done. Closed early, it gives up on the others, and lets them roll back."""
        if not plan:
            return
        with ExitStack() as stack:
            # Of a cluster of our own each worker gets its share; for others there is no rate.
            workers, rate = min(self._settings.concurrency, len(plan)), self._requests_per_second
            client = stack.enter_context(connected(self._address) if self._address else started(workers))
            number = stack.enter_context(database_identity.hold(self._place.database))
            terms = worker.RunTerms(
                secrets.token_hex(4),
                __version__,
                number,
                rate and rate / workers,
                worker.shareable_settings(self._settings),
            )
            work = _Work(client, self._address or "this machine", terms, plan, self._place)
            try:
                yield from work.outcomes()
            except BaseException:
                work.give_up()
                raise
            work.end()


@dataclass(frozen=True, slots=True)
class _Task:
    """A slice that was handed to the cluster.

    Attributes:
        unfit: addresses of the workers that could not begin with it, or lost the database.
        only: addresses of the workers that may have it; empty: any.
    """

    planned: PlannedSlice
    future: Future[Outcome] = field(repr=False)
    unfit: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()


class _Work:
    """The slices of a plan, handed to a cluster."""

    def __init__(
        self, client: Client, shown: str, terms: worker.RunTerms, plan: Sequence[PlannedSlice], place: RunContext
    ) -> None:
        self._client = client
        self._shown = shown
        self._terms = terms
        self._done = queue.SimpleQueue[Future[Outcome]]()
        self._place = place
        self._again = itertools.count(1)
        self._todo: dict[Key, _Task] = {}
        self._lonely_since_s: float | None = None
        # Keys are what dashboards show, and decide who comes first. Handed in together under one first part, those for
        # which no worker is free stay with the scheduler: what waits at a worker that dies is suspected of having
        # killed it.
        keys = [(f"watch-time-{terms.run}", str(planned.slice)) for planned in plan]
        for future, planned in zip(client.map(worker.sync_slice, plan, key=keys, terms=terms), plan, strict=True):
            self._hand_in(_Task(planned, future))

    def outcomes(self) -> Iterator[Outcome]:
        """As slices are done; where the cluster fails, those that are left have failed with it.

        Where credentials are refused, what is done by then is told, and the others are given up.
        """
        is_refused = False
        try:
            while self._todo and not is_refused:
                if outcome := self._next():
                    yield outcome
                    is_refused = outcome.exit_code is ExitCode.CREDENTIALS_REFUSED
        except WatchTimeError as error:
            left = [task.planned for task in self._todo.values()]
            self.give_up()
            for planned in left:
                yield refusal(planned.slice, Result.FAILED, error)
        if is_refused:
            yield from self._told()
            self.give_up()

    def give_up(self) -> None:
        """What has not begun never will; what is being done is stopped, and given a moment to roll back."""

        def tell() -> None:
            self._client.cancel([task.future for task in self._todo.values()], force=True)
            self._client.run(worker.stop, self._terms.run, _ROLL_BACK_S, on_error="ignore")

        best_effort_within(tell, _STOP_TIMEOUT_S)

    def end(self) -> None:
        """Let the workers close what they opened for the run."""
        best_effort_within(lambda: self._client.run(worker.end, self._terms.run, on_error="ignore"), _END_S)

    def _hand_in(self, task: _Task) -> None:
        self._todo[task.future.key] = task
        task.future.add_done_callback(self._done.put)

    def _told(self) -> Iterator[Outcome]:
        """The outcomes that have come already."""
        while not self._done.empty():
            future = self._done.get()
            if future.status == "finished":
                with suppress(TimeoutError):  # its worker died before it told
                    yield future.result(timeout=_POLL_S)

    def _next(self) -> Outcome | None:
        """The next outcome; None: ask again.

        Raises:
            ClusterUnavailable: the scheduler is gone, or there was no worker for long.
            DatabaseUnavailable: neither a worker nor the command reaches it.
            NeedsAPerson: a worker cannot work.
        """
        try:
            future = self._done.get(timeout=_POLL_S)
        except queue.Empty:
            self._require_workers()
            return None
        task = self._todo.get(future.key)
        if task is None:  # it was handed in again
            return None
        outcome: Outcome | None
        if future.status == "error":
            outcome = self._after(task, future.exception())
        elif future.status in {"cancelled", "lost"}:
            raise self._lost(f"the Dask scheduler at {self._shown} was lost")
        else:
            try:
                outcome = future.result(timeout=_POLL_S)
            except TimeoutError:
                # Its worker died before it told: somebody else does it again.
                future.add_done_callback(self._done.put)
                self._require_workers()
                return None
        del self._todo[future.key]
        self._lonely_since_s = None
        return outcome

    def _after(self, task: _Task, error: BaseException | None) -> Outcome | None:
        """What comes of a slice whose worker could not say it; None: another worker has the slice now.

        Raises:
            NeedsAPerson, ClusterUnavailable, DatabaseUnavailable: no slice would get further there.
        """
        match error:
            case worker.Unfit():
                return self._elsewhere(task, error)
            case CredentialsRefused():
                return self._place.pipeline.refused(task.planned.slice, error)
            case _:
                return _failed(task.planned, error)

    def _elsewhere(self, task: _Task, error: worker.Unfit) -> Outcome | None:
        """Hand a slice to the workers that have not failed so with it; its outcome where there are none.

        Raises:
            DatabaseUnavailable: the worker does not reach the database, and neither does the command.
        """
        if isinstance(error.error, DatabaseUnavailable):
            # Every slice would fail with every worker, each after its retries.
            self._place.database.run(lambda _: None)
        unfit = task.unfit | {error.worker}
        others = self._workers() - unfit
        if not others:
            return refusal(task.planned.slice, Result.FAILED, error.error)
        log.warning("worker_unfit", slice=str(task.planned.slice), error=str(error.error), others=len(others))
        self._hand_in_again(task.planned, unfit, others)
        return None

    def _hand_in_again(self, planned: PlannedSlice, unfit: frozenset[str], only: frozenset[str] = frozenset()) -> None:
        key = (f"watch-time-{self._terms.run}", str(planned.slice), next(self._again))
        future = self._client.submit(worker.sync_slice, planned, self._terms, key=key, workers=sorted(only) or None)
        self._hand_in(_Task(planned, future, unfit, only))

    def _require_workers(self) -> None:
        """There must be a scheduler, and a worker within a while.

        Raises:
            ClusterUnavailable: there is not.
        """
        known = self._workers()
        for task in [task for task in self._todo.values() if task.only and not task.only & known]:
            # Those that were left for it are gone: whoever is there has it, or says what keeps it.
            del self._todo[task.future.key]
            self._client.cancel([task.future], force=True)
            self._hand_in_again(task.planned, task.unfit)
        now_s = time.monotonic()
        if known:
            self._lonely_since_s = None
            return
        if self._lonely_since_s is None:
            self._lonely_since_s = now_s
        lonely_s = now_s - self._lonely_since_s
        if _NO_WORKER_TOLD_S <= lonely_s < _NO_WORKER_TOLD_S + _POLL_S:
            log.warning("no_worker", scheduler=self._shown, waits_s=_NO_WORKER_S)
        if lonely_s >= _NO_WORKER_S:
            raise self._lost(f"the Dask scheduler at {self._shown} has had no worker for {_NO_WORKER_S:.0f} s")

    def _workers(self) -> frozenset[str]:
        """The addresses of the workers that are there."""
        try:
            return frozenset(self._client.nthreads())
        except Exception as error:  # noqa: BLE001 - whatever it is, the scheduler does not answer
            raise self._lost(f"the Dask scheduler at {self._shown} was lost ({type(error).__name__})") from None

    def _lost(self, what: str) -> ClusterUnavailable:
        return ClusterUnavailable(
            what, next_step="nothing is lost: see to the cluster (dask worker ADDRESS starts a worker), and run again"
        )


def _failed(planned: PlannedSlice, error: BaseException | None) -> Outcome:
    """The outcome of a slice that failed alone.

    Raises:
        NeedsAPerson, ClusterUnavailable: no slice would get further there.
    """
    match error:
        case KilledWorker():
            lost = ClusterUnavailable(
                f"{error.allowed_failures + 1} Dask workers died while they had this slice, the last of them "
                f"{error.last_worker.address}",
                next_step="look into the workers' logs; where memory ran out, give them more, or fewer threads each",
            )
            return refusal(planned.slice, Result.FAILED, lost)
        case ImportError() | AttributeError():
            raise Misconfigured(
                f"a Dask worker could not read what it was to do ({type(error).__name__}: {error})",
                next_step=f"install watch-time {__version__} on every worker, and start them again",
            )
        case Stopped():
            raise ClusterUnavailable(
                "the Dask workers were told to stop", next_step="nothing is lost: run again"
            ) from None
        case None:
            raise ClusterUnavailable("the Dask scheduler gave no reason", next_step="nothing is lost: run again")
        case WatchTimeError():
            raise error
        case _:
            log.error("bug", slice=str(planned.slice), exc_info=error)
            bug = WatchTimeError(
                f"{planned.slice}: {type(error).__name__} in watch-time or in Dask",
                next_step="the log has the traceback; please report it",
            )
            return refusal(planned.slice, Result.FAILED, bug)
