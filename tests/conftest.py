"""Fixtures for every kind of test: real Postgres servers, the sandbox, the program."""

from __future__ import annotations

import gc
import itertools
import os
import subprocess
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from xdist.scheduler import LoadGroupScheduling

import citus_cluster
import postgres
import prefork
from etl.config.environment import PREFIX
from etl.config.settings import Settings
from etl.domain.errors import CredentialsRefused
from etl.domain.outcome import FetchOptions, Outcome
from etl.domain.slices import ReportType, Slice
from etl.job.plan_runner import open_job
from etl.load import distinct_customers
from etl.runtime import logs
from etl.runtime.cancellation import Stop
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse.database import open_warehouse
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from xdist.remote import Producer

    from archives import ArchiveFiles
    from etl.job.plan_runner import Job
    from prefork import Process

HEADER = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
TODAY = date(2026, 11, 22)
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = date(2026, 11, 16)
VOD = Slice(DAY, ReportType.VOD)
# Those of `make stores` are marked: it installs what they need.
ARCHIVE_KINDS = [
    "folder",
    "s3",
    pytest.param("gs", marks=pytest.mark.stores),
    pytest.param("abfs", marks=pytest.mark.stores),
]


# Collecting makes some hundred thousand objects that stay: to look through them for garbage, over and over, took a
# fifth of the time of pytest's own processes.
gc.set_threshold(100_000, 20, 20)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Leave what was collected out of every later look for garbage."""
    gc.freeze()


def pytest_unconfigure() -> None:
    """At the end all is taken down, as modules that count what they leave expect."""
    gc.unfreeze()


# Files whose tests share what takes long to start: all of a group go to one worker.
WORKER_GROUPS = {
    "tests/acceptance/test_dask.py": "Dask cluster",
    "tests/integration/test_page.py": "browser",
}


class GroupsByFile(LoadGroupScheduling):  # type: ignore[misc]  # untyped
    """As `--dist loadgroup`, which appends a mark's group to a test's id, where pytest 9.2 ignores it."""

    def _split_scope(self, nodeid: str) -> str:
        return WORKER_GROUPS.get(nodeid.partition("::")[0], nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadGroupScheduling | None:
    """Give each group to one worker."""
    return GroupsByFile(config, log) if config.getvalue("dist") == "loadgroup" else None


def pytest_report_header() -> str:
    sources = f"postgres: {', '.join(postgres.ALSO_CITUS)}"
    if not postgres.EVERY:
        sources = f"{sources}; most tests on {postgres.ONE} alone, as WATCH_TIME_TEST_EVERY_SERVER is not 1"
    if postgres.NO_CONTAINERS:
        sources = f"{sources}; no containers: {postgres.NO_CONTAINERS}"
    return sources if citus_cluster.GIVEN else f"{sources}; no Citus: WATCH_TIME_TEST_CITUS_URL is not set"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the servers that `make check` adds, but for modules whose claims are about them."""
    if postgres.EVERY:
        return

    def is_wanted(item: pytest.Item) -> bool:
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        server = parameters.get("server", postgres.ONE)
        return server in {postgres.ONE, "citus"} or item.get_closest_marker("every_server") is not None

    left_out = [item for item in items if not is_wanted(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if is_wanted(item)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    marker = item.get_closest_marker("single_server")
    if marker is None or not isinstance(item, pytest.Function):
        return
    servers = {postgres.ONE} if "newest_server" in item.fixturenames else set(item.callspec.params.values())
    if "citus" in servers:
        pytest.skip(f"not on Citus: {marker.args[0]}")


@pytest.fixture(autouse=True)
def isolated_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests see neither the developer's variables nor their .env."""
    hide_settings(monkeypatch, tmp_path)


def hide_settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """For fixtures that live longer than a test."""
    for name in list(os.environ):
        if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}TEST_"):
            monkeypatch.delenv(name)
    for name, value in postgres.SETTINGS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(folder)


@pytest.fixture(scope="session", params=postgres.ALSO_CITUS)
def server(request: pytest.FixtureRequest) -> Iterator[postgres.Server]:
    """A Postgres server; tests that ask for it run once for each."""
    with postgres.running(request.param) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def newest_server() -> Iterator[postgres.Server]:
    """The newest of the servers, for tests whose claim does not depend on its version; or the one that was named."""
    with postgres.running(postgres.ONE) as running_server:
        yield running_server


@pytest.fixture
def database_url(server: postgres.Server) -> Iterator[str]:
    """A migrated database of the test's own, on each server."""
    with server.database() as url:
        yield url


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    """Override it for other data."""
    return SandboxConfig(vod_rows=300, live_rows=120, quiet_one_day_in=0, today=lambda: TODAY)


@pytest.fixture
def sandbox(sandbox_config: SandboxConfig) -> Sandbox:
    return Sandbox(sandbox_config)


@pytest.fixture
def base_url(sandbox: Sandbox) -> Iterator[str]:
    """The sandbox, serving."""
    with running(sandbox) as url:
        yield url


@dataclass
class Warehouse:
    """A migrated database and a sandbox, and the job between them."""

    url: str
    sandbox: Sandbox
    base_url: str
    settings: dict[str, Any] = field(default_factory=dict)

    @contextmanager
    def job(self, **settings: Any) -> Iterator[Job]:
        """The job as the command opens it, on the tests' date."""
        with open_job(self.configured(**settings), now=NOON) as opened:
            yield opened

    def configured(self, **settings: Any) -> Settings:
        """Settings for this database and sandbox."""
        known: dict[str, Any] = {
            "api_token": self.sandbox.config.token,
            "org_id": self.sandbox.config.org_id,
            "api_base_url": self.base_url,
            "database_url": self.url,
            "not_found_wait_seconds": 0,
        }
        return Settings(**(known | self.settings | settings))

    def sync(
        self, body: bytes | str | None = None, *, slice_: Slice = VOD, ask: FetchOptions | None = None, **settings: Any
    ) -> Outcome:
        """Sync one slice; with `body`, exactly that as its report."""
        if body is not None:
            self.sandbox.override(slice_, Delivery(body=body))
        with self.job(**settings) as opened:
            try:
                return opened.context.pipeline.sync_slice(slice_, ask or FetchOptions())
            except CredentialsRefused as refused:  # ends a run, with this slice
                return opened.context.pipeline.refused(slice_, refused)

    def count_customers(self, *, today: date = TODAY) -> tuple[int, int]:
        """Count the customers of what was loaded, as `run` does."""
        settings = self.configured()
        with open_warehouse(settings) as database:
            return distinct_customers.count_stale(database, settings, Stop(), today=today)

    def query(self, text: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(text, parameters or None).fetchall()

    def facts(self, slice_: Slice = VOD) -> list[tuple[Any, ...]]:
        """Rows of a slice in key order: content, customer, streaming type, seconds."""
        return self.query(
            "SELECT content_id, customer_id, streaming_type, watch_seconds FROM watch_time "
            "WHERE report_date = %s AND report_type = %s ORDER BY 1, 2, 3",
            slice_.report_date,
            slice_.report_type.value,
        )

    def stored(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is stored, but for times of checking: to prove that something changed nothing."""
        return {
            "facts": self.query("SELECT * FROM watch_time ORDER BY 1, 2, 3, 4, 5"),
            "content": self.query("SELECT * FROM content ORDER BY 1"),
            "rollup": self.query("SELECT * FROM content_daily ORDER BY 1, 2, 3, 4"),
            "revisions": self.query("SELECT * FROM report_revision ORDER BY 1, 2, 3"),
            "stored": self.query(
                "SELECT report_date, report_type, revision, report_sha256, rows_stored, watch_seconds, loaded_at "
                "FROM report_slice WHERE revision > 0 ORDER BY 1, 2"
            ),
        }


@pytest.fixture
def warehouse(database_url: str, sandbox: Sandbox, base_url: str) -> Warehouse:
    """On each server."""
    return Warehouse(database_url, sandbox, base_url)


@pytest.fixture
def newest_warehouse(newest_server: postgres.Server, sandbox: Sandbox, base_url: str) -> Iterator[Warehouse]:
    """On the newest server."""
    with newest_server.database() as url:
        yield Warehouse(url, sandbox, base_url)


@dataclass
class Program:
    """The command, as a process of its own.

    Attributes:
        folder: where it runs.
        environment: all of its variables.
        limits: constants of the command that are smaller than usual, by module, from etl on, and name.
        to_files: whether the processes print into files, for those that are not read while they run.
        new_interpreter: for each process, in place of a fork of one that has imported the command already.
    """

    folder: Path
    environment: Mapping[str, str]
    limits: Mapping[str, object] = field(default_factory=dict)
    to_files: bool = False
    new_interpreter: bool = False

    def with_settings(self, **settings: str) -> Program:
        """The command with these settings, named without their prefix."""
        named = {f"{PREFIX}{name}": value for name, value in settings.items()}
        return replace(self, environment={**self.environment, **named})

    def start(self, *arguments: str, **settings: str) -> Process:
        return prefork.start(
            arguments,
            self.with_settings(**settings).environment,
            self.folder,
            limits=self.limits,
            to_files=self.to_files,
            new_interpreter=self.new_interpreter,
        )

    def __call__(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **settings) as process:
            return process.result(120)


@pytest.fixture(autouse=True)
def processes_end_with_their_test() -> Iterator[None]:
    yield
    prefork.end_all()


@pytest.fixture
def bare_program(tmp_path: Path) -> Program:
    """The command without any setting."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return Program(tmp_path, plain | postgres.SETTINGS | {"COLUMNS": "160"})


@pytest.fixture
def program(bare_program: Program, newest_warehouse: Warehouse) -> Program:
    """The command with the settings of the newest warehouse."""
    settings = {
        "API_TOKEN": newest_warehouse.sandbox.config.token,
        "ORG_ID": newest_warehouse.sandbox.config.org_id,
        "API_BASE_URL": newest_warehouse.base_url,
        "DATABASE_URL": newest_warehouse.url,
        "NOT_FOUND_WAIT_SECONDS": "0",
    }
    return bare_program.with_settings(**settings)


@pytest.fixture(scope="module")
def store_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers of all stores that there are on this machine, and the environment of their clients."""
    import archives

    with archives.store_servers(tmp_path_factory.mktemp("stores")):
        yield


@pytest.fixture(params=ARCHIVE_KINDS)
def archive(request: pytest.FixtureRequest, store_servers: None, tmp_path: Path) -> ArchiveFiles:
    """An empty archive, in each kind of store."""
    import archives

    return archives.new_archive(request.param, tmp_path)


@pytest.fixture
def folder_archive(tmp_path: Path) -> ArchiveFiles:
    """An empty archive in a folder, for claims that do not depend on the store."""
    import archives

    return archives.new_archive("folder", tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a mebibyte, and of 32 files and folders."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=32", "tmpfs", str(folder)],  # noqa: S607 - wherever it is
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        skip_missing("a disk that is full needs the right to mount one")
    yield folder
    with suppress(OSError):
        subprocess.run(["umount", str(folder)], check=True)  # noqa: S607 - as above


def fill_disk(disk: Path) -> None:
    """Leave no room on a small disk, not even for an empty file."""
    with suppress(OSError):
        for number in itertools.count():
            (disk / f"filling-{number}").touch()


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """Logs through our formatter, as in the program."""
    logs.configure()
