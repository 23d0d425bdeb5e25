"""What the page shows, as values, and how its periods compare. No customer id is among it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from etl.domain.slices import ReportType, Slice, dates_between

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from etl.diagnostics.status import SliceStatus
    from etl.warehouse.freshness import Overview
    from etl.warehouse.revisions import Restatement


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A streaming type of a report: the LIVE report holds LIVE and its recordings, LIVE_TO_VOD."""

    report_type: ReportType
    streaming_type: str

    @property
    def label(self) -> str:
        """The streaming type; with its report where it is not that report's own."""
        own = self.streaming_type.startswith(self.report_type.value)
        return self.streaming_type if own else f"{self.streaming_type} in {self.report_type.value}"


@dataclass(frozen=True, slots=True)
class Day:
    """A report date.

    Attributes:
        seconds: per report; None where the report is missing, zero where there was no viewing.
        kinds: seconds per streaming type of the reports that are there.
        anonymous: those of the seconds that anonymous viewers watched.
        viewers: identified customers over both reports; None where there is no report, or they are not counted.
        provisional: young enough for `run` to ask again for restatements.
    """

    report_date: date
    seconds: Mapping[ReportType, Decimal | None]
    kinds: Mapping[Kind, Decimal]
    anonymous: Decimal
    viewers: int | None
    provisional: bool

    @property
    def missing(self) -> tuple[ReportType, ...]:
        """The reports that are not there."""
        return tuple(report_type for report_type, seconds in self.seconds.items() if seconds is None)

    @property
    def is_partial(self) -> bool:
        """Whether one report is there and the other is not."""
        return 0 < len(self.missing) < len(self.seconds)

    @property
    def is_uncounted(self) -> bool:
        """Whether a report is there whose customers are not counted yet."""
        return self.viewers is None and len(self.missing) < len(self.seconds)

    @property
    def total(self) -> Decimal:
        """Seconds of the reports that are there."""
        return sum((seconds for seconds in self.seconds.values() if seconds), Decimal(0))


@dataclass(frozen=True, slots=True)
class Views:
    """What a content was watched on a day, in one streaming type of one report."""

    report_date: date
    kind: Kind
    seconds: Decimal
    anonymous: Decimal


@dataclass(frozen=True, slots=True)
class Content:
    """One of the most watched contents of the range.

    Attributes:
        views: by date, those before the range among them where they are compared.
    """

    place: int
    content_id: str
    title: str
    views: Sequence[Views]


@dataclass(frozen=True, slots=True)
class Change:
    """Two periods, compared by the reports that both have.

    Attributes:
        left_out: reports of the later period that are missing in one of the two.
    """

    now: Decimal
    before: Decimal
    left_out: int

    @property
    def percent(self) -> float | None:
        """None where there is nothing to compare with."""
        return 100 * (float(self.now) / float(self.before) - 1) if self.before else None


@dataclass(frozen=True, slots=True)
class Open:
    """Neighbouring dates whose reports are due and neither loaded nor empty, all for the same reason."""

    report_types: tuple[ReportType, ...]
    first: date
    last: date
    state: str
    reason: str | None
    next_step: str


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is shown of the dates from `start` to `end`, both included.

    Attributes:
        read_at: when it was read, in the configured zone.
        org_id: whose warehouse it is; None: no answer was accepted yet.
        overview: how fresh the whole warehouse is, whatever the range.
        before: as many days before the range, or a week, to compare with.
        contents: how many were watched in the range.
        contents_since: the first date of which the contents' views are read.
        is_cut: whether more days were asked for, before the first date that anything is known of.
    """

    start: date
    end: date
    read_at: datetime
    org_id: str | None
    overview: Overview
    slices: Sequence[SliceStatus]
    days: Sequence[Day]
    before: Sequence[Day]
    top: Sequence[Content]
    contents: int
    contents_since: date
    is_cut: bool
    restatements: Sequence[Restatement]
    open: Sequence[Open]

    @property
    def seconds(self) -> Decimal:
        """Seconds watched in the range."""
        return sum((day.total for day in self.days), Decimal(0))

    @property
    def anonymous(self) -> Decimal:
        """Those of them that anonymous viewers watched."""
        return sum((day.anonymous for day in self.days), Decimal(0))

    @property
    def kinds(self) -> Sequence[Kind]:
        """The streaming types that were watched; LIVE and VOD always."""
        own = {Kind(report_type, report_type.value) for report_type in ReportType}
        return sorted(own.union(*(day.kinds for day in (*self.before, *self.days))))

    @property
    def complete(self) -> int:
        """How many slices are there, or known to be empty."""
        return sum(len(day.seconds) - len(day.missing) for day in self.days)

    @property
    def late(self) -> tuple[Slice, ...]:
        """The slices of the range that are late; all of them are among those that are open."""
        return tuple(slice_ for slice_ in self.overview.late if self.start <= slice_.report_date <= self.end)

    @property
    def late_before(self) -> tuple[Slice, ...]:
        """The slices before the range that are late."""
        return tuple(slice_ for slice_ in self.overview.late if slice_.report_date < self.start)

    @property
    def late_after(self) -> tuple[Slice, ...]:
        """The slices after the range that are late."""
        return tuple(slice_ for slice_ in self.overview.late if slice_.report_date > self.end)

    @property
    def newest_full_day(self) -> Day | None:
        """The newest day with both reports."""
        return next((day for day in reversed(self.days) if not day.missing), None)

    @property
    def most_viewers(self) -> Day | None:
        """The day with the most viewers; None where nobody is known to have watched."""
        busiest = max(self.days, key=lambda day: day.viewers or 0)
        return busiest if busiest.viewers else None

    @property
    def is_bare(self) -> bool:
        """Whether no report of the range is there at all."""
        return not self.complete


def compare(figures: Figures, start: date, end: date, days_back: int) -> Change:
    """The days from `start` to `end`, both included, against those so many days before."""
    days = {day.report_date: day.seconds for day in (*figures.before, *figures.days)}
    then = timedelta(days=days_back)
    pairs = [
        (days[day][report_type], days.get(day - then, {}).get(report_type))
        for day in dates_between(start, end)
        for report_type in ReportType
    ]
    both = [(now, before) for now, before in pairs if now is not None and before is not None]
    return Change(
        sum((now for now, _ in both), Decimal(0)),
        sum((before for _, before in both), Decimal(0)),
        len(pairs) - len(both),
    )


def content_seconds(figures: Figures, content: Content) -> Mapping[Kind, Decimal]:
    """What the content was watched in the range, per streaming type."""
    sums: dict[Kind, Decimal] = {}
    for views in content.views:
        if views.report_date >= figures.start:
            sums[views.kind] = sums.get(views.kind, Decimal(0)) + views.seconds
    return sums


def compare_content(figures: Figures, content: Content) -> Change:
    """The content in the range against the same number of days before, by the reports that both periods have."""
    there = {
        Slice(day.report_date, report_type)
        for day in (*figures.before, *figures.days)
        for report_type in ReportType
        if report_type not in day.missing
    }
    then = timedelta(days=len(figures.days))
    now = before = Decimal(0)
    for views in content.views:
        is_before = views.report_date < figures.start
        other = views.report_date + then if is_before else views.report_date - then
        if Slice(other, views.kind.report_type) not in there or min(views.report_date, other) < figures.contents_since:
            continue
        if is_before:
            before += views.seconds
        else:
            now += views.seconds
    return Change(now, before, 0)
