"""The consoles of the command line, and text that may be shown on them.

Data goes to stdout; everything that only accompanies it goes to stderr.
"""

from __future__ import annotations

import shutil
from typing import Final

from rich.console import Console

# Where there is neither a terminal nor COLUMNS.
_WIDTH_WHERE_UNKNOWN: Final = 160


def stdout() -> Console:
    """The console for data: as wide as the terminal or COLUMNS says, else wide enough for a reason in one line."""
    console = Console(highlight=False)
    if console.is_terminal:
        return console
    return Console(highlight=False, width=shutil.get_terminal_size((_WIDTH_WHERE_UNKNOWN, 24)).columns)


def stderr() -> Console:
    """The console for what accompanies the data."""
    return Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """The text without control characters: a line of a report must not steer the terminal of whoever reads it."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
