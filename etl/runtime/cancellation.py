"""Stopping on request: what SIGTERM sets, and what long waits ask.

Signal handlers run in the main thread only; the worker threads learn of the wish to stop from the event kept here.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import FrameType

# A process that a signal ended is known to shells and schedulers by 128 and the signal's number.
SIGNALLED: Final = 128


class Stopped(Exception):
    """Work was given up because a stop was requested; nothing was committed."""


class Stop:
    """A request to stop, shared by the threads of a run."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Ask every thread to give up at its next chance."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` if a stop was requested."""
        if self._event.is_set():
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Sleep for `seconds`, or raise `Stopped` as soon as a stop is requested."""
        if self._event.wait(seconds):
            raise Stopped


def exit_on_signals() -> None:
    """Make the first SIGTERM or Ctrl-C raise SystemExit(128 + signal) in the main thread, and a second end it at once.

    SystemExit is what psycopg answers by cancelling the running statement on the server; and as PID 1 in a container a
    process without a handler would not be stopped by SIGTERM at all.
    """

    def first(signum: int, _frame: FrameType | None) -> None:
        for stopping in (signal.SIGTERM, signal.SIGINT):
            signal.signal(stopping, second)
        raise SystemExit(SIGNALLED + signum)

    def second(signum: int, _frame: FrameType | None) -> None:
        os._exit(SIGNALLED + signum)

    for stopping in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stopping, first)
