"""Working one step ahead: items are made in a thread while the caller is busy with the one before."""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

# So many items wait at most; memory holds also the one at hand and the one in the making.
_WAITING: Final = 1
_POLL_S: Final = 0.1
_END: Final = object()


@contextmanager
def prefetch(items: Iterable[T]) -> Iterator[Iterator[T]]:
    """The items in their order, the first of them begun at once; what making them raises is raised where it is taken.

    Where the caller stops early, so does the thread, after the item that it is making; it is waited for.
    """
    waiting: queue.Queue[object] = queue.Queue(_WAITING)
    unwanted = threading.Event()

    def hand_over(item: object) -> None:
        while not unwanted.is_set():
            with suppress(queue.Full):
                waiting.put(item, timeout=_POLL_S)
                return

    def make() -> None:
        try:
            for item in items:
                hand_over(item)
                if unwanted.is_set():
                    return
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            hand_over(error)
        else:
            hand_over(_END)

    # A daemon: it must not keep a stopped process alive.
    thread = threading.Thread(target=make, name=f"{threading.current_thread().name}-ahead", daemon=True)
    thread.start()
    try:
        yield _taken(waiting)
    finally:
        unwanted.set()
        thread.join()


def _taken(waiting: queue.Queue[object]) -> Iterator[Any]:
    while (item := waiting.get()) is not _END:
        if isinstance(item, BaseException):
            raise item
        yield item
