"""How to ask for a slice, and what came of it: what the pipeline hands to those who show it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import TYPE_CHECKING

from etl.domain.errors import ExitCode
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from etl.domain.errors import WatchTimeError
    from etl.domain.pipeline_values import Change, Tally
    from etl.domain.slices import Slice


class Trust(Enum):
    """What it takes to believe that a slice is stored as the ledger says, so that nothing needs to be loaded.

    The daily job trusts the ledger; who suspects the facts asks for more.
    """

    LEDGER = "the ledger has the report's hash"
    COUNTS = "and the stored rows and seconds are those of the ledger"
    NOTHING = "the report is loaded again in any case"


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to ask for a slice.

    Attributes:
        wait_s: how long, in all, to wait for a report that is not there yet; 0: ask once.
        settled: the date is so old that a 404, confirmed by a second ask, means that there is nothing.
        accept: a person accepts the report that is held.
        trust: when a report counts as loaded already.
    """

    wait_s: float = 0.0
    settled: bool = False
    accept: bool = False
    trust: Trust = Trust.LEDGER


@dataclass(frozen=True, slots=True)
class PlannedSlice:
    """A slice to be worked on, and why."""

    slice: Slice
    reason: str
    ask: FetchOptions


@dataclass(frozen=True, slots=True)
class Pause:
    """Work on a slice that stands still until something is tried again.

    Attributes:
        reason: what failed, or what is waited for; never a secret or a signed URL.
        attempt: how many attempts were made.
        seconds: until the next.
        gives_up_s: how many seconds a report is waited for yet; None where a failure is retried.
    """

    reason: str
    attempt: int
    seconds: float
    gives_up_s: float | None = None


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
        request_id: the source's own name for the request that failed.
        warnings: what is worth knowing about a report that was loaded.
        retries: how often something failed and was asked or fetched again.
        lost_database: it failed because the database could not be reached, which may be so from this machine only.
    """

    slice: Slice
    result: Result
    exit_code: ExitCode = ExitCode.OK
    message: str | None = None
    next_step: str | None = None
    request_id: str | None = None
    revision: int = 0
    rows: int = 0
    watch_seconds: Decimal = Decimal(0)
    rejected: int = 0
    change: Change | None = None
    seconds_before: Decimal = Decimal(0)
    warnings: tuple[str, ...] = ()
    report_bytes: int = 0
    elapsed_s: float = 0.0
    retries: int = 0
    lost_database: bool = False

    def as_json(self) -> dict[str, object]:
        """For `--json`: seconds as exact decimal texts."""
        return {
            **self.slice.as_json(),
            "result": self.result.value,
            "exit_code": int(self.exit_code),
            "message": self.message,
            "next_step": self.next_step,
            "request_id": self.request_id,
            "warnings": list(self.warnings),
            "revision": self.revision,
            "rows": self.rows,
            "watch_seconds": f"{self.watch_seconds:f}",
            "seconds_before": f"{self.seconds_before:f}",
            "rows_rejected": self.rejected,
            "change": None if self.change is None else asdict(self.change),
            "report_bytes": self.report_bytes,
            "elapsed_s": round(self.elapsed_s, 3),
            "retries": self.retries,
        }


def refusal(slice_: Slice, result: Result, error: WatchTimeError) -> Outcome:
    """The outcome of a slice that an error kept from being loaded."""
    return Outcome(
        slice_,
        result,
        exit_code=error.exit_code,
        message=error.message,
        next_step=error.next_step,
        request_id=error.request_id,
    )


def warnings_about(tally: Tally, change: Change) -> tuple[str, ...]:
    """What a person should know about a report that was accepted; counts only."""
    told = (
        (tally.rows_rejected, "line", "rejected, within the limit; see the table report_reject"),
        (change.repeated, "exact repetition", "of a line of the same customer; the seconds were added up"),
        (tally.created_at_unread, "row", "with a creation time in an unknown format; stored without it"),
        (tally.unknown_types, "row", "with an undocumented streaming type; loaded unchanged"),
    )
    return tuple(f"{plural(count, noun)} {text}" for count, noun, text in told if count)
