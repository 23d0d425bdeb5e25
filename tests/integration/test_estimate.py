"""What a plan will cost is told from what the latest loads took."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from conftest import DAY
from etl.domain.outcome import Result
from etl.domain.slices import ReportType

if TYPE_CHECKING:
    from conftest import Warehouse
    from etl.diagnostics.backfill_estimate import Estimate
    from etl.domain.outcome import PlannedSlice

BOTH = tuple(ReportType)


def _estimated(
    warehouse: Warehouse, types: tuple[ReportType, ...] = BOTH, rate: float | None = None, concurrency: int = 2
) -> Estimate:
    with warehouse.job(concurrency=concurrency) as opened:
        opened.planner.requests_per_second = rate
        plan: list[PlannedSlice] = opened.planner.backfill(
            DAY - timedelta(days=19), DAY - timedelta(days=10), report_types=types
        )
        return opened.planner.estimate(plan)


@pytest.fixture
def loaded(warehouse: Warehouse) -> Warehouse:
    """Three dates of LIVE alone, whose loads took 1, 2 and 9 seconds and held 10, 20 and 90 bytes."""
    with warehouse.job() as opened:
        plan = opened.planner.backfill(DAY - timedelta(days=2), DAY, report_types=[ReportType.LIVE])
        assert {outcome.result for outcome in opened.run(plan)} == {Result.LOADED}
    with psycopg.connect(warehouse.url) as connection:
        for offset, figure in enumerate((1, 9, 2)):
            connection.execute(
                "UPDATE report_revision SET load_duration = make_interval(secs => %s), report_bytes = %s "
                "WHERE report_date = %s",
                (figure, figure * 10, DAY - timedelta(days=offset)),
            )
    return warehouse


def test_a_load_leaves_how_long_it_took(warehouse: Warehouse) -> None:
    outcome = warehouse.sync()
    ((took,),) = warehouse.query("SELECT load_duration FROM report_revision")
    assert timedelta() < took <= timedelta(seconds=outcome.elapsed_s)


def test_medians_times_slices_over_workers(loaded: Warehouse) -> None:
    cost = _estimated(loaded, (ReportType.LIVE,))
    assert (cost.slices, cost.loads, cost.unknown) == (10, 3, ())
    assert cost.report_bytes == 10 * 20
    assert cost.duration == timedelta(seconds=10 * 2 / 2)
    assert _estimated(loaded, (ReportType.LIVE,), concurrency=1).duration == timedelta(seconds=20)
    assert _estimated(loaded, (ReportType.LIVE,), concurrency=32).duration == timedelta(seconds=2), "ten at most"


def test_a_low_rate_is_what_takes_the_time(loaded: Warehouse) -> None:
    assert _estimated(loaded, (ReportType.LIVE,), rate=0.1).duration == timedelta(seconds=100)
    assert _estimated(loaded, (ReportType.LIVE,), rate=100).duration == timedelta(seconds=10)


def test_what_is_not_known_is_named(loaded: Warehouse) -> None:
    cost = _estimated(loaded)
    assert (cost.slices, cost.report_bytes, cost.unknown) == (20, 200, (ReportType.VOD,))
    cost = _estimated(loaded, (ReportType.VOD,))
    assert (cost.slices, cost.report_bytes, cost.duration) == (10, None, None)
