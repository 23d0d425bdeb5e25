"""The benchmarks run, on small data: their results are asserted, their times are not."""

from __future__ import annotations

import big_day
import memory
import partitions
import workers


def test_a_big_day_in_small_equals_its_csv() -> None:
    found = big_day.compare(3_000)
    assert found.equal
    assert (found.csv_rows, found.table_rows) == (3_000, 3_000)
    assert found.csv_seconds == found.table_seconds > 0


def test_a_load_whose_memory_is_measured_accounts_for_each_line() -> None:
    found = memory.load("rejected lines", 3_000)
    assert found.is_complete
    assert found.spent.peak_mb > 0


def test_compacted_months_hold_the_same_rows_in_fewer_partitions() -> None:
    found = partitions.measure(years=0.1, rows=5)
    assert found.before.sum_of_all == found.after.sum_of_all
    assert found.before.partitions == found.slices == 74
    assert found.after.partitions < found.before.partitions
    assert found.after.locks < found.before.locks


def test_each_way_of_having_several_workers_loads_the_same() -> None:
    found = list(workers.measure(2, 20, latency_s=0.0, counts=(2,)))
    assert [(each.way, each.workers, each.slices, each.equal) for each in found] == [
        ("threads", 2, 4, True), ("dask", 2, 4, True), ("shards", 2, 4, True),
    ]  # fmt: skip
