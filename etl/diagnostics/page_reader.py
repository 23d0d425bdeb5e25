"""Reads what the page shows from the database, in one transaction and so of one moment."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from psycopg import IsolationLevel

from etl.diagnostics import explain, status
from etl.diagnostics.page_data import Content, Day, Figures, Kind, Open, Views
from etl.domain.slices import ReportType, Slice, State, dates_between, slices_of, target_date
from etl.warehouse import freshness, ledger, revisions, schema
from etl.warehouse.database import open_warehouse
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import configure, fetch_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from etl.config.settings import Settings
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.transactions import Connection

# Contents with a line of their own; the others are summed.
_TOP: Final = 100
# Up to this many days each content's days of the period before are read too: a file of more would be large.
_COMPARED_DAYS: Final = 183
_WEEK: Final = 7


def read(settings: Settings, start: date, end: date, *, now: datetime) -> Figures:
    """Read what the page shows of the dates from `start` to `end`, both included; `now` is in the configured zone.

    Raises:
        SchemaNotReady: there are no tables to read, or those of another version.
    """
    with open_warehouse(settings) as database, database.connection(writable=False) as connection:
        # A run may commit at any moment: sums, states and counts must be of the same one.
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            configure(connection, database.schema)
            schema.require_head(database, connection)
            return _read(connection, settings, start, end, now=now)


def _read(connection: Connection, settings: Settings, start: date, end: date, *, now: datetime) -> Figures:
    oldest = ledger.read_oldest_date(connection)
    asked_start = start
    if oldest is not None and oldest <= end:
        start = max(start, oldest)
    length = (end - start).days + 1
    since = start - timedelta(days=max(length, _WEEK))
    contents_since = since if length <= _COMPARED_DAYS else start
    known = ledger.read_range(connection, since, end)
    newest_due = target_date(now, settings.lag_days)
    asked_again_from = newest_due - timedelta(days=settings.recheck_days)
    days = _days(connection, known, since, end, provisional_from=asked_again_from)
    tops = fetch_rows(
        connection,
        statement("diagnostics/read_page_contents"),
        {"since": contents_since, "start": start, "end": end, "most": _TOP},
    )
    return Figures(
        start,
        end,
        now,
        schema.owner(connection),
        overview=freshness.read(connection, settings, now=now),
        slices=status.merge(
            {slice_: record for slice_, record in known.items() if slice_.report_date >= start},
            slices_of(dates_between(start, end)),
        ),
        days=[day for day in days if day.report_date >= start],
        before=[day for day in days if day.report_date < start],
        top=[_content(place, list(lines)) for place, lines in groupby(tops, itemgetter("place"))],
        contents=tops[0]["contents"] if tops else 0,
        contents_since=contents_since,
        is_cut=start > asked_start,
        restatements=revisions.read_restatements(connection, start, end),
        open=list(
            _open(known, settings, max(start, settings.first_date or start), min(end, newest_due), today=now.date())
        ),
    )


def _kind(row: Mapping[str, Any]) -> Kind:
    return Kind(ReportType(row["report_type"]), row["streaming_type"])


def _content(place: int, lines: Sequence[Mapping[str, Any]]) -> Content:
    views = [
        Views(line["report_date"], _kind(line), line["watch_seconds"], line["anonymous_seconds"]) for line in lines
    ]
    return Content(place, lines[0]["content_id"], lines[0]["title"] or "", views)


def _days(
    connection: Connection, known: Mapping[Slice, SliceRecord], since: date, end: date, *, provisional_from: date
) -> list[Day]:
    asked = {"since": since, "end": end}
    sums = fetch_rows(connection, statement("diagnostics/read_page_sums"), asked)
    counted = fetch_rows(connection, statement("diagnostics/read_daily_customers"), asked)
    of_date = itemgetter("report_date")
    per_day = {day: list(rows) for day, rows in groupby(sorted(sums, key=of_date), of_date)}
    viewers = {row["report_date"]: row["customers"] for row in counted}
    return [
        _day(day, known, per_day.get(day, []), viewers.get(day, 0), provisional=day >= provisional_from)
        for day in dates_between(since, end)
    ]


def _day(
    day: date,
    known: Mapping[Slice, SliceRecord],
    rows: Sequence[Mapping[str, Any]],
    viewers: int | None,
    *,
    provisional: bool,
) -> Day:
    there = [slice_.report_type for slice_ in slices_of([day]) if slice_ in known and known[slice_].is_complete]
    kinds = {kind: row["watch_seconds"] for row in rows for kind in [_kind(row)] if kind.report_type in there}
    return Day(
        day,
        seconds={
            report_type: sum(
                (seconds for kind, seconds in kinds.items() if kind.report_type is report_type), Decimal(0)
            )
            if report_type in there
            else None
            for report_type in ReportType
        },
        kinds=kinds,
        anonymous=sum((row["anonymous_seconds"] for row in rows if row["report_type"] in there), Decimal(0)),
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
