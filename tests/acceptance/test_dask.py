"""`backfill --dask`: on real workers it is the backfill that it is in threads, whoever is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import ssl
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import dask
import psutil
import psycopg
import pytest

import dask_cluster
import terminals
from conftest import DAY, HEADER, Program, fill_disk
from etl.domain.outcome import FetchOptions, PlannedSlice, Result
from etl.domain.slices import ReportType, Slice, dates_between, slices_of
from etl.job import plan_runner
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from waiting import until
from warehouse_checker import violations, wait_for_no_backend
from wire_proxy import proxied

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import postgres
    from conftest import Warehouse
    from dask_cluster import DaskCluster
    from etl.domain.outcome import Pause
    from prefork import Process

# Each starts many processes.
pytestmark = pytest.mark.timeout(400)
# Far less than what would be waited for, far more than a busy machine needs.
SOON_S = 25
FIRST = DAY - timedelta(days=5)
SLICES = slices_of(dates_between(FIRST, DAY))
RANGE = ("backfill", "--start", f"{FIRST}", "--end", f"{DAY}")
ONE_SLICE = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD")
VOD = Slice(DAY, ReportType.VOD)
TOKEN, PASSWORD = "t0ken-canary-77f0", "p4ssword-canary-5e1f"
# Deaths of a slice's workers beside the first one.
ALLOWED = 1


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=1_000, live_rows=200, quiet_one_day_in=0, token=TOKEN)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler and three workers, started once: what they work on is said by each test."""
    folder = tmp_path_factory.mktemp("cluster")
    # Nothing waits at a worker: slices that wait where a worker dies are suspected too.
    scheduler = {"ALLOWED_FAILURES": f"{ALLOWED}", "WORKER_SATURATION": "1.0"}
    settings = {f"DASK_DISTRIBUTED__SCHEDULER__{name}": value for name, value in scheduler.items()}
    with dask_cluster.running_cluster(folder, workers=3, **settings) as running:
        yield running


@pytest.fixture
def on_cluster(program: Program, newest_warehouse: Warehouse, cluster: DaskCluster) -> Program:
    """The command, with what it takes to connect; three workers that serve the test's warehouse."""
    cluster.serve(newest_warehouse)
    if missing := 3 - len(cluster.workers):
        cluster.start_worker(count=missing)
    return replace(program, environment={**program.environment, **cluster.environment})


@contextmanager
def _held(warehouse: Warehouse, workers: int) -> Iterator[Callable[[], None]]:
    """Keep a lock; gives a function that waits until so many wait for it, each in the middle of its load."""
    with psycopg.connect(warehouse.url) as connection, psycopg.connect(warehouse.url, autocommit=True) as observer:
        connection.execute("LOCK TABLE content IN EXCLUSIVE MODE")
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watch-time' "
            "AND datname = current_database() AND wait_event_type = 'Lock'"
        )
        yield lambda: until(
            lambda: observer.execute(query).fetchone() == (workers,), "the workers did not get to the lock"
        )
        connection.rollback()


def _comparable(document: str) -> Any:
    """What a run told, but for durations."""
    told = json.loads(document)
    for slice_ in told["slices"]:
        del slice_["elapsed_s"]
    return told


def _lines(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines()]


def test_it_tells_and_stores_what_threads_do_also_of_failures_and_of_restated_reports(
    on_cluster: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, cluster: DaskCluster
) -> None:
    sandbox = newest_warehouse.sandbox
    broken, held = SLICES[3], SLICES[6]
    sandbox.override(broken, Delivery(body="no,such,columns\n1,2,3\n"))
    sandbox.override(held, Delivery(body=f"{HEADER}t,c1,VOD,,u1,-1\n"))
    good = [slice_ for slice_ in SLICES if slice_ not in {broken, held}]
    with newest_server.database() as other:
        threads = on_cluster(*RANGE, "--json", DATABASE_URL=other)
    done = on_cluster(*RANGE, "--json", "--dask", cluster.address)
    assert done.returncode == threads.returncode == 65, done.stderr
    assert _comparable(done.stdout) == _comparable(threads.stdout)
    assert violations(newest_warehouse.url, sandbox, good) == []

    told, expected = _lines(done.stderr), _lines(threads.stderr)
    events = [line["event"] for line in told]
    assert events == ["run_started", *["slice_done"] * len(SLICES), "run_done"], "the workers log elsewhere"
    assert {name: told[-1][name] for name in told[-1] if name != "timestamp"} == {
        name: expected[-1][name] for name in expected[-1] if name != "timestamp"
    }

    for slice_ in good:
        sandbox.restate(slice_)
    again = on_cluster(*RANGE, "--refresh", "--json", "--dask", cluster.address)
    assert again.returncode == 65
    assert violations(newest_warehouse.url, sandbox, good, revisions=(1,)) == []


def test_each_worker_has_its_share(on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster) -> None:
    """Three are in the middle of a load at once; and each opens the API, the database and the scratch folder once."""
    with _held(newest_warehouse, 3) as wait_until_held:
        process = on_cluster.start(*RANGE, "--dask", cluster.address)
        wait_until_held()
        with cluster.client() as client:
            assert min(len(keys) for keys in client.processing().values()) == 1
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == [], "the workers closed what they had"


def test_a_worker_killed_in_the_middle_of_a_load_changes_nothing(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    with _held(newest_warehouse, 3) as wait_until_held:
        process = on_cluster.start(*RANGE, "--json", "--dask", cluster.address)
        wait_until_held()
        cluster.end(cluster.workers[0])
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    results = [slice_["result"] for slice_ in json.loads(out)["slices"]]
    # A backend may commit what its killed client had sent.
    assert (len(results), set(results) <= {"loaded", "unchanged"}) == (len(SLICES), True)
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_a_backfill_begins_while_a_worker_stands_still(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    """It does not answer what version it has: the others work, and its slices wait for it."""
    sleeper = cluster.workers[0].process
    sleeper.send_signal(signal.SIGSTOP)
    try:
        process = on_cluster.start(*RANGE, "--dask", cluster.address)
        until(lambda: process.poll() is not None or _loaded(newest_warehouse) == len(SLICES) - 1, "no worker works")
    finally:
        sleeper.send_signal(signal.SIGCONT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_an_outcome_that_dies_with_its_worker_is_made_again(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    with cluster.client() as client:
        with _held(newest_warehouse, 1) as wait_until_held:
            process = on_cluster.start(*ONE_SLICE, "--json", "--dask", cluster.address)
            wait_until_held()
            process.send_signal(signal.SIGSTOP)  # it cannot fetch the outcome
        until(lambda: any(client.who_has().values()), "the slice is not done")
        ((address,),) = filter(None, client.who_has().values())
        name = client.scheduler_info()["workers"][address]["name"]
        cluster.end(next(worker for worker in cluster.workers if worker.name == name))
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    (told,) = json.loads(out)["slices"]
    assert told["result"] == "unchanged"
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, [VOD]) == []


def test_a_connection_to_the_scheduler_that_breaks_costs_time_only(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    with dask_cluster.forwarded(cluster.address) as forwarder:
        with _held(newest_warehouse, 3) as wait_until_held:
            process = on_cluster.start(*RANGE, "--json", "--dask", forwarder.address)
            wait_until_held()
            forwarder.break_connections()
            seen = []
            while '"slice_resubmitted"' not in (line := process.stderr.readline()):
                seen.append(line)
                assert line, f"it was not noticed: {seen}"
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert {slice_["result"] for slice_ in json.loads(out)["slices"]} <= {"loaded", "unchanged"}
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_a_slice_that_kills_its_workers_fails_alone(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    deadly = SLICES[0]
    newest_warehouse.sandbox.override(deadly, Delivery(latency_s=60))
    process = on_cluster.start(*RANGE, "--json", "--dask", cluster.address)
    with cluster.client() as client:
        for _ in range(ALLOWED + 1):
            until(lambda: _who_does(client, deadly) is not None, "nobody has the slice")
            victim = _who_does(client, deadly)
            cluster.end(next(worker for worker in cluster.workers if worker.name == victim))
    out, err = process.communicate(timeout=90)
    assert process.returncode == 75, err
    slices = {(told["report_date"], told["report_type"]): told for told in json.loads(out)["slices"]}
    failed = slices.pop((f"{deadly.report_date}", deadly.report_type.value))
    assert (failed["result"], failed["exit_code"]) == ("failed", 75)
    assert failed["message"].startswith(f"{ALLOWED + 1} Dask workers died while working on this slice")
    assert "memory" in failed["next_step"]
    assert {told["result"] for told in slices.values()} <= {"loaded", "unchanged"}
    others = [slice_ for slice_ in SLICES if slice_ != deadly]
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, others) == []


def _who_does(client: Any, slice_: Slice) -> str | None:
    """The name of the worker that has a slice."""
    known = client.scheduler_info()["workers"]
    has = (address for address, keys in client.processing().items() if any(f"{slice_}" in key for key in keys))
    return next((known[address]["name"] for address in has if address in known), None)


def test_sigterm_ends_in_time_and_rolls_back_what_the_workers_had(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    with _held(newest_warehouse, 3) as wait_until_held:
        process = on_cluster.start(*RANGE, "--dask", cluster.address)
        wait_until_held()
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - began < SOON_S
        assert process.returncode == 143
        assert _lines(err)[-1]["event"] == "stopped"
        assert _lines(err)[-1]["unfinished"] == len(SLICES)
        assert wait_for_no_backend(newest_warehouse.url, 5) == []
    assert newest_warehouse.query("SELECT count(*) FROM watch_time") == [(0,)]
    with cluster.client() as client:
        until(lambda: not any(client.processing().values()), "slices that had not begun are still to be done")
    assert on_cluster(*RANGE, "--dask", cluster.address).returncode == 0
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_a_killed_command_leaves_nothing_half(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    with _held(newest_warehouse, 3) as wait_until_held:
        process = on_cluster.start(*RANGE, "--dask", cluster.address)
        wait_until_held()
        _kill(process)
        with cluster.client() as client:
            until(lambda: sum(map(len, client.processing().values())) == 0, "the scheduler did not forget the slices")
    until(lambda: _loaded(newest_warehouse) == 3, "what was in work did not end")
    assert newest_warehouse.query("SELECT count(DISTINCT (report_date, report_type)) FROM watch_time") == [(3,)]
    assert on_cluster(*RANGE, "--dask", cluster.address).returncode == 0
    # The workers close what nobody told them to close.
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def _loaded(warehouse: Warehouse) -> int:
    ((count,),) = warehouse.query("SELECT count(*) FROM report_slice WHERE state = 'loaded'")
    return int(count)


def _kill(process: Process) -> None:
    process.kill()
    process.communicate(timeout=30)


def test_nothing_secret_is_with_the_scheduler_or_in_what_the_cluster_shows(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    """Its pages, its logs, the stories of its tasks, its whole state; while the work goes on, and after a failure."""
    url = newest_warehouse.url.replace("@", f":{PASSWORD}@", 1).replace("::", ":", 1)
    cluster.serve(newest_warehouse, DATABASE_URL=url)
    newest_warehouse.sandbox.override(SLICES[1], Delivery(body="x"))
    with _held(newest_warehouse, 3) as wait_until_held:
        process = on_cluster.start(*RANGE, "--dask", cluster.address, DATABASE_URL=url)
        wait_until_held()
        with cluster.client() as client:
            shown = _everything_shown(client, cluster)
            cluster_state = cluster.folder / "state"
            client.dump_cluster_state(str(cluster_state), format="yaml")
            shown["state"] = cluster_state.with_suffix(".yaml").read_text()
    _, shown["the command"] = process.communicate(timeout=60)
    assert process.returncode == 65
    for worker in cluster.workers:
        shown[worker.name] = worker.log.read_text()
    shown["scheduler"] = cluster.scheduler_log
    assert {name for name, text in shown.items() if TOKEN in text or PASSWORD in text} == set()
    # They were looked at for real, while the work went on.
    assert [name for name in ("state", "story", "call stack") if f"{SLICES[0]}" not in shown[name]] == []
    assert cluster.workers[0].name in shown["/info/main/workers.html"]
    assert newest_warehouse.sandbox.config.org_id in shown["what the scheduler was given"]


def _everything_shown(client: Any, cluster: DaskCluster) -> dict[str, str]:
    """The pages of scheduler and workers, and what a client can ask for."""
    info = client.scheduler_info()
    keys = [key for keys in client.processing().values() for key in keys]
    ports = {"scheduler": info["services"]["dashboard"]}
    ports |= {known["name"]: known["services"]["dashboard"] for known in info["workers"].values()}
    paths = ["/status", "/info/main/workers.html", "/info/main/logs.html", "/info/main/call-stacks.html", "/metrics",
             "/json/counts.json", "/json/identity.json", "/json/index.html", "/sitemap.json", "/health",
             "/api/v1/get_workers"]  # fmt: skip
    paths += [
        f"/info/{kind}/{quote(str(key), safe='')}.html" for key in keys[:3] for kind in ("task", "story", "call-stack")
    ]
    paths += [f"/info/worker/{quote(address, safe='')}.html" for address in info["workers"]]

    def given(dask_scheduler: Any) -> str:
        from distributed.protocol.pickle import dumps

        return repr(dumps([task.run_spec for task in dask_scheduler.tasks.values()]))

    pages = {"what the scheduler was given": client.run_on_scheduler(given)}
    for who, port in ports.items():
        for path in paths:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as page:
                    pages[path if who == "scheduler" else f"{who} {path}"] = page.read().decode()
            except OSError:
                continue
    return pages | {
        "story": repr([client.story(key) for key in keys]),
        "who has": repr(client.who_has()),
        "call stack": repr(client.call_stack(keys=keys)),
        "scheduler's log": repr(client.get_scheduler_logs()),
        "workers' logs": repr(client.get_worker_logs()),
        "events": repr(client.get_events()),
        "stream": repr(client.get_task_stream()),
    }


def test_a_worker_of_another_version_is_refused(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    other = cluster.folder / "other" / "etl"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text('__version__ = "0.0.7"\n')
    # That version has nothing to preload.
    (stranger,) = cluster.start_worker(PYTHONPATH=f"{other.parent}", DASK_DISTRIBUTED__WORKER__PRELOAD="[]")
    try:
        done = on_cluster(*RANGE, "--dask", cluster.address)
    finally:
        cluster.end(stranger)
    assert done.returncode == 78
    assert "has watch-time 0.0.7, but the command has 0." in done.stderr
    assert newest_warehouse.sandbox.requests("api") == []


def test_workers_with_another_database_are_refused(
    on_cluster: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, cluster: DaskCluster,
) -> None:  # fmt: skip
    with newest_server.database() as elsewhere:
        cluster.serve(newest_warehouse, DATABASE_URL=elsewhere)
        done = on_cluster(*ONE_SLICE, "--json", "--dask", cluster.address)
        with psycopg.connect(elsewhere) as connection:
            assert connection.execute("SELECT count(*) FROM report_slice").fetchone() == (0,)
        assert wait_for_no_backend(elsewhere) == []
    assert done.returncode == 78
    (told,) = json.loads(done.stdout)["slices"]
    assert "not the database of this command" in told["message"]
    assert told["message"].startswith("the Dask worker tls://127.0.0.1:")
    assert newest_warehouse.sandbox.requests("api") == []


def test_workers_without_settings_say_which(on_cluster: Program, cluster: DaskCluster) -> None:
    (cluster.folder / ".env").write_text("")
    done = on_cluster(*RANGE, "--json", "--dask", cluster.address)
    assert done.returncode == 78
    told = json.loads(done.stdout)["slices"]
    assert len(told) == len(SLICES), "every slice that was not loaded is named"
    assert "WATCH_TIME_API_TOKEN: not set" in told[0]["message"]
    assert "WATCH_TIME_DATABASE_URL: not set" in told[0]["message"]


def test_a_token_that_a_worker_is_refused_with_ends_the_run(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    cluster.serve(newest_warehouse, API_TOKEN="wrong")
    done = on_cluster(*RANGE, "--json", "--dask", cluster.address)
    assert done.returncode == 77, done.stderr
    document = json.loads(done.stdout)
    (told,) = document["slices"]
    assert told["message"].startswith("the Dask worker tls://127.0.0.1:")
    assert "WATCH_TIME_API_TOKEN" in told["next_step"]
    assert document["not_tried"] == len(SLICES) - 1
    assert [line["event"] for line in _lines(done.stderr)] == ["run_started", "slice_done", "run_done"]
    assert newest_warehouse.query("SELECT result, times FROM report_check") == [("failed", 1)]
    cluster.serve(newest_warehouse)
    assert on_cluster(*RANGE, "--dask", cluster.address).returncode == 0
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


@pytest.mark.parametrize(
    ("is_full", "code", "says"),
    [
        pytest.param(True, 75, "no space left in {folder} for downloads", id="its disk is full"),
        pytest.param(False, 70, "cannot start: FileNotFoundError", id="its folder is gone"),
    ],
)
def test_a_worker_that_cannot_begin_leaves_the_slices_to_another(  # noqa: PLR0917 - fixtures and cases
    program: Program, newest_warehouse: Warehouse, request: pytest.FixtureRequest, tmp_path: Path,
    is_full: bool, code: int, says: str,
) -> None:  # fmt: skip
    """What cannot be opened there may be opened elsewhere; where it is alone, it says what keeps it."""
    folder: Path = request.getfixturevalue("small_disk") if is_full else tmp_path / "vanishing"
    folder.mkdir(exist_ok=True)
    cluster_folder = tmp_path / "cluster"
    cluster_folder.mkdir()
    with dask_cluster.running_cluster(cluster_folder, workers=0) as own:
        own.serve(newest_warehouse)
        commanding = replace(program, environment={**program.environment, **own.environment})
        own.start_worker(TMPDIR=f"{folder}")
        with own.client() as client:
            assert set(client.run(tempfile.gettempdir).values()) == {f"{folder}"}
        if is_full:
            fill_disk(folder)
        else:
            shutil.rmtree(folder)
        alone = commanding(*ONE_SLICE, "--json", "--dask", own.address)
        assert alone.returncode == code, alone.stdout + alone.stderr
        (told,) = json.loads(alone.stdout)["slices"]
        assert told["message"].startswith("the Dask worker tls://127.0.0.1:")
        assert says.format(folder=folder) in told["message"]
        assert newest_warehouse.sandbox.requests("api") == []

        own.start_worker()
        done = commanding(*RANGE, "--json", "--dask", own.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {slice_["result"] for slice_ in json.loads(done.stdout)["slices"]} == {"loaded"}
    assert "worker_unfit" in {line["event"] for line in _lines(done.stderr)}
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_a_worker_that_loses_the_database_in_the_middle_of_a_load_leaves_its_slices_to_the_others(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    with _held(newest_warehouse, 4) as wait_until_held, proxied(newest_warehouse.url) as way:
        (stray,) = cluster.start_worker(WATCH_TIME_DATABASE_URL=way.url)
        process = on_cluster.start(*RANGE, "--json", "--dask", cluster.address)
        wait_until_held()
        # Its way to the database has ended.
    try:
        out, err = process.communicate(timeout=120)
    finally:
        cluster.end(stray)
    assert process.returncode == 0, out + err
    assert "worker_unfit" in {line["event"] for line in _lines(err)}
    assert {slice_["result"] for slice_ in json.loads(out)["slices"]} <= {"loaded", "unchanged"}
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_a_database_that_nobody_reaches_any_more_ends_the_run(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    """No slice is handed from worker to worker, each of which would try for a while."""
    with _held(newest_warehouse, 3) as wait_until_held, proxied(newest_warehouse.url) as way:
        cluster.serve(newest_warehouse, DATABASE_URL=way.url)
        process = on_cluster.start(*RANGE, "--json", "--dask", cluster.address, DATABASE_URL=way.url)
        wait_until_held()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 75, out + err
    assert "worker_unfit" not in {line["event"] for line in _lines(err)}
    told = json.loads(out)["slices"]
    assert (len(told), {slice_["result"] for slice_ in told}) == (len(SLICES), {"failed"})
    assert "cannot be reached" in told[0]["message"]
    cluster.serve(newest_warehouse)
    assert on_cluster(*RANGE, "--dask", cluster.address).returncode == 0
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def test_a_scheduler_that_is_lost_ends_the_run_with_every_slice_named(
    program: Program, newest_warehouse: Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It has no worker either: nothing is ever begun."""
    with dask_cluster.running_cluster(tmp_path_factory.mktemp("lost"), workers=0) as lost:
        limits = {"job.dask.client._RECONNECT_S": 3.0}
        commanding = replace(program, environment={**program.environment, **lost.environment}, limits=limits)
        process = commanding.start(*RANGE, "--json", "--dask", lost.address)
        with lost.client() as client:
            until(lambda: len(_waiting(client)) == len(SLICES), "the slices were not handed in")
        lost.scheduler.kill()
        out, err = process.communicate(timeout=60)
    assert process.returncode == 75, err
    told = json.loads(out)["slices"]
    assert len(told) == len(SLICES)
    assert {slice_["result"] for slice_ in told} == {"failed"}
    assert f"the Dask scheduler at {lost.address} was lost" in told[0]["message"]
    assert _lines(err)[-1]["event"] == "run_done"
    assert newest_warehouse.sandbox.requests("api") == []


def _waiting(client: Any) -> list[str]:
    found: list[str] = client.run_on_scheduler(lambda dask_scheduler: [str(key) for key in dask_scheduler.tasks])
    return found


@pytest.fixture
def local(program: Program) -> Program:
    return replace(program, environment={**program.environment, "WATCH_TIME_CONCURRENCY": "2"})


def _children(process: Process) -> list[psutil.Process]:
    """The workers of `--dask local`; Python starts a process of its own beside them."""
    return [child for child in psutil.Process(process.pid).children() if "spawn_main" in " ".join(child.cmdline())]


def test_local_workers_are_for_the_command_alone_and_one_that_is_killed_is_replaced(
    local: Program, newest_warehouse: Warehouse
) -> None:
    with _held(newest_warehouse, 2) as wait_until_held:
        process = local.start(*RANGE, "--json", "--dask", "local")
        wait_until_held()
        workers = _children(process)
        assert len(workers) == 2
        ports = [
            connection.laddr
            for each in (psutil.Process(process.pid), *workers)
            for connection in each.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert ports
        assert {address.ip for address in ports} == {"127.0.0.1"}
        assert {_answers(address.port) for address in ports} == {"404 Not Found", "nothing without a certificate"}
        workers[0].kill()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert {slice_["result"] for slice_ in json.loads(out)["slices"]} <= {"loaded", "unchanged"}
    assert {line["event"] for line in _lines(err)} >= {"slice_done", "run_done"}
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, SLICES) == []


def _answers(port: int) -> str:
    """What a stranger on this machine gets at a port."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/json/identity.json", timeout=10)
    except urllib.error.HTTPError as answer:
        return f"{answer.code} {answer.reason}"
    except OSError:
        pass  # no HTTP
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as connection:
                return f"something: {connection.recv(10)!r}"
        except ssl.SSLError as error:
            return "nothing without a certificate" if "CERTIFICATE_REQUIRED" in str(error) else str(error)


@pytest.mark.parametrize("where", ["cluster", "local"])
def test_what_workers_wait_for_is_on_the_commands_terminal(
    on_cluster: Program, newest_warehouse: Warehouse, cluster: DaskCluster, where: str
) -> None:
    """As in threads: each pause of a worker, and until when; no line is left when its slice is done."""
    busy = Answer(503, '{"code": 14, "message": "busy", "details": []}', {"Retry-After": "2"})
    newest_warehouse.sandbox.script(VOD, api=[busy, busy])
    seen: set[str] = set()
    shown = terminals.run(
        [*ONE_SLICE, "--dask", cluster.address if where == "cluster" else "local"],
        folder=on_cluster.folder,
        environment=on_cluster.environment,
        columns=160,
        on_output=lambda screen: seen.update(map(str.strip, screen.lines)),
    )
    assert shown.returncode == 0, shown.text
    told = sorted(line for line in seen if line.startswith("retrying"))
    assert any(re.match(rf"retrying {VOD}, attempt 2 in \d s: the report API at \S+ ", line) for line in told)
    assert any(f"retrying {VOD}, attempt 3" in line for line in told), told
    assert "retrying" not in shown.screen
    assert "loaded" in shown.screen


def test_a_report_that_a_worker_waits_for_is_told_to_the_command(
    newest_warehouse: Warehouse, cluster: DaskCluster
) -> None:
    """No command lets workers wait for a report yet; they could."""
    not_there = Answer(404, '{"code": 5, "message": "not found", "details": []}')
    newest_warehouse.sandbox.script(VOD, api=[not_there])
    cluster.serve(newest_warehouse)
    file = f"{cluster.folder / 'all.pem'}"
    own = {f"distributed.comm.tls.{name}": file for name in ("ca-file", "client.cert", "client.key")}
    told: list[tuple[Slice, Pause]] = []
    with (
        dask.config.set(own),
        plan_runner.open_job(
            newest_warehouse.configured(), dask=cluster.address, on_pause=lambda *pause: told.append(pause)
        ) as job,
    ):
        (outcome,) = job.run([PlannedSlice(VOD, "", FetchOptions(wait_s=3))])
    assert outcome.result is Result.LOADED
    ((slice_, pause),) = told
    assert (slice_, pause.reason, pause.attempt) == (VOD, "not published (404)", 1)
    assert 0 < pause.seconds <= 3.1
    assert pause.gives_up_s == pytest.approx(3, abs=1)


# An error of ours that nobody foresaw, with data in its message, in whichever process loads.
BUG = """
from etl.load.load_steps import SliceLoad
def finish(self, tally):
    raise ValueError("-".join(("viewer", "canary")))
SliceLoad.finish = finish
"""


def test_what_a_local_worker_logs_is_among_the_commands_own_lines(
    local: Program, newest_warehouse: Warehouse, tmp_path: Path
) -> None:
    """A traceback without data, as in threads; and the slice has the code for bugs."""
    (tmp_path / "sitecustomize.py").write_text(BUG)
    path = os.pathsep.join(filter(None, (f"{tmp_path}", local.environment.get("PYTHONPATH"))))
    done = replace(local, environment={**local.environment, "PYTHONPATH": path})(*ONE_SLICE, "--dask", "local")
    assert done.returncode == 70
    _, bug, slice_done, run_done = _lines(done.stderr)
    assert (bug["event"], bug["level"], bug["slice"]) == ("bug", "error", f"{VOD}")
    assert "slice_sync.py" in bug["exception"]
    assert "ValueError: (message withheld" in bug["exception"]
    assert (slice_done["result"], run_done["exit_code"]) == ("failed", 70)
    assert "viewer-canary" not in done.stderr + done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_local_workers_end_with_the_command(
    local: Program, newest_warehouse: Warehouse, number: signal.Signals
) -> None:
    """Ctrl-C reaches the workers too: they leave it to the command."""
    with _held(newest_warehouse, 2) as wait_until_held:
        process = local.start(*RANGE, "--dask", "local")
        wait_until_held()
        workers = _children(process)
        began = time.monotonic()
        for each in [*workers, process] if number is signal.SIGINT else [process]:
            each.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert time.monotonic() - began < SOON_S
        assert process.returncode == (-number if number is signal.SIGKILL else 128 + number)
        until(lambda: not any(map(_is_alive, workers)), "a worker lives on", 10)
        assert wait_for_no_backend(newest_warehouse.url, 10) == []
        if number is not signal.SIGKILL:
            assert [line["event"] for line in _lines(err)] == ["run_started", "stopped"]
    assert newest_warehouse.query("SELECT count(*) FROM watch_time") == [(0,)]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("--dask", "local", "--dry-run"), 2, "--dry-run requests nothing"),
        (("--dask", "tls://x:1", "--concurrency", "3"), 2, "--concurrency can be combined with --dask local only"),
        (("--dask", "tls://x:1", "--rate", "3"), 2, "--rate can be combined with --dask local only"),
        (("--dask", "scheduler"), 2, "next: give local, or an address such as tls://"),
        (("--dask", "https://x:1"), 2, "is not the address of a scheduler"),
        (("--dask", "tls://me@x:1/y"), 2, "is not the address of a scheduler"),
        (("--dask", "tcp://scheduler.example.com:8786"), 78, "use tls://scheduler.example.com:8786"),
        (("--dask", "192.0.2.7:8786"), 78, "WATCH_TIME_DASK_WITHOUT_TLS=true"),
    ],
)
def test_what_a_cluster_cannot_do_is_refused(
    program: Program, newest_warehouse: Warehouse, options: tuple[str, ...], code: int, says: str
) -> None:
    done = program(*ONE_SLICE, *options)
    assert done.returncode == code
    assert says in done.stderr.replace("\n", " ")
    assert newest_warehouse.sandbox.requests() == []
