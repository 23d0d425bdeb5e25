"""The benchmarks run, on small data: their results are asserted, their times are not."""

from __future__ import annotations

import big_day


def test_a_big_day_in_small_equals_its_csv() -> None:
    found = big_day.compare(3_000)
    assert found.equal
    assert (found.csv_rows, found.table_rows) == (3_000, 3_000)
    assert found.csv_seconds == found.table_seconds > 0
