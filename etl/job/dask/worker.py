"""What a Dask worker does: it syncs the slices that it is given, in a context of its own for each run.

Nothing secret comes to a worker by way of Dask: token and database URL are those of its own environment.
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
    """A worker cannot open what the run needs, or lost its way to the database, and another one may do better.

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
        Misconfigured: this worker has another version, lacks settings, or leads to another database.
        CredentialsRefused: of this worker.
        Unfit: its disk is full, or whatever else keeps it from beginning; or it does not reach the database any more.
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


def end(run: str) -> None:
    """Close what was opened for a run, unless it is in use. For the worker's event loop: it does not block."""
    worker_context.end(run)


async def stop(run: str, timeout_s: float) -> None:
    """Stop what is being done for a run, and wait until it is rolled back. For the worker's event loop.

    The scheduler may hear of it later than a worker, and hand out another slice meanwhile: none is begun any more.
    """
    context = worker_context.give_up(run)
    if context is None:
        return
    deadline = time.monotonic() + timeout_s
    while True:
        # More than once: a cancellation that comes between two statements is lost.
        context.give_up()
        await asyncio.sleep(_STOP_POLL_S)
        if not context.users or time.monotonic() > deadline:
            break
    worker_context.end(run)


def dask_setup(worker: Worker) -> None:
    """Make a worker one of `--dask local`: it logs by way of the command, and Ctrl-C is the command's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log_forwarding.forward(worker)


def _named(error: WatchTimeError) -> WatchTimeError:
    """The same error, said to be this worker's."""
    message = f"the Dask worker {_address()}: {error.message}"
    return type(error)(message, next_step=error.next_step, request_id=error.request_id)


def _address() -> str:
    from distributed import get_worker  # noqa: PLC0415 - there already, where this runs

    worker = get_worker()
    return str(worker.contact_address or worker.address)
