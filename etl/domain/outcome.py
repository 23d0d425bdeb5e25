"""How to request a slice, and its outcome: what the pipeline passes to the code that displays it."""

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
    """How thoroughly to check that a slice is stored as the ledger says, before skipping the load.

    The daily job trusts the ledger; options such as `--refresh` check more.
    """

    LEDGER = "the ledger has the report's hash"
    COUNTS = "and the stored rows and seconds are those of the ledger"
    NOTHING = "the report is loaded again in any case"


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """How to request a slice.

    Attributes:
        wait_s: how long, in all, to wait for a report that is not there yet; 0: ask once.
        settled: the date is old enough for a 404, confirmed by a second request, to mean that there is no report.
        accept: a person accepts the report that is held.
        trust: when a report counts as loaded already.
    """

    wait_s: float = 0.0
    settled: bool = False
    accept: bool = False
    trust: Trust = Trust.LEDGER


@dataclass(frozen=True, slots=True)
class PlannedSlice:
    """A slice to sync, and why."""

    slice: Slice
    reason: str
    ask: FetchOptions


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause in syncing a slice, before something is retried.

    Attributes:
        reason: what failed, or what the slice is waiting for; never a secret or a signed URL.
        attempt: how many attempts were made.
        seconds: until the next.
        gives_up_s: seconds left to wait for a report; None if a failure is retried.
    """

    reason: str
    attempt: int
    seconds: float
    gives_up_s: float | None = None


class Result(StrEnum):
    """The result of syncing a slice."""

    LOADED = "loaded"
    UNCHANGED = "unchanged"
    EMPTY = "empty"
    UNAVAILABLE = "unavailable"
    WITHDRAWN = "withdrawn"  # loaded before, and a 404 now: the facts stay
    HELD = "held"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of syncing a slice.

    Attributes:
        message: the reason, for people; None if there is none.
        next_step: what a person can do about a failure.
        request_id: the source's id of the request that failed.
        warnings: what is worth knowing about a report that was loaded.
        retries: how many requests and downloads failed and were retried.
        lost_database: it failed because the database could not be reached, perhaps from this machine only.
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
    """The outcome of a slice that was not loaded because of an error."""
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
