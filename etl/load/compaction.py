"""Merges the slices of a settled month into one partition, to keep the number of partitions small.

The month is built in a separate table, compared with the ledger, and swapped in, all in one transaction: a kill at any
point changes nothing. Loads continue meanwhile; if one commits a slice of the month, the new table is discarded.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from etl.domain.errors import ReconciliationFailed, SliceBusy, TryLater, WatchTimeError
from etl.domain.slices import Slice, dates_between, slices_of
from etl.load import partitions
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse import citus, ledger
from etl.warehouse.connection import fetch_rows, in_savepoint
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from etl.config.settings import Settings
    from etl.load.partitions import Partition
    from etl.runtime.cancellation import Stop
    from etl.warehouse.citus import Dialect
    from etl.warehouse.connection import Connection
    from etl.warehouse.database import Database

# Each try waits 50 ms for its locks at most; with the pauses this is about a minute of trying.
_TRIES: Final = 60
_PAUSE_S: Final = 0.8
# After a daily run nobody is to wait for that long.
_TRIES_AFTER_A_RUN: Final = 5
# Often enough to watch, and too rarely to cost anything.
_REPORTED_EVERY: Final = 10_000
# How many differing slices an error names; the next try names the next ones.
_NAMED: Final = 3
# A month with a slice loaded this recently may be in the middle of a backfill, which compaction would slow down.
_QUIET: Final = timedelta(days=1)
# Building a month of large reports takes longer than any load.
_STATEMENT_TIMEOUT: Final = "SET LOCAL statement_timeout = '2h'"
# One at a time: two would wait for each other's reads.
_LOCK: Final = "compaction"


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
        partitions.of_month(row["report_date"])
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
    return database.run(lambda connection: _compact(database, connection, month, stop, tries=tries, progress=progress))


def _compact(
    database: Database,
    connection: Connection,
    month: Partition,
    stop: Stop,
    *,
    tries: int,
    progress: ProgressReporter,
) -> Compacted | None:
    connection.execute(_STATEMENT_TIMEOUT)
    progress.begin(f"{month.month}: comparing with the ledger")
    if not _try_lock(connection, [_LOCK]):
        raise SliceBusy("another run is compacting the warehouse", next_step="run again when it has ended")
    known = _facts_versions(connection, month)
    own = _own_partitions(connection, month)
    if not own:
        return None
    dialect = citus.dialect(connection)
    slices = sql.SQL(", ").join(map(sql.Identifier, own.values()))
    drop = month.render("load/drop_slices", dialect, slices=slices)
    if not dialect.is_distributed:
        hold_off = month.render("load/hold_off_autovacuum", dialect, slices=slices)
        _retry_until_locked(connection, lambda: bool(connection.execute(hold_off)), month, stop, 1)
    _retry_until_locked(connection, lambda: _drop_and_undo(connection, drop, dialect), month, stop, tries)
    if not dialect.is_distributed:
        _require_equal(connection, month, known, "watch_time", dialect)
    dialect.execute(connection, month.render("load/create_month", dialect))
    _copy(database, connection, month, dialect, progress)
    progress.begin(f"{month.month}: building the key")
    dialect.execute(connection, month.render("load/key_month", dialect))
    progress.begin(f"{month.month}: comparing with the ledger")
    _require_equal(connection, month, known, month.name, dialect)
    names = [str(slice_) for slice_ in slices_of(dates_between(month.start.report_date, _last_date(month)))]

    def try_to_swap() -> bool:
        if not _try_lock(connection, names):
            return False
        if _facts_versions(connection, month) != known:
            raise _loaded_meanwhile(month)
        dialect.execute(connection, dialect.statement("load/lock_readers_out"))
        dialect.execute(connection, drop)
        dialect.execute(connection, month.render("load/attach_month", dialect))
        return True

    progress.begin(f"{month.month}: replacing the slices' partitions")
    _retry_until_locked(connection, try_to_swap, month, stop, tries)
    return Compacted(month, len(own))


def _drop_and_undo(connection: Connection, drop: sql.Composed, dialect: Dialect) -> bool:
    """Find out, before a month is built, which takes long, what would stand in the way of dropping its slices' tables.

    Readers may, or somebody's view of one of them; the latter is not looked for on Citus.
    """
    with connection.transaction(force_rollback=True):
        dialect.execute(connection, dialect.statement("load/lock_readers_out"))
        if not dialect.is_distributed:
            dialect.execute(connection, drop)
    return True


def _retry_until_locked(
    connection: Connection, work: Callable[[], bool], month: Partition, stop: Stop, tries: int
) -> None:
    for _ in range(tries):
        if in_savepoint(connection, work):
            return
        stop.sleep(_PAUSE_S * (0.5 + random.random()))  # noqa: S311 - not for secrets
    raise SliceBusy(
        f"{month.name}: its partitions were in use all the time and could not be replaced",
        next_step="nothing has changed; look for long transactions, or try at a quieter time",
    )


def _copy(
    database: Database, connection: Connection, month: Partition, dialect: Dialect, progress: ProgressReporter
) -> None:
    """Copy the rows: reads use a second connection, so that this one can write frozen rows."""
    records = ledger.read_range(connection, month.start.report_date, _last_date(month))
    rows = sum(record.rows_stored for record in records.values())
    progress.begin(f"{month.month}: copying rows", of=rows)
    if dialect.is_distributed:
        connection.execute(month.render("load/citus/fill_month", dialect))
        return
    with database.transaction() as reader:
        reader.execute(_STATEMENT_TIMEOUT)
        with (
            reader.cursor().copy(month.render("load/copy_month_out", dialect)) as out,
            connection.cursor().copy(month.render("load/copy_month_in", dialect)) as into,
        ):
            # Postgres sends each row by itself.
            for copied, row in enumerate(out):
                into.write(row)
                if copied % _REPORTED_EVERY == 0:
                    progress.reach(copied)


def _facts_versions(connection: Connection, month: Partition) -> Mapping[Slice, int]:
    return ledger.read_facts_versions(connection, month.start.report_date, _last_date(month))


def _own_partitions(connection: Connection, month: Partition) -> dict[Slice, str]:
    found = fetch_rows(
        connection, statement("load/list_month_slices"), {"start": month.start.report_date, "end": _last_date(month)}
    )
    return {Slice.of_row(row): row["partition"] for row in found}


def _require_equal(
    connection: Connection, month: Partition, known: Mapping[Slice, int], facts: str, dialect: Dialect
) -> None:
    """Compare the month's slices in the table `facts`, `watch_time` or the month's own, with the ledger."""
    unequal = fetch_rows(connection, month.render("load/list_unequal_slices", dialect, facts=sql.Identifier(facts)))
    if not unequal:
        return
    if _facts_versions(connection, month) != known:
        raise _loaded_meanwhile(month)
    named = [Slice.of_row(row) for row in unequal[:_NAMED]]
    reloads = " ".join(f"`watch-time backfill {slice_.as_options()} --reload`" for slice_ in named)
    more = f" and {len(unequal) - len(named)} more" if len(unequal) > len(named) else ""
    raise ReconciliationFailed(
        f"{month.name}: rows or seconds differ from the ledger's in {', '.join(map(str, named))}{more}; rolled back",
        next_step=f"nothing has changed; load them again: {reloads}",
    )


def _loaded_meanwhile(month: Partition) -> SliceBusy:
    return SliceBusy(
        f"a slice of {month.name} was loaded while the month was being merged",
        next_step="nothing has changed; the next run tries again",
    )


def _try_lock(connection: Connection, names: Sequence[str]) -> bool:
    """Whether all of these locks are ours, to the end of the transaction or savepoint."""
    return connection.execute(statement("load/try_lock_slices"), {"slices": list(names)}).fetchone() == (True,)


def _last_date(month: Partition) -> date:
    return month.end.report_date - timedelta(days=1)
