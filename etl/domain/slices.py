"""Slices: which report dates and types there are, their states, which are due, and how to share them out.

Pure: "today" comes in as a parameter.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

# A report is said to take one to two days; LAG_DAYS covers that. Three days more cover a weekend's trouble at the
# source: a 404 for a date older than the lag and these is taken as "no viewing history".
SETTLING_DAYS = 3

# Slices that one run syncs at the same time, in threads: more would only wait for Python's interpreter lock.
MAX_CONCURRENCY: Final = 32


class ReportType(StrEnum):
    """The two reports of a day. LIVE holds live events and their live-to-VOD playbacks."""

    LIVE = "LIVE"
    VOD = "VOD"


class State(StrEnum):
    """What the warehouse knows about a slice. A slice without a state was never tried."""

    LOADED = "loaded"
    UNAVAILABLE = "unavailable"  # 404: may still come
    EMPTY = "empty"  # no viewing history: a header-only file; or presumed so, by a settled 404
    HELD = "held"  # a report came and a guard refused it; stored facts untouched
    FAILED = "failed"  # an error, with class and message


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """One report date and one report type: what is fetched, locked, loaded, recorded, retried and shown."""

    report_date: date
    report_type: ReportType

    def __str__(self) -> str:
        return f"{self.report_date:%Y-%m-%d} {self.report_type}"

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Self:
        """The slice that a row of the database is about."""
        return cls(row["report_date"], ReportType(row["report_type"]))

    def key(self) -> dict[str, object]:
        """Its columns, as parameters of a statement."""
        return {"report_date": self.report_date, "report_type": self.report_type.value}

    def as_options(self) -> str:
        """Its columns, as the options of a command that a person types."""
        return f"--start {self.report_date} --end {self.report_date} --type {self.report_type}"

    def as_json(self) -> dict[str, object]:
        """Its columns, for `--json`."""
        return {"report_date": self.report_date.isoformat(), "report_type": self.report_type.value}


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a range of dates, counted from 0: as Kubernetes counts the pods of an Indexed Job."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def as_json(self) -> dict[str, str]:
        """Its name, for documents and log lines; nothing where the part is the whole."""
        return {"shard": str(self)} if self.count > 1 else {}

    def of(self, dates: Iterable[date]) -> list[date]:
        """Every count-th of `dates`: each is in exactly one part, and no part has more than one date more than another.

        Dates and not slices, since a date's two reports are evidence for each other. Every count-th and not a stretch
        of neighbours, since audiences grow and gaps come in stretches: the parts are to be equal work.
        """
        return list(dates)[self.index :: self.count]


WHOLE: Final = Shard(0, 1)


def newest_full_day(now: datetime) -> date:
    """The newest date that has ended both in the zone of `now` and in UTC.

    Report days are assumed to be UTC days. East of UTC, the zone's yesterday may not have ended in UTC, and a report
    for it would lack its last hours.
    """
    return min(now.date(), now.astimezone(UTC).date()) - timedelta(days=1)


def target_date(now: datetime, lag_days: int) -> date:
    """The newest report date worth asking for; `now` is in the configured zone."""
    lagging = now.date() - timedelta(days=lag_days)
    return min(lagging, newest_full_day(now))


def is_settled(report_date: date, *, today: date, lag_days: int) -> bool:
    """Whether a 404 for `report_date` means that there is no report, rather than not yet."""
    return report_date < today - timedelta(days=lag_days + SETTLING_DAYS)


def dates_between(start: date, end: date) -> Iterator[date]:
    """The dates from `start` to `end`, both included, oldest first."""
    for offset in range((end - start).days + 1):
        yield start + timedelta(days=offset)


def slices_of(dates: Iterable[date], report_types: Iterable[ReportType] = tuple(ReportType)) -> list[Slice]:
    """Every slice of `dates` and `report_types`, oldest date first."""
    types = tuple(report_types)
    return sorted(Slice(day, report_type) for day in dates for report_type in types)
