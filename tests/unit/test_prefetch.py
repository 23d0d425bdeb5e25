"""Working ahead gives what working in turn gives, and never runs far ahead or on alone."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from etl.transform.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_items_come_in_order_and_are_made_in_another_thread() -> None:
    makers = set()

    def items() -> Iterator[int]:
        for number in range(100):
            makers.add(threading.current_thread())
            yield number

    with prefetch(items()) as working:
        assert list(working) == list(range(100))
    assert threading.current_thread() not in makers
    with prefetch([]) as working:
        assert list(working) == []


def test_what_is_raised_in_making_is_raised_after_the_items_before() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("the second cannot be made")

    with prefetch(items()) as working:
        assert next(working) == 1
        with pytest.raises(ValueError, match="the second cannot be made"):
            next(working)


def test_no_more_is_made_than_may_wait() -> None:
    """One waits, and one is in the making; the caller has one in hand."""
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with prefetch(items()) as working:
        next(working)
        deadline = time.monotonic() + 10
        while len(made) < 3 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.3)
        assert made == [0, 1, 2]


def test_the_first_item_is_begun_before_it_is_asked_for() -> None:
    begun = threading.Event()

    def items() -> Iterator[int]:
        begun.set()
        yield 1

    with prefetch(items()):
        assert begun.wait(10)


@pytest.mark.parametrize("waiting", [True, False], ids=["with a full queue", "in the making"])
def test_a_caller_that_stops_early_leaves_no_thread_behind(waiting: bool) -> None:
    going_on = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        if not waiting:
            going_on.wait(0.3)
        yield from range(1, 100)

    before = threading.active_count()

    def stop_early() -> None:
        with prefetch(items()) as working:
            for _ in working:
                raise KeyError("enough")

    with pytest.raises(KeyError):
        stop_early()
    assert threading.active_count() == before
