"""Telling people of slices that got into trouble, or out of it: when that changes, once, by chat and mail.

What people were last told is kept in the warehouse. It is noted after a message was accepted, so a message that could
not be sent is sent by the next run, and one may be sent twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from etl.domain.plurals import plural
from etl.domain.slices import State
from etl.pipeline import guards
from etl.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from etl.domain.slices import Slice
    from etl.telemetry.warehouse_snapshot import WarehouseSnapshot
    from etl.warehouse.freshness import Overview

HELD: Final = "held"
FAILED: Final = "failed"
WITHDRAWN: Final = "withdrawn"
LATE: Final = "late"

# More is no message but a list, and `watch-time status` has that.
_MOST_SLICES: Final = 20
_MOST_SIGNS: Final = 300

_IS: Final = {HELD: "is held", FAILED: "failed", WITHDRAWN: "was withdrawn by the source", LATE: "is late"}


@dataclass(frozen=True, slots=True)
class Changes:
    """What people do not know yet.

    Attributes:
        trouble: the condition of slices that are in trouble, or in another one.
        fine: what was told of slices that are out of trouble, and complete. Out of one trouble but without its
            report, because a failed slice is not published after all, is not fine: nothing is said, and it stays told.
    """

    trouble: Mapping[Slice, str]
    fine: Mapping[Slice, str]

    def __bool__(self) -> bool:
        return bool(self.trouble or self.fine)


def conditions(snapshot: WarehouseSnapshot) -> dict[Slice, str]:
    """The slices that are in trouble, and in which; the gravest where there are several."""
    found = dict.fromkeys(snapshot.overview.late, LATE)
    found |= dict.fromkeys(snapshot.withdrawn, WITHDRAWN)
    first = snapshot.overview.first
    for slice_, record in snapshot.known.items():
        is_judged = record.is_complete or slice_.report_date >= first
        if is_judged and record.state in {State.HELD, State.FAILED}:
            found[slice_] = record.state.value
    return found


def changes(snapshot: WarehouseSnapshot) -> Changes:
    """What is to be told."""
    now = conditions(snapshot)
    complete = {slice_ for slice_, record in snapshot.known.items() if record.is_complete}
    return Changes(
        trouble={slice_: now[slice_] for slice_ in sorted(now) if snapshot.told.get(slice_) != now[slice_]},
        fine={slice_: snapshot.told[slice_] for slice_ in sorted(snapshot.told) if slice_ in complete - now.keys()},
    )


def message(told: Changes, snapshot: WarehouseSnapshot, *, warehouse: str) -> tuple[str, str]:
    """Title and text: each slice with the reason and what to type next; without values of any report."""
    counts = [
        plural(len(told.trouble), "problem") if told.trouble else "",
        f"{len(told.fine)} recovered" if told.fine else "",
    ]
    title = f"watch-time: {', '.join(filter(None, counts))} ({warehouse})"
    entries = [_trouble(slice_, condition, snapshot) for slice_, condition in told.trouble.items()]
    entries += [_fine(slice_, condition, snapshot) for slice_, condition in told.fine.items()]
    shown = entries[:_MOST_SLICES]
    if len(entries) > len(shown):
        shown.append(f"and {len(entries) - len(shown)} more: watch-time status")
    if LATE in told.trouble.values():
        shown.append(_late(snapshot.overview))
    return title, redact("\n\n".join(shown))


def _late(overview: Overview) -> str:
    """How to get everything that is late at once."""
    text = f"to load everything that is late: {overview.fetch_late}"
    if overview.leave_out_late:
        text += f"\nor, if nothing before that date matters, set {overview.leave_out_late}"
    return text


def _fine(slice_: Slice, condition: str, snapshot: WarehouseSnapshot) -> str:
    record = snapshot.known[slice_]
    if record.is_presumed_empty:
        return f"{slice_} is presumed empty (was {condition}): {_shortened(record.reason or '')}"
    return f"{slice_} has recovered (was {condition})"


def _trouble(slice_: Slice, condition: str, snapshot: WarehouseSnapshot) -> str:
    record = snapshot.known.get(slice_)
    reason = snapshot.withdrawn[slice_] if condition == WITHDRAWN else record.reason if record else None
    lines = [f"{slice_} {_IS[condition]}: {_shortened(reason or 'never tried')}"]
    if condition == HELD:
        lines.append(f"  next: {guards.remedy(slice_, record.error_code if record else None).replace('`', '')}")
    day = f"{slice_.report_date:%Y-%m-%d}"
    lines.append(f"  more: watch-time explain {day} --type {slice_.report_type}")
    return "\n".join(lines)


def _shortened(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _MOST_SIGNS else f"{one_line[: _MOST_SIGNS - 1]}…"
