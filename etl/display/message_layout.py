"""What to do next, on a terminal: prose that wraps at words, and each command on a line of its own.

In messages a command, or a setting to write down, stands between backticks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from etl.display.table_layout import Prose, command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

_COMMAND: Final = re.compile(r"`([^`]+)`")
_BLANKS: Final = " \n"
_JOINS: Final = " ,;:.\n"


def hint(text: str, *, label: str = "next") -> Iterator[RenderableType]:
    """The lines of a next step."""
    parts = _COMMAND.split(text)
    lead = f"{label}: "
    for prose, command in zip(parts[::2], [*parts[1::2], ""], strict=True):
        said = f"{lead}{prose.strip(_JOINS if command else _BLANKS)}" if lead else prose.strip(_JOINS)
        if said:
            line = f"{said.rstrip(_JOINS)}:" if command else said
            yield Prose(Text(line, style="bold" if lead else ""), first=2, rest=2)
        if command:
            yield command_line(command)
        lead = ""


def problem(message: str, next_step: str) -> Group:
    """An error: what happened, and what to do."""
    return Group(*(_line(line, "red") for line in message.splitlines()), *hint(next_step))


def warning(sentence: str) -> Prose:
    """What is worth knowing, and stops nothing."""
    return _line(f"warning: {sentence}", "yellow")


def _line(text: str, style: str) -> Prose:
    """A line of a message, and its continuation further in."""
    said = text.lstrip()
    indent = len(text) - len(said)
    return Prose(Text(said, style=style), first=indent, rest=indent + 2)
