"""What a 404 of the report API means for a slice. Pure: no I/O, no clock.

The first matching row applies; a dash means "either":

    stored revision  report seen  settled and asked twice  evidence  ->  meaning                  state in the ledger
    yes              -            -                        -             withdrawn                as it was
    no               yes          -                        -             withdrawn, not accepted  as it was
    no               no           no                       -             not published yet        unavailable
    no               no           yes                      yes           presumed empty           empty
    no               no           yes                      no            unexplained              unavailable

*Settled*: the date is older than the lag and the settling window (`etl.domain.slices.is_settled`). *Evidence*: the
date's other report, or a later one of this type, exists. See docs/decisions/0006-states.md.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Final

from etl.domain.errors import ExitCode
from etl.domain.outcome import Outcome, Result
from etl.domain.slices import State

if TYPE_CHECKING:
    from etl.domain.slices import Slice

# A 404 must be confirmed by a second request before it can mean "no report will come".
ASKS_TO_CONFIRM: Final = 2


class Meaning(Enum):
    """What a 404 means."""

    WITHDRAWN = "the source withdrew the report; the loaded rows are kept"
    WITHDRAWN_UNACCEPTED = "the source withdrew a report that was never accepted"
    NOT_PUBLISHED = "not published yet"
    PRESUMED_EMPTY = "there is nothing to come"
    UNEXPLAINED = "nothing shows whether there is more to come"


@dataclass(frozen=True, slots=True)
class NotFound:
    """A 404, and what is known about its slice.

    Attributes:
        asks: how many requests were answered with it.
        is_settled: whether the date is old enough for a confirmed 404 to be final.
        has_revision: whether a report of the slice was accepted.
        report_seen: whether the source has had one, accepted or not.
        evidence: a description of what shows that the source has finished the date.
    """

    asks: int
    _: KW_ONLY
    is_settled: bool
    has_revision: bool
    report_seen: bool
    evidence: tuple[str, ...] = ()


def meaning_of(answer: NotFound) -> Meaning:
    """The meaning, as in the table above."""
    if answer.has_revision:
        return Meaning.WITHDRAWN
    if answer.report_seen:
        # The report had rows, so a 404 now cannot mean that nobody watched.
        return Meaning.WITHDRAWN_UNACCEPTED
    if not answer.is_settled or answer.asks < ASKS_TO_CONFIRM:
        return Meaning.NOT_PUBLISHED
    return Meaning.PRESUMED_EMPTY if answer.evidence else Meaning.UNEXPLAINED


def new_state(meaning: Meaning) -> State | None:
    """The state to store; None: the slice keeps the one that it has."""
    return {
        Meaning.NOT_PUBLISHED: State.UNAVAILABLE,
        Meaning.PRESUMED_EMPTY: State.EMPTY,
        Meaning.UNEXPLAINED: State.UNAVAILABLE,
    }.get(meaning)


def outcome_of(slice_: Slice, answer: NotFound) -> Outcome:
    """The outcome for people."""
    times = "once" if answer.asks == 1 else f"{answer.asks} times"
    asked = f"404, checked {times}, and the date is past the settling window"
    match meaning_of(answer):
        case Meaning.WITHDRAWN:
            message = f"the API returned 404 ({times}): the report was withdrawn; the loaded rows are kept"
            return Outcome(slice_, Result.WITHDRAWN, message=message)
        case Meaning.WITHDRAWN_UNACCEPTED:
            return Outcome(
                slice_,
                Result.WITHDRAWN,
                ExitCode.DATA_REFUSED,
                f"the API returned 404 ({times}): the report was withdrawn before it was accepted",
                next_step="ask BlendVision for the report; to see what was wrong with it: `watch-time explain "
                f"{slice_.report_date} --type {slice_.report_type}`",
            )
        case Meaning.NOT_PUBLISHED:
            return Outcome(slice_, Result.UNAVAILABLE, message=f"not published yet (404, checked {times})")
        case Meaning.PRESUMED_EMPTY:
            return Outcome(slice_, Result.EMPTY, message=f"no report: {asked}; {'; '.join(answer.evidence)}")
        case Meaning.UNEXPLAINED:
            return Outcome(
                slice_,
                Result.UNAVAILABLE,
                message=f"{asked}; but neither the date's other report nor a later one of this type exists, so the "
                "report may still come",
            )
