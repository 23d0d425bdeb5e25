"""What surrounds slices on a Dask cluster: what travels, how a database is known, and clusters that are not there."""

from __future__ import annotations

import asyncio
import errno
import pickle
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from distributed import LocalCluster
from tornado.iostream import SSLIOStream, StreamClosedError

import etl
from conftest import DAY
from doc_examples import DOCS
from etl.config.settings import Settings
from etl.domain.errors import ClusterUnavailable, Misconfigured
from etl.domain.outcome import FetchOptions, PlannedSlice, Result
from etl.domain.slices import slices_of
from etl.job import dask, plan_runner
from etl.job.dask import (
    client,
    database_identity,
    scheduler_health,
    ssl_workaround,
    task_settings,
    worker,
    worker_context,
)
from etl.runtime.cancellation import Stopped
from etl.warehouse.database import open_database
from etl.warehouse.transactions import Connection
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import postgres
    from conftest import Warehouse
    from etl.domain.outcome import Outcome

PLAN = [PlannedSlice(slice_, "", FetchOptions()) for slice_ in slices_of([DAY])]
SECRET = {"api_token", "database_url", "ping_url", "notify_urls"}


def test_all_settings_travel_but_secrets_and_what_is_the_machines() -> None:
    known: dict[str, Any] = {
        "api_token": "t0ken-canary",
        "database_url": "postgresql://u:p4ss-canary@localhost/w",
        "ping_url": "https://ping.example.com/key-canary",
        "notify_urls": "json://user:chat-canary@example.com",
        "pushgateway_url": "https://user:push-canary@example.com",
        "header_aliases": {"Viewer": "customer_id"},
    }
    settings = Settings(**known)
    shareable_settings = task_settings.shareable_settings(settings)
    assert Settings.model_fields.keys() - shareable_settings.keys() == {
        *SECRET, "weakest_sslmode", "metrics_file", "pushgateway_url",
    }  # fmt: skip
    terms = task_settings.RunTerms("run", "0", 1, None, shareable_settings)
    assert b"canary" not in pickle.dumps(terms)
    assert "Viewer" not in repr(terms), "a key or a log line is no place for settings"
    own: dict[str, Any] = {"api_token": "of-the-worker"}
    there = Settings(**own).model_copy(update=dict(pickle.loads(pickle.dumps(terms)).settings))  # noqa: S301 - our own
    assert there.header_aliases == {"Viewer": "customer_id"}
    assert there.require("api_token") == "of-the-worker"


@pytest.fixture
def identity_lock(newest_warehouse: Warehouse) -> Iterator[int]:
    with open_database(newest_warehouse.url, schema="public") as database, database_identity.hold(database) as number:
        yield number


def test_the_identity_lock_is_seen_in_its_own_database_alone(
    newest_warehouse: Warehouse, newest_server: postgres.Server, identity_lock: int
) -> None:
    """The other has the same tables, on the same server."""
    with Connection.connect(newest_warehouse.url) as same:
        assert database_identity.is_held(same, identity_lock)
        assert not database_identity.is_held(same, identity_lock ^ 1)
    with newest_server.database() as other, Connection.connect(other) as connection:
        assert not database_identity.is_held(connection, identity_lock)


HOLDERS: LiteralString = "FROM pg_stat_activity WHERE application_name = 'watch-time' AND datname = current_database()"


def test_the_identity_lock_holds_no_vacuum_back(newest_warehouse: Warehouse, identity_lock: int) -> None:
    with Connection.connect(newest_warehouse.url, autocommit=True) as same:
        assert same.execute(f"SELECT backend_xid, backend_xmin {HOLDERS}").fetchall() == [(None, None)]


def test_an_identity_lock_that_was_lost_is_taken_again(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the statement that is sent from time to time, of which the next comes soon here."""
    monkeypatch.setattr(database_identity, "_WORD_EVERY_S", 0.2)
    with (
        open_database(newest_warehouse.url, schema="public") as database,
        database_identity.hold(database) as number,
        Connection.connect(newest_warehouse.url, autocommit=True) as same,
    ):
        lost = same.execute(f"SELECT pid, pg_terminate_backend(pid, 30000) {HOLDERS}").fetchall()
        assert [has_ended for _, has_ended in lost] == [True]
        until(lambda: database_identity.is_held(same, number), "it was not taken again")
        assert same.execute(f"SELECT pid {HOLDERS}").fetchall() != [(pid,) for pid, _ in lost]


def test_the_identity_lock_is_released_at_the_end(newest_warehouse: Warehouse) -> None:
    with (
        open_database(newest_warehouse.url, schema="public") as database,
        Connection.connect(newest_warehouse.url, autocommit=True) as same,
    ):
        with database_identity.hold(database) as number:
            until(lambda: database_identity.is_held(same, number), "it was not taken")
        until(lambda: not database_identity.is_held(same, number), "it is still held")


class _Interrupted(dict[str, Any]):
    """The places of a worker, where something else happens as well while a slice asks for its own."""

    def __init__(self, places: dict[str, Any], meanwhile: Callable[[], object], *, after: bool) -> None:
        super().__init__(places)
        self._meanwhile, self._after = meanwhile, after

    def setdefault(self, key: str, default: Any = None) -> Any:
        found = super().setdefault(key, default) if self._after else None
        # It has its time, and may also be kept waiting until the slice has its place.
        within = threading.Thread(target=self._meanwhile, daemon=True)
        within.start()
        within.join(1.0)
        return found or super().setdefault(key, default)


@pytest.mark.parametrize("interrupts", ["the idle thread", "the stop itself"])
def test_a_stop_finds_a_slice_that_had_only_just_asked_for_its_place(
    newest_warehouse: Warehouse, identity_lock: int, monkeypatch: pytest.MonkeyPatch, interrupts: str
) -> None:
    monkeypatch.setenv("WATCH_TIME_API_TOKEN", newest_warehouse.sandbox.config.token)
    monkeypatch.setenv("WATCH_TIME_DATABASE_URL", newest_warehouse.url)
    monkeypatch.setattr(worker_context, "_IDLE_POLL_S", 0.02)
    # No cluster is told of pauses here, and there are none.
    monkeypatch.setattr(worker_context, "get_worker", lambda: None)
    run = f"run of {interrupts}"
    terms = task_settings.RunTerms(
        run, etl.__version__, identity_lock, None, task_settings.shareable_settings(newest_warehouse.configured())
    )
    assert worker.sync_slice(PLAN[0], terms).result is Result.LOADED

    def idle() -> None:
        monkeypatch.setattr(worker_context, "_IDLE_S", 0.0)
        until(lambda: run not in worker_context._contexts, "somebody has the place", 0.5)

    def stop() -> None:
        asyncio.run(worker.stop(run, 5.0))

    came: list[BaseException | Outcome] = []

    def sync() -> None:
        try:
            came.append(worker.sync_slice(PLAN[1], terms))
        except Stopped as stopped:
            came.append(stopped)

    is_idle = interrupts == "the idle thread"
    places = _Interrupted(worker_context._contexts, _quiet(idle) if is_idle else stop, after=is_idle)
    monkeypatch.setattr(worker_context, "_contexts", places)
    with psycopg.connect(newest_warehouse.url) as connection:
        connection.execute("LOCK TABLE content IN EXCLUSIVE MODE")
        syncing = threading.Thread(target=sync, daemon=True)
        syncing.start()
        if is_idle:
            with psycopg.connect(newest_warehouse.url, autocommit=True) as observer:
                until(lambda: observer.execute(WAITING).fetchone() == (1,), "the slice did not get to the lock")
            stop()
        syncing.join(5.0)
        was_stopped = not syncing.is_alive()
        connection.rollback()
    syncing.join(30.0)
    assert was_stopped, "the stop did not find it"
    assert [type(each) for each in came] == [Stopped]


WAITING: LiteralString = (
    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watch-time' AND datname = current_database() "
    "AND wait_event_type = 'Lock'"
)


def _quiet(wait: Callable[[], None]) -> Callable[[], None]:
    """It waits in vain where all is well."""

    def quietly() -> None:
        with suppress(AssertionError):
            wait()

    return quietly


def test_where_no_scheduler_answers_the_run_ends(newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_CONNECT_S", 0.5)
    with (
        plan_runner.open_job(newest_warehouse.configured(), dask="tcp://127.0.0.1:1") as opened,
        pytest.raises(ClusterUnavailable, match=r"cannot reach a Dask scheduler at tcp://127\.0\.0\.1:1") as lost,
    ):
        opened.run(PLAN)
    page = (DOCS / "operations" / "exit-codes.md").read_text(encoding="utf-8")
    assert f"error: {lost.value.message}\n  next: {lost.value.next_step}\n" in page


def test_where_no_worker_comes_every_slice_is_named_within_bounded_time(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_health, "_NO_WORKER_S", 2.0)
    monkeypatch.setattr(scheduler_health, "_NO_WORKER_TOLD_S", 0.5)
    with (
        LocalCluster(
            n_workers=0, processes=False, protocol="tcp", dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        ) as empty,
        plan_runner.open_job(newest_warehouse.configured(), dask=empty.scheduler_address) as opened,
    ):  # fmt: skip
        outcomes = opened.run(PLAN)
    assert [(outcome.slice, outcome.result, int(outcome.exit_code)) for outcome in outcomes] == [
        (planned.slice, Result.FAILED, 75) for planned in PLAN
    ]
    assert "has had no worker for 2 s" in (outcomes[0].message or "")


def test_without_the_package_the_line_that_installs_it_is_told(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("executor", "client", "submitted_plan", "task_errors"):
        monkeypatch.delitem(sys.modules, f"etl.job.dask.{name}", raising=False)
        monkeypatch.delattr(dask, name, raising=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(Misconfigured, match="--dask needs the package distributed") as refused,
        plan_runner.open_job(newest_warehouse.configured(), dask="local"),
    ):
        pass
    assert refused.value.next_step == "`pip install 'watch-time[dask]'`"


def test_an_archive_in_a_folder_stays_on_its_machine(newest_warehouse: Warehouse, tmp_path: Path) -> None:
    settings = newest_warehouse.configured(archive_url=f"{tmp_path}")
    with (
        pytest.raises(Misconfigured, match="is a local folder"),
        plan_runner.open_job(settings, dask="tcp://127.0.0.1:1"),
    ):
        pass
    with plan_runner.open_job(settings, dask="local"):
        pass


def test_an_empty_plan_needs_no_cluster(newest_warehouse: Warehouse) -> None:
    with (
        plan_runner.open_job(newest_warehouse.configured(), dask="tcp://127.0.0.1:1") as opened,
        closing(opened._executor([])),
    ):
        assert opened.run([]) == []


def test_a_tls_connection_that_fails_breaks_no_other_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.13 leaves the error of a failed read in the thread's queue; here, every version does."""
    monkeypatch.setattr(SSLIOStream, "close_fd", SSLIOStream.close_fd)  # as it was, afterwards
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "1")
    made = (*new, "-subj", "/CN=dask", "-keyout", "key.pem", "-out", "certificate.pem")
    subprocess.run(["/usr/bin/openssl", *made], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    here, there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    here.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    there.check_hostname, there.verify_mode = False, ssl.CERT_NONE

    def failing(_buffer: object) -> None:
        with suppress(ValueError):
            ssl.Purpose.fromname("none")
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    async def connected() -> tuple[SSLIOStream, SSLIOStream]:
        ends = []
        for context, end, is_server in zip((here, there), socket.socketpair(), (True, False), strict=True):
            end.setblocking(False)
            wrapped = context.wrap_socket(end, server_side=is_server, do_handshake_on_connect=False)
            ends.append(SSLIOStream(wrapped))
        await asyncio.gather(*(end.wait_for_handshake() for end in ends))
        return ends[0], ends[1]

    async def read_after_a_failure() -> bytes:
        (failed, peer), (healthy, other) = await connected(), await connected()
        monkeypatch.setattr(failed, "read_from_fd", failing)
        with suppress(StreamClosedError):
            await failed.read_bytes(1)
        reading = asyncio.ensure_future(healthy.read_bytes(4))
        await asyncio.sleep(0)
        try:
            await other.write(b"well")
            return await asyncio.wait_for(reading, 30)
        finally:
            for end in (peer, healthy, other):
                end.close()

    ssl_workaround.isolate_connections()
    assert asyncio.run(read_after_a_failure()) == b"well"


def test_an_exit_code_that_another_thread_has_read_is_no_line_of_the_log() -> None:
    """Where SIGCHLD is ignored nobody can read one, which is how the thread that is second sees it."""
    script = """if True:
        import logging, signal
        from tornado.ioloop import IOLoop
        from distributed.process import AsyncProcess
        from etl.job.dask import client

        async def run():
            process = AsyncProcess(target=int)
            await process.start()
            await process.join()
            print(process.exitcode)

        with client.started(1):
            pass
        logging.basicConfig()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        IOLoop().run_sync(run)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "255\n"
    assert "exit status" not in done.stderr
