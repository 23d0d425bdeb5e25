"""Numbers that look random and depend on their names only, so that every part of a report can be made on its own.

A generator would have to be run up to the row that is wanted, and a restated report would come out different in every
line. Integers only: floating point may differ in the last digit from one machine to the next.
"""

from __future__ import annotations

from hashlib import blake2b
from itertools import count
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HEX_PAIRS = np.array([b"%02x" % byte for byte in range(256)]).view(np.uint16)


def seed_of(*names: object) -> int:
    """64 bits that stand for these names."""
    return int.from_bytes(blake2b("/".join(map(str, names)).encode(), digest_size=8).digest(), "big")


def mix(numbers: NDArray[np.int64] | NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """64 bits for each number, as good as random and different for each (the finaliser of splitmix64)."""
    bits = numbers.astype(np.uint64) + np.uint64(key)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def uuids(numbers: NDArray[np.int64], key: int) -> NDArray[np.uint8]:
    """A version 4 UUID for each number, as 36 columns of ASCII."""
    halves = np.empty((len(numbers), 2), ">u8")
    halves[:, 0] = mix(numbers, key) & np.uint64(0xFFFF_FFFF_FFFF_0FFF) | np.uint64(0x4000)
    halves[:, 1] = mix(numbers, key ^ seed_of("second half")) >> np.uint64(2) | np.uint64(1 << 63)
    digits = _HEX_PAIRS[halves.view(np.uint8)].view(np.uint8)
    text = np.full((len(numbers), 36), ord("-"), np.uint8)
    for start, digit, length in ((0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 12)):
        text[:, start : start + length] = digits[:, digit : digit + length]
    return text


def stride(size: int) -> int:
    """A step that, taken round a circle of `size` places, visits each place once before it comes back.

    Near the golden section of the circle, so that neighbours land far apart.
    """
    return next(step for step in count(max(1, size * 618_034 // 1_000_000)) if gcd(step, size) == 1)
