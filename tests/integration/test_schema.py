"""The tables: migrated and declared ones are the same, migrations may be run at any time, and versions are checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from etl.domain.errors import Misconfigured, SchemaNotReady, WrongOrganization
from etl.warehouse import schema
from etl.warehouse.database import Database
from etl.warehouse.table_definitions import metadata

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program, Warehouse
    from postgres import Server

pytestmark = pytest.mark.every_server

# Everything about tables that can differ and matters.
_DESCRIBED = {
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, co.collname,
               pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum)
        FROM pg_attribute a
        JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_collation co ON co.oid = a.attcollation
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0
        ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n' ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "tables": """
        SELECT relname, relkind, pg_get_partkeydef(oid), obj_description(oid, 'pg_class')
        FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY 1""",
}


@pytest.fixture
def empty_url(server: Server) -> Iterator[str]:
    with server.database(migrated=False) as url:
        yield url


def _described(url: str) -> dict[str, list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        return {
            name: [row for row in connection.execute(query).fetchall() if schema.VERSION_TABLE not in str(row)]
            for name, query in _DESCRIBED.items()
        }


@pytest.mark.single_server("shards are tables too")
def test_migrated_tables_equal_the_declared_ones(database_url: str, empty_url: str) -> None:
    engine = create_engine(empty_url.replace("postgresql://", "postgresql+psycopg://"))
    metadata.create_all(engine)
    engine.dispose()
    migrated, declared = _described(database_url), _described(empty_url)
    assert migrated == declared
    assert len(migrated["columns"]) > 40


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema._migrations()))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_heads() == [schema.HEAD]
    names = [script.module.__file__ or "" for script in scripts.walk_revisions()]
    assert all(script.revision in name for script, name in zip(scripts.walk_revisions(), names, strict=True))


def test_migrating_again_changes_nothing(database_url: str) -> None:
    before = _described(database_url)
    assert schema.migrate(Database(database_url, schema="public")) == (schema.HEAD, schema.HEAD)
    assert _described(database_url) == before


def test_several_migrations_at_once_all_succeed(empty_url: str, bare_program: Program) -> None:
    settings = {"DATABASE_URL": empty_url, "SCHEMA": "warehouse"}
    processes = [bare_program.start("migrate", **settings) for _ in range(4)]
    ends = [(*process.communicate(timeout=60), process.returncode) for process in processes]
    assert [code for _, _, code in ends] == [0, 0, 0, 0], ends
    assert sum(out.startswith("created schema ") for out, _, _ in ends) == 1


@pytest.mark.single_server("it has views of its own, elsewhere")
def test_everything_lies_in_the_schema_of_the_setting(empty_url: str) -> None:
    schema.migrate(Database(empty_url, schema="elsewhere"))
    with psycopg.connect(empty_url) as connection:
        schemas = connection.execute(
            "SELECT DISTINCT relnamespace::regnamespace::text FROM pg_class WHERE oid >= 16384 "
            "AND relnamespace::regnamespace::text NOT LIKE 'pg_toast%'"
        ).fetchall()
    assert schemas == [("elsewhere",)]


@pytest.mark.parametrize(
    ("obstacle", "told"),
    [
        ("CREATE TABLE report_slice (x int)", 'relation "report_slice" already exists'),
        ("CREATE VIEW watch_time_daily AS SELECT 1 AS x", 'relation "watch_time_daily" already exists'),
    ],
)
def test_what_stands_in_a_migrations_way_is_named_and_nothing_is_made(
    empty_url: str, obstacle: LiteralString, told: str
) -> None:
    with psycopg.connect(empty_url) as connection:
        connection.execute(obstacle)
    with pytest.raises(Misconfigured, match=told) as refused:
        schema.migrate(Database(empty_url, schema="public"))
    assert "rename or drop" in refused.value.next_step
    with psycopg.connect(empty_url) as connection:
        assert connection.execute("SELECT to_regclass('watch_time')").fetchone() == (None,)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_letter_is_refused(server: Server, encoding: LiteralString) -> None:
    with server.database(migrated=False, encoding=encoding) as url:
        with pytest.raises(Misconfigured, match=f"has the encoding {encoding}") as refused:
            schema.migrate(Database(url, schema="public"))
        assert "--encoding UTF8" in refused.value.next_step
        with psycopg.connect(url) as connection:
            assert connection.execute("SELECT to_regclass('watch_time') IS NULL").fetchone() == (True,)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        pytest.param(None, "has no watch-time tables", id="never-migrated"),
        pytest.param("001", "is at version 001; this program needs", id="behind"),
        pytest.param("0006", r"made by a development version \(0006\)", id="before-the-first-release"),
        pytest.param("999", "newer than this program supports", id="ahead"),
    ],
)
def test_a_schema_of_another_version_is_refused(database_url: str, version: str | None, message: str) -> None:
    database = Database(database_url, schema="public")
    with database.transaction() as connection:
        connection.execute("UPDATE watch_time_version SET version_num = %s", [version or "0"])
        if version is None:
            connection.execute("DROP TABLE watch_time_version")
    with pytest.raises(SchemaNotReady, match=message) as refused, database.transaction() as connection:
        schema.require_head(database, connection)
    assert refused.value.exit_code == 78
    assert ("watch-time migrate" in refused.value.next_step) == (version != "999")


def test_the_schema_belongs_to_the_organization_of_its_first_answer(warehouse: Warehouse) -> None:
    warehouse.sync()
    before = warehouse.stored()
    with pytest.raises(WrongOrganization, match="contains data for organization sandbox-org, not other") as refused:
        warehouse.sync(org_id="other")
    assert refused.value.exit_code == 78
    assert warehouse.stored() == before
