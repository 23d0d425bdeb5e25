"""Bringing the slices of a plan on a Dask cluster: `backfill --dask`.

The scheduler hands slices out, and again where a worker died; the slice's lock and the ledger make that safe. The
plan, the log, the bar and the summary stay with the command. What a worker does is in `worker`.
"""

from __future__ import annotations

import queue
import secrets
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import structlog
from distributed import Future, KilledWorker

from etl import __version__, beacon, scheduler, worker
from etl.errors import ClusterUnavailable, Misconfigured, TryLater, WatchTimeError
from etl.outcome import Outcome, Result, refusal
from etl.scheduler import in_time
from etl.stop import Stopped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from dask.typing import Key
    from distributed import Client

    from etl.outcome import Planned
    from etl.settings import Settings
    from etl.workplace import Workplace

log = structlog.get_logger("watch_time")

LOCAL: Final = "local"

_POLL_S: Final = 1.0
# Clusters that grow with their work start a first worker on a machine that may have to be started first.
_NO_WORKER_S: Final = 120.0
_NO_WORKER_TOLD_S: Final = 5.0
# As for threads: see `etl.threads`. Closing the client and a cluster of our own comes after it.
_ROLL_BACK_S: Final = 2.0
_STOP_PATIENCE_S: Final = 2.5
_END_S: Final = 2.0


class Cluster:
    """The workers of a Dask scheduler, or processes of this machine for the time of a plan."""

    def __init__(
        self, address: str, settings: Settings, place: Workplace, requests_per_second: float | None = None
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
        self._address = None if address == LOCAL else scheduler.trusted(address, without_tls=settings.dask_without_tls)
        self._settings = settings
        self._place = place
        self._requests_per_second = requests_per_second
        if self._address and settings.archive_url and "://" not in settings.archive_url:
            raise Misconfigured(
                f"the archive {settings.archive_url} is a folder, and where the workers of {self._address} run it may "
                "be another one",
                next_step="use an object store as WATCH_TIME_ARCHIVE_URL, or --dask local",
            )

    def __call__(self, plan: Sequence[Planned]) -> Generator[Outcome]:
        """The outcomes, as slices are done. Closed early, it gives up on the others, and lets them roll back."""
        if not plan:
            return
        with ExitStack() as stack:
            # Of a cluster of our own each worker gets its share; for others there is no rate.
            workers, rate = min(self._settings.concurrency, len(plan)), self._requests_per_second
            connected = scheduler.connected(self._address) if self._address else scheduler.started(workers)
            client = stack.enter_context(connected)
            number = stack.enter_context(beacon.lit(self._place.database))
            terms = worker.Terms(
                secrets.token_hex(4), __version__, number, rate and rate / workers, worker.travelling(self._settings)
            )
            work = _Work(client, self._address or "this machine", terms, plan)
            try:
                yield from work.outcomes()
            except BaseException:
                work.give_up()
                raise
            work.end()


class _Work:
    """The slices of a plan, handed to a cluster."""

    def __init__(self, client: Client, shown: str, terms: worker.Terms, plan: Sequence[Planned]) -> None:
        self._client = client
        self._shown = shown
        self._terms = terms
        self._done = queue.SimpleQueue[Future[Outcome]]()
        self._todo: dict[Key, tuple[Future[Outcome], Planned]] = {}
        self._lonely_since_s: float | None = None
        # Keys are what dashboards show, and decide who comes first. Handed in together under one first part, those for
        # which no worker is free stay with the scheduler: what waits at a worker that dies is suspected of having
        # killed it.
        keys = [(f"watch-time-{terms.run}", str(planned.slice)) for planned in plan]
        for future, planned in zip(client.map(worker.bring, plan, key=keys, terms=terms), plan, strict=True):
            self._todo[future.key] = future, planned
            future.add_done_callback(self._done.put)

    def outcomes(self) -> Iterator[Outcome]:
        """As slices are done; where the cluster fails, those that are left have failed with it."""
        try:
            while self._todo:
                if outcome := self._next():
                    yield outcome
        except WatchTimeError as error:
            left = [planned for _, planned in self._todo.values()]
            self.give_up()
            for planned in left:
                yield refusal(planned.slice, Result.FAILED, error)

    def give_up(self) -> None:
        """What has not begun never will; what is being done is stopped, and given a moment to roll back."""

        def tell() -> None:
            self._client.cancel([future for future, _ in self._todo.values()], force=True)
            self._client.run(worker.stop, self._terms.run, _ROLL_BACK_S, on_error="ignore")

        in_time(tell, _STOP_PATIENCE_S)

    def end(self) -> None:
        """Let the workers close what they opened for the run."""
        in_time(lambda: self._client.run(worker.end, self._terms.run, on_error="ignore"), _END_S)

    def _next(self) -> Outcome | None:
        """The next outcome; None: ask again.

        Raises:
            ClusterUnavailable: the scheduler is gone, or there was no worker for long.
            NeedsAPerson: a worker cannot work.
        """
        try:
            future = self._done.get(timeout=_POLL_S)
        except queue.Empty:
            self._require_workers()
            return None
        _, planned = self._todo[future.key]
        if future.status == "error":
            outcome = _failed(planned, future.exception())
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

    def _require_workers(self) -> None:
        """There must be a scheduler, and a worker within a while.

        Raises:
            ClusterUnavailable: there is not.
        """
        try:
            count = self._client.scheduler_info(n_workers=0)["n_workers"]
        except Exception as error:  # noqa: BLE001 - whatever it is, the scheduler does not answer
            raise self._lost(f"the Dask scheduler at {self._shown} was lost ({type(error).__name__})") from None
        now_s = time.monotonic()
        if count:
            self._lonely_since_s = None
            return
        if self._lonely_since_s is None:
            self._lonely_since_s = now_s
        lonely_s = now_s - self._lonely_since_s
        if _NO_WORKER_TOLD_S <= lonely_s < _NO_WORKER_TOLD_S + _POLL_S:
            log.warning("no_worker", scheduler=self._shown, waits_s=_NO_WORKER_S)
        if lonely_s >= _NO_WORKER_S:
            raise self._lost(f"the Dask scheduler at {self._shown} has had no worker for {_NO_WORKER_S:.0f} s")

    def _lost(self, what: str) -> ClusterUnavailable:
        return ClusterUnavailable(
            what, next_step="nothing is lost: see to the cluster (dask worker ADDRESS starts a worker), and run again"
        )


def _failed(planned: Planned, error: BaseException | None) -> Outcome:
    """The outcome of a slice whose worker could not even say what came of it.

    Raises:
        NeedsAPerson: no slice would get further there.
    """
    match error:
        case KilledWorker():
            lost = ClusterUnavailable(
                f"{error.allowed_failures + 1} Dask workers died while they had this slice, the last of them "
                f"{error.last_worker.address}",
                next_step="look into the workers' logs; where memory ran out, give them more, or fewer threads each",
            )
            return refusal(planned.slice, Result.FAILED, lost)
        case TryLater():
            return refusal(planned.slice, Result.FAILED, error)
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
        case _:
            raise error
