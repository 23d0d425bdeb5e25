"""A warehouse on a Citus cluster: what is distributed, and what a kill and a broken node leave."""

from __future__ import annotations

import random
import signal
import threading
import time
from datetime import date
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import conninfo

import citus_cluster
from conftest import DAY, HEADER, TODAY, VOD, Program, Warehouse
from etl.diagnostics.check_result import Verdict
from etl.diagnostics.doctor import run_checks
from etl.domain.errors import ExitCode, Misconfigured
from etl.domain.outcome import Outcome, Result
from etl.domain.slices import ReportType, Slice
from etl.load import compaction, load_steps, partition_bounds
from etl.runtime.cancellation import Stop
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import citus, schema
from etl.warehouse import database as database_module
from etl.warehouse.database import Database, open_database
from etl.warehouse.transactions import Connection
from warehouse_checker import violations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.sandbox.sandbox import Sandbox

LIVE = Slice(DAY, ReportType.LIVE)
ON_COORDINATOR = {
    "content_daily", "customer_count",
    "report_slice", "report_revision", "report_check", "report_reject", "report_notice", "warehouse",
}  # fmt: skip
ROUNDS = 6

# CI has no cluster: that none is given is never a failure.
pytestmark = pytest.mark.skipif(citus_cluster.GIVEN is None, reason=citus_cluster.MISSING)


@pytest.fixture
def given() -> str:
    assert citus_cluster.GIVEN
    return citus_cluster.GIVEN


@pytest.fixture
def on_cluster(given: str, sandbox: Sandbox, base_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    monkeypatch.setenv("WATCH_TIME_WEAKEST_SSLMODE", "disable")
    with citus_cluster.database(given) as url:
        yield Warehouse(url, sandbox, base_url)


@pytest.fixture
def on_coordinator_alone(
    given: str, sandbox: Sandbox, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Warehouse]:
    """A warehouse of before there was a cluster."""
    monkeypatch.setenv("WATCH_TIME_WEAKEST_SSLMODE", "disable")
    with citus_cluster.bare_database(given) as url:
        schema.migrate(Database(url, schema="public"))
        yield Warehouse(url, sandbox, base_url)


def _distributed(warehouse: Warehouse) -> dict[str, str]:
    """Of each table that is not the coordinator's own: n, on every node; h, by hash."""
    return dict(warehouse.query("SELECT logicalrelid::text, partmethod::text FROM pg_dist_partition"))


def _on_workers(warehouse: Warehouse, query: str) -> list[tuple[Any, ...]]:
    assert citus_cluster.GIVEN
    name = conninfo.conninfo_to_dict(warehouse.url)["dbname"]
    found: list[tuple[Any, ...]] = []
    for worker in citus_cluster.nodes(citus_cluster.GIVEN)[1]:
        with psycopg.connect(worker.url(citus_cluster.GIVEN, str(name))) as connection:
            found += connection.execute(query.encode()).fetchall()
    return found


def _left_on_workers(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    """Shards of what a load makes on its way."""
    return _on_workers(
        warehouse, r"SELECT relname FROM pg_class WHERE relname ~ '_(incoming|merged|difference)(_\d+)?$'"
    )


def test_migrating_distributes_facts_and_leaves_ledger_and_rollups_where_they_are(on_cluster: Warehouse) -> None:
    assert _distributed(on_cluster) == {"content": "n", "watch_time": "h"}
    schema.migrate(Database(on_cluster.url, schema="public"))
    assert _distributed(on_cluster) == {"content": "n", "watch_time": "h"}
    assert set(on_cluster.query("SELECT relname FROM pg_class")) >= {(name,) for name in ON_COORDINATOR}
    assert not ON_COORDINATOR & {name for (name,) in _on_workers(on_cluster, "SELECT relname FROM pg_class")}


def test_a_warehouse_of_before_is_distributed_with_all_that_is_in_it(
    given: str, on_coordinator_alone: Warehouse
) -> None:
    for slice_ in (VOD, LIVE):
        assert on_coordinator_alone.sync(slice_=slice_).result is Result.LOADED
    before = on_coordinator_alone.stored()
    citus_cluster.extend(given, on_coordinator_alone.url)
    on_coordinator_alone.sandbox.restate(LIVE)
    assert on_coordinator_alone.sync(slice_=LIVE).result is Result.LOADED, "as long as nobody migrates"
    on_coordinator_alone.sandbox.restate(LIVE)
    before = on_coordinator_alone.stored()

    schema.migrate(Database(on_coordinator_alone.url, schema="public"))

    assert on_coordinator_alone.stored() == before
    assert set(_distributed(on_coordinator_alone)) == {
        "content", "watch_time", "watch_time_20261116_live", "watch_time_20261116_vod",
    }  # fmt: skip
    _no_row_on_the_coordinator(on_coordinator_alone)
    assert on_coordinator_alone.sync(slice_=VOD).result is Result.UNCHANGED
    assert on_coordinator_alone.sync(slice_=LIVE).result is Result.LOADED
    assert violations(on_coordinator_alone.url, on_coordinator_alone.sandbox, [VOD]) == []


def _no_row_on_the_coordinator(warehouse: Warehouse) -> None:
    query = "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relname LIKE 'watch_time_2%%' AND relkind = %s"
    sizes = warehouse.query(query, "r")
    assert sizes
    assert {size for _, size in sizes} == {0}


@pytest.mark.parametrize("restated", [False, True], ids=["new-partition", "differences"])
def test_facts_lie_on_the_workers_and_nothing_of_a_load_is_left(on_cluster: Warehouse, restated: bool) -> None:
    on_cluster.sync()
    if restated:
        on_cluster.sandbox.restate(VOD)
        assert on_cluster.sync().change
    assert violations(on_cluster.url, on_cluster.sandbox, [VOD], revisions=(int(restated),)) == []
    _no_row_on_the_coordinator(on_cluster)
    assert _left_on_workers(on_cluster) == []
    groups = on_cluster.query("SELECT DISTINCT colocationid FROM pg_dist_partition WHERE partmethod = 'h'")
    assert len(groups) == 1
    shards = on_cluster.query(
        "SELECT DISTINCT nodeport FROM citus_shards WHERE table_name = 'watch_time_20261116_vod'::regclass"
    )
    assert len(shards) == 2, "on both workers"


class TestKilled:
    @pytest.fixture
    def sandbox_config(self) -> SandboxConfig:
        return SandboxConfig(vod_rows=20_000, live_rows=120, quiet_one_day_in=0, today=lambda: TODAY)

    @pytest.mark.timeout(600)
    def test_at_random_moments_nothing_is_half_and_the_end_is_exact(
        self, on_cluster: Warehouse, bare_program: Program
    ) -> None:
        """First loads and restatements, killed with SIGKILL."""
        program = _program(bare_program, on_cluster)
        work = ["backfill", "--start", str(DAY), "--end", str(DAY), "--type", "VOD", "--refresh"]
        began = time.monotonic()
        assert program("backfill", "--start", str(DAY), "--end", str(DAY), "--type", "LIVE").returncode == 0
        least, chance = time.monotonic() - began, random.Random(7)  # noqa: S311 - to be repeated
        killed = 0
        for number in range(ROUNDS):
            with program.start(*work) as process:
                time.sleep(least * chance.uniform(0.5, 1.6))
                killed += process.poll() is None
                process.send_signal(signal.SIGKILL)
            allowed = (0,) if number < ROUNDS // 2 else (0, 1)
            found = violations(on_cluster.url, on_cluster.sandbox, [VOD], revisions=allowed, may_be_missing=True)
            assert found == []
            if number == ROUNDS // 2 - 1:
                assert program(*work).returncode == 0
                on_cluster.sandbox.restate(VOD)
        assert killed, "no kill came before the end: nothing was tried"
        assert program(*work).returncode == 0
        assert violations(on_cluster.url, on_cluster.sandbox, [VOD], revisions=(1,)) == []
        assert _left_on_workers(on_cluster) == []

    def test_connections_between_the_nodes_that_break_are_tried_again(self, on_cluster: Warehouse) -> None:
        """All of them to one worker, in the middle of a load."""
        copy = Connection.execute
        struck: list[str] = []

        def execute(self: Connection, query: Any, *arguments: Any, **more: Any) -> Any:
            if not struck and "create_distributed_table" in str(query):
                struck.append(str(query))
                result = copy(self, query, *arguments, **more)
                _on_workers(
                    on_cluster,
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name LIKE 'citus_internal%'",
                )
                return result
            return copy(self, query, *arguments, **more)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Connection, "execute", execute)
            outcome = on_cluster.sync()
        assert struck
        assert outcome.result is Result.LOADED, outcome.message
        assert violations(on_cluster.url, on_cluster.sandbox, [VOD]) == []


def test_changes_of_two_slices_do_not_wait_for_each_other(
    on_cluster: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One comes and goes while the other has its changes made and is not committed."""
    for slice_ in (VOD, LIVE):
        on_cluster.sync(slice_=slice_)
        on_cluster.sandbox.restate(slice_)
    reconcile, ends = load_steps.SliceLoad._reconcile, list[Outcome]()

    def after_another(self: load_steps.SliceLoad, *arguments: Any) -> None:
        if self.slice == VOD:
            other = threading.Thread(target=lambda: ends.append(on_cluster.sync(slice_=LIVE)))
            other.start()
            other.join(8)
            assert ends, "it waits"
        reconcile(self, *arguments)

    monkeypatch.setattr(load_steps.SliceLoad, "_reconcile", after_another)
    assert on_cluster.sync().result is Result.LOADED
    assert [end.result for end in ends] == [Result.LOADED]
    assert violations(on_cluster.url, on_cluster.sandbox, [VOD, LIVE], revisions=(1,)) == []


def _program(bare_program: Program, warehouse: Warehouse) -> Program:
    settings = {
        "API_TOKEN": warehouse.sandbox.config.token,
        "ORG_ID": warehouse.sandbox.config.org_id,
        "API_BASE_URL": warehouse.base_url,
        "DATABASE_URL": warehouse.url,
        "NOT_FOUND_WAIT_SECONDS": "0",
        "WEAKEST_SSLMODE": "disable",
    }
    named = {f"WATCH_TIME_{name}": value for name, value in settings.items()}
    return Program(bare_program.folder, {**bare_program.environment, **named})


def test_a_node_that_takes_no_connections_ends_with_75(
    on_cluster: Warehouse, given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_ATTEMPTS", 2)
    monkeypatch.setattr(database_module, "_LONGEST_PAUSE_S", 0.01)
    worker = citus_cluster.nodes(given)[1][0]
    name = conninfo.conninfo_to_dict(on_cluster.url)["dbname"]
    with psycopg.connect(worker.url(given, "postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        outcome = on_cluster.sync()
        checks = {check.name: check for check in _examined(on_cluster)}
        connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS true'.encode())
    assert outcome.exit_code is ExitCode.TRY_LATER, outcome.message
    assert f"cannot reach its node {worker.host}:{worker.port}" in f"{outcome.message}"
    assert checks["Citus"].verdict is Verdict.WARNING
    assert f"unreachable: {worker.host}:{worker.port} from " in checks["Citus"].detail
    assert on_cluster.sync().result is Result.LOADED


def _examined(warehouse: Warehouse) -> list[Any]:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in _program(Program(None, {}), warehouse).environment.items():  # type: ignore[arg-type]
            patched.setenv(name, value)
        return list(run_checks())


def test_doctor_says_where_the_facts_lie(on_cluster: Warehouse) -> None:
    (check,) = [check for check in _examined(on_cluster) if check.name == "Citus"]
    assert check.verdict is Verdict.OK
    assert check.detail.endswith("watch_time on 2 nodes")


def test_doctor_says_that_migrate_is_due(given: str, on_coordinator_alone: Warehouse) -> None:
    citus_cluster.extend(given, on_coordinator_alone.url)
    (check,) = [check for check in _examined(on_coordinator_alone) if check.name == "Citus"]
    assert (check.verdict, check.next_step) == (Verdict.WARNING, "`watch-time migrate`")


def test_a_worker_is_no_place_to_migrate(on_cluster: Warehouse, given: str) -> None:
    name = str(conninfo.conninfo_to_dict(on_cluster.url)["dbname"])
    worker = citus_cluster.nodes(given)[1][0]
    url = f"postgresql://postgres@{worker.host}:{worker.port}/{name}"
    with pytest.raises(Misconfigured, match="is a worker of a Citus cluster"):
        schema.migrate(Database(url, schema="elsewhere"))


def test_a_compacted_month_lies_beside_the_others(on_cluster: Warehouse) -> None:
    for slice_ in (VOD, LIVE):
        on_cluster.sync(slice_=slice_)
    before = on_cluster.stored()
    with open_database(on_cluster.url, schema="public") as database:
        assert compaction.compact(database, partition_bounds.of_month(DAY), Stop()) is not None
    assert on_cluster.stored() == before
    assert set(_distributed(on_cluster)) == {"content", "watch_time", "watch_time_202611"}
    _no_row_on_the_coordinator(on_cluster)
    on_cluster.sandbox.restate(VOD)
    assert on_cluster.sync().change
    assert violations(on_cluster.url, on_cluster.sandbox, [LIVE]) == []


class TestCounts:
    """Customers are counted if all nodes have what the ledger says."""

    SETTLED_BY_THEN = date(2027, 2, 1)

    @pytest.fixture(name="loaded")
    def _loaded(self, on_cluster: Warehouse) -> Warehouse:
        for slice_ in (VOD, LIVE):
            on_cluster.sync(slice_=slice_)
        return on_cluster

    def test_of_any_number_of_customers(self, on_cluster: Warehouse) -> None:
        """Also of more than a subquery may fetch."""
        name = conninfo.conninfo_to_dict(on_cluster.url)["dbname"]
        with psycopg.connect(on_cluster.url, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" SET citus.max_intermediate_result_size = 1'.encode())
        lines = "".join(f"t,c{number % 3},VOD,,customer-{number},1\n" for number in range(1_000))
        on_cluster.sync(HEADER + lines)
        assert on_cluster.count_customers(today=self.SETTLED_BY_THEN) == (2, 0)
        assert on_cluster.query("SELECT customers FROM watch_time_monthly") == [(1_000,)]

    def test_the_nodes_have_as_much_memory_and_time(self, loaded: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        ask, shown = citus.has_prepared_transactions, list[object]()

        def ask_and_show(connection: Connection) -> bool:
            (settings,) = connection.execute(
                "SELECT max(current_setting('work_mem')), max(current_setting('statement_timeout')) FROM watch_time"
            ).fetchall()
            shown.append(settings)
            return ask(connection)

        monkeypatch.setattr(citus, "has_prepared_transactions", ask_and_show)
        assert loaded.count_customers() == (1, 0)
        assert shown == [("64MB", "2h")]

    def test_not_while_a_node_has_something_to_commit(self, loaded: Warehouse, given: str) -> None:
        """As after a commit that a node has not been told of, because it or the coordinator died."""
        name = str(conninfo.conninfo_to_dict(loaded.url)["dbname"])
        url = citus_cluster.nodes(given)[1][0].url(given, name)
        with psycopg.connect(url, autocommit=True) as worker:
            for command in ("BEGIN", "CREATE TABLE pending ()", f"PREPARE TRANSACTION 'pending_{name}'"):
                worker.execute(command.encode())
            try:
                assert loaded.count_customers() == (0, 1)
                assert loaded.query("SELECT customers FROM watch_time_customers") == [(None,)]
            finally:
                worker.execute(f"ROLLBACK PREPARED 'pending_{name}'".encode())
        assert loaded.count_customers() == (1, 0)

    def test_not_if_a_load_commits_meanwhile(self, loaded: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        ask = citus.has_prepared_transactions

        def load_and_ask(connection: Connection) -> bool:
            loaded.sandbox.restate(VOD)
            assert loaded.sync().change
            return ask(connection)

        monkeypatch.setattr(citus, "has_prepared_transactions", load_and_ask)
        assert loaded.count_customers() == (0, 1)
        assert loaded.query("SELECT customers FROM watch_time_customers") == [(None,)]
