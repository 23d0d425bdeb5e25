"""Runs on a Dask worker: syncs the slices assigned to it, with a separate context for each run.

Secrets never pass through Dask: token and database URL come from the worker's own environment.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Final

import structlog

from etl import __version__
from etl.domain.errors import DatabaseUnavailable, Misconfigured, NeedsAPerson, WatchTimeError
from etl.job.dask import log_forwarding, worker_context
from etl.runtime.cancellation import Stopped

if TYPE_CHECKING:
    from distributed import Worker

    from etl.domain.outcome import Outcome, PlannedSlice
    from etl.job.dask.task_settings import RunTerms

log = structlog.get_logger("watch_time")

_STOP_POLL_S: Final = 0.2


class Unfit(Exception):
    """A worker cannot open what the run needs, or lost its database connection; another worker may succeed.

    Attributes:
        worker: its address, as the scheduler knows it.
        error: why.
    """

    def __init__(self, worker: str, error: WatchTimeError) -> None:
        super().__init__(worker, error)
        self.worker = worker
        self.error = error


def sync_slice(planned: PlannedSlice, terms: RunTerms) -> Outcome:
    """Sync one slice.

    Raises:
        Misconfigured: this worker has another version, lacks settings, or uses another database.
        CredentialsRefused: this worker's credentials are refused.
        Unfit: it cannot start, for example because its disk is full; or it lost its database connection.
        Stopped: the run was given up.
    """
    if terms.version != __version__:
        raise Misconfigured(
            f"the Dask worker {_address()} has watch-time {__version__}, but the command has {terms.version}",
            next_step="install the same version on every worker, and restart them",
        )
    with worker_context.use(terms) as context:
        try:
            outcome = context.open().pipeline.sync_slice(planned.slice, planned.ask)
        except Stopped:
            raise
        except NeedsAPerson as error:
            raise _named(error) from None
        except WatchTimeError as error:
            raise Unfit(_address(), _named(error)) from None
        except Exception as error:
            log.exception("bug", slice=str(planned.slice))
            bug = WatchTimeError(
                f"cannot start: {type(error).__name__}",
                next_step="the traceback is in that worker's log; fix or stop the worker, and run again",
            )
            raise Unfit(_address(), _named(bug)) from None
    if outcome.lost_database:
        lost = DatabaseUnavailable(outcome.message or "", next_step=outcome.next_step or "")
        raise Unfit(_address(), _named(lost))
    return outcome


async def stop(run: str, timeout_s: float) -> None:
    """Stop the slices of a run, and wait until they are rolled back. For the worker's event loop.

    The scheduler may learn of it later than a worker and assign another slice meanwhile; no new slice is started.
    """
    context = worker_context.give_up(run)
    if context is None:
        return
    deadline = time.monotonic() + timeout_s
    while True:
        # More than once, because a cancellation between two statements is lost.
        context.give_up()
        await asyncio.sleep(_STOP_POLL_S)
        if not context.users or time.monotonic() > deadline:
            break
    worker_context.end(run)


def dask_setup(worker: Worker) -> None:
    """Set up a worker of `--dask local`: it logs through the command, and leaves Ctrl-C to the command."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_forwarding.forward(worker)


def _named(error: WatchTimeError) -> WatchTimeError:
    """The same error, naming this worker."""
    message = f"the Dask worker {_address()}: {error.message}"
    return type(error)(message, next_step=error.next_step, request_id=error.request_id)


def _address() -> str:
    from distributed import get_worker  # noqa: PLC0415 - there already, where this runs

    worker = get_worker()
    return str(worker.contact_address or worker.address)
