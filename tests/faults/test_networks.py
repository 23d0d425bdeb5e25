"""Networks between real hosts that are cut, that lose packets, that come back with other addresses; a primary cut off.

Everything is in containers of the Docker engine (see `hosts`); `make engine-test` runs it.
"""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

from container_hosts import Hosts, postgres_host, published_url, running_hosts
from docker_engine import docker, needs_engine
from effort import SEED, effort
from etl.domain.slices import dates_between, slices_of
from etl.sandbox.sandbox_config import SandboxConfig
from tally import record
from waiting import until
from warehouse_checker import violations, wait_for_no_backend

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from container_hosts import Job
    from docker_engine import Container

# What nobody closed is found out within a minute, and some of it twice.
pytestmark = [needs_engine, pytest.mark.timeout(900)]

CONFIG = SandboxConfig(vod_rows=10_000, live_rows=3_000, titles=100, customers=5_000, quiet_one_day_in=0)
LAST = CONFIG.today() - timedelta(days=40)
SLICES = slices_of(dates_between(LAST - timedelta(days=3), LAST))
BACKFILL = ("backfill", "--start", f"{SLICES[0].report_date}", "--end", f"{LAST}", "--concurrency", "3")
# Both sides look for a vanished peer within a minute; and the machine may be busy.
TIMEOUT_S = 150.0
FAULTS = 5  # in one run, at most

LOADING = "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'watch-time' AND backend_xid IS NOT NULL"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with running_hosts(CONFIG, tmp_path, delay_s=0.002) as made:
        yield made


@pytest.mark.parametrize("kind", ["disconnects", "drops"])
def test_a_network_that_fails_at_random_moments_costs_time_only(hosts: Hosts, kind: str) -> None:
    chance = random.Random(f"{SEED} {kind}")  # noqa: S311 - chance, not secrets
    faults = _NetworkFaults(hosts, chance)
    for revision in range(effort(2)):
        with hosts.started(*BACKFILL, "--refresh") as job:
            _until_loading(hosts.url, job)
            for _ in range(FAULTS):
                if job.process.poll() is None:
                    getattr(faults, kind)()
                    time.sleep(chance.uniform(0, 0.5))
            ended = job.result(TIMEOUT_S * 2)
        assert ended.returncode in {0, 75}, ended.stderr
        _assert_sound(hosts, revisions={revision, max(0, revision - 1)}, may_be_missing=True)
        calm = hosts.run(*BACKFILL, "--refresh")
        assert calm.returncode == 0, f"seed {SEED}: {calm.stderr}"
        _assert_sound(hosts, revisions={revision})
        for slice_ in SLICES:
            hosts.restate(slice_)
    assert faults.count > 0
    record(f"networks between hosts, {kind}", faults.count)


class _NetworkFaults:
    """What happens to the networks of the job's place."""

    def __init__(self, hosts: Hosts, chance: random.Random) -> None:
        self._hosts, self._chance = hosts, chance
        self._number = 100
        self.count = 0

    def disconnects(self) -> None:
        """Cut off one network, or both; back with the same address, or, one time in four, with another."""
        cut = self._chance.choice(
            [
                (self._hosts.source_network,),
                (self._hosts.database_network,),
                (self._hosts.source_network, self._hosts.database_network),
            ]
        )
        for network in cut:
            network.disconnect(self._hosts.job_host)
        time.sleep(self._chance.uniform(0.1, 3))
        self._number += self._chance.random() < 0.25
        for network in cut:
            network.connect(self._hosts.job_host, number=self._number)
        self.count += 1

    def drops(self) -> None:
        with self._hosts.dropping(self._chance.uniform(0.05, 0.6)):
            time.sleep(self._chance.uniform(0.5, 4))
        self.count += 1


def _until_loading(url: str, job: Job) -> None:
    with psycopg.connect(url, autocommit=True) as observer:
        until(lambda: observer.execute(LOADING).fetchone() == (True,) or job.process.poll() is not None, "no load")


def _assert_sound(hosts: Hosts, *, revisions: set[int], may_be_missing: bool = False) -> None:
    assert wait_for_no_backend(hosts.url, TIMEOUT_S) == []
    assert violations(hosts.url, hosts.sandbox, SLICES, revisions=revisions, may_be_missing=may_be_missing) == [], (
        f"seed {SEED}"
    )


def test_a_host_that_vanished_in_the_middle_of_a_load_frees_its_slices(hosts: Hosts) -> None:
    """Nothing of the end of its connections reaches the server: they stay half open until the server asks."""
    with psycopg.connect(hosts.url) as connection:
        with hosts.started(*BACKFILL) as job:
            connection.execute("LOCK TABLE content IN EXCLUSIVE MODE")
            _until_loading(hosts.url, job)
            hosts.database_network.disconnect(hosts.job_host)
            docker("kill", job.name)
            job.result()
        hosts.database_network.connect(hosts.job_host, number=101)
    assert wait_for_no_backend(hosts.url, TIMEOUT_S) == []
    again = hosts.run(*BACKFILL)
    assert again.returncode == 0, again.stderr
    _assert_sound(hosts, revisions={0})
    record("hosts that vanished during a load", 1)


@pytest.mark.parametrize("_time", range(effort(1)))
def test_a_primary_cut_off_and_a_standby_promoted_lose_nothing_for_good(hosts: Hosts, _time: int) -> None:
    """What the standby did not have yet is lost with its line in the ledger, and loaded again."""
    hosts.files["database-url"].write_text("postgresql://watch_time@warehouse,standby/watch_time")
    with _standby(hosts) as standby:
        with hosts.started(*BACKFILL) as job:
            _until_loading(hosts.url, job)
            hosts.database_network.disconnect(hosts.database_host)
            docker("exec", "--user=postgres", standby.name, "pg_ctl", "promote", "--wait")
            ended = job.result(TIMEOUT_S * 2)
        assert ended.returncode in {0, 75}, ended.stderr
        again = hosts.run(*BACKFILL, "--refresh")
        assert again.returncode == 0, again.stderr
        assert wait_for_no_backend(published_url(standby), TIMEOUT_S) == []
        assert violations(published_url(standby), hosts.sandbox, SLICES) == []
    record("primaries disconnected and standbys promoted", 1)


@contextmanager
def _standby(hosts: Hosts) -> Iterator[Container]:
    """It follows the server, and has all that is there."""
    hosts.database_host.execute("bash", "-c", "echo host replication all all trust >> $PGDATA/pg_hba.conf")
    with psycopg.connect(hosts.url, autocommit=True) as connection:
        connection.execute("SELECT pg_reload_conf()")
        copied = "pg_basebackup --host=warehouse --username=watch_time --checkpoint=fast --write-recovery-conf"
        with postgres_host(hosts.database_network, "standby", "mkdir -p $PGDATA", f"{copied} -D $PGDATA") as standby:
            streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
            until(lambda: connection.execute(streaming).fetchone() == (1,), "the standby does not follow")
            yield standby
