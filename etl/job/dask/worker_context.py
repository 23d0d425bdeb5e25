"""A worker's run contexts: one per run, opened with its first slice, closed when idle for a while."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from distributed import get_worker

from etl.config.settings import Settings
from etl.domain.errors import Misconfigured
from etl.job import run_context
from etl.job.dask import log_forwarding, progress_forwarding
from etl.job.dask.database_identity import is_held
from etl.runtime import logs
from etl.runtime.cancellation import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.job.dask.task_settings import RunTerms
    from etl.job.run_context import RunContext
    from etl.warehouse.database import Database

# A killed command does not say that it ended. Database connections are not kept longer either.
_IDLE_S: Final = 10.0
_IDLE_POLL_S: Final = 2.0
# A lock lost with its connection is retaken within a second or two.
_LOCK_TIMEOUT_S: Final = 5.0
_LOCK_POLL_S: Final = 0.5


class WorkerContext:
    """A run's context in this process.

    Attributes:
        users: slices that are being synced here; under the lock of `_registry`.
        used_s: when the last of them ended; as above.
    """

    def __init__(self, terms: RunTerms) -> None:
        self.users = 0
        self.used_s = time.monotonic()
        self._terms = terms
        self._stop = Stop()
        self._lock = threading.Lock()
        self._stack: ExitStack | None = None
        self._opened: RunContext | None = None

    def open(self) -> RunContext:
        """The context, opened on first use, and shared by all threads."""
        with self._lock:
            self._stop.check()
            return self._opened or self._open()

    def give_up(self) -> None:
        """Stop the slices in progress. Returns at once."""
        self._stop.request()
        if self._opened:
            self._opened.database.cancel()

    def close(self) -> None:
        """Close it. It must be unused and no longer registered."""
        with self._lock:
            stack, self._stack, self._opened = self._stack, None, None
        if stack:
            stack.close()

    def _open(self) -> RunContext:
        with ExitStack() as stack:
            settings = Settings.load(("api_token", "database_url"))
            logs.configure(secrets=settings.secrets(), stream=log_forwarding.stream)
            settings = settings.model_copy(update=dict(self._terms.settings))
            opened = stack.enter_context(
                run_context.open_run_context(
                    settings,
                    self._stop,
                    requests_per_second=self._terms.requests_per_second,
                    on_pause=progress_forwarding.teller(get_worker(), self._terms.run),
                )
            )
            _require_same_database(opened.database, self._terms.database_lock, self._stop)
            self._stack, self._opened = stack.pop_all(), opened
        threading.Thread(target=self._close_when_idle, name="idle", daemon=True).start()
        return opened

    def _close_when_idle(self) -> None:
        while self._opened:
            time.sleep(_IDLE_POLL_S)
            with _registry:
                if _contexts.get(self._terms.run) is not self:
                    return
                if self.users or time.monotonic() - self.used_s <= _IDLE_S:
                    continue
                del _contexts[self._terms.run]
            self.close()


# The contexts in use, and the runs that were given up. Only for a moment: the worker's event loop takes it too.
_registry = threading.Lock()
_contexts: dict[str, WorkerContext] = {}
_given_up: set[str] = set()


@contextmanager
def use(terms: RunTerms) -> Iterator[WorkerContext]:
    """The run's context. While it is in use it is not closed, and a stop reaches it.

    Raises:
        Stopped: the run was given up.
    """
    with _registry:
        if terms.run in _given_up:
            raise Stopped
        context = _contexts.setdefault(terms.run, WorkerContext(terms))
        context.users += 1
    try:
        yield context
    finally:
        with _registry:
            context.users -= 1
            context.used_s = time.monotonic()


def give_up(run: str) -> WorkerContext | None:
    """Start no more slices of a run; returns its context, if there is one."""
    with _registry:
        _given_up.add(run)
        return _contexts.get(run)


def end(run: str) -> None:
    """Close a run's context, unless it is in use. For the worker's event loop: it does not block."""
    with _registry:
        context = _contexts.get(run)
        if context is None or context.users:
            return
        del _contexts[run]
    threading.Thread(target=context.close, name="closing", daemon=True).start()


def _require_same_database(database: Database, number: int, stop: Stop) -> None:
    """Require that the run's database is this one.

    Raises:
        Misconfigured: they are different, or the command has ended.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while not database.run(lambda connection: is_held(connection, number)):
        if time.monotonic() > deadline:
            raise Misconfigured(
                f"its WATCH_TIME_DATABASE_URL names {database}, not the database of this command",
                next_step="set WATCH_TIME_DATABASE_URL on the workers to that of the command, and restart them",
            )
        stop.sleep(_LOCK_POLL_S)
