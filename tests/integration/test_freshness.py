"""How fresh the warehouse is: gaps, lateness and the usual lag, from ledgers with a known past."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import psycopg
import pytest

from etl.config.settings import Settings
from etl.domain.slices import ReportType, Slice
from etl.warehouse import freshness
from etl.warehouse.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.warehouse.freshness import Overview
    from postgres import Server

FIRST = date(2026, 10, 1)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NEWEST_DUE = date(2026, 11, 20)


class Ledger:
    """A ledger whose past the test writes."""

    def __init__(self, url: str) -> None:
        self.url = url

    def loaded(self, slice_: Slice, at: datetime) -> None:
        self._state(slice_, "loaded", 1)
        self._execute(
            "INSERT INTO report_revision VALUES (%s, %s, 1, 'x', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NULL, '1', %s)",
            *_key(slice_), at,
        )  # fmt: skip

    def absent(self, slice_: Slice, first: datetime, last: datetime | None = None, result: str = "unavailable") -> None:
        self._state(slice_, "unavailable", 0)
        self.checked(slice_, result, first, last)

    def checked(self, slice_: Slice, result: str, first: datetime, last: datetime | None = None) -> None:
        self._execute(
            "INSERT INTO report_check VALUES (%s, %s, %s, %s, 1, %s, NULL)",
            *_key(slice_), first, last or first, result,
        )  # fmt: skip

    def state(self, slice_: Slice, state: str, revision: int = 0) -> None:
        self._state(slice_, state, revision)

    def read(
        self,
        *,
        time_zone: str = "UTC",
        now: datetime = NOON,
        start: date | None = None,
        first_date: date | None = None,
        lag_days: int = 2,
    ) -> Overview:
        settings = Settings.load().model_copy(
            update={"time_zone": time_zone, "first_date": first_date, "lag_days": lag_days}
        )
        with open_database(self.url, schema="public") as database, database.transaction(writable=False) as connection:
            return freshness.read(connection, settings, now=now, start=start)

    def _state(self, slice_: Slice, state: str, revision: int) -> None:
        self._execute(
            "INSERT INTO report_slice AS old (report_date, report_type, state, revision, report_sha256, rows_stored, "
            "watch_seconds, checked_at) VALUES (%s, %s, %s, %s, %s, 0, 0, now()) "
            "ON CONFLICT (report_date, report_type) DO UPDATE "
            "SET (state, revision, report_sha256) = (excluded.state, excluded.revision, excluded.report_sha256)",
            *_key(slice_), state, revision, "x" if revision else None,
        )  # fmt: skip

    def _execute(self, query: str, *parameters: object) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(query.encode(), parameters)


def _key(slice_: Slice) -> tuple[date, str]:
    return slice_.report_date, slice_.report_type.value


def _vod(day: date) -> Slice:
    return Slice(day, ReportType.VOD)


def _after(day: date, hours: float, zone: str = "UTC") -> datetime:
    """So many hours after the end of the day."""
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone)) + timedelta(hours=hours)


@pytest.fixture
def ledger(server: Server) -> Iterator[Ledger]:
    with server.database() as url:
        yield Ledger(url)


def _days(count: int) -> list[date]:
    return [FIRST + timedelta(days=number) for number in range(count)]


def test_gaps_are_what_is_neither_stored_nor_empty(ledger: Ledger) -> None:
    start = date(2026, 11, 16)
    states = [("loaded", "loaded"), ("empty", "held"), ("unavailable", "loaded"), ("failed", "empty")]
    for offset, of_types in enumerate(states):
        day = start + timedelta(days=offset)
        for report_type, state in zip(ReportType, of_types, strict=True):
            ledger.state(Slice(day, report_type), state, int(state in {"loaded", "held"}))
    found = ledger.read()
    assert (found.first, found.newest_due) == (start, NEWEST_DUE)
    assert [str(gap) for gap in found.gaps] == [
        "2026-11-18 LIVE", "2026-11-19 LIVE", "2026-11-20 LIVE", "2026-11-20 VOD",
    ]  # fmt: skip
    assert [str(slice_) for slice_ in found.late] == ["2026-11-19 LIVE"], (
        "of the 18th VOD is there: perhaps a quiet day"
    )
    live, vod = found.freshness
    assert (live.newest_stored, live.complete_up_to) == (date(2026, 11, 16), date(2026, 11, 17))
    assert (vod.newest_stored, vod.complete_up_to) == (date(2026, 11, 18), date(2026, 11, 19))
    assert [str(gap) for gap in ledger.read(start=date(2026, 11, 19)).gaps] == [
        "2026-11-19 LIVE", "2026-11-20 LIVE", "2026-11-20 VOD",
    ]  # fmt: skip


def test_a_service_without_live_events_is_not_late_every_day(ledger: Ledger) -> None:
    """A 404 beside a stored report is a quiet day as a rule; when it is settled it is known for one, or late."""
    day = date(2026, 11, 10)
    ledger.state(Slice(day, ReportType.VOD), "loaded", 1)
    ledger.state(Slice(day, ReportType.LIVE), "unavailable")
    for days, late in ((3, False), (6, False), (7, True)):
        now = datetime.combine(day + timedelta(days=days), time(12), UTC)
        assert (Slice(day, ReportType.LIVE) in ledger.read(now=now).late) is late, days


def test_old_dates_are_not_judged_where_a_setting_says_so(ledger: Ledger) -> None:
    """A single old date, loaded out of curiosity, would make years of gaps."""
    for day in (date(2024, 1, 1), NEWEST_DUE):
        for report_type in ReportType:
            ledger.state(Slice(day, report_type), "loaded", 1)
    harmed = ledger.read()
    assert len(harmed.gaps) > 2_000
    assert harmed.fetch_late == "watch-time backfill --start 2024-01-02 --end 2026-11-19"
    assert harmed.leave_out_late == f"WATCH_TIME_FIRST_DATE={NEWEST_DUE}"
    found = ledger.read(first_date=NEWEST_DUE)
    assert found.gaps == ()
    assert (found.fetch_late, found.leave_out_late) == (None, None)
    assert [fresh.complete_up_to for fresh in found.freshness] == [NEWEST_DUE, NEWEST_DUE]


@pytest.mark.parametrize(("days", "is_left_out"), [(31, False), (32, True)])
def test_of_a_short_stretch_of_late_dates_nobody_is_told_how_to_leave_it_out(
    ledger: Ledger, days: int, is_left_out: bool
) -> None:
    """The setting would end the alarm about an outage, and everything before it with that."""
    after = FIRST + timedelta(days=days + 1)
    for day in (FIRST, *(after + timedelta(days=number) for number in range((NEWEST_DUE - after).days + 1))):
        for report_type in ReportType:
            ledger.state(Slice(day, report_type), "loaded", 1)
    found = ledger.read()
    assert len(found.late) == 2 * days
    assert found.fetch_late == f"watch-time backfill --start 2026-10-02 --end {after - timedelta(days=1)}"
    assert found.leave_out_late == (f"WATCH_TIME_FIRST_DATE={after}" if is_left_out else None)


def test_what_is_empty_by_a_404_alone_is_complete_and_told_as_presumed(ledger: Ledger) -> None:
    known, presumed = NEWEST_DUE - timedelta(days=1), NEWEST_DUE
    for day in (known, presumed):
        ledger.state(Slice(day, ReportType.LIVE), "loaded", 1)
        ledger.state(Slice(day, ReportType.VOD), "empty", int(day == known))
    found = ledger.read()
    assert (found.gaps, found.presumed) == ((), (Slice(presumed, ReportType.VOD),))
    assert found.fetch_presumed == f"watch-time backfill --start {presumed} --end {presumed} --only empty"
    assert found.as_json()["presumed_empty"] == [f"{presumed} VOD"]
    assert ledger.read(first_date=presumed + timedelta(days=1)).presumed == ()


def test_east_of_utc_no_date_is_due_or_late_before_it_could_be_asked_for(ledger: Ledger) -> None:
    """Where it is the 22nd already, the 21st may still be going on in UTC: with a lag of one day it is not due yet."""
    zone = ZoneInfo("Pacific/Kiritimati")
    utc_midnight = datetime(2026, 11, 22, tzinfo=UTC).astimezone(zone)
    assert utc_midnight.date() == date(2026, 11, 22)
    for report_type in ReportType:
        ledger.state(Slice(date(2026, 11, 20), report_type), "loaded", 1)

    def read(now: datetime) -> Overview:
        return ledger.read(time_zone=zone.key, lag_days=1, now=now)

    before, due = read(utc_midnight - timedelta(minutes=1)), read(utc_midnight)
    assert (before.newest_due, before.gaps) == (date(2026, 11, 20), ())
    assert (due.newest_due, len(due.gaps), due.late) == (date(2026, 11, 21), 2, ())
    day_after = utc_midnight + timedelta(days=1)
    assert read(day_after).late == ()
    assert {slice_.report_date for slice_ in read(day_after + timedelta(seconds=1)).late} == {date(2026, 11, 21)}


def test_what_is_stored_does_not_depend_on_what_is_judged(ledger: Ledger) -> None:
    ledger.state(_vod(NEWEST_DUE - timedelta(days=3)), "loaded", 1)
    _, vod = ledger.read(start=NEWEST_DUE).freshness
    assert vod.newest_stored == NEWEST_DUE - timedelta(days=3)


def test_a_date_is_late_when_the_day_it_was_due_is_over_in_the_zone_of_the_settings(ledger: Ledger) -> None:
    for report_type in ReportType:
        ledger.state(Slice(NEWEST_DUE - timedelta(days=1), report_type), "loaded", 1)
    zone = ZoneInfo("Asia/Taipei")
    midnight = datetime(2026, 11, 23, tzinfo=zone)
    just_before = ledger.read(time_zone="Asia/Taipei", now=midnight - timedelta(seconds=1))
    assert (just_before.newest_due, just_before.late) == (NEWEST_DUE, ())
    after = ledger.read(time_zone="Asia/Taipei", now=(midnight + timedelta(seconds=1)).astimezone(UTC))
    assert after.newest_due == NEWEST_DUE + timedelta(days=1)
    assert [slice_.report_date for slice_ in after.late] == [NEWEST_DUE, NEWEST_DUE]


def test_the_lag_is_measured_where_the_report_was_watched_as_it_came(ledger: Ledger) -> None:
    """30 hours after its date as a rule, 60 once; a backfill, and what came during our own outage, do not count."""
    *usual, slow, first_of_outage, backfilled = _days(12)
    for day in usual:
        ledger.loaded(_vod(day), _after(day, 30))
    ledger.absent(_vod(slow), _after(slow, 30), _after(slow, 54))
    ledger.loaded(_vod(slow), _after(slow, 60))
    ledger.absent(_vod(first_of_outage), _after(first_of_outage, 30))
    ledger.loaded(_vod(first_of_outage), _after(first_of_outage, 200))
    ledger.loaded(_vod(backfilled), _after(backfilled, 400))
    live, vod = ledger.read().freshness
    assert live.lag is None
    assert vod.lag is not None
    assert vod.lag.dates == 10
    assert vod.lag.median == timedelta(hours=30)
    assert vod.lag.p99 == pytest.approx(timedelta(hours=30 + 30 * 0.91), abs=timedelta(minutes=1))


def test_a_report_that_was_held_at_first_was_seen_then(ledger: Ledger) -> None:
    day = FIRST
    ledger.checked(_vod(day), "held", _after(day, 25))
    ledger.loaded(_vod(day), _after(day, 90))
    _, vod = ledger.read().freshness
    assert vod.lag is not None
    assert (vod.lag.median, vod.lag.dates) == (timedelta(hours=25), 1)


def test_the_lag_counts_from_the_end_of_the_date_in_the_zone(ledger: Ledger) -> None:
    ledger.loaded(_vod(FIRST), _after(FIRST, 30, "Asia/Taipei"))
    _, vod = ledger.read(time_zone="Asia/Taipei").freshness
    assert vod.lag is not None
    assert vod.lag.median == timedelta(hours=30)


@pytest.mark.parametrize(("dates", "late"), [(19, True), (20, False)])
def test_a_source_that_is_always_slow_is_not_late_every_day(ledger: Ledger, dates: int, late: bool) -> None:
    """Due is yesterday's target; this source takes five days, as twenty dates have shown."""
    for day in _days(dates):
        ledger.absent(_vod(day), _after(day, 30), _after(day, 100))
        ledger.loaded(_vod(day), _after(day, 120))
    missing = NEWEST_DUE - timedelta(days=1)
    assert (_vod(missing) in ledger.read().late) is late


def test_old_dates_say_nothing_of_what_is_usual_now(ledger: Ledger) -> None:
    long_ago = NEWEST_DUE - timedelta(days=181)
    ledger.loaded(_vod(long_ago), _after(long_ago, 30))
    _, vod = ledger.read().freshness
    assert vod.lag is None


def test_of_an_empty_warehouse_the_newest_date_that_can_be_late_is_late(ledger: Ledger) -> None:
    found = ledger.read()
    assert [str(slice_) for slice_ in found.late] == ["2026-11-19 LIVE", "2026-11-19 VOD"]
    assert [fresh.newest_stored for fresh in found.freshness] == [None, None]
