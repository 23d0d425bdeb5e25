"""The schema's version: bringing it to head, refusing to work where it is not, and whose data it holds.

Alembic does the bringing and is imported only for that; the check reads one row.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psycopg import sql

from etl.domain.errors import SchemaNotReady, WrongOrganization
from etl.warehouse import citus
from etl.warehouse.database import open_warehouse
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import configure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from etl.config.settings import Settings
    from etl.runtime.cancellation import Stop
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection

# The newest of migrations/versions; a test keeps the two equal.
HEAD: Final = "005"

# Before the first release versions had four digits. Those migrations are gone.
_OF_DEVELOPMENT: Final = re.compile(r"\d{4}")

# Not alembic's default name: the schema may be shared with another application that uses alembic.
VERSION_TABLE: Final = "watch_time_version"

_HAS_SCHEMA: Final = "SELECT 1 FROM pg_namespace WHERE nspname = %s"

# Any number, as long as it stays the same: who migrates first makes the others wait.
_MIGRATION_LOCK: Final = 7_281_964_530


def migrate(database: Database) -> tuple[str | None, str]:
    """Bring the schema to head, creating it when it is new, and over a Citus cluster where it lies on one.

    Several at once wait for each other.

    Returns:
        The version before (None: there was none) and after.
    """
    from alembic import command  # noqa: PLC0415 - slow to import, and needed only here
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine, exc, pool  # noqa: PLC0415

    with database.connection() as connection:
        connection.autocommit = False
        engine = create_engine(
            "postgresql+psycopg://", creator=lambda: connection, poolclass=pool.StaticPool, hide_parameters=True
        )
        # SQLAlchemy looks around on the connection first, and rolls back after that: the transaction begins inside.
        with engine.begin() as sqlalchemy_connection:
            configure(connection, database.schema)
            citus.require_coordinator(connection)
            connection.execute(statement("warehouse/lock_migrations"), {"key": _MIGRATION_LOCK})
            if not connection.execute(_HAS_SCHEMA, [database.schema]).fetchone():
                # Not IF NOT EXISTS: that wants the right to create schemas even where there is nothing to create.
                connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(database.schema)))
            before = _version_to_work_with(database, connection)
            config = Config(attributes={"connection": sqlalchemy_connection})
            config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
            try:
                command.upgrade(config, "head")
            except exc.DBAPIError as error:
                # The driver's own error is inside, and `driver_errors` knows what to say of it.
                raise error.orig or error from None
            citus.distribute(connection)
    return before, HEAD


def version(connection: Connection) -> str | None:
    """The version of the schema on the connection's search path; None when it was never migrated."""
    found = connection.execute("SELECT to_regclass(%s)", [VERSION_TABLE]).fetchone()
    if found is None or found[0] is None:
        return None
    row = connection.execute(sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(VERSION_TABLE))).fetchone()
    return None if row is None else str(row[0])


def require_head(database: Database, connection: Connection) -> None:
    """Refuse to work on tables of another version; an embedded database that is behind is migrated.

    Raises:
        SchemaNotReady: not migrated, behind, or ahead of this program; with the command to type.
    """
    found = _version_to_work_with(database, connection)
    if found == HEAD:
        return
    if database.is_embedded:
        migrate(database)
        return
    state = "has no watch-time tables" if found is None else f"is at version {found}; this program needs {HEAD}"
    raise SchemaNotReady(f"schema {database.schema} of {database} {state}", next_step="`watch-time migrate`")


@contextmanager
def open_checked(settings: Settings, *, stop: Stop | None = None, with_owner: bool = True) -> Iterator[Database]:
    """The configured warehouse, its tables of this version and, unless `with_owner` is false, of this organization.

    Raises:
        SchemaNotReady, WrongOrganization: as `require_head` and `require_owner` do.
    """
    with open_warehouse(settings, stop=stop) as database:
        database.run(lambda connection: require_head(database, connection))
        if with_owner:
            database.run(lambda connection: require_owner(database, connection, settings.require("org_id")))
        yield database


def needs_migration(database: Database, connection: Connection) -> bool:
    """Whether tables have to be created or migrated.

    Raises:
        SchemaNotReady: this program cannot migrate those that are there.
    """
    return _version_to_work_with(database, connection) != HEAD


def owner(connection: Connection) -> str | None:
    """The organization whose data the schema holds; None before the first accepted answer."""
    row = connection.execute("SELECT org_id FROM warehouse").fetchone()
    return None if row is None else str(row[0])


def claimed_at(connection: Connection) -> datetime | None:
    """When the schema became its organization's: which of the organization's warehouses it is; None: nobody's yet."""
    row = connection.execute("SELECT claimed_at FROM warehouse").fetchone()
    return None if row is None else row[0]


def claim(connection: Connection, org_id: str) -> None:
    """Make the schema `org_id`'s if it is nobody's yet; `require_owner` tells whose it is then."""
    connection.execute(statement("warehouse/claim_warehouse"), {"org_id": org_id})


def require_owner(database: Database, connection: Connection, org_id: str) -> None:
    """Refuse to mix two organizations' data.

    Raises:
        WrongOrganization: the schema belongs to another organization.
    """
    found = owner(connection)
    if found is not None and found != org_id:
        raise WrongOrganization(
            f"schema {database.schema} of {database} contains data for organization {found}, not {org_id}",
            next_step=f"set WATCH_TIME_ORG_ID={found}, or set WATCH_TIME_SCHEMA to a schema for {org_id}",
        )


def _version_to_work_with(database: Database, connection: Connection) -> str | None:
    """The schema's version, which is this program's or can be migrated to it; None when it was never migrated.

    Raises:
        SchemaNotReady: this program cannot migrate it; with what to do.
    """
    found = version(connection)
    if found is not None and _OF_DEVELOPMENT.fullmatch(found):
        raise SchemaNotReady(
            f"schema {database.schema} of {database} was made by a development version ({found}), before the first "
            "release; it cannot be migrated",
            next_step="load the reports into a new schema: set WATCH_TIME_SCHEMA to a new name, then: "
            "`watch-time migrate` `watch-time backfill --start FIRST --end LAST`",
        )
    if found is not None and found > HEAD:
        raise SchemaNotReady(
            f"schema {database.schema} of {database} is at version {found}, newer than this program supports ({HEAD})",
            next_step="upgrade watch-time to the version that migrated it, or newer",
        )
    return found


def _migrations() -> Path:
    """The migrations: inside the package in a wheel, beside it in a clone."""
    packaged = Path(str(resources.files("etl"))) / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"
