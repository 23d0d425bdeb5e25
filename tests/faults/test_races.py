"""Many processes at once on one warehouse, some of them killed: one load for each revision, and nothing wrong."""

from __future__ import annotations

import json
import random
import signal
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from effort import SEED, effort
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig
from tally import record
from warehouse_checker import violations

if TYPE_CHECKING:
    from datetime import date

    from conftest import Program, Warehouse
    from etl.sandbox.sandbox import Sandbox
    from postgres import Server

# The program decides for itself what today is.
TODAY = SandboxConfig().today()
LONG_AGO = (TODAY - timedelta(days=150)).replace(day=1)


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=300, live_rows=100, titles=50, customers=1_000, quiet_one_day_in=0)


@pytest.fixture
def program(program: Program) -> Program:
    """Its processes are not read while they run."""
    return replace(program, to_files=True)


def _day(day: date) -> tuple[str, ...]:
    return _days(day, 1)


def _days(day: date, count: int) -> tuple[str, ...]:
    return ("backfill", "--start", f"{day}", "--end", f"{day + timedelta(days=count - 1)}", "--json")


def _slices(day: date, count: int = 1) -> list[Slice]:
    return [Slice(day + timedelta(days=later), kind) for later in range(count) for kind in ReportType]


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("processes", "rounds"), [(2, effort(3)), (8, effort(2)), (16, effort(1))])
def test_of_many_that_bring_the_same_day_one_loads_it(
    program: Program, newest_warehouse: Warehouse, processes: int, rounds: int
) -> None:
    """First as a new day, then restated."""
    for number in range(rounds):
        day = LONG_AGO + timedelta(days=number)
        for revision in (1, 2):
            runs = [program.start(*_day(day), "--refresh") for _ in range(processes)]
            ended = [run.result(60) for run in runs]
            assert [run.returncode for run in ended] == [0] * processes, [run.stderr for run in ended if run.returncode]
            met = Counter(
                (slice_["report_type"], slice_["result"])
                for run in ended
                for slice_ in json.loads(run.stdout)["slices"]
            )
            assert [met[kind.value, "loaded"] for kind in ReportType] == [1, 1], met
            assert [met[kind.value, "unchanged"] for kind in ReportType] == [processes - 1] * 2, met
            _assert_nothing_wrong(newest_warehouse, _slices(day), revision)
            for slice_ in _slices(day):
                newest_warehouse.sandbox.restate(slice_)
    record("runs that raced for the same day", processes * rounds * 2)


def _assert_nothing_wrong(warehouse: Warehouse, slices: list[Slice], revision: int) -> None:
    assert violations(warehouse.url, warehouse.sandbox, slices, revisions={revision - 1}) == []
    for slice_ in slices:
        numbers = warehouse.query(
            "SELECT revision FROM report_revision WHERE report_date = %s AND report_type = %s ORDER BY 1",
            slice_.report_date,
            slice_.report_type.value,
        )
        assert numbers == [(number,) for number in range(1, revision + 1)], f"{slice_}: {numbers}"


@pytest.mark.timeout(3_600)
def test_backfills_that_overlap_and_are_killed_load_each_slice_once(
    program: Program, newest_warehouse: Warehouse
) -> None:
    """With months being compacted all the while, and somebody who migrates."""
    chance = random.Random(SEED)  # noqa: S311 - chance, not secrets
    count, killed, in_flight = 40, 0, 0
    span = (*_days(LONG_AGO, count), "--concurrency", "4")
    number = 0
    # Some more, and later ones, where no kill met a load in flight: a busy machine is slow to begin.
    while number < effort(3) or (not in_flight and number < max(effort(3), 20)):
        number += 1
        latest_s = 0.8 if in_flight else 0.8 + 0.2 * number
        runs = [program.start(*span) for _ in range(2)]
        others = [program.start("compact", "--json"), program.start("migrate")]
        for run in runs:
            time.sleep(chance.uniform(0.05, latest_s))
            run.send_signal(signal.SIGSTOP)
            in_flight += _loads_in_flight(newest_warehouse)
            run.send_signal(signal.SIGKILL)
            killed += 1
        told = f"seed {SEED}, round {number}"
        compaction, migration = (run.result(60) for run in others)
        assert compaction.returncode in {0, 75}, f"{told}: {compaction.stderr}"
        assert migration.returncode == 0, f"{told}: {migration.stderr}"
        for run in runs:
            run.wait(60)
    runs = [program.start(*span), program.start(*span), program.start("compact", "--json"), program.start("migrate")]
    ended = [run.result(60) for run in runs]
    codes = [run.returncode for run in ended]
    assert codes[:2] == [0, 0], [run.stderr for run in ended[:2]]
    assert codes[2] in {0, 75}
    assert codes[3] == 0
    _assert_nothing_wrong(newest_warehouse, _slices(LONG_AGO, count), 1)
    assert program("compact").returncode == 0
    _assert_nothing_wrong(newest_warehouse, _slices(LONG_AGO, count), 1)
    record("concurrent backfills killed", killed)
    record("concurrent backfills killed, loads in flight", in_flight)
    assert in_flight > 0, "the kills come too early or too late"


def _loads_in_flight(warehouse: Warehouse) -> int:
    ((count,),) = warehouse.query(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE application_name = 'watch-time' AND backend_xid IS NOT NULL AND datname = current_database()"
    )
    return int(count)


def test_many_that_migrate_a_new_database_at_once_all_succeed(
    program: Program, newest_server: Server, sandbox: Sandbox
) -> None:
    with newest_server.database(migrated=False) as url:
        runs = [program.start("migrate", DATABASE_URL=url) for _ in range(8)]
        loads = [program.start(*_day(LONG_AGO), DATABASE_URL=url) for _ in range(4)]
        ended = [run.result(60) for run in runs]
        assert [run.returncode for run in ended] == [0] * 8, [run.stderr for run in ended]
        assert {run.wait(60) for run in loads} <= {0, 78}, "not migrated yet, or in order"
        assert program(*_day(LONG_AGO), DATABASE_URL=url).returncode == 0
        assert violations(url, sandbox, _slices(LONG_AGO)) == []
        record("migrations that raced", 8)
