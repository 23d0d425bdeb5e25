"""The defaults of server, database, role and environment change nothing that the program does or shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg
import pytest
from psycopg import conninfo, sql

from conftest import DAY, HEADER, VOD
from etl.domain.errors import SliceBusy
from etl.domain.outcome import FetchOptions, Result
from etl.domain.slices import ReportType
from etl.job import plan_runner
from etl.load import compaction, partition_bounds
from etl.runtime.cancellation import Stop
from etl.warehouse import schema
from etl.warehouse.database import Database, open_database
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Program, Warehouse
    from postgres import Server

DEFAULTS: Final = {
    "default_transaction_isolation": "repeatable read",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kolkata",
    "extra_float_digits": "-15",
    "default_table_access_method": "of_the_owner",
}
RESTATED: Final = HEADER + "A,c1,VOD,2026-01-02T03:04:05Z,u1,1.5\nB,c2,VOD,,u2,2\n"


def _set_defaults(url: str) -> None:
    name = sql.Identifier(str(conninfo.conninfo_to_dict(url)["dbname"]))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ACCESS METHOD of_the_owner TYPE TABLE HANDLER heap_tableam_handler")
        for setting, value in DEFAULTS.items():
            connection.execute(
                sql.SQL("ALTER DATABASE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
            )


class _Waiting(Stop):
    """Lets something happen the first time that the program waits for somebody else."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__()
        self._meanwhile = [meanwhile]

    def sleep(self, seconds: float) -> None:
        if self._meanwhile:
            self._meanwhile.pop()()
        super().sleep(min(seconds, 0.01))


@pytest.mark.single_server("access methods and defaults are those of one server")
def test_every_transaction_sees_what_others_have_committed_by_then(server: Server) -> None:
    with server.database(migrated=False) as url:
        _set_defaults(url)
        schema.migrate(Database(url, schema="public"))
        with open_database(url, schema="public") as database:
            for writable in (True, False):
                with database.transaction(writable=writable) as connection:
                    assert connection.execute("SHOW transaction_isolation").fetchone() == ("read committed",)
            assert database.run(lambda connection: connection.execute("SHOW transaction_isolation").fetchone()) == (
                "read committed",
            )


def _hold(connection: psycopg.Connection[Any], name: str) -> None:
    """Take the slice's lock, as a run does."""
    assert connection.execute(statement("load/try_lock_slices"), {"slices": [name]}).fetchone() == (True,)


@pytest.mark.single_server("access methods and defaults are those of one server")
def test_a_run_that_waited_for_another_one_s_first_load_finds_it(warehouse: Warehouse) -> None:
    """Runs at once on a new slice ended with 78: the table had come, and their snapshot was older."""
    _set_defaults(warehouse.url)
    with psycopg.connect(warehouse.url) as other:
        _hold(other, str(VOD))

        def load_meanwhile() -> None:
            other.rollback()
            assert warehouse.sync().result is Result.LOADED

        with plan_runner.open_job(warehouse.configured(), stop=_Waiting(load_meanwhile)) as opened:
            outcome = opened.context.pipeline.sync_slice(VOD, FetchOptions())
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 1)


@pytest.mark.single_server("access methods and defaults are those of one server")
@pytest.mark.parametrize("are_hostile", [False, True], ids=["usual-defaults", "hostile-defaults"])
def test_what_is_restated_between_the_comparison_and_the_swap_is_not_lost(
    warehouse: Warehouse, are_hostile: bool
) -> None:
    """The month's table was built and found equal; then a slice of it got another revision."""
    if are_hostile:
        _set_defaults(warehouse.url)
    warehouse.sync()
    month = partition_bounds.of_month(DAY)
    with psycopg.connect(warehouse.url) as other, open_database(warehouse.url, schema="public") as database:
        _hold(other, str(VOD))

        def restate() -> None:
            other.rollback()
            warehouse.sync(RESTATED, shrink_limit="0")

        with pytest.raises(SliceBusy, match="was loaded while the month was being merged"):
            compaction.compact(database, month, _Waiting(restate))
    assert [row[:2] for row in warehouse.facts()] == [("c1", "u1"), ("c2", "u2")]
    assert warehouse.query("SELECT revision, rows_stored FROM report_slice") == [(2, 2)]


@pytest.mark.single_server("access methods and defaults are those of one server")
def test_a_slice_is_stored_as_it_always_is(warehouse: Warehouse) -> None:
    _set_defaults(warehouse.url)
    assert warehouse.sync(RESTATED).result is Result.LOADED
    ((shown,),) = warehouse.query("SELECT created_at::text FROM content WHERE content_id = 'c1'")
    assert shown.startswith("02/01/2026"), "the defaults are those that were set"
    assert warehouse.query(
        "SELECT amname FROM pg_class JOIN pg_am ON pg_am.oid = relam WHERE relname = 'watch_time_20261116_vod'"
    ) == [("heap",)]
    with open_database(warehouse.url, schema="public") as database, database.transaction() as connection:
        found = connection.execute("SELECT created_at FROM content WHERE content_id = 'c1'").fetchone()
    assert found is not None
    assert found[0].isoformat() == "2026-01-02T03:04:05+00:00"


COMMANDS: Final = (
    ("status", "--start", f"{DAY}", "--end", f"{DAY}"),
    ("status",),
    ("explain", f"{DAY}"),
    ("revisions",),
    ("verify", "--start", f"{DAY}", "--end", f"{DAY}"),
    ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--refresh", "--dry-run"),
    ("compact",),
)


@pytest.mark.single_server("access methods and defaults are those of one server")
def test_every_command_says_the_same(program: Program, newest_warehouse: Warehouse) -> None:
    """`PGDATESTYLE=SQL,DMY` ended six of them as a bug."""
    for report_type in ReportType:
        newest_warehouse.sync(slice_=type(VOD)(DAY, report_type))
    newest_warehouse.sync(RESTATED, shrink_limit="0")

    def told() -> list[tuple[int, str]]:
        return [((done := program(*command)).returncode, done.stdout) for command in COMMANDS]

    assert program("compact").returncode == 0  # only the first one has something to count
    before = told()
    assert [code for code, _ in before] == [0] * len(COMMANDS), before
    _set_defaults(newest_warehouse.url)
    assert told() == before
