"""Counts distinct customers per day and per settled month: exactly, and after loads have committed.

A count is valid until the period's facts change; the views show only valid counts.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Final

from etl.load.compaction import first_open_date
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse.connection import fetch_rows
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from datetime import date

    from etl.config.settings import Settings
    from etl.runtime.cancellation import Stop
    from etl.warehouse.connection import Connection
    from etl.warehouse.database import Database

# Counting a month of large reports takes longer than any load.
_STATEMENT_TIMEOUT: Final = "SET LOCAL statement_timeout = '2h'"
# Different customers and contents in key order come straight from the key's index; where there is none to follow, a
# sort in this much memory is many times quicker than what Postgres plans with its default.
_WORK_MEM: Final = "SET LOCAL work_mem = '64MB'"


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

    A month is settled when runs no longer request it. No new count starts after `time_limit_s`; None: no limit.

    Returns:
        How many periods were counted, and how many are left.
    """
    began_s = time.monotonic()
    before = first_open_date(settings, today=today).replace(day=1)
    stale = database.run(partial(_list_stale, before=before))
    progress.expect(len(stale))
    for done, (query, start) in enumerate(stale):
        stop.check()
        if time_limit_s is not None and time.monotonic() - began_s > time_limit_s:
            return done, len(stale) - done
        period = f"{start:%Y-%m}" if query == "count_month" else f"{start}"
        progress.begin(f"{period}: counting customers")
        database.run(partial(_count, name=query, start=start))
        progress.advance(f"{period} counted")
    return len(stale), 0


def _list_stale(connection: Connection, *, before: date) -> list[tuple[str, date]]:
    days = fetch_rows(connection, statement("load/list_uncounted_days"))
    months = fetch_rows(connection, statement("load/list_uncounted_months"), {"before": before})
    return [("count_day", row["start_date"]) for row in days] + [("count_month", row["start_date"]) for row in months]


def _count(connection: Connection, *, name: str, start: date) -> None:
    connection.execute(_STATEMENT_TIMEOUT)
    connection.execute(_WORK_MEM)
    connection.execute(statement(f"load/{name}"), {"start": start})
