"""What the fault tests tried, for a summary line: each suite adds its figures to one file, where one is named."""

from __future__ import annotations

import os
from pathlib import Path


def record(name: str, count: int) -> None:
    """Append the figure to the file of WATCH_TIME_TEST_TALLY; one short write, so that workers do not mix lines."""
    if path := os.environ.get("WATCH_TIME_TEST_TALLY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{name}\t{count}\n")
