"""How much the fault tests try, and from which seed: the same code serves a plain run and one of hours."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_FACTOR = float(os.environ.get("WATCH_TIME_TEST_EFFORT", "1"))

SEED = int(os.environ.get("WATCH_TIME_TEST_SEED", "20261122"))

EXHAUSTIVE = _FACTOR > 1 or os.environ.get("WATCH_TIME_TEST_EXHAUSTIVE") == "1"
"""Whether all cases are tried of which a plain run takes a sample; `make soak` asks for it, whatever its effort."""

_Case = TypeVar("_Case")


def effort(count: int) -> int:
    """`count` as often as WATCH_TIME_TEST_EFFORT says; never less than once."""
    return max(1, round(count * _FACTOR))


def sample(cases: Sequence[_Case], count: int, of: str) -> list[_Case]:
    """So many of the cases, in their order, as the seed and the name of what they are of say; exhaustively, all."""
    if EXHAUSTIVE or len(cases) <= count:
        return list(cases)
    chance = random.Random(f"{SEED} {of}")  # noqa: S311 - to be repeated
    return [cases[index] for index in sorted(chance.sample(range(len(cases)), count))]
