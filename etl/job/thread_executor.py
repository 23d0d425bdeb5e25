"""Runs the slices of a plan in threads of this process, several at a time."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final, TypeAlias

from etl.domain.errors import CredentialsRefused
from etl.domain.outcome import Outcome, PlannedSlice
from etl.runtime.cancellation import Stopped

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from etl.domain.slices import Slice
    from etl.job.run_context import RunContext

# After SIGTERM, statements are cancelled on the server and rolled back; a worker that hangs in the network holds no
# transaction and is left behind. With the rest of the way out, which may stop an embedded server, this stays under
# five seconds.
STOP_TIMEOUT_S: Final = 3.0

# What a worker puts into the queue: a slice's outcome, the slice at which the credentials were refused, another error,
# or, finally, that it has ended.
_Done: TypeAlias = "Outcome | tuple[Slice, CredentialsRefused] | BaseException | None"


class ThreadExecutor:
    """A number of threads, which take one slice after the other."""

    def __init__(self, context: RunContext, count: int) -> None:
        self._context = context
        self._count = count

    def __call__(self, plan: Sequence[PlannedSlice]) -> Generator[Outcome]:
        """Yield outcomes as slices finish. If closed early, it stops the others and lets them roll back.

        If credentials are refused, no new slice is started, and slices in progress are finished.
        """
        todo = queue.SimpleQueue[PlannedSlice]()
        done = queue.SimpleQueue[_Done]()
        for planned in plan:
            todo.put(planned)
        # Daemons: a worker that hangs in the network must not keep a stopped process alive.
        workers = [
            threading.Thread(target=self._worker, args=(todo, done), name=f"slices-{number}", daemon=True)
            for number in range(min(self._count, len(plan)))
        ]
        for worker in workers:
            worker.start()
        try:
            yield from self._outcomes(done, len(workers))
        except BaseException:
            self._give_up(workers)
            raise

    def _outcomes(self, done: queue.SimpleQueue[_Done], working: int) -> Generator[Outcome]:
        """Yield the outcomes of all workers. If several had their credentials refused, only the first is reported."""
        is_refused = False
        while working:
            match done.get():
                case None:
                    working -= 1
                case BaseException() as error:
                    raise error
                case Outcome() as outcome:
                    yield outcome
                case slice_, error if not is_refused:
                    is_refused = True
                    yield self._context.pipeline.refused(slice_, error)

    def _worker(self, todo: queue.SimpleQueue[PlannedSlice], done: queue.SimpleQueue[_Done]) -> None:
        try:
            while True:
                planned = todo.get_nowait()
                self._context.database.stop.check()
                try:
                    done.put(self._context.pipeline.sync_slice(planned.slice, planned.ask))
                except CredentialsRefused as error:
                    done.put((planned.slice, error))
                    while True:
                        todo.get_nowait()  # nobody is to begin another one
        except (queue.Empty, Stopped):
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            done.put(error)
        finally:
            done.put(None)

    def _give_up(self, workers: Sequence[threading.Thread]) -> None:
        """Ask the workers to stop, and give them a moment to roll back."""
        self._context.database.stop.request()
        self._context.database.cancel()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for worker in workers:
            worker.join(max(0.0, deadline - time.monotonic()))
