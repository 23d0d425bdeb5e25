"""What the page shows, read from the database in one transaction and so of one moment. No customer id is among it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Final

from psycopg import IsolationLevel

from etl.diagnostics import explain, status
from etl.domain.slices import ReportType, Slice, State, dates_between, slices_of, target_date
from etl.warehouse import freshness, ledger, schema
from etl.warehouse.connection import configure, fetch_rows, open_warehouse, statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from etl.config.settings import Settings
    from etl.diagnostics.status import SliceStatus
    from etl.warehouse.connection import Connection
    from etl.warehouse.freshness import Overview
    from etl.warehouse.ledger import Restatement, SliceRecord

_TOP: Final = 10


@dataclass(frozen=True, slots=True)
class Day:
    """A report date.

    Attributes:
        seconds: per report; None where the report is missing, zero where there was no viewing.
        viewers: different named customers over both reports; None when no report is there.
        provisional: young enough for `run` to ask again for restatements.
    """

    report_date: date
    seconds: Mapping[ReportType, Decimal | None]
    viewers: int | None
    provisional: bool

    @property
    def missing(self) -> tuple[ReportType, ...]:
        """The reports that are not there."""
        return tuple(report_type for report_type, seconds in self.seconds.items() if seconds is None)


@dataclass(frozen=True, slots=True)
class Content:
    """One of the most watched contents of the range."""

    place: int
    content_id: str
    title: str
    seconds: Mapping[ReportType, Decimal]

    @property
    def total(self) -> Decimal:
        """Seconds over both reports."""
        return sum(self.seconds.values(), Decimal(0))


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
        overview: how fresh the whole warehouse is, whatever the range.
    """

    start: date
    end: date
    read_at: datetime
    overview: Overview
    slices: Sequence[SliceStatus]
    days: Sequence[Day]
    top: Sequence[Content]
    restatements: Sequence[Restatement]
    open: Sequence[Open]

    @property
    def seconds(self) -> Decimal:
        """Seconds watched in the range."""
        return sum((seconds for day in self.days for seconds in day.seconds.values() if seconds), Decimal(0))

    @property
    def complete(self) -> int:
        """How many slices are there, or known to be empty."""
        return sum(len(day.seconds) - len(day.missing) for day in self.days)

    @property
    def late(self) -> tuple[Slice, ...]:
        """The slices of the range that are late; all of them are among those that are open."""
        return tuple(slice_ for slice_ in self.overview.late if self.start <= slice_.report_date <= self.end)

    @property
    def late_elsewhere(self) -> tuple[Slice, ...]:
        """The slices outside the range that are late."""
        return tuple(slice_ for slice_ in self.overview.late if not self.start <= slice_.report_date <= self.end)

    @property
    def most_viewers(self) -> Day | None:
        """The day with the most viewers; None where nobody is known to have watched."""
        busiest = max(self.days, key=lambda day: day.viewers or 0)
        return busiest if busiest.viewers else None

    @property
    def is_bare(self) -> bool:
        """Whether no report of the range is there at all."""
        return not self.complete


def read(settings: Settings, start: date, end: date, *, now: datetime) -> Figures:
    """Read what the page shows of the dates from `start` to `end`, both included.

    Args:
        settings: for database, zone, lag and windows.
        start: first date.
        end: last date.
        now: in the configured zone.

    Raises:
        SchemaNotReady: there are no tables to read, or those of another version.
    """
    with (
        open_warehouse(settings) as database,
        database.connection(writable=False) as connection,
    ):
        # A run may commit at any moment: sums, states and counts must be of the same one.
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            configure(connection, database.schema)
            schema.require_head(database, connection)
            return _read(connection, settings, start, end, now=now)


def _read(connection: Connection, settings: Settings, start: date, end: date, *, now: datetime) -> Figures:
    known = ledger.read_range(connection, start, end)
    sums = fetch_rows(connection, statement("diagnostics/read_page_sums"), {"start": start, "end": end, "most": _TOP})
    counted = fetch_rows(connection, statement("diagnostics/read_daily_customers"), {"start": start, "end": end})
    per_slice = {Slice.of_row(row): row["watch_seconds"] for row in sums if not row["place"]}
    viewers = {row["report_date"]: row["customers"] for row in counted}
    newest_due = target_date(now, settings.lag_days)
    asked_again_from = newest_due - timedelta(days=settings.recheck_days)
    return Figures(
        start,
        end,
        now,
        overview=freshness.read(connection, settings, now=now),
        slices=status.merge(known, slices_of(dates_between(start, end))),
        days=[
            _day(day, known, per_slice, viewers.get(day, 0), provisional=day >= asked_again_from)
            for day in dates_between(start, end)
        ],
        top=[
            Content(
                place,
                lines[0]["content_id"],
                lines[0]["title"] or "",
                {ReportType(line["report_type"]): line["watch_seconds"] for line in lines},
            )
            for place, lines in ((place, list(found)) for place, found in groupby(sums, lambda row: row["place"]))
            if place
        ],
        restatements=ledger.read_restatements(connection, start, end),
        open=list(
            _open(known, settings, max(start, settings.first_date or start), min(end, newest_due), today=now.date())
        ),
    )


def _day(
    day: date,
    known: Mapping[Slice, SliceRecord],
    sums: Mapping[Slice, Decimal],
    viewers: int | None,
    *,
    provisional: bool,
) -> Day:
    there = [slice_ for slice_ in slices_of([day]) if slice_ in known and known[slice_].is_complete]
    seconds = {slice_.report_type: sums.get(slice_, Decimal(0)) for slice_ in there}
    return Day(
        day,
        seconds={report_type: seconds.get(report_type) for report_type in ReportType},
        viewers=viewers if there else None,
        provisional=provisional,
    )


def _open(
    known: Mapping[Slice, SliceRecord], settings: Settings, start: date, end: date, *, today: date
) -> Iterator[Open]:
    """Those that need a person first; LIVE and VOD together where they are in the same trouble."""
    stretches: dict[tuple[date, date, str, str | None], list[Slice]] = {}
    for report_type in ReportType:
        slices = slices_of(dates_between(start, end), [report_type])
        for (state, reason), found in groupby(slices, lambda slice_: _trouble(known.get(slice_))):
            if state:
                stretch = list(found)
                key = (stretch[0].report_date, stretch[-1].report_date, state, reason)
                stretches.setdefault(key, []).append(stretch[0])
    for (first, last, state, reason), heads in sorted(stretches.items(), key=lambda item: _urgency(item[0])):
        if first == last and len(heads) == 1:
            next_step = explain.what_is_next(heads[0], known.get(heads[0]), settings, today=today)
        elif state == State.HELD.value:
            # Asking again would hold them again, and each is accepted by itself; this lists the command for each.
            next_step = f"watch-time revisions --start {first} --end {last}"
        else:
            next_step = f"watch-time backfill --start {first} --end {last}"
            next_step += f" --type {heads[0].report_type}" if len(heads) == 1 else ""
        yield Open(tuple(head.report_type for head in heads), first, last, state, reason, next_step)


def _urgency(stretch: tuple[date, date, str, str | None]) -> tuple[bool, date, date, str]:
    first, last, state, _ = stretch
    return state not in {State.HELD.value, State.FAILED.value}, first, last, state


def _trouble(record: SliceRecord | None) -> tuple[str | None, str | None]:
    """State and reason of a slice that is open; nothing for one that is not."""
    if record is None:
        return status.NEVER_TRIED, None
    if record.state in {State.LOADED, State.EMPTY}:
        return None, None
    return record.state.value, record.reason
