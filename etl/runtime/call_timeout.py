"""Work with a hard bound in time.

A timeout of a library bounds a step, not the whole: a name server that is silent, or a host that sends a byte every few
seconds, keeps a request for minutes.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Background(Generic[T]):
    """Work in a thread of its own, which ends with the process where it hangs."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._error = error

    def is_done(self, seconds: float) -> bool:
        """Whether the work is done within `seconds`."""
        self._thread.join(max(0.0, seconds))
        return not self._thread.is_alive()

    def result(self, seconds: float) -> T:
        """What the work returned, or raised.

        Raises:
            TimeoutError: it is not done within `seconds`; it is left behind.
        """
        if not self.is_done(seconds):
            raise TimeoutError(errno.ETIMEDOUT, "no response in time")
        if self._error:
            raise self._error
        return cast("T", self._value)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do `work`, and wait for it no longer than that.

    Raises:
        TimeoutError: it is not done; it is left behind.
    """
    return Background(work).result(seconds)
