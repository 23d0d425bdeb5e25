"""What a Dask worker does: it brings the slices that it is given, with a workplace of its own for each run.

Nothing secret comes to a worker by way of Dask: token and database URL are those of its own environment. What a run
decides (organization, schema, guards, how files are read) comes with each slice, so that a worker that joins late
knows it too.
"""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TextIO, cast, get_args

import structlog
from pydantic import SecretStr

from etl import __version__
from etl.config.settings import Settings
from etl.domain.errors import DatabaseUnavailable, Misconfigured, NeedsAPerson, WatchTimeError
from etl.job import run_context
from etl.job.dask.database_identity import is_held
from etl.runtime import logs
from etl.runtime.cancellation import Stop, Stopped

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from distributed import Worker

    from etl.domain.outcome import Outcome, PlannedSlice
    from etl.job.run_context import RunContext
    from etl.warehouse.connection import Database

log = structlog.get_logger("watch_time")

# Where the workers of `--dask local` put what they log: it appears among the command's own lines.
LOG_TOPIC: Final = "watch-time-log"
# What is secret is a matter of the machine, and so is how it reaches the database and whom it tells of runs.
_OF_THE_MACHINE: Final = frozenset({"weakest_sslmode", "metrics_file", "pushgateway_url"})
# A command that was killed says no goodbye. Connections to the database are not kept for longer either.
_IDLE_S: Final = 10.0
_LOOK_EVERY_S: Final = 2.0
# A lock that was lost with its connection is taken again within a second or two.
_LOCK_TIMEOUT_S: Final = 5.0
_LOCK_POLL_S: Final = 0.5
_STOP_POLL_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class RunTerms:
    """What a run's command tells the workers. Nothing in it is secret.

    Attributes:
        run: a name for the run.
        version: of the command's watch-time.
        database_lock: held in the run's database; see `etl.job.dask.database_identity`.
        requests_per_second: of this worker to the report API; None: as fast as it answers.
        settings: the command's, but for secrets and what is a matter of the machine.
    """

    run: str
    version: str
    database_lock: int
    requests_per_second: float | None
    settings: Mapping[str, Any] = field(repr=False)


def shareable_settings(settings: Settings) -> dict[str, Any]:
    """The settings that go to the workers."""
    stay = {
        name
        for name, each in Settings.model_fields.items()
        if SecretStr in (each.annotation, *get_args(each.annotation))
    }
    return settings.model_dump(exclude=stay | _OF_THE_MACHINE)


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
    """Bring one slice.

    Raises:
        Misconfigured: this worker has another version, lacks settings, or leads to another database.
        CredentialsRefused: of this worker.
        Unfit: its disk is full, or whatever else keeps it from beginning; or it does not reach the database any more.
        Stopped: the run was given up.
    """
    if terms.version != __version__:
        raise Misconfigured(
            f"{_name()} has watch-time {__version__}, and the command is {terms.version}",
            next_step="install the same version on every worker, and start them again",
        )
    with _used(terms) as place:
        try:
            outcome = place.opened().pipeline.sync_slice(planned.slice, planned.ask)
        except Stopped:
            raise
        except NeedsAPerson as error:
            raise _named(error) from None
        except WatchTimeError as error:
            raise Unfit(_address(), _named(error)) from None
        except Exception as error:
            log.exception("bug", slice=str(planned.slice))
            bug = WatchTimeError(
                f"it cannot begin to work: {type(error).__name__}",
                next_step="that worker's log has the traceback; mend it or end it, and run again",
            )
            raise Unfit(_address(), _named(bug)) from None
    if outcome.lost_database:
        lost = DatabaseUnavailable(outcome.message or "", next_step=outcome.next_step or "")
        raise Unfit(_address(), _named(lost))
    return outcome


def end(run: str) -> None:
    """Close what was opened for a run, unless it is in use. For the worker's event loop: it does not block."""
    with _registry:
        place = _places.get(run)
        if place is None or place.users:
            return
        del _places[run]
    threading.Thread(target=place.close, name="closing", daemon=True).start()


async def stop(run: str, timeout_s: float) -> None:
    """Stop what is being done for a run, and wait until it is rolled back. For the worker's event loop.

    The scheduler may hear of it later than a worker, and hand out another slice meanwhile: none is begun any more.
    """
    with _registry:
        _given_up.add(run)
        place = _places.get(run)
    if place:
        deadline = time.monotonic() + timeout_s
        while True:
            # More than once: a cancellation that comes between two statements is lost.
            place.give_up()
            await asyncio.sleep(_STOP_POLL_S)
            if not place.users or time.monotonic() > deadline:
                break
        end(run)


def dask_setup(worker: Worker) -> None:
    """Make a worker one of `--dask local`: it logs by way of the command, and Ctrl-C is the command's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _stream  # noqa: PLW0603 - a process logs to one place
    _stream = cast("TextIO", _ToCommand(worker))
    logs.configure(stream=_stream)


class _ToCommand:
    """A stream whose lines are events of the cluster, which the command listens to."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def write(self, text: str) -> None:
        if line := text.strip():
            self._worker.log_event(LOG_TOPIC, line)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        return False


def log_again(line: str) -> None:
    """Log what a worker logged, here."""
    event = json.loads(line)
    event.pop("timestamp", None)
    say = getattr(log, event.pop("level", "warning"), log.warning)
    say(event.pop("event", ""), **event)


class _Place:
    """A run's workplace in this process: opened with its first slice, closed when none has come for a while.

    Attributes:
        users: slices that are being brought here; under the lock of `_registry`.
        used_s: when the last of them ended; as above.
    """

    def __init__(self, terms: RunTerms) -> None:
        self.users = 0
        self.used_s = time.monotonic()
        self._terms = terms
        self._stop = Stop()
        self._lock = threading.Lock()
        self._stack: ExitStack | None = None
        self._place: RunContext | None = None

    def opened(self) -> RunContext:
        """The workplace. Its threads share it."""
        with self._lock:
            self._stop.check()
            return self._place or self._open()

    def give_up(self) -> None:
        """Stop whatever is being done. Returns at once."""
        self._stop.request()
        if self._place:
            self._place.database.cancel()

    def close(self) -> None:
        """Close it. Nobody uses it, and nobody finds it any more."""
        with self._lock:
            stack, self._stack, self._place = self._stack, None, None
        if stack:
            stack.close()

    def _open(self) -> RunContext:
        with ExitStack() as stack:
            settings = Settings.load(("api_token", "database_url"))
            logs.configure(secrets=settings.secrets(), stream=_stream)
            settings = settings.model_copy(update=dict(self._terms.settings))
            place = stack.enter_context(
                run_context.open_run_context(settings, self._stop, requests_per_second=self._terms.requests_per_second)
            )
            _require_seen(place.database, self._terms.database_lock, self._stop)
            self._stack, self._place = stack.pop_all(), place
        threading.Thread(target=self._close_when_idle, name="idle", daemon=True).start()
        return place

    def _close_when_idle(self) -> None:
        while self._place:
            time.sleep(_LOOK_EVERY_S)
            with _registry:
                if _places.get(self._terms.run) is not self:
                    return
                if self.users or time.monotonic() - self.used_s <= _IDLE_S:
                    continue
                del _places[self._terms.run]
            self.close()


# The places in use, and the runs that were given up. Only for a moment: the worker's event loop takes it too.
_registry = threading.Lock()
_places: dict[str, _Place] = {}
_given_up: set[str] = set()
_stream: TextIO | None = None


@contextmanager
def _used(terms: RunTerms) -> Iterator[_Place]:
    """The run's place. As long as it is used, nobody closes it, and a stop finds it.

    Raises:
        Stopped: the run was given up.
    """
    with _registry:
        if terms.run in _given_up:
            raise Stopped
        place = _places.setdefault(terms.run, _Place(terms))
        place.users += 1
    try:
        yield place
    finally:
        with _registry:
            place.users -= 1
            place.used_s = time.monotonic()


def _named(error: WatchTimeError) -> WatchTimeError:
    """The same error, said to be this worker's."""
    return type(error)(f"{_name()}: {error.message}", next_step=error.next_step, request_id=error.request_id)


def _require_seen(database: Database, number: int, stop: Stop) -> None:
    """The run's database and this one must be one.

    Raises:
        Misconfigured: they are two; or the command is gone.
    """
    deadline = time.monotonic() + _LOCK_TIMEOUT_S
    while not database.run(lambda connection: is_held(connection, number)):
        if time.monotonic() > deadline:
            raise Misconfigured(
                f"its WATCH_TIME_DATABASE_URL leads to {database}, which is not the database that the command works on",
                next_step="give the workers the command's WATCH_TIME_DATABASE_URL, and start them again",
            )
        stop.sleep(_LOCK_POLL_S)


def _name() -> str:
    return f"the Dask worker {_address()}"


def _address() -> str:
    from distributed import get_worker  # noqa: PLC0415 - there already, where this runs

    worker = get_worker()
    return str(worker.contact_address or worker.address)
