"""Workers of a Dask cluster that lose their network, are killed, or stand still in the middle of a backfill.

Everything is in containers of the Docker engine (see `dask_hosts`); `make dask-engine-test` runs it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from container_hosts import running_hosts
from dask_hosts import ADDRESS, WITH_DASK, dask_hosts
from docker_engine import needs_engine
from etl.domain.slices import dates_between, slices_of
from etl.sandbox.sandbox_config import SandboxConfig
from tally import record
from waiting import until
from warehouse_checker import violations, wait_for_no_backend

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from container_hosts import Hosts, Job
    from dask_hosts import DaskHosts

pytestmark = [needs_engine, pytest.mark.timeout(600)]

CONFIG = SandboxConfig(vod_rows=3_000, live_rows=1_000, titles=50, customers=2_000, quiet_one_day_in=0)
LAST = CONFIG.today() - timedelta(days=40)
SLICES = slices_of(dates_between(LAST - timedelta(days=4), LAST))
BACKFILL = ("backfill", "--start", f"{SLICES[0].report_date}", "--end", f"{LAST}", "--json")
# Dask finds a silent host within half a minute, Postgres within a minute; and the machine may be busy.
TIMEOUT_S = 170.0
# The schema of the same backfill in threads.
THREADS = "threads"
# What is known of a slice whoever has loaded it. One whose worker was lost may have been committed for it.
LASTING = ("report_date", "report_type", "exit_code", "revision", "rows", "watch_seconds", "rows_rejected")

# But for the times, and for what was only asked.
SAME_ROWS = (
    "SELECT * FROM {schema}.watch_time ORDER BY report_date, report_type, content_id, customer_id, streaming_type",
    "SELECT * FROM {schema}.content ORDER BY content_id",
    (
        "SELECT report_date, report_type, state, revision, report_sha256, rows_stored, watch_seconds, facts_version "
        "FROM {schema}.report_slice ORDER BY report_date, report_type"
    ),
)

# Whoever has copied a slice waits here, before the lock that others wait for, and with no timeout of the program's.
GATE = """
    CREATE SCHEMA gate;
    CREATE TABLE gate.gate AS SELECT false AS is_open;
    CREATE FUNCTION gate.wait() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN
            WHILE current_query() LIKE '%ADD PRIMARY KEY%' AND NOT (SELECT is_open FROM gate.gate) LOOP
                PERFORM pg_sleep(0.2);
            END LOOP;
        END
    $$;
    CREATE EVENT TRIGGER gate ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION gate.wait();
"""
AT_THE_GATE = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watch-time' AND wait_event = 'PgSleep'"
STATE = "SELECT state FROM pg_stat_activity WHERE application_name = 'watch-time' AND client_addr = %s"
BACKENDS = (
    "SELECT client_addr::text, state, wait_event, state_change::text, query FROM pg_stat_activity WHERE query <> ''"
)


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with running_hosts(CONFIG, tmp_path, image=WITH_DASK) as made:
        yield made


def test_a_worker_that_is_cut_off_in_the_middle_of_a_load_changes_nothing(hosts: Hosts, tmp_path: Path) -> None:
    """Neither its scheduler nor its database hears of it: both find out for themselves."""
    with _clustered(hosts, tmp_path) as cluster, _in_the_middle(hosts, cluster) as (job, go_on):
        victim = cluster.workers[0]
        cluster.cut_off(victim)
        go_on()
        done = job.result(TIMEOUT_S)
        assert cluster.has_lost(victim), "it was not missed"
        _assert_as_in_threads(hosts, done)
    record("workers of a Dask cluster disconnected", 1)


def test_a_worker_whose_container_is_killed_in_the_middle_of_a_load_changes_nothing(
    hosts: Hosts, tmp_path: Path
) -> None:
    with _clustered(hosts, tmp_path) as cluster, _in_the_middle(hosts, cluster) as (job, go_on):
        victim = cluster.workers[0]
        victim.kill()
        go_on()
        done = job.result(TIMEOUT_S)
        assert cluster.has_lost(victim), "it was not missed"
        _assert_as_in_threads(hosts, done)
    record("workers of a Dask cluster killed", 1)


def test_a_worker_that_stands_still_in_the_middle_of_a_load_is_waited_for(hosts: Hosts, tmp_path: Path) -> None:
    """As long as server and scheduler are patient with it, it goes on with what it had."""
    with _clustered(hosts, tmp_path) as cluster, _in_the_middle(hosts, cluster) as (job, go_on):
        sleeper = cluster.workers[0]
        with sleeper.paused(), psycopg.connect(hosts.url, autocommit=True) as observer:
            go_on()
            idle = ("idle in transaction",)
            until(lambda: observer.execute(STATE, [sleeper.address]).fetchone() == idle, "the server does not wait")
        done = job.result(TIMEOUT_S)
        assert not cluster.has_lost(sleeper)
        _assert_as_in_threads(hosts, done)
    record("workers of a Dask cluster paused", 1)


def test_a_backfill_whose_workers_are_all_lost_goes_on_with_another_one(hosts: Hosts, tmp_path: Path) -> None:
    """One is cut off, one killed, one stands still until the scheduler has given it up, and comes back then."""
    with _clustered(hosts, tmp_path, WORKER_TTL="60s") as cluster, _in_the_middle(hosts, cluster) as (job, go_on):
        victims = cut_off, killed, sleeper = tuple(cluster.workers)
        cluster.cut_off(cut_off)
        killed.kill()
        with sleeper.paused():
            go_on()
            cluster.start_workers(1)
            for victim in victims:
                until(partial(cluster.has_lost, victim), f"{victim.name} is not missed", TIMEOUT_S)
        done = job.result(TIMEOUT_S)
        _assert_as_in_threads(hosts, done)
    for what in ("cut off", "killed", "paused"):
        record(f"workers of a Dask cluster {what}", 1)


@contextmanager
def _clustered(hosts: Hosts, folder: Path, **scheduler: str) -> Iterator[DaskHosts]:
    made = folder / "dask"
    made.mkdir()
    with dask_hosts(hosts, made, workers=3, **scheduler) as cluster:
        try:
            yield cluster
        except AssertionError as error:
            with psycopg.connect(hosts.url) as connection:
                error.add_note(f"{connection.execute(BACKENDS).fetchall()}")
            for container in (cluster.scheduler, *(worker.container for worker in cluster.workers)):
                error.add_note(container.logs())
            raise


@contextmanager
def _in_the_middle(hosts: Hosts, cluster: DaskHosts) -> Iterator[tuple[Job, Callable[[], None]]]:
    """A backfill each worker of which is in the middle of a load; they go on when the function is called."""
    with psycopg.connect(hosts.url, autocommit=True) as connection:
        connection.execute(GATE)
        with hosts.started(*BACKFILL, "--dask", ADDRESS, options=cluster.options) as job:
            count = (len(cluster.workers),)
            until(lambda: connection.execute(AT_THE_GATE).fetchone() == count or _has_ended(job), "no loads", TIMEOUT_S)
            assert not _has_ended(job), job.result().stderr
            yield job, lambda: _open_gate(connection)
        connection.execute("DROP SCHEMA gate CASCADE")


def _open_gate(connection: psycopg.Connection) -> None:
    connection.execute("UPDATE gate.gate SET is_open = true")


def _has_ended(job: Job) -> bool:
    return job.process.poll() is not None


def _assert_as_in_threads(hosts: Hosts, done: subprocess.CompletedProcess[str]) -> None:
    """The same summary and the same rows, and nothing left behind."""
    assert done.returncode == 0, done.stderr
    migrated = hosts.run("migrate", SCHEMA=THREADS)
    assert migrated.returncode == 0, migrated.stderr
    threads = hosts.run(*BACKFILL, SCHEMA=THREADS)
    assert threads.returncode == 0, threads.stderr
    assert _comparable(done, threads) == _comparable(threads, done)
    assert wait_for_no_backend(hosts.url, TIMEOUT_S) == []
    assert violations(hosts.url, hosts.sandbox, SLICES) == []
    with psycopg.connect(hosts.url) as connection:
        for rows in SAME_ROWS:
            ours, theirs = (connection.execute(rows.format(schema=schema)).fetchall() for schema in ("public", THREADS))
            assert ours == theirs, rows


def _comparable(told: subprocess.CompletedProcess[str], other: subprocess.CompletedProcess[str]) -> Any:
    """What a run told, but for durations, and for what only that run can tell that loaded a slice itself."""
    document, slices = json.loads(told.stdout), json.loads(other.stdout)["slices"]
    for slice_, twin in zip(document["slices"], slices, strict=True):
        del slice_["elapsed_s"]
        if "unchanged" in {slice_["result"], twin["result"]}:
            assert {slice_["result"], twin["result"]} == {"unchanged", "loaded"}
            for name in slice_.keys() - LASTING:
                del slice_[name]
    return document
