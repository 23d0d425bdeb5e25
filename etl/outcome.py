"""How to ask for a slice, and what came of it: what the pipeline hands to those who show it. No behaviour."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from etl.errors import ExitCode

if TYPE_CHECKING:
    from etl.report import Change
    from etl.slices import Slice


@dataclass(frozen=True, slots=True)
class Ask:
    """How to ask for a slice.

    Attributes:
        wait_s: how long, in all, to wait for a report that is not there yet; 0: ask once.
        settled: the date is so old that a 404, confirmed by a second ask, means that there is nothing.
    """

    wait_s: float = 0.0
    settled: bool = False


class Result(StrEnum):
    """How the work on a slice ended."""

    LOADED = "loaded"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    UNAVAILABLE = "unavailable"
    WITHDRAWN = "withdrawn"  # loaded before, and a 404 now: the facts stay
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a slice.

    Attributes:
        message: why, in words; None when there is nothing to say.
        next_step: what a person can do about a failure.
        warnings: what is worth knowing about a report that was loaded.
    """

    slice: Slice
    result: Result
    exit_code: ExitCode = ExitCode.OK
    message: str | None = None
    next_step: str | None = None
    revision: int = 0
    rows: int = 0
    watch_seconds: Decimal = Decimal(0)
    rejected: int = 0
    change: Change | None = None
    seconds_before: Decimal = Decimal(0)
    warnings: tuple[str, ...] = ()
    report_bytes: int = 0
    elapsed_s: float = 0.0

    def as_json(self) -> dict[str, object]:
        """For `--json`: seconds as exact decimal texts."""
        return {
            "report_date": self.slice.report_date.isoformat(),
            "report_type": self.slice.report_type.value,
            "result": self.result.value,
            "exit_code": int(self.exit_code),
            "message": self.message,
            "next_step": self.next_step,
            "warnings": list(self.warnings),
            "revision": self.revision,
            "rows": self.rows,
            "watch_seconds": f"{self.watch_seconds:f}",
            "seconds_before": f"{self.seconds_before:f}",
            "rows_rejected": self.rejected,
            "change": None if self.change is None else asdict(self.change),
            "report_bytes": self.report_bytes,
            "elapsed_s": round(self.elapsed_s, 3),
        }
