"""Numbers as people read them: thousands apart, three decimals so that points align, hours where seconds are long."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich.filesize import decimal as size

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

__all__ = ["WatchTime", "count", "duration", "in_days", "minute", "size"]

_MINUTE_S: Final = 60
_HOUR_S: Final = 3600
# With nine digits before the point nobody reads seconds.
_HOURS_FROM_S: Final = 100_000_000


class WatchTime:
    """How the watch times of one table are shown: all in seconds, or all in hours. Exact values are in `--json`."""

    def __init__(self, seconds: Iterable[Decimal]) -> None:
        self._in_hours = max((abs(value) for value in seconds), default=Decimal(0)) >= _HOURS_FROM_S
        self.unit = "h" if self._in_hours else "s"

    def show(self, seconds: Decimal) -> str:
        """With three decimals, whatever it has."""
        return f"{seconds / _HOUR_S if self._in_hours else seconds:,.3f}"

    def with_unit(self, seconds: Decimal) -> str:
        """For a sentence."""
        return f"{self.show(seconds)} {self.unit}"


def count(number: int) -> str:
    """A count; nothing for none."""
    return f"{number:,}" if number else ""


def duration(of: timedelta) -> str:
    """Rounded as a person would: an estimate is no stopwatch."""
    seconds = of.total_seconds()
    if seconds < _MINUTE_S:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < _HOUR_S * 2 else f"{seconds / _HOUR_S:.1f} h"


def in_days(of: timedelta) -> str:
    """Days with one digit: a report is seen when it is asked for, which is not to the minute."""
    return f"{of / timedelta(days=1):.1f} days"


def minute(moment: datetime | None) -> str:
    """A moment to the minute; nothing for none."""
    return f"{moment:%Y-%m-%d %H:%M}" if moment else ""
