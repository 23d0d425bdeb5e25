"""Waiting for what must come, and for no longer than that."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Far more than a busy machine needs; only a failing test waits for so long.
_TIMEOUT_S = 90.0


def until(condition: Callable[[], object], otherwise: str, timeout_s: float = _TIMEOUT_S) -> None:
    """Wait until the condition holds; after the timeout the test fails, and says `otherwise`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)
