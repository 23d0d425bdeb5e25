"""What only an engine does to the image: stops it, takes its memory, leaves it without a network or without names."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from container_hosts import Hosts, running_hosts
from docker_engine import docker, needs_engine
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig
from waiting import until
from warehouse_checker import violations, wait_for_no_backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [needs_engine, pytest.mark.timeout(400)]

CONFIG = SandboxConfig(vod_rows=100_000, live_rows=20_000, titles=100, customers=20_000, quiet_one_day_in=0)
DAY = CONFIG.today() - timedelta(days=40)
SLICES = [Slice(DAY, kind) for kind in ReportType]
BACKFILL = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}")
LOADING = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'watch-time' AND backend_xid IS NOT NULL"
STOPPED, KILLED, PASSING = 143, 137, 75


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with running_hosts(CONFIG, tmp_path) as made:
        yield made


def _assert_the_next_run_brings_all(hosts: Hosts) -> None:
    assert violations(hosts.url, hosts.sandbox, SLICES, may_be_missing=True) == []
    done = hosts.run(*BACKFILL)
    assert done.returncode == 0, done.stderr
    assert violations(hosts.url, hosts.sandbox, SLICES) == []


def test_docker_stop_in_the_middle_of_a_load_rolls_back_and_the_next_run_loads(hosts: Hosts) -> None:
    with psycopg.connect(hosts.url, autocommit=True) as observer, hosts.started(*BACKFILL) as job:
        until(lambda: observer.execute(LOADING).fetchone() == (True,) or job.process.poll() is not None, "no load")
        # After ten seconds it would kill.
        docker("stop", job.name)
        stopped = job.result()
    assert stopped.returncode == STOPPED, stopped.stderr
    _assert_the_next_run_brings_all(hosts)


@pytest.mark.parametrize("megabytes", [64, 144])
def test_a_container_that_is_killed_for_its_memory_leaves_nothing_half_and_the_next_run_loads(
    hosts: Hosts, megabytes: int
) -> None:
    """Without enough even to start, and with less than the 176 that these reports need."""
    limits = (f"--memory={megabytes}m", f"--memory-swap={megabytes}m")
    with hosts.started(*BACKFILL, options=limits) as job:
        ended = job.result()
        was_killed = docker("inspect", "--format={{.State.OOMKilled}}", job.name).stdout.strip()
    assert (ended.returncode, was_killed) == (KILLED, "true"), ended.stderr
    assert wait_for_no_backend(hosts.url) == []
    _assert_the_next_run_brings_all(hosts)


def test_without_a_network_it_says_so_and_ends_with_75(hosts: Hosts) -> None:
    done = hosts.run(*BACKFILL, options=("--network=none",))
    assert done.returncode == PASSING, done.stderr
    assert "warehouse" in done.stderr
    assert "Traceback" not in done.stderr


def test_where_the_source_s_name_is_not_resolved_each_slice_says_so_and_it_ends_with_75(hosts: Hosts) -> None:
    done = hosts.run(
        *BACKFILL, options=(f"--network={hosts.database_network.name}",), API_BASE_URL="https://api.nowhere.invalid"
    )
    assert done.returncode == PASSING, done.stderr
    assert "api.nowhere.invalid" in done.stderr
    assert "Traceback" not in done.stderr
    assert violations(hosts.url, hosts.sandbox, SLICES, may_be_missing=True) == []
