"""How the code that does long work reports how far it is. `display.progress` draws that on a terminal."""

from __future__ import annotations

from typing import Final


class ProgressReporter:
    """Reports to nobody. A step is what the work consists of: a slice, a month to merge, a period to count."""

    def expect(self, steps: int) -> None:
        """So many more steps are to come."""

    def begin(self, task: str, *, of: int = 0) -> None:
        """This is being worked on from now on; `of` is how many units it has in all, if that is known."""

    def reach(self, units: int) -> None:
        """So many units of the task are done."""

    def advance(self, done: str) -> None:
        """A step is done, and so is the task."""


SILENT: Final = ProgressReporter()
