"""Whether a Dask scheduler answers and has workers. Either may be missing for a limited time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import structlog

from etl.domain.errors import ClusterUnavailable

if TYPE_CHECKING:
    from distributed import Client

log = structlog.get_logger("watch_time")

# Beyond what Dask's client takes to reconnect: see `etl.job.dask.client`.
_NO_SCHEDULER_S: Final = 60.0
# Autoscaling clusters may have to start a machine for the first worker.
_NO_WORKER_S: Final = 120.0
_NO_WORKER_TOLD_S: Final = 5.0
_RECONNECT_POLL_S: Final = 0.1


class SchedulerHealth:
    """The scheduler of a client."""

    def __init__(self, client: Client, shown: str) -> None:
        self._client = client
        self._shown = shown
        self._no_scheduler, self._no_worker = _Missing(), _Missing()
        self._is_told = False

    def workers(self) -> frozenset[str] | None:
        """The addresses of the workers; None if the scheduler does not answer at the moment.

        Raises:
            ClusterUnavailable: it has not answered for too long.
        """
        try:
            known = frozenset(self._client.nthreads()) if self._client.status == "running" else None
        except Exception:  # noqa: BLE001 - whatever it is, the scheduler does not answer
            known = None
        self._require(is_there=known is not None)
        return known

    def require_workers(self) -> frozenset[str] | None:
        """As `workers`.

        Raises:
            ClusterUnavailable: or there was no worker for too long.
        """
        known = self.workers()
        if known is None:
            return None
        missing_s = self._no_worker.seconds(is_there=bool(known))
        if missing_s >= _NO_WORKER_TOLD_S and not self._is_told:
            log.warning("no_worker", scheduler=self._shown, waits_s=_NO_WORKER_S)
        self._is_told = missing_s >= _NO_WORKER_TOLD_S
        if missing_s >= _NO_WORKER_S:
            raise self.lost(f"has had no worker for {_NO_WORKER_S:.0f} s")
        return known

    def wait_until_connected(self) -> None:
        """Wait while the client reconnects.

        Raises:
            ClusterUnavailable: the client has given up, or takes too long.
        """
        while self._client.status != "running":
            self._require(is_there=False)
            time.sleep(_RECONNECT_POLL_S)

    def lost(self, what: str) -> ClusterUnavailable:
        """The error that says this of the scheduler."""
        return ClusterUnavailable(
            f"the Dask scheduler at {self._shown} {what}",
            next_step="nothing is lost: check the cluster (dask worker ADDRESS starts a worker), and run again",
        )

    def _require(self, *, is_there: bool) -> None:
        missing_s = self._no_scheduler.seconds(is_there=is_there)
        if self._client.status in {"closing", "closed"} or missing_s > _NO_SCHEDULER_S:
            raise self.lost("was lost")


class _Missing:
    """How long something has been missing continuously."""

    def __init__(self) -> None:
        self._since_s: float | None = None

    def seconds(self, *, is_there: bool) -> float:
        now_s = time.monotonic()
        self._since_s = None if is_there else self._since_s or now_s
        return 0.0 if self._since_s is None else now_s - self._since_s
