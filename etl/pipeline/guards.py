"""Guards: when a readable report must not replace what is stored. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.domain.errors import GuardRefused, NothingAcceptable
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from decimal import Decimal

    from etl.domain.pipeline_values import Tally
    from etl.domain.slices import Slice


@dataclass(frozen=True, slots=True)
class Limits:
    """What the guards allow.

    Attributes:
        max_reject_ratio: share of the lines that may be rejected; 0: none.
        shrink_limit: a report with less than this share of the stored rows or seconds is refused; 0: never.
    """

    max_reject_ratio: Decimal
    shrink_limit: Decimal


def override(refusal: GuardRefused | None, *, is_held: bool, is_asked_for: bool) -> tuple[str, ...]:
    """Override a guard's refusal if a person accepted this held report, and return the guard's message.

    Raises:
        GuardRefused: the refusal is not overridden.
    """
    if refusal is None:
        return ()
    if isinstance(refusal, NothingAcceptable) or not is_asked_for:
        raise refusal
    if not is_held:
        raise GuardRefused(
            f"{refusal.message}; --accept takes the held report only, and this is a different one",
            next_step=refusal.next_step,
        )
    return (refusal.message,)


def check_rejects(slice_: Slice, tally: Tally, limits: Limits, *, accepted: int = 0) -> GuardRefused | None:
    """Check that no more lines are rejected than the limit allows, and that at least one line is valid.

    `accepted` is how many lines were rejected when the same report was accepted before; as many are allowed again.

    Returns:
        None if the report passes. Otherwise an error with the count and the first reason, but no values;
        `NothingAcceptable`, which cannot be overridden, if no line is valid.
    """
    if not tally.rows_rejected:
        return None
    is_allowed = tally.rows_rejected <= limits.max_reject_ratio * tally.rows_read or tally.rows_rejected <= accepted
    if tally.rows_accepted and is_allowed:
        return None
    first = tally.first_rejects[0]
    message = (
        f"invalid lines: {tally.rows_rejected:,} of {tally.rows_read:,}; "
        f"the first is line {first.line_number}: {first.reason}"
    )
    lines = "they are listed in the table report_reject (the first 1,000 at most)"
    if not tally.rows_accepted:
        return NothingAcceptable(message, next_step=f"{lines}; {remedy(slice_, NothingAcceptable.code)}")
    return GuardRefused(
        message,
        next_step=f"{lines}; to load the report without them: `{accept_command(slice_)}` to always allow some "
        f"invalid lines, raise WATCH_TIME_MAX_REJECT_RATIO (currently {limits.max_reject_ratio})",
    )


def check_shrinking(
    slice_: Slice, tally: Tally, limits: Limits, *, rows: int, rows_stored: int, seconds_stored: Decimal
) -> GuardRefused | None:
    """Check that a report is not much smaller than the slice that it would replace.

    The new report has `rows` after merging lines with equal keys; the slice has `rows_stored` and `seconds_stored`.

    Returns:
        None if the report passes. Otherwise an error with the figures before and after.
    """
    if not rows_stored or not limits.shrink_limit:
        return None
    enough_rows = rows >= limits.shrink_limit * rows_stored
    enough_seconds = tally.watch_seconds >= limits.shrink_limit * seconds_stored
    if rows and enough_rows and enough_seconds:
        return None
    what = "a header and no rows" if not rows else f"{plural(rows, 'row')} and {tally.watch_seconds:,f} s"
    return GuardRefused(
        f"the new report has {what}; the stored report has {plural(rows_stored, 'row')} and {seconds_stored:,f} s",
        next_step="the stored report is kept; ask BlendVision whether the new one is complete; if it is, accept it: "
        f"`{accept_command(slice_)}`",
    )


def accept_command(slice_: Slice) -> str:
    """What a person types to accept the report that is held, overriding the guards."""
    return f"watch-time backfill {slice_.as_options()} --accept"


def remedy(slice_: Slice, error_code: str | None) -> str:
    """What a person can do about a slice that is held because of this error."""
    if error_code == NothingAcceptable.code:
        return "no line of the report is valid: ask BlendVision for a new one"
    return f"to accept the report: `{accept_command(slice_)}`"
