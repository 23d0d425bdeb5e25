"""Counts distinct customers per day and per settled month: exactly, and after loads have committed.

A count is valid until the period's facts change; the views show only valid counts.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from etl.load.compaction import first_open_date
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse import citus, ledger
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows, in_savepoint

if TYPE_CHECKING:
    from datetime import date

    from etl.config.settings import Settings
    from etl.runtime.cancellation import Stop
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection


@dataclass(frozen=True, slots=True)
class _Period:
    """A day or a month, with its first and last date, and the statement that counts it."""

    statement_name: str
    start: date
    last: date

    def __str__(self) -> str:
        return f"{self.start}" if self.start == self.last else f"{self.start:%Y-%m}"


def count_stale(
    database: Database,
    settings: Settings,
    stop: Stop,
    *,
    today: date,
    time_limit_s: float | None = None,
    progress: ProgressReporter = SILENT,
) -> tuple[int, int]:
    """Count the days and the settled months whose facts changed after they were counted, newest first.

    A month is settled when runs no longer request it. No new count starts after `time_limit_s`; None: no limit. On
    Citus, a period is left if a load commits meanwhile.

    Returns:
        How many periods were counted, and how many are left.
    """
    began_s = time.monotonic()
    before = first_open_date(settings, today=today).replace(day=1)
    stale = database.run(partial(_list_stale, before=before))
    progress.expect(len(stale))
    counted = 0
    for period in stale:
        stop.check()
        if time_limit_s is not None and time.monotonic() - began_s > time_limit_s:
            break
        progress.begin(f"{period}: counting customers")
        is_counted = database.run(partial(_count, period=period))
        progress.advance(f"{period} counted" if is_counted else f"{period} left to the next count")
        counted += is_counted
    return counted, len(stale) - counted


def _list_stale(connection: Connection, *, before: date) -> list[_Period]:
    days = [row["start_date"] for row in fetch_rows(connection, statement("load/list_uncounted_days"))]
    months = fetch_rows(connection, statement("load/list_uncounted_months"), {"before": before})
    return [
        *(_Period("load/count_day", day, day) for day in days),
        *(_Period("load/count_month", row["start_date"], row["last_date"]) for row in months),
    ]


def _count(connection: Connection, *, period: _Period) -> bool:
    """Count the period's customers; False if it is unknown whether facts and ledger are from the same moment."""
    dialect = citus.dialect(connection)
    dialect.execute(connection, dialect.statement("load/set_count_limits"))
    count, start = dialect.statement(period.statement_name), {"start": period.start}
    if not dialect.is_distributed:
        connection.execute(count, start)
        return True
    # A load commits on the coordinator first, then on each node. What the ledger says now is on all nodes if they have
    # nothing left to commit; a version that it reaches after that must not be stored with the count.
    known = ledger.read_facts_versions(connection, period.start, period.last)
    if citus.has_prepared_transactions(connection):
        return False

    def count_known() -> bool:
        connection.execute(count, start)
        return ledger.read_facts_versions(connection, period.start, period.last) == known

    return in_savepoint(connection, count_known)
