"""The program's pauses between two tries, made short: put in as the `Stop` that does its sleeping."""

from __future__ import annotations

from etl.runtime.cancellation import Stop


class CappedStop(Stop):
    """Sleeps for no longer than `longest_s`."""

    def __init__(self, longest_s: float) -> None:
        super().__init__()
        self._longest_s = longest_s

    def sleep(self, seconds: float) -> None:
        super().sleep(min(seconds, self._longest_s))
