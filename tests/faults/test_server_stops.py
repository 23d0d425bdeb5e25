"""The server crashes or is stopped at random moments of many loads: what was said to be loaded is there, and whole."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from capped_stop import CappedStop
from conftest import NOON, TODAY, Warehouse
from disposable_server import DisposableServer, disposable_server
from effort import SEED, effort
from etl.domain.errors import ExitCode, TryLater
from etl.domain.slices import ReportType, Slice
from etl.job import plan_runner
from etl.job.planner import LOADED_ONLY, NOT_LOADED
from etl.sandbox.sandbox_config import SandboxConfig
from tally import record
from warehouse_checker import violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.domain.outcome import Outcome
    from etl.sandbox.sandbox import Sandbox

STOPS = effort(4)
# Pauses between the tries, of which there are five.
OUTLASTS_A_RESTART_S = 0.4
FINISHED_S = 60.0
DAYS = 12
SLICES = [Slice(TODAY - timedelta(days=100 + back), kind) for back in range(DAYS) for kind in ReportType]


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(
        vod_rows=400, live_rows=200, titles=100, customers=2_000, quiet_one_day_in=0, today=lambda: TODAY
    )


@pytest.fixture
def server_of_mine() -> Iterator[DisposableServer]:
    with disposable_server() as server:
        yield server


class Loader(threading.Thread):
    """Loads the same days again and again, each time in their next revision, until told to end."""

    def __init__(self, warehouse: Warehouse) -> None:
        super().__init__(daemon=True)
        self._warehouse = warehouse
        self._ending = threading.Event()
        self.acknowledged: dict[Slice, int] = {}
        self.codes = Counter[ExitCode]()
        self.trouble: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._round()
                for slice_ in SLICES:
                    self._warehouse.sandbox.restate(slice_)
        except BaseException as error:  # noqa: BLE001 - raised again where the test waits
            self.trouble = error

    def _round(self) -> None:
        dates = [slice_.report_date for slice_ in SLICES]
        with (
            suppress(TryLater),
            plan_runner.open_job(
                self._warehouse.configured(concurrency=3), stop=CappedStop(OUTLASTS_A_RESTART_S)
            ) as opened,
        ):
            opened.planner.now = NOON
            plan = opened.planner.backfill(min(dates), max(dates), wanted=NOT_LOADED | LOADED_ONLY)
            opened.run(plan, on_outcome=self._note)

    def _note(self, outcome: Outcome) -> None:
        self.codes[outcome.exit_code] += 1
        if outcome.exit_code is ExitCode.OK:
            self.acknowledged[outcome.slice] = outcome.revision

    def finish(self) -> None:
        """Go on until each slice was loaded: what a stop made fail, a later round brings."""
        deadline = time.monotonic() + FINISHED_S
        while self.is_alive() and len(self.acknowledged) < len(SLICES):
            assert time.monotonic() < deadline, set(SLICES) - self.acknowledged.keys()
            time.sleep(0.05)

    def end(self) -> None:
        self._ending.set()
        self.join(60)
        assert not self.is_alive()
        if self.trouble:
            raise self.trouble


@pytest.mark.timeout(180 + 20 * STOPS)
def test_no_acknowledged_load_is_lost_when_the_server_crashes_or_is_stopped(
    server_of_mine: DisposableServer, sandbox: Sandbox, base_url: str
) -> None:
    chance = random.Random(SEED)  # noqa: S311 - chance, not secrets
    warehouse = Warehouse(server_of_mine.url, sandbox, base_url)
    loader = Loader(warehouse)
    loader.start()
    in_flight = 0
    try:
        for number in range(STOPS):
            time.sleep(chance.uniform(0.1, 0.8))
            before = dict(loader.acknowledged)
            loading = _loads_in_flight(warehouse)
            # Every other stop waits for a load: few of them might meet none by chance.
            while number % 2 == 0 and not loading and loader.is_alive():
                loading = _loads_in_flight(warehouse)
            in_flight += loading
            server_of_mine.stop(chance.choice(["immediate", "fast"]))
            time.sleep(chance.choice([0, 0.2]))
            server_of_mine.start()
            assert _lost(warehouse, before) == [], f"seed {SEED}, stop {number + 1}"
        loader.finish()
    finally:
        loader.end()
    assert loader.codes.keys() <= {ExitCode.OK, ExitCode.TRY_LATER}, loader.codes
    record("crashes and stops of the server", STOPS)
    record("crashes and stops of the server, loads in flight", in_flight)
    assert in_flight > 0
    with warehouse.job() as opened:
        days = [slice_.report_date for slice_ in SLICES]
        outcomes = opened.run(opened.planner.backfill(min(days), max(days), wanted=NOT_LOADED | LOADED_ONLY))
    assert {outcome.exit_code for outcome in outcomes} == {ExitCode.OK}
    assert violations(warehouse.url, sandbox, SLICES, revisions={sandbox.revision(SLICES[0])}) == []


def _loads_in_flight(warehouse: Warehouse) -> int:
    ((count,),) = warehouse.query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watch-time' AND backend_xid IS NOT NULL"
    )
    return int(count)


def _lost(warehouse: Warehouse, acknowledged: dict[Slice, int]) -> list[str]:
    """The slices that have an older revision than was acknowledged, or other facts than their ledger says."""
    found = warehouse.query(
        """
        SELECT report_date, report_type, revision, rows_stored = count(watch_time),
            report_slice.watch_seconds = coalesce(sum(watch_time.watch_seconds), 0)
        FROM report_slice
        LEFT JOIN watch_time USING (report_date, report_type)
        GROUP BY report_date, report_type, revision, rows_stored, report_slice.watch_seconds
        """
    )
    stored = {Slice(day, ReportType(kind)): (revision, *equal) for day, kind, revision, *equal in found}
    return [
        f"{slice_}: revision {revision} was acknowledged, stored is {stored.get(slice_)}"
        for slice_, revision in acknowledged.items()
        if slice_ not in stored or stored[slice_][0] < revision or not all(stored[slice_][1:])
    ]
