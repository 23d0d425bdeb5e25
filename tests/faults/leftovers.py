"""What a killed or failed process may leave in a database: tables, half-attached partitions, indexes, locks."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    Connection = psycopg.Connection[dict[str, Any]]

_TABLES = frozenset({
    "watch_time", "content", "content_daily", "customer_count", "warehouse", "report_slice", "report_revision",
    "report_check", "report_reject", "report_notice", "watch_time_version",
})  # fmt: skip
_BOUND = re.compile(r"FROM \('([\d-]+)', '(\w+)'\) TO \('([\d-]+)', '(\w+)'\)")
_A_DAY = timedelta(days=1)


def partition_violations(connection: Connection) -> Iterator[str]:
    """Whether each partition holds facts, has its key, and nothing that was only for its making."""
    partitions = connection.execute("""
        SELECT relname AS name, pg_class.oid, pg_get_expr(relpartbound, pg_class.oid) AS bound,
               (SELECT count(*) FROM pg_constraint WHERE conrelid = pg_class.oid AND contype = 'c' AND coninhcount = 0)
                   AS checks_of_its_own,
               (SELECT count(*) FROM pg_attrdef WHERE adrelid = pg_class.oid) AS defaults,
               child.inhdetachpending AS is_detaching,
               (
                   SELECT count(*)
                   FROM pg_index AS own
                   JOIN pg_inherits AS attached ON attached.inhrelid = own.indexrelid
                   JOIN pg_index AS whole ON whole.indexrelid = attached.inhparent
                   WHERE own.indrelid = pg_class.oid AND whole.indrelid = child.inhparent
                     AND own.indisprimary AND whole.indisprimary AND own.indnatts = 5
               ) AS keys,
               (
                   SELECT count(*)
                   FROM pg_index
                   JOIN pg_class AS index ON index.oid = indexrelid
                   JOIN pg_am ON pg_am.oid = index.relam
                   WHERE indrelid = pg_class.oid AND amname = 'brin'
               ) AS brins
        FROM pg_inherits AS child
        JOIN pg_class ON pg_class.oid = child.inhrelid
        WHERE child.inhparent = 'watch_time'::regclass
    """).fetchall()
    for row in partitions:
        # Not by tableoid: on a cluster that is the shard's, on its node.
        facts = sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(row["name"]))
        where = f"partition {row['name']}"
        if not connection.execute(facts).fetchone():
            yield f"{where}: holds no slice"
        if row["keys"] != 1:
            yield f"{where}: its primary key is not attached to that of watch_time"
        if row["checks_of_its_own"] or row["defaults"] or row["is_detaching"]:
            yield f"{where}: a CHECK or a DEFAULT of its making is left, or it is half detached"
        is_month = _is_month(row["bound"])
        if is_month is None:
            yield f"{where}: covers neither a slice nor a month: {row['bound']}"
        elif is_month and not row["brins"]:
            yield f"{where}: is a month without its index by date"


def _is_month(bound: str) -> bool | None:
    """Whether the partition is that of a month, or of one slice; None: neither."""
    if not (match := _BOUND.search(bound)):
        return None
    start, start_type, end, end_type = match.groups()
    first, following = date.fromisoformat(start), date.fromisoformat(end)
    if (start_type, end_type) == ("LIVE", "VOD") and first == following:
        return False
    if (start_type, end_type) == ("VOD", "LIVE") and following - first == _A_DAY:
        return False
    if (start_type, end_type) == ("LIVE", "LIVE") and first.day == following.day == 1:
        return True if (following - _A_DAY).replace(day=1) == first else None
    return None


def leftover_violations(connection: Connection) -> Iterator[str]:
    """Tables, indexes, locks and transactions that nobody will clean away."""
    relations = connection.execute("""
        SELECT relname AS name, relkind AS kind
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
          AND relkind NOT IN ('i', 'I', 'v')
          AND NOT EXISTS (
              SELECT FROM pg_inherits WHERE inhrelid = pg_class.oid AND inhparent = 'watch_time'::regclass
          )
    """).fetchall()
    for row in relations:
        if row["name"] not in _TABLES:
            yield f"table {row['name']} is left over (kind {row['kind']})"
    for name in sorted(_TABLES - {row["name"] for row in relations}):
        yield f"table {name} is not there"
    for row in connection.execute("""
        SELECT pg_class.oid::regclass AS name
        FROM pg_class
        WHERE relpersistence = 't' AND relkind = 'r'
    """).fetchall():
        yield f"temporary table {row['name']} is left over"
    for row in connection.execute("""
        SELECT indexrelid::regclass AS name
        FROM pg_index
        JOIN pg_class ON pg_class.oid = indrelid
        WHERE relnamespace = current_schema()::regnamespace
          AND NOT (indisvalid AND indisready AND indislive)
    """).fetchall():
        yield f"index {row['name']} is not valid"
    for row in connection.execute("""
        SELECT relname AS name
        FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace
          AND relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = pg_class.oid AND indisprimary)
    """).fetchall():
        yield f"table {row['name']} has no primary key"
    for row in connection.execute("""
        SELECT locktype, mode, pg_locks.pid, application_name
        FROM pg_locks
        LEFT JOIN pg_stat_activity USING (pid)
        WHERE pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
          AND (locktype = 'advisory' OR application_name = 'watch-time' OR pg_locks.pid IS NULL)
    """).fetchall():
        yield f"a lock is left: {row['locktype']} {row['mode']} of {row['pid']} {row['application_name']}"
    for row in connection.execute("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()").fetchall():
        yield f"the prepared transaction {row['gid']} is left"
