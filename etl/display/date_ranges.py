"""Repetition, folded: slices as ranges of dates, and what is said of many slices alike is said once."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from etl.domain.plurals import plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from etl.domain.slices import ReportType, Slice

WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_SPAN: Final = re.compile(r"--start \S+ --end \S+( --type \w+)?")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?")
# What a person has to look at slice by slice.
_ONE_BY_ONE: Final = ("--accept", "watch-time explain")


@dataclass(frozen=True, slots=True)
class Note:
    """What there is to say of slices: one at first, and after `fold` all of which it can be said.

    Attributes:
        besides: how many more slices it is said of, which were not tried.
    """

    slices: tuple[Slice, ...]
    state: str
    text: str
    next_step: str | None = None
    besides: int = 0

    def of_all(self) -> Note:
        """The same, said of no slice in particular."""
        return replace(self, text=_of_any(self.text, self.slices[0]))


@dataclass(frozen=True, slots=True)
class Range:
    """Slices of consecutive dates, with the same reports of each."""

    start: date
    end: date
    types: frozenset[ReportType]

    def __len__(self) -> int:
        return ((self.end - self.start).days + 1) * len(self.types)

    def __str__(self) -> str:
        only = f" {next(iter(self.types))}" if len(self.types) == 1 else ""
        if self.start == self.end:
            return f"{self.start}{only}" if only else f"{self.start}, 2 slices"
        return f"{self.start} to {self.end}{only}, {len(self):,} slices"


def ranges(slices: Iterable[Slice]) -> list[Range]:
    """The ranges that these slices make up, oldest first."""
    types: dict[date, set[ReportType]] = {}
    for slice_ in slices:
        types.setdefault(slice_.report_date, set()).add(slice_.report_type)
    found: list[Range] = []
    for day in sorted(types):
        if found and found[-1].end == day - timedelta(days=1) and found[-1].types == types[day]:
            found[-1] = Range(found[-1].start, day, found[-1].types)
        else:
            found.append(Range(day, day, frozenset(types[day])))
    return found


def listed(found: Sequence[Range], most: int) -> str:
    """The first of these ranges, `most` of them, and how many more there are."""
    more = f"; and {plural(len(found) - most, 'more range')}" if len(found) > most else ""
    return "; ".join(map(str, found[:most])) + more


def monday_of(day: date) -> date:
    """The first day of the week that `day` is in."""
    return day - timedelta(days=day.weekday())


def ranges_by_reason(reasons: Iterable[tuple[Slice, str]]) -> list[tuple[Range, str]]:
    """The ranges of slices of which the same is said, but for when; oldest first."""
    alike: dict[str, list[tuple[Slice, str]]] = {}
    for slice_, reason in reasons:
        alike.setdefault(_DATE.sub("", reason), []).append((slice_, reason))
    found = []
    for group in alike.values():
        told = {reason for _, reason in group}
        reason = told.pop() if len(told) == 1 else _without_dates(group[0][1])
        found += [(each, reason) for each in ranges(slice_ for slice_, _ in group)]
    return sorted(found, key=lambda pair: (pair[0].start, pair[0].end))


def fold(notes: Sequence[Note]) -> list[Note]:
    """One note for all slices of which the same is said, in the order in which each is said first."""
    alike: dict[tuple[str, str, str], list[Note]] = {}
    for note in notes:
        (slice_,) = note.slices
        key = (note.state, _of_any(note.text, slice_), _of_any(_SPAN.sub("", note.next_step or ""), slice_))
        alike.setdefault(key, []).append(note)
    return [
        group[0]
        if len(group) == 1
        else Note(tuple(sorted(slice_ for note in group for slice_ in note.slices)), state, text, _for_all(group))
        for (state, text, _), group in alike.items()
    ]


def _of_any(text: str, slice_: Slice) -> str:
    """What is said of a slice, as it can be said of others."""
    text = text.replace(f" for {slice_}", "").replace(f"{slice_}: ", "")
    return text.replace(f"{slice_.report_date} --type {slice_.report_type}", "DATE").replace(str(slice_), "the slice")


def _for_all(notes: Sequence[Note]) -> str | None:
    """The next step for all of them: commands that take a range get it."""
    first, slices = notes[0], [slice_ for note in notes for slice_ in note.slices]
    if not first.next_step:
        return None
    if any(sign in first.next_step for sign in _ONE_BY_ONE):
        return f"for the first of them, {first.next_step}"
    types = {slice_.report_type for slice_ in slices}
    only = f" --type {next(iter(types))}" if len(types) == 1 else ""
    span = f"--start {min(slices).report_date} --end {max(slices).report_date}{only}"
    return _SPAN.sub(span, _of_any(first.next_step, first.slices[0]))


def _without_dates(reason: str) -> str:
    return re.sub(r"(, last checked| on)? \d{4}-\d\d-\d\d( \d\d:\d\d)?", "", reason)
