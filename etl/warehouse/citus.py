"""Citus: the warehouse on several nodes, and what is said otherwise to it. The only module that knows of it.

There `watch_time` and its partitions are distributed by content, `content` is on every node, and the ledger stays where
it is, on the coordinator. Who sends a statement about facts asks for the `Dialect` of its connection.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from psycopg import sql

from etl.domain.errors import Misconfigured
from etl.domain.plurals import plural
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from etl.warehouse.transactions import Connection

log = structlog.get_logger("watch_time")

# Statements that Citus needs in other words: those of the folders sql/citus.
_OTHERWISE: Final = frozenset({
    "load/apply_differences", "load/build_unique", "load/count_day", "load/count_month", "load/key_partition",
    "load/key_month", "load/lock_readers_out", "load/set_count_limits",
})  # fmt: skip

# Where a command ends and the next one begins, in the files of sql: lines within one are indented, or close a bracket.
_NEXT_COMMAND: Final = re.compile(r";\n+(?=[A-Z]|--)")

_LIKE_WATCH_TIME: Final = "SELECT create_distributed_table({}, 'content_id', colocate_with => 'watch_time');"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How statements about facts are to be put.

    Attributes:
        is_distributed: whether the facts lie on several nodes.
    """

    is_distributed: bool

    def statement(self, name: str) -> sql.SQL:
        """The SQL of that name."""
        return statement(name.replace("/", "/citus/") if self.is_distributed and name in _OTHERWISE else name)

    def execute(self, connection: Connection, query: sql.SQL | sql.Composed) -> None:
        """Send the commands of a query without parameters.

        One after another to Citus: with a change of a table it hands on to its nodes all that was sent along with it.
        """
        if self.is_distributed:
            for command in _NEXT_COMMAND.split(query.as_string(connection)):
                connection.execute(command.encode())
        else:
            connection.execute(query)

    def distribute(self, table: str) -> sql.Composable:
        """What makes a new, empty table lie beside `watch_time`, row by row; nothing on a single server.

        Before the first row: those that came earlier would stay on the coordinator, where nobody sees them.
        """
        return sql.SQL(_LIKE_WATCH_TIME).format(sql.Literal(table)) if self.is_distributed else sql.SQL("")


def dialect(connection: Connection) -> Dialect:
    """The dialect of the warehouse on the connection's search path; asks nothing where there is no extension."""
    return Dialect(connection.has_citus and "watch_time" not in _undistributed(connection))


def require_coordinator(connection: Connection) -> None:
    """Refuse to make tables on a worker.

    Raises:
        Misconfigured: the connection's server is one.
    """
    if connection.has_citus and not _cluster(connection)["is_coordinator"]:
        raise Misconfigured(
            "the server is a worker of a Citus cluster; the ledger is on the coordinator",
            next_step="name the coordinator in WATCH_TIME_DATABASE_URL, then: `watch-time migrate`",
        )


def distribute(connection: Connection) -> None:
    """Distribute the tables, what is in them included, where the database has the extension and they are not yet.

    Raises:
        Misconfigured: the cluster has no node for them.
    """
    if not connection.has_citus:
        return
    node = _cluster(connection)
    missing = _undistributed(connection)
    if missing and not node["nodes"]:
        raise Misconfigured(
            "the database has the extension citus, but the cluster has no node for shards",
            next_step="add one (SELECT citus_add_node('HOST', 5432)), or drop the extension, then: "
            "`watch-time migrate`",
        )
    for table in missing:
        connection.execute(statement(f"warehouse/citus/distribute_{table}"))
        log.info("table_distributed", table=table, nodes=node["nodes"])
    connection.execute(statement("warehouse/citus/create_views"))


def has_prepared_transactions(connection: Connection) -> bool:
    """Whether a node has a transaction that is prepared and not committed yet, or cannot be asked."""
    (row,) = fetch_rows(connection, statement("warehouse/citus/has_prepared_transactions"))
    return bool(row["has_prepared_transactions"])


def check_cluster(connection: Connection) -> tuple[str, str | None] | None:
    """What the cluster looks like, and what to do where it is not as it should be; None: there is none."""
    if not connection.has_citus:
        return None
    if missing := _undistributed(connection):
        return f"not distributed, although the extension is installed: {', '.join(missing)}", "`watch-time migrate`"
    node = _cluster(connection)
    if out_of_reach := fetch_rows(connection, statement("warehouse/citus/list_nodes_out_of_reach")):
        nodes = ", ".join(f"{row['node']} from {row['seen_from']}" for row in out_of_reach)
        return f"unreachable: {nodes}", "start the node, or let the others connect to it; until then runs exit with 75"
    return f"version {node['version']}, watch_time on {plural(node['nodes'], 'node')}", None


def _cluster(connection: Connection) -> dict[str, Any]:
    (node,) = fetch_rows(connection, statement("warehouse/citus/read_cluster"))
    return node


def _undistributed(connection: Connection) -> list[str]:
    """Those of the tables that are to be distributed and are not, in the order in which they are to be."""
    return [row["name"] for row in fetch_rows(connection, statement("warehouse/citus/list_undistributed"))]
