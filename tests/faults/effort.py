"""How much the fault tests try, and from which seed: the same code serves a plain run and one of hours."""

from __future__ import annotations

import os

_FACTOR = float(os.environ.get("WATCH_TIME_TEST_EFFORT", "1"))

SEED = int(os.environ.get("WATCH_TIME_TEST_SEED", "20261122"))


def effort(count: int) -> int:
    """`count` as often as WATCH_TIME_TEST_EFFORT says; never less than once."""
    return max(1, round(count * _FACTOR))
