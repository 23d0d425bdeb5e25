"""A plan that was submitted to a Dask cluster: collects the outcomes, and resubmits what was lost.

Losses are: a worker that cannot sync a slice, an outcome that was lost with its worker, a broken connection.
"""

from __future__ import annotations

import itertools
import queue
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import structlog
from distributed import CancelledError, Future

from etl.domain.errors import CredentialsRefused, DatabaseUnavailable, ExitCode, WatchTimeError
from etl.domain.outcome import Outcome, Result, refusal
from etl.job.dask import progress_forwarding, worker, worker_context
from etl.job.dask.client import best_effort_within
from etl.job.dask.scheduler_health import SchedulerHealth
from etl.job.dask.task_errors import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dask.typing import Key
    from distributed import Client

    from etl.domain.outcome import Pause, PlannedSlice
    from etl.domain.slices import Slice
    from etl.job.dask.task_settings import RunTerms
    from etl.job.run_context import RunContext

log = structlog.get_logger("watch_time")

_POLL_S: Final = 1.0
# How often a slice whose task was cancelled is resubmitted; after that, someone is cancelling them on purpose.
_MOST_CANCELLED: Final = 5
# As for threads: see `etl.job.thread_executor`. Closing the client and a cluster of our own comes after it.
_ROLL_BACK_S: Final = 2.0
_STOP_TIMEOUT_S: Final = 2.5
_END_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Task:
    """A slice that was submitted.

    Attributes:
        unfit: addresses of the workers that could not start it, or lost the database.
        only: addresses of the workers that may run it; empty: any.
        cancelled: how often its task was cancelled by something other than the command.
    """

    planned: PlannedSlice
    future: Future[Outcome] = field(repr=False)
    unfit: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    cancelled: int = 0


class SubmittedPlan:
    """The slices of a plan, on a cluster."""

    def __init__(  # noqa: PLR0917 - what a run has, once each
        self,
        client: Client,
        shown: str,
        terms: RunTerms,
        plan: Sequence[PlannedSlice],
        context: RunContext,
        on_pause: Callable[[Slice, Pause], None],
    ) -> None:
        self._client = client
        self._scheduler = SchedulerHealth(client, shown)
        self._terms = terms
        self._done = queue.SimpleQueue[Future[Outcome]]()
        self._context = context
        self._again = itertools.count(1)
        self._todo: dict[Key, _Task] = {}
        self._on_pause = on_pause
        progress_forwarding.listen(client, terms.run, on_pause)
        # Keys are what dashboards show, and decide who comes first. Submitted together under one first part, those for
        # which no worker is free stay with the scheduler: what waits at a worker that dies is suspected of having
        # killed it.
        keys = [(f"watch-time-{terms.run}", str(planned.slice)) for planned in plan]
        for future, planned in zip(client.map(worker.sync_slice, plan, key=keys, terms=terms), plan, strict=True):
            self._expect(_Task(planned, future))

    def outcomes(self) -> Iterator[Outcome]:
        """Yield outcomes as slices finish; if the cluster fails, the remaining slices fail too.

        If credentials are refused, finished outcomes are yielded, and the other slices are given up.
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
            yield from self._finished()
            self.give_up()

    def give_up(self) -> None:
        """Cancel slices that have not started; stop those in progress, and give them a moment to roll back."""

        def tell() -> None:
            self._client.cancel([task.future for task in self._todo.values()], force=True)
            self._client.run(worker.stop, self._terms.run, _ROLL_BACK_S, on_error="ignore")

        best_effort_within(tell, _STOP_TIMEOUT_S)

    def end(self) -> None:
        """Let the workers close what they opened for the run."""
        best_effort_within(lambda: self._client.run(worker_context.end, self._terms.run, on_error="ignore"), _END_S)

    def _expect(self, task: _Task) -> None:
        self._todo[task.future.key] = task
        task.future.add_done_callback(self._done.put)

    def _finished(self) -> Iterator[Outcome]:
        """The outcomes received so far."""
        while not self._done.empty():
            future = self._done.get()
            if future.status == "finished":
                with suppress(TimeoutError, CancelledError):  # lost
                    yield future.result(timeout=_POLL_S)

    def _next(self) -> Outcome | None:
        """The next outcome; None: ask again.

        Raises:
            ClusterUnavailable: the scheduler is gone, or there was no worker for too long.
            DatabaseUnavailable: neither a worker nor the command reaches it.
            NeedsAPerson: a worker cannot start.
        """
        try:
            future = self._done.get(timeout=_POLL_S)
        except queue.Empty:
            self._look_after_workers()
            return None
        task = self._todo.get(future.key)
        if task is None:  # it was submitted again
            return None
        outcome = self._outcome(task)
        if outcome:
            del self._todo[future.key]
        return outcome

    def _outcome(self, task: _Task) -> Outcome | None:
        """The outcome of a slice; None if it is retried, by the same or another worker."""
        future = task.future
        if future.status == "error":
            return self._outcome_of_error(task, future.exception())
        if future.status == "finished":
            with suppress(TimeoutError, CancelledError):
                return future.result(timeout=_POLL_S)
        if future.status == "cancelled":
            self._submit_cancelled(task)
        else:
            # Lost with its worker, whether or not the scheduler has noticed; the scheduler assigns the slice again.
            future.add_done_callback(self._done.put)
            self._look_after_workers()
        return None

    def _outcome_of_error(self, task: _Task, error: BaseException | None) -> Outcome | None:
        """The outcome of a slice whose task failed; None if another worker has the slice now.

        Raises:
            NeedsAPerson, ClusterUnavailable, DatabaseUnavailable: every slice would fail there.
        """
        match error:
            case worker.Unfit():
                return self._elsewhere(task, error)
            case CredentialsRefused():
                return self._context.pipeline.refused(task.planned.slice, error)
            case _:
                return outcome_of(task.planned, error)

    def _elsewhere(self, task: _Task, error: worker.Unfit) -> Outcome | None:
        """Resubmit a slice to workers that have not failed with it; returns its outcome if there are none.

        Raises:
            DatabaseUnavailable: the worker does not reach the database, and neither does the command.
        """
        if isinstance(error.error, DatabaseUnavailable):
            # Every slice would fail with every worker, each after its retries.
            self._context.database.run(lambda _: None)
        unfit, known = task.unfit | {error.worker}, self._scheduler.workers()
        others = (known or frozenset()) - unfit
        if known is not None and not others:
            return refusal(task.planned.slice, Result.FAILED, error.error)
        log.warning("worker_unfit", slice=str(task.planned.slice), error=str(error.error), other_workers=len(others))
        self._submit_again(task, unfit=unfit, only=others)
        return None

    def _submit_cancelled(self, task: _Task) -> None:
        """Resubmit a slice whose task was cancelled: the connection to the scheduler broke, or it was restarted.

        A worker that still has the slice keeps its lock until it finishes; the slice is then found unchanged.
        """
        if task.cancelled >= _MOST_CANCELLED:
            raise self._scheduler.lost(f"cancelled {task.planned.slice} repeatedly")
        self._scheduler.wait_until_connected()
        progress_forwarding.listen(self._client, self._terms.run, self._on_pause)
        log.warning("slice_resubmitted", slice=str(task.planned.slice))
        self._submit_again(task, unfit=task.unfit, cancelled=task.cancelled + 1)

    def _submit_again(
        self, task: _Task, *, unfit: frozenset[str], only: frozenset[str] = frozenset(), cancelled: int = 0
    ) -> None:
        del self._todo[task.future.key]
        key = (f"watch-time-{self._terms.run}", str(task.planned.slice), next(self._again))
        future = self._client.submit(
            worker.sync_slice, task.planned, self._terms, key=key, workers=sorted(only) or None
        )
        self._expect(_Task(task.planned, future, unfit, only, cancelled))

    def _look_after_workers(self) -> None:
        """Resubmit slices restricted to workers that are gone: any remaining worker may take them.

        Raises:
            ClusterUnavailable: there is no scheduler, or there was no worker for too long.
        """
        known = self._scheduler.require_workers()
        for task in [task for task in self._todo.values() if known and task.only and not task.only & known]:
            self._client.cancel([task.future], force=True)
            self._submit_again(task, unfit=task.unfit)
