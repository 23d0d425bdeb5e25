"""The parts of a backfill, all at once as an Indexed Job runs them, make the warehouse that one backfill makes."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from etl.sandbox.sandbox_config import SandboxConfig
from kubernetes_manifests import JOBS, job, pod

if TYPE_CHECKING:
    import postgres
    from conftest import Program, Warehouse
    from prefork import Process

LAST = datetime.now(UTC).date() - timedelta(days=3)
FIRST = LAST - timedelta(days=11)
RANGE = ("--start", f"{FIRST}", "--end", f"{LAST}")
# What is stored, but for moments, and for which neighbour it was that spoke for an empty day.
STORED = {
    "watch_time": "SELECT * FROM watch_time ORDER BY 1, 2, 3, 4, 5",
    "content": "SELECT * FROM content ORDER BY 1",
    "report_slice": "SELECT report_date, report_type, state, revision, report_sha256, rows_stored, watch_seconds "
    "FROM report_slice ORDER BY 1, 2",
    "report_revision": "SELECT report_date, report_type, revision, report_sha256, rows_read, rows_inserted, "
    "seconds_after FROM report_revision ORDER BY 1, 2, 3",
    "partitions": "SELECT inhrelid::regclass::text FROM pg_inherits "
    "WHERE inhparent = 'watch_time'::regclass ORDER BY 1",
}


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    """Some days without viewers: what their 404s mean is said by neighbours, which may be in another part."""
    return SandboxConfig(vod_rows=400, live_rows=100, quiet_one_day_in=6)


def _everything(url: str) -> dict[str, list[tuple[Any, ...]]]:
    with psycopg.connect(url) as connection:
        return {name: connection.execute(query.encode()).fetchall() for name, query in STORED.items()}


def _started(program: Program, index: int, dates: tuple[str, ...] = RANGE) -> Process:
    """A pod of the Job: its arguments, with the index put in as Kubernetes does, and the range of this test."""
    command, flag, shard, *options = pod(JOBS["backfill/backfill-job.yaml"])["containers"][0]["args"]
    assert (command, flag, options[0::2]) == ("backfill", "--shard", ["--start", "--end", "--yes"])
    return program.start(command, flag, shard.replace("$(JOB_COMPLETION_INDEX)", f"{index}"), *dates, "--json")


def test_all_parts_at_once_and_one_of_them_killed_are_one_backfill(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server
) -> None:
    count = job(JOBS["backfill/backfill-job.yaml"])["completions"]
    with newest_server.database() as whole:
        done = program("backfill", *RANGE, DATABASE_URL=whole)
        assert done.returncode == 0, done.stderr
        expected = _everything(whole)
    assert sum(len(rows) for rows in expected.values()) > 5_000, "there is something to compare"

    with ExitStack() as stack:
        parts = [stack.enter_context(_started(program, index)) for index in range(count)]
        for part in parts:
            stack.callback(part.kill)
        while newest_warehouse.query("SELECT count(*) FROM report_slice WHERE report_date = %s", FIRST) == [(0,)]:
            assert parts[0].poll() is None, parts[0].communicate()
            time.sleep(0.01)
        parts[0].kill()
        parts[0].communicate()
        parts[0] = stack.enter_context(_started(program, 0))  # its replacement
        ends = [(*part.communicate(timeout=120), part.returncode) for part in parts]
    assert [code for _, _, code in ends] == [0] * count, ends
    documents = [json.loads(out) for out, _, _ in ends]
    names = [f"{index}/{count}" for index in range(count)]
    assert [document["shard"] for document in documents] == names
    summaries = [json.loads(err.splitlines()[-1]) for _, err, _ in ends]
    assert [(line["event"], line["shard"]) for line in summaries] == [("run_done", name) for name in names]
    worked_on = [(made["report_date"], made["report_type"]) for document in documents for made in document["slices"]]
    assert len(worked_on) == len(set(worked_on)), "no slice by two parts"

    found = _everything(newest_warehouse.url)
    for name in ("watch_time", "content", "report_revision", "partitions"):
        assert found[name] == expected[name], name
    # A day without viewers may have been asked for before its neighbours were there to speak for it.
    assert program("backfill", *RANGE).returncode == 0
    assert _everything(newest_warehouse.url) == expected
