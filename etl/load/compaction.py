"""Merges the slices of settled months into one partition each, to keep the number of partitions small."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from etl.domain.errors import TryLater, WatchTimeError
from etl.load import partition_bounds
from etl.load.month_merge import MonthMerge
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from datetime import date

    from etl.config.settings import Settings
    from etl.load.partition_bounds import Partition
    from etl.runtime.cancellation import Stop
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection

# Each try waits 50 ms for its locks at most; with the pauses this is about a minute of trying.
_TRIES: Final = 60
# After a daily run nobody is to wait for that long.
_TRIES_AFTER_A_RUN: Final = 5
# A month with a slice loaded this recently may be in the middle of a backfill, which compaction would slow down.
_QUIET: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Compacted:
    """A compacted month, and how many partitions it had."""

    month: Partition
    partitions_before: int

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"partition": self.month.name, "partitions_before": self.partitions_before}


def compact_all(
    database: Database, settings: Settings, stop: Stop, *, today: date, progress: ProgressReporter = SILENT
) -> tuple[list[Compacted], list[WatchTimeError]]:
    """Merge every settled month into one partition; a failure does not affect the other months.

    Returns:
        The months that were compacted, and the errors for the others.
    """
    done, trouble = list[Compacted](), list[WatchTimeError]()
    months = settled_months(database, settings, today=today)
    progress.expect(len(months))
    for month in months:
        try:
            compacted = compact(database, month, stop, progress=progress)
        except WatchTimeError as error:
            trouble.append(error)
            progress.advance(f"{month.month} not merged")
        else:
            done += [compacted] if compacted else []
            progress.advance(f"{month.month} merged")
    return done, trouble


def first_open_date(settings: Settings, *, today: date) -> date:
    """The oldest date that a run may still request; all dates before it are settled."""
    window = timedelta(days=max(settings.lookback_days, settings.recheck_days))
    return today - timedelta(days=settings.lag_days) - window


def settled_months(
    database: Database, settings: Settings, *, today: date, quiet_since: datetime | None = None
) -> list[Partition]:
    """The months, oldest first, that runs no longer request and that still have daily partitions.

    `quiet_since` excludes months with a slice loaded after that time.
    """
    first_open = first_open_date(settings, today=today)
    known = database.run(lambda connection: fetch_rows(connection, statement("load/list_months")))
    months = [
        partition_bounds.of_month(row["report_date"])
        for row in known
        if not (quiet_since and row["last_loaded_at"] and row["last_loaded_at"] > quiet_since)
    ]
    return [month for month in months if month.end.report_date <= first_open]


def compact_after_run(
    database: Database, settings: Settings, stop: Stop, *, today: date, progress: ProgressReporter = SILENT
) -> tuple[Compacted | None, list[WatchTimeError]]:
    """Merge the oldest settled, quiet month that can be compacted without waiting.

    Returns:
        The month that was compacted, and the errors for it or for older months.
    """
    quiet_since = datetime.now(UTC) - _QUIET
    trouble = list[WatchTimeError]()
    for month in settled_months(database, settings, today=today, quiet_since=quiet_since):
        try:
            return compact(database, month, stop, tries=_TRIES_AFTER_A_RUN, progress=progress), trouble
        except WatchTimeError as error:
            trouble.append(error)
            # The next month would meet the same trouble, and the next run comes. What a person has to fix is this
            # month's own, and is found before anything is built: it must not keep the others from their turn.
            if isinstance(error, TryLater):
                break
    return None, trouble


def compact(
    database: Database, month: Partition, stop: Stop, *, tries: int = _TRIES, progress: ProgressReporter = SILENT
) -> Compacted | None:
    """Merge the month into one partition; None if there is nothing left to do.

    Raises:
        SliceBusy: readers or loaders were in the way, or a slice of the month was loaded meanwhile.
        ReconciliationFailed: the facts and the ledger differ.
        Misconfigured: something else has the month's name, or depends on a slice's partition, or owns it.
        DatabaseUnavailable: nothing was changed.
    """

    def merge(connection: Connection) -> Compacted | None:
        merged = MonthMerge(database, connection, month, stop, progress).run(tries)
        return Compacted(month, merged) if merged else None

    return database.run(merge)
