"""What the fault tests tried: each suite adds its figures to one file, where one is named; and their sum in words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def record(name: str, count: int) -> None:
    """Append the figure to the file of WATCH_TIME_TEST_TALLY; one short write, so that workers do not mix lines."""
    if path := os.environ.get("WATCH_TIME_TEST_TALLY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{count}\n")


def totals(lines: Iterable[str]) -> dict[str, int]:
    """The sum for each name, in the order of the names."""
    sums: dict[str, int] = {}
    for line in lines:
        name, _, count = line.rpartition("\t")
        sums[name] = sums.get(name, 0) + int(count)
    return dict(sorted(sums.items()))


def summary(sums: Mapping[str, int]) -> str:
    """`1,234 kills (567 with a load in flight), 890 wire cuts`: the largest first, each with what it is part of.

    A name that begins with another one's tells a part of it.
    """
    wholes = {name: [part for part in sums if _is_part(part, name)] for name in sums}
    parts = {part for of_one in wholes.values() for part in of_one}
    told = []
    for name in sorted(sums.keys() - parts, key=lambda name: -sums[name]):
        within = ", ".join(f"{sums[part]:,} {part[len(name) :].lstrip(', ')}" for part in wholes[name])
        told.append(f"{sums[name]:,} {name}" + (f" ({within})" if within else ""))
    return ", ".join(told) or "nothing was tried"


def _is_part(name: str, whole: str) -> bool:
    return name.startswith((f"{whole},", f"{whole} with ", f"{whole} that "))
