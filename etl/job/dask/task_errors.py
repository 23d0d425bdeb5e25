"""What the error of a Dask task means: the outcome of one slice, or the end of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from distributed import KilledWorker

from etl import __version__
from etl.domain.errors import ClusterUnavailable, Misconfigured, WatchTimeError
from etl.domain.outcome import Outcome, Result, refusal
from etl.domain.plurals import plural
from etl.runtime.cancellation import Stopped

if TYPE_CHECKING:
    from etl.domain.outcome import PlannedSlice

log = structlog.get_logger("watch_time")


def outcome_of(planned: PlannedSlice, error: BaseException | None) -> Outcome:
    """The outcome of a slice whose error affects no other slice.

    Raises:
        NeedsAPerson, ClusterUnavailable: every slice would fail there.
    """
    match error:
        case KilledWorker():
            lost = ClusterUnavailable(
                f"{plural(error.allowed_failures + 1, 'Dask worker')} died while working on this slice, the last one "
                f"{error.last_worker.address}",
                next_step="check the workers' logs; if they ran out of memory, give them more, or fewer threads each",
            )
            return refusal(planned.slice, Result.FAILED, lost)
        case ImportError() | AttributeError():
            raise Misconfigured(
                f"a Dask worker could not read its task ({type(error).__name__}: {error})",
                next_step=f"install watch-time {__version__} on every worker, and restart them",
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
