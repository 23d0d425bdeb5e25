"""SIGTERM at any moment ends the program soon, with 143 and nothing half; a stopped one keeps nobody out for ever."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from effort import SEED, effort
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig
from prerequisites import skip_missing
from tally import record
from waiting import until
from warehouse_checker import violations

if TYPE_CHECKING:
    from conftest import Program, Warehouse
    from prefork import Process

DAY = SandboxConfig().today() - timedelta(days=40)
DAYS = 2
SLICES = [Slice(DAY + timedelta(days=later), kind) for later in range(DAYS) for kind in ReportType]
BACKFILL = ("backfill", "--start", f"{DAY}", "--end", f"{SLICES[-1].report_date}", "--concurrency", "2", "--refresh")
# The promise is five; the machine may be busy.
GONE_S = 10.0
STOPPED = 143
# So long, about, takes the load of one of these slices.
LOAD_S = 0.05
# Before the program has its handler, SIGTERM ends it as any process; shells and schedulers call that 143 too.
NOT_STARTED = -signal.SIGTERM

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'watch-time' AND datname = current_database()"
LOADING = f"{BACKENDS} AND backend_xid IS NOT NULL"


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=10_000, live_rows=5_000, titles=100, customers=20_000, quiet_one_day_in=0)


@pytest.fixture(autouse=True)
def _reports_are_made(newest_warehouse: Warehouse) -> None:
    for slice_ in SLICES:
        newest_warehouse.sandbox.report(slice_)


@pytest.mark.timeout(3_600)
def test_sigterm_at_any_moment_ends_a_backfill_soon_and_cleanly(program: Program, newest_warehouse: Warehouse) -> None:
    chance = random.Random(SEED)  # noqa: S311 - chance, not secrets
    lasts_s = _seconds_of(program)
    in_flight = 0
    for number in range(effort(6)):
        for slice_ in SLICES:
            newest_warehouse.sandbox.restate(slice_)
            newest_warehouse.sandbox.report(slice_)
        # Loads are a small part of so short a run: every other signal comes at any moment of one of them.
        is_aimed = number % 2 == 0
        at_s = chance.uniform(0, LOAD_S if is_aimed else lasts_s)
        told = f"seed {SEED}, number {number}, SIGTERM {at_s:.2f} s after {'a load' if is_aimed else 'it'} began"
        process = program.start(*BACKFILL)
        if is_aimed:
            _until_it_loads(process, newest_warehouse)
        time.sleep(at_s)
        is_connected = bool(newest_warehouse.query(BACKENDS))
        in_flight += bool(newest_warehouse.query(LOADING))
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
        took_s = time.monotonic() - began
        codes = {STOPPED, 0} if is_connected else {STOPPED, 0, NOT_STARTED}
        assert process.returncode in codes, f"{told}: {process.returncode}, {err}"
        assert took_s < GONE_S, f"{told}: took {took_s:.1f} s"
        assert "Traceback" not in err or process.returncode == NOT_STARTED, f"{told}: {err}"
        if process.returncode == 0 and not is_aimed:
            # It ends sooner now than when it was measured.
            lasts_s = min(lasts_s, at_s)
        _assert_queries_end(newest_warehouse, told)
        wrong = violations(
            newest_warehouse.url,
            newest_warehouse.sandbox,
            SLICES,
            revisions=range(newest_warehouse.sandbox.revision(SLICES[0]) + 1),
        )
        assert wrong == [], told
    assert program(*BACKFILL).returncode == 0
    newest = {newest_warehouse.sandbox.revision(SLICES[0])}
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES, revisions=newest) == []
    record("SIGTERMs", effort(6))
    record("SIGTERMs, loads in flight", in_flight)
    assert in_flight > 0, "they come too early or too late"


def _until_it_loads(process: Process, warehouse: Warehouse) -> None:
    """Or until it has ended; asked on one connection, since a new one may take as long as a load."""
    with psycopg.connect(warehouse.url, autocommit=True) as observer:
        while process.poll() is None and not observer.execute(LOADING).fetchall():
            time.sleep(0.001)


def _seconds_of(program: Program) -> float:
    """How long a whole backfill takes here, at this moment."""
    began = time.monotonic()
    assert program(*BACKFILL).returncode == 0
    return time.monotonic() - began


def _assert_queries_end(warehouse: Warehouse, told: str) -> None:
    until(lambda: not warehouse.query(BACKENDS), f"{told}: a query of the program runs on")


def test_sigterm_ends_the_program_as_first_process_of_a_container(
    program: Program, newest_warehouse: Warehouse
) -> None:
    """Of PID 1 the kernel takes no signal that it has no handler for."""
    namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        skip_missing("this machine lets us make no PID namespace (unshare --pid wants root)")
    process = subprocess.Popen(
        [*namespace, sys.executable, "-m", "etl", *BACKFILL],
        cwd=program.folder,
        env=program.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: bool(newest_warehouse.query(LOADING)), "it does not load")
    # unshare passes no signals on: it is its child that is PID 1 in there.
    child = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    began = time.monotonic()
    os.kill(int(child), signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - began < GONE_S
    assert process.returncode == STOPPED, err
    _assert_queries_end(newest_warehouse, "PID 1")
    assert program(*BACKFILL).returncode == 0
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


LARGE = SandboxConfig(vod_rows=150_000, quiet_one_day_in=0)


@pytest.mark.parametrize("sandbox_config", [LARGE], ids=["large"])
def test_a_run_that_is_stopped_in_the_middle_of_copy_and_killed_lets_another_one_through(
    program: Program, newest_warehouse: Warehouse
) -> None:
    """The server waits for the rest of the COPY for as long as the connection stands, whatever its timeouts."""
    one_slice = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD")
    with psycopg.connect(newest_warehouse.url, autocommit=True) as observer:
        process = program.start(*one_slice)
        try:
            _stop_in_copy(process, observer)
            other = program.start(*one_slice)
            until(lambda: len(observer.execute(BACKENDS).fetchall()) > 1, "the other one does not come")
            time.sleep(0.5)
            assert other.poll() is None, "nothing keeps the other one waiting"
        finally:
            process.kill()
            process.communicate(timeout=20)
    _, err = other.communicate(timeout=60)
    assert other.returncode == 0, err
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, [SLICES[1]]) == []


def _stop_in_copy(process: Process, observer: psycopg.Connection) -> None:
    """SIGSTOP at a moment when a backend of it waits for more of a COPY."""
    copying = f"{BACKENDS} AND state = 'active' AND query LIKE '%COPY%FROM STDIN%'"
    waiting = f"{copying} AND wait_event = 'ClientRead'"
    while process.poll() is None:
        if observer.execute(copying).fetchall():
            process.send_signal(signal.SIGSTOP)
            time.sleep(0.2)
            if observer.execute(waiting).fetchall():
                return
            process.send_signal(signal.SIGCONT)
    pytest.fail("it ended before it could be stopped in a COPY")
