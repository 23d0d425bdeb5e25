"""Between the program and its server: a transaction-pooling proxy; a standby beside it; and a disk that is full."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest

from archives import ArchiveFiles
from capped_stop import CappedStop
from conftest import Warehouse
from disposable_server import DisposableServer, disposable_server
from effort import SEED, effort
from etl.domain.errors import DatabaseUnavailable
from etl.domain.slices import ReportType, Slice
from etl.job import plan_runner
from etl.sandbox.sandbox_config import SandboxConfig
from pgbouncer import pgbouncer
from postgres import conninfo_url
from prerequisites import skip_missing
from tally import record
from warehouse_checker import violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Program
    from etl.sandbox.sandbox import Sandbox
    from postgres import Server
    from prefork import Process

DAY = SandboxConfig().today() - timedelta(days=40)
DAYS = 4
SLICES = [Slice(DAY + timedelta(days=later), kind) for later in range(DAYS) for kind in ReportType]
ROUNDS = effort(2)
BACKFILL = ("backfill", "--start", f"{DAY}", "--end", f"{SLICES[-1].report_date}", "--concurrency", "3", "--json")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=300, live_rows=100, titles=50, customers=1_000, quiet_one_day_in=0)


@pytest.fixture
def program(bare_program: Program, sandbox: Sandbox, base_url: str) -> Program:
    """It still needs a database; its processes are not read while they run."""
    return replace(bare_program, to_files=True).with_settings(
        API_TOKEN=sandbox.config.token,
        ORG_ID=sandbox.config.org_id,
        API_BASE_URL=base_url,
        NOT_FOUND_WAIT_SECONDS="0",
    )


def _assert_ended(process: Process, code: int = 0) -> dict[str, Any]:
    """Returns its document, where it is asked for one."""
    done = process.result(60)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if "--json" in process.args else {}


class TestTransactionPooling:
    """What a session leaves behind, settings, locks, temporary tables, would be the next client's trouble."""

    @pytest.fixture
    def url(self, newest_server: Server) -> Iterator[str]:
        with newest_server.database(migrated=False) as url:
            yield url

    @pytest.mark.parametrize("server_connections", [2, 4])
    def test_the_whole_job_runs_through_it(
        self, program: Program, sandbox: Sandbox, url: str, server_connections: int
    ) -> None:
        """Two connections to the server are the least: `compact` reads on one what it writes on the other."""
        with pgbouncer(url, server_connections=server_connections) as through:
            for arguments in (("migrate",), ("run", "--json"), BACKFILL, ("compact",), ("doctor",), ("status",)):
                _assert_ended(program.start(*arguments, DATABASE_URL=through))
            for slice_ in SLICES:
                sandbox.restate(slice_)
            _assert_ended(program.start(*BACKFILL, "--refresh", DATABASE_URL=through))
            _assert_ended(program.start("verify", "--start", f"{DAY}", "--end", f"{DAY}", DATABASE_URL=through))
            _assert_nothing_left_to_the_next_client(through)
        assert violations(url, sandbox, SLICES, revisions={1}) == []

    def test_runs_at_once_and_killed_ones_load_each_slice_once(
        self, program: Program, sandbox: Sandbox, url: str
    ) -> None:
        chance = random.Random(SEED)  # noqa: S311 - chance, not secrets
        with pgbouncer(url, server_connections=4) as through:
            _assert_ended(program.start("migrate", DATABASE_URL=through))
            for _ in range(ROUNDS):
                killed, other = (program.start(*BACKFILL, "--refresh", DATABASE_URL=through) for _ in range(2))
                time.sleep(chance.uniform(0.1, 0.6))
                killed.kill()
                _assert_ended(other)
                killed.wait(60)
                for slice_ in SLICES:
                    sandbox.restate(slice_)
                runs = [program.start(*BACKFILL, "--refresh", DATABASE_URL=through) for _ in range(2)]
                told = [slice_ for run in runs for slice_ in _assert_ended(run)["slices"]]
                loaded = [slice_ for slice_ in told if slice_["result"] == "loaded"]
                assert len(loaded) == len(SLICES), f"seed {SEED}"
            _assert_nothing_left_to_the_next_client(through)
        assert violations(url, sandbox, SLICES, revisions={ROUNDS}) == []
        record("runs through pgbouncer", ROUNDS * 4)


# What every session begins with.
PLAIN = {"lock_timeout": "0", "statement_timeout": "0", "search_path": '"$user", public'}


def _assert_nothing_left_to_the_next_client(url: str) -> None:
    """Whichever of the server's connections it gets."""
    for _ in range(8):
        with psycopg.connect(url, prepare_threshold=None, autocommit=True) as connection:
            for name, plain in PLAIN.items():
                assert connection.execute(f"SHOW {name}".encode()).fetchone() == (plain,)
    with psycopg.connect(url, prepare_threshold=None, autocommit=True) as connection:
        locks = "SELECT * FROM pg_locks WHERE locktype = 'advisory'"
        assert connection.execute(locks).fetchall() == []
        assert connection.execute("SELECT relname FROM pg_class WHERE relpersistence = 't'").fetchall() == []


@pytest.fixture(scope="class")
def primary() -> Iterator[DisposableServer]:
    with disposable_server() as primary:
        yield primary


@pytest.fixture(scope="class")
def standby(primary: DisposableServer) -> Iterator[DisposableServer]:
    standby = DisposableServer(primary.folder.with_name("standby"), primary.programs, primary.user)
    primary.owned(standby.folder)
    source = f"host=127.0.0.1 port={primary.port} user=postgres"
    primary.run("pg_basebackup", "--checkpoint=fast", "--write-recovery-conf", "-d", source, "-D", standby.folder)
    standby.start()
    yield standby
    standby.stop("immediate")


class TestStandby:
    """A standby takes no loads, and is never taken for the warehouse."""

    def test_a_standby_alone_is_refused_as_trouble_that_may_pass(
        self, standby: DisposableServer, sandbox: Sandbox, base_url: str
    ) -> None:
        """It may become the primary within the minute; and if not, the message says what to do."""
        settings = Warehouse(standby.url, sandbox, base_url).configured()
        with (
            pytest.raises(DatabaseUnavailable, match="session is read-only") as refused,
            plan_runner.open_job(settings, stop=CappedStop(0.02)),
        ):
            pass
        assert refused.value.exit_code == 75
        assert "name the primary in WATCH_TIME_DATABASE_URL" in refused.value.next_step
        assert sandbox.requests() == []

    def test_of_several_hosts_the_writable_one_is_loaded_also_after_a_failover(
        self, program: Program, sandbox: Sandbox, primary: DisposableServer, standby: DisposableServer
    ) -> None:
        """What the old primary had not sent on yet is lost with it, and loaded again."""
        hosts = f"postgresql://postgres@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres"
        run = program.start(*BACKFILL, DATABASE_URL=hosts)
        _until_loading(primary)
        primary.stop("immediate")
        standby.run("pg_ctl", "-w", "-D", standby.folder, "promote")
        done = run.result(60)
        assert done.returncode in {0, 75}, done.stderr
        _assert_ended(program.start(*BACKFILL, "--refresh", DATABASE_URL=hosts))
        assert violations(standby.url, sandbox, SLICES) == []
        record("failovers during a backfill", 1)


class TestAsynchronousFailover:
    """What the old primary had not sent on is lost with it, and the archive is ahead of the warehouse."""

    def test_commits_lost_with_the_primary_come_back_and_the_archive_agrees(
        self, program: Program, sandbox: Sandbox, primary: DisposableServer, standby: DisposableServer, tmp_path: Path
    ) -> None:
        archive = str(tmp_path / "lake")
        earlier = ("backfill", "--start", f"{DAY}", "--end", f"{DAY + timedelta(days=DAYS - 2)}", "--json")
        _assert_ended(program.start(*earlier, DATABASE_URL=primary.url, ARCHIVE_URL=archive))
        _cut_off(primary, standby)
        sandbox.restate(SLICES[0])
        # A restatement, and the two reports of a day that was not there yet.
        _assert_ended(program.start(*BACKFILL, "--refresh", DATABASE_URL=primary.url, ARCHIVE_URL=archive))
        files = ArchiveFiles(archive, tmp_path).files()
        primary.stop("immediate")
        standby.run("pg_ctl", "-w", "-D", standby.folder, "promote")
        told = _assert_ended(program.start(*BACKFILL, "--refresh", DATABASE_URL=standby.url, ARCHIVE_URL=archive))
        loaded = [slice_["revision"] for slice_ in told["slices"] if slice_["result"] == "loaded"]
        assert loaded == [2, 1, 1]
        assert violations(standby.url, sandbox, SLICES[1:]) == []
        assert violations(standby.url, sandbox, SLICES[:1], revisions={1}) == []
        audited = _assert_ended(program.start("archive", "--json", DATABASE_URL=standby.url, ARCHIVE_URL=archive))
        assert (audited["whole"], ArchiveFiles(archive, tmp_path).files()) == (len(SLICES) + 1, files)
        record("failovers that lost commits", 1)


def _cut_off(primary: DisposableServer, standby: DisposableServer) -> None:
    """Let the standby have all until now, and nothing more."""
    with (
        psycopg.connect(primary.url, autocommit=True) as sending,
        psycopg.connect(standby.url, autocommit=True) as receiving,
    ):
        (now,) = sending.execute("SELECT pg_current_wal_insert_lsn()").fetchone() or ()
        _until(receiving, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", now)
        receiving.execute("ALTER SYSTEM SET primary_conninfo = ''")
        receiving.execute("SELECT pg_reload_conf()")
        _until(receiving, "SELECT NOT EXISTS (SELECT FROM pg_stat_wal_receiver)")


def _until(connection: psycopg.Connection[Any], question: LiteralString, *parameters: object) -> None:
    deadline = time.monotonic() + 20
    while connection.execute(question, parameters or None).fetchone() != (True,):
        assert time.monotonic() < deadline, question
        time.sleep(0.01)


def _until_loading(server: DisposableServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as observer:
        deadline = time.monotonic() + 20
        while observer.execute("SELECT count(*) FROM report_slice").fetchone() == (0,):
            assert time.monotonic() < deadline, "nothing is loaded"
            time.sleep(0.005)


class TestFullDisk:
    """The load that does not fit is rolled back and says what is wrong; after room was made all is well."""

    @pytest.mark.parametrize("sandbox_config", [SandboxConfig(vod_rows=120_000, quiet_one_day_in=0)], ids=["large"])
    def test_a_full_disk_is_named_and_heals(self, program: Program, sandbox: Sandbox) -> None:
        day = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD", "--json", "--refresh")
        with disposable_server(migrated=False) as server, _small_disk(server) as (url, grow):
            _assert_ended(program.start("migrate", DATABASE_URL=url))
            (told,) = _assert_ended(program.start(*day, DATABASE_URL=url), 75)["slices"]
            assert "53100" in told["message"]
            assert told["next_step"] == "the server's disk is full: free space, then run again"
            assert violations(url, sandbox, [SLICES[1]], may_be_missing=True) == []
            grow(200)
            _assert_ended(program.start(*day, DATABASE_URL=url))
            assert violations(url, sandbox, [SLICES[1]]) == []
            record("full disks", 1)


@contextmanager
def _small_disk(server: DisposableServer) -> Iterator[tuple[str, Callable[[int], None]]]:
    """A database on a disk of 24 MB; its URL, and what makes the disk so many MB large. The log has room elsewhere."""
    folder = server.owned(server.folder.with_name("disk"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0777", "tmpfs", f"{folder}"]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        skip_missing("this machine lets us mount no small disk (mount wants root)")
    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE small LOCATION '{server.owned(folder / 'space')}'".encode())
            connection.execute("CREATE DATABASE small TABLESPACE small")
        yield (
            conninfo_url(server.url, "small"),
            lambda megabytes: _succeed("mount", "-o", f"remount,size={megabytes}m", f"{folder}"),
        )
    finally:
        server.stop("immediate")
        _succeed("umount", f"{folder}")


def _succeed(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
