"""The command on a terminal: what stands on the screen, while it runs and when it has ended.

Only what the command prints is understood: lines, carriage returns, cursor up, erased lines; colours are left out.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import prefork

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_LINES: Final = 40
# Nobody waits for a command that says nothing for so long.
_SILENT_S: Final = 60.0
_STEP: Final = re.compile(r"\x1b\[(?P<numbers>[\d;?]*)(?P<sign>[a-zA-Z])|\r|\n|[^\x1b\r\n]+")
# A control sequence whose end is still to come.
_CUT: Final = re.compile(r"\x1b(\[[\d;?]*)?$")


@dataclass
class Screen:
    """What stands on a terminal that scrolls for ever."""

    lines: list[str] = field(default_factory=lambda: [""])
    _line: int = 0
    _column: int = 0
    _cut: str = ""

    def feed(self, text: str) -> None:
        """Print text."""
        text = self._cut + text
        self._cut = cut[0] if (cut := _CUT.search(text)) else ""
        for step in _STEP.finditer(text.removesuffix(self._cut)):
            match step["sign"], step[0]:
                case None, "\r":
                    self._column = 0
                case None, "\n":
                    self._line += 1
                    if self._line == len(self.lines):
                        self.lines.append("")
                case None, printed:
                    self._print(printed)
                case "A", _:
                    self._line = max(0, self._line - int(step["numbers"] or 1))
                case "K", _:
                    self.lines[self._line] = "" if step["numbers"] == "2" else self.lines[self._line][: self._column]
                case _:
                    pass

    def _print(self, text: str) -> None:
        line = self.lines[self._line].ljust(self._column)
        self.lines[self._line] = line[: self._column] + text + line[self._column + len(text) :]
        self._column += len(text)

    def __str__(self) -> str:
        """Its lines, without blanks at their ends and without empty lines at the end."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")


@dataclass
class Shown:
    """A command that has ended.

    Attributes:
        returncode: its exit code.
        text: all that it printed, in the order of time, without control characters.
        screen: what stood on the terminal at the end.
    """

    returncode: int
    text: str
    screen: str


def run(
    arguments: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    columns: int = 80,
    answers: Sequence[tuple[str, str]] = (),
    on_output: Callable[[Screen], None] = lambda _: None,
    until: str = "",
    before: Sequence[prefork.Call] = (),
    forked_with: Mapping[str, str] | None = None,
) -> Shown:
    """Run the command on a terminal of its own, and answer its questions.

    Args:
        arguments: of its command line.
        folder: where it runs.
        environment: all of its variables.
        columns: how wide the terminal is.
        answers: what is to be seen first, and what is typed then.
        on_output: called with the screen whenever something was printed.
        until: the command is stopped as soon as this expression is on the screen, which is kept as it is then.
        before: what is called in its process before it begins.
        forked_with: all variables of the process that is forked; none: those of the tests.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, columns, 0, 0))
    known = {**environment, "COLUMNS": f"{columns}", "TERM": "xterm-256color"}
    process = prefork.start_on_terminal(arguments, known, folder, theirs, before=before, forked_with=forked_with)
    os.close(theirs)
    screen, text, waiting, kept = Screen(), "", list(answers), ""
    try:
        try:
            while data := _read(ours):
                text += data
                screen.feed(data)
                on_output(screen)
                if until and not kept and re.search(until, str(screen)):
                    kept = str(screen)
                    process.terminate()
                if waiting and waiting[0][0] in text:
                    question, answer = waiting.pop(0)
                    # What was typed before the echo is off is thrown away.
                    while "token" in question and termios.tcgetattr(ours)[3] & termios.ECHO:
                        time.sleep(0.01)
                    os.write(ours, f"{answer}\n".encode())
        finally:
            process.send_signal(signal.SIGHUP)
            process.wait()
    finally:
        os.close(ours)
    assert waiting == [], text
    plain = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", text).replace("\r\n", "\n")
    return Shown(process.wait(), plain, kept or str(screen))


def _read(terminal: int) -> str:
    """What is printed next; nothing where the command has ended, or says nothing for long."""
    data = b""
    while select.select([terminal], [], [], _SILENT_S)[0]:
        try:
            data += os.read(terminal, 1 << 16)
        except OSError:  # so a terminal says that nobody writes to it any more
            break
        with suppress(UnicodeDecodeError):  # in the middle of a letter
            return data.decode()
    return data.decode(errors="replace")
