"""Alembic's entry: runs the migrations on the connection that `etl.warehouse.schema` hands over, in its transaction.

`etl.warehouse.schema.migrate` has taken the lock that makes several migrations at once wait for each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from alembic import context

from etl.warehouse.schema import VERSION_TABLE
from etl.warehouse.table_definitions import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection


def run() -> None:
    """Bring the schema of the handed-over connection's search path to the asked-for version."""
    if context.is_offline_mode():
        raise SystemExit("migrations run on a database: use `watch-time migrate`")
    connection = cast("Connection", context.config.attributes["connection"])
    context.configure(connection=connection, target_metadata=metadata, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


run()
