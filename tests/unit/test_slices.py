"""Dates and slices: which there are, and from when on a missing report means that there is nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.domain.slices import SETTLING_DAYS, ReportType, Shard, Slice, dates_between, is_settled, slices_of, target_date

TODAY = date(2026, 3, 1)


def test_the_target_date_lies_the_lag_before_today() -> None:
    assert target_date(datetime(2026, 3, 1, 12, tzinfo=UTC), 2) == date(2026, 2, 27)


@pytest.mark.parametrize(
    ("zone", "utc", "lag_days", "target"),
    [
        pytest.param("Pacific/Kiritimati", "2026-11-09 11:00", 1, "2026-11-08", id="east, the 10th, 01:00"),
        pytest.param("Pacific/Kiritimati", "2026-11-09 23:59", 1, "2026-11-08", id="east, a minute before UTC's end"),
        pytest.param("Pacific/Kiritimati", "2026-11-10 00:00", 1, "2026-11-09", id="east, at UTC's end"),
        pytest.param("Pacific/Kiritimati", "2026-11-09 11:00", 2, "2026-11-08", id="east, with the usual lag"),
        pytest.param("UTC", "2026-11-09 23:59", 1, "2026-11-08", id="UTC, before midnight"),
        pytest.param("UTC", "2026-11-10 00:00", 1, "2026-11-09", id="UTC, at midnight"),
        pytest.param("Pacific/Pago_Pago", "2026-11-10 10:59", 1, "2026-11-08", id="west, before its own midnight"),
        pytest.param("Pacific/Pago_Pago", "2026-11-10 11:00", 1, "2026-11-09", id="west, at its own midnight"),
    ],
)
def test_no_date_is_asked_for_before_it_is_over_in_the_zone_and_in_utc(
    zone: str, utc: str, lag_days: int, target: str
) -> None:
    now = datetime.fromisoformat(f"{utc}+00:00").astimezone(ZoneInfo(zone))
    assert target_date(now, lag_days) == date.fromisoformat(target)


@pytest.mark.parametrize(("days_ago", "settled"), [(0, False), (2, False), (5, False), (6, True), (400, True)])
def test_a_404_settles_when_the_lag_and_the_days_of_grace_are_over(days_ago: int, settled: bool) -> None:
    assert SETTLING_DAYS == 3
    assert is_settled(TODAY - timedelta(days=days_ago), today=TODAY, lag_days=2) is settled


@given(st.dates(date(2000, 1, 1), date(2050, 1, 1)), st.integers(0, 800))
def test_a_range_has_every_date_once_in_order(start: date, days: int) -> None:
    dates = list(dates_between(start, start + timedelta(days=days)))
    assert len(set(dates)) == days + 1
    assert dates == sorted(dates)
    assert (dates[0], dates[-1]) == (start, start + timedelta(days=days))


def test_a_range_that_ends_before_it_starts_is_empty() -> None:
    assert list(dates_between(TODAY, TODAY - timedelta(days=1))) == []


def test_slices_come_oldest_first_and_live_before_vod() -> None:
    days = [date(2026, 3, 1), date(2026, 2, 28)]
    assert [str(slice_) for slice_ in slices_of(days)] == [
        "2026-02-28 LIVE", "2026-02-28 VOD", "2026-03-01 LIVE", "2026-03-01 VOD",
    ]  # fmt: skip
    assert slices_of(iter(days), iter([ReportType.VOD])) == [Slice(day, ReportType.VOD) for day in sorted(days)]


@given(st.dates(date(2000, 1, 1), date(2050, 1, 1)), st.integers(0, 800), st.integers(1, 60))
def test_the_shards_of_a_range_are_disjoint_equal_and_together_all_of_it(start: date, days: int, count: int) -> None:
    dates = list(dates_between(start, start + timedelta(days=days)))
    shards = [Shard(index, count).of(iter(dates)) for index in range(count)]
    assert sorted(day for shard in shards for day in shard) == dates, "none twice, none missing"
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    assert all(shard == sorted(shard) for shard in shards), "oldest first"
