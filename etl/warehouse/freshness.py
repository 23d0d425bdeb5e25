"""How fresh the warehouse is, by report date: what is complete, what is missing, what is late, how long reports take.

Read from the ledger alone, so `status`, its `--check`, the metrics, the notifications and the page cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from etl.domain.slices import SETTLING_DAYS, ReportType, Slice, State, dates_between, slices_of, target_date
from etl.warehouse import ledger
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from etl.config.settings import Settings
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.transactions import Connection

# Publication has habits, and they change: half a year tells what is usual now.
_LAG_WINDOW: Final = timedelta(days=180)
# Of fewer dates the 99th percentile is an accident; the setting alone then says when a slice is late.
LAG_SAMPLE_AT_LEAST: Final = 20
# A longer stretch of late dates is no outage but history, or a wrong date far back.
_STRETCH_DAYS: Final = 31


@dataclass(frozen=True, slots=True)
class Lag:
    """How long after the end of its date a report was first seen.

    Attributes:
        median, p99: an upper bound, since a report is seen when it is asked for.
        dates: how many were watched as they came; backfilled ones do not count.
    """

    median: timedelta
    p99: timedelta
    dates: int


@dataclass(frozen=True, slots=True)
class Freshness:
    """How far one type's reports have come.

    Attributes:
        newest_stored: newest date with a stored report; None when there is none.
        complete_up_to: every date from the first judged one to this is loaded or empty; None: not even the first is.
        lag: None when no report was watched as it came.
    """

    report_type: ReportType
    newest_stored: date | None
    complete_up_to: date | None
    lag: Lag | None


@dataclass(frozen=True, slots=True)
class Overview:
    """Both types, and what is missing.

    Attributes:
        first, newest_due: the dates that are judged: from the asked-for start, the setting, or the first known one; to
            today minus the lag.
        gaps: slices of these dates that are neither stored nor empty, oldest first.
        late: those of them that should be there by now: the day they were due is over, and so is the usual lag.
        presumed: slices of these dates that are empty by a 404 alone: no file said so.
    """

    first: date
    newest_due: date
    freshness: tuple[Freshness, ...]
    gaps: tuple[Slice, ...]
    late: tuple[Slice, ...]
    presumed: tuple[Slice, ...]

    @property
    def fetch_late(self) -> str | None:
        """The command that asks for all that is late; None where nothing is."""
        return f"watch-time backfill {_range(self.late)}" if self.late else None

    @property
    def fetch_presumed(self) -> str | None:
        """The command that asks again for all that is presumed empty; None where nothing is."""
        return f"watch-time backfill {_range(self.presumed)} --only empty" if self.presumed else None

    @property
    def leave_out_late(self) -> str | None:
        """The setting for whom the oldest late dates do not matter, such as those after a date that was a mistake.

        It begins after the first stretch of late dates; None where that is short: the daily run may still fill it.
        """
        late = {slice_.report_date for slice_ in self.late}
        begins = min(late, default=self.first)
        while begins in late:
            begins += timedelta(days=1)
        days = (begins - min(late, default=begins)).days
        return f"WATCH_TIME_FIRST_DATE={begins}" if days > _STRETCH_DAYS else None

    def as_json(self) -> dict[str, object]:
        """For `--json`: dates in ISO 8601, durations in hours."""
        return {
            "first": self.first.isoformat(),
            "newest_due": self.newest_due.isoformat(),
            "freshness": [_as_json(fresh) for fresh in self.freshness],
            "oldest_gap": str(self.gaps[0]) if self.gaps else None,
            "gaps": [str(slice_) for slice_ in self.gaps],
            "late": [str(slice_) for slice_ in self.late],
            "fetch_late": self.fetch_late,
            "leave_out_late": self.leave_out_late,
            "presumed_empty": [str(slice_) for slice_ in self.presumed],
            "fetch_presumed": self.fetch_presumed,
        }


def read(connection: Connection, settings: Settings, *, now: datetime, start: date | None = None) -> Overview:
    """How fresh the slices are from `start`, or the setting, or the first known one, to the newest that is due."""
    zone = ZoneInfo(settings.time_zone)
    newest_due = target_date(now.astimezone(zone), settings.lag_days)
    known = ledger.read_range(connection, date.min, newest_due)
    # With nothing known at all, the newest date that can be late stands for everything.
    first_known = min((slice_.report_date for slice_ in known), default=newest_due - timedelta(days=1))
    first = start or settings.first_date or first_known
    lags = _read_lags(connection, newest_due, settings.lag_days, zone)
    complete = {slice_ for slice_, record in known.items() if record.is_complete}
    gaps = [slice_ for slice_ in slices_of(dates_between(first, newest_due)) if slice_ not in complete]
    return Overview(
        first,
        newest_due,
        freshness=tuple(
            Freshness(
                report_type,
                newest_stored=_newest_stored(report_type, known),
                complete_up_to=_complete_up_to(report_type, gaps, first, newest_due),
                lag=lags.get(report_type),
            )
            for report_type in ReportType
        ),
        gaps=tuple(gaps),
        late=tuple(
            slice_
            for slice_ in gaps
            if now > _late_after(slice_, known, lags.get(slice_.report_type), settings.lag_days, zone)
        ),
        presumed=tuple(
            slice_ for slice_, record in known.items() if record.is_presumed_empty and slice_.report_date >= first
        ),
    )


def _range(slices: Sequence[Slice]) -> str:
    return f"--start {slices[0].report_date} --end {slices[-1].report_date}"


def _newest_stored(report_type: ReportType, known: Mapping[Slice, SliceRecord]) -> date | None:
    stored = (slice_ for slice_, record in known.items() if record.revision and slice_.report_type is report_type)
    return max((slice_.report_date for slice_ in stored), default=None)


def _complete_up_to(report_type: ReportType, gaps: Sequence[Slice], first: date, newest_due: date) -> date | None:
    first_gap = next(
        (gap.report_date for gap in gaps if gap.report_type is report_type), newest_due + timedelta(days=1)
    )
    return first_gap - timedelta(days=1) if first_gap > first else None


def _late_after(
    slice_: Slice, known: Mapping[Slice, SliceRecord], lag: Lag | None, lag_days: int, zone: ZoneInfo
) -> datetime:
    """The end of the day on which the daily job asks for it first; later where reports usually come later.

    Where the date's other report is there, a 404 most often means a quiet day, which is known for one when it is
    settled: not before the end of that day.
    """
    ended = _beginning(slice_.report_date + timedelta(days=1), zone)
    usual = lag.p99 if lag and lag.dates >= LAG_SAMPLE_AT_LEAST else timedelta()
    days = lag_days
    if slice_ in known and known[slice_].state is State.UNAVAILABLE and _other_is_there(slice_, known):
        days += SETTLING_DAYS + 1
    # No date is asked for before it is over in UTC too, which east of UTC may be later.
    asked = datetime.combine(slice_.report_date + timedelta(days=2), time(), UTC)
    return max(ended + timedelta(days=days), ended + usual, asked)


def _other_is_there(slice_: Slice, known: Mapping[Slice, SliceRecord]) -> bool:
    return any(known[other].revision for other in slices_of([slice_.report_date]) if other in known)


def _read_lags(connection: Connection, newest_due: date, lag_days: int, zone: ZoneInfo) -> dict[ReportType, Lag]:
    dates = [*dates_between(newest_due - _LAG_WINDOW, newest_due + timedelta(days=lag_days))]
    asked = {
        "since": dates[0],
        "dates": dates,
        "ended": [_beginning(day + timedelta(days=1), zone) for day in dates],
        "due": [_beginning(day + timedelta(days=lag_days), zone) for day in dates],
    }
    found = fetch_rows(connection, statement("warehouse/read_lags"), asked)
    return {ReportType(row.pop("report_type")): Lag(**row) for row in found}


def _beginning(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _as_json(fresh: Freshness) -> dict[str, object]:
    return {
        "report_type": fresh.report_type.value,
        "newest_stored": fresh.newest_stored and fresh.newest_stored.isoformat(),
        "complete_up_to": fresh.complete_up_to and fresh.complete_up_to.isoformat(),
        "lag_median_hours": fresh.lag and _hours(fresh.lag.median),
        "lag_p99_hours": fresh.lag and _hours(fresh.lag.p99),
        "lag_dates": fresh.lag.dates if fresh.lag else 0,
    }


def _hours(duration: timedelta) -> float:
    return round(duration / timedelta(hours=1), 1)
