"""Merges the slices of one month into one partition.

The month is built in a separate table, compared with the ledger, and swapped in, all in one transaction: a kill at any
point changes nothing. Loads continue meanwhile; if one commits a slice of the month, the new table is discarded.
"""

from __future__ import annotations

import random
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Final

from psycopg import sql

from etl.domain.errors import ReconciliationFailed, SliceBusy
from etl.domain.slices import Slice, dates_between, slices_of
from etl.warehouse import citus, ledger
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows, in_savepoint

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import date

    from etl.load.partition_bounds import Partition
    from etl.runtime.cancellation import Stop
    from etl.runtime.progress_reporter import ProgressReporter
    from etl.warehouse.citus import Dialect
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection

_PAUSE_S: Final = 0.8
# Often enough to watch, and too rarely to cost anything.
_REPORTED_EVERY: Final = 10_000
# How many differing slices an error names; the next try names the next ones.
_NAMED: Final = 3
# Building a month of large reports takes longer than any load.
_STATEMENT_TIMEOUT: Final = "SET LOCAL statement_timeout = '2h'"
# One at a time: two would wait for each other's reads.
_LOCK: Final = "compaction"


class MonthMerge:
    """One attempt to merge a month, in the transaction of `connection`."""

    def __init__(
        self,
        database: Database,
        connection: Connection,
        month: Partition,
        stop: Stop,
        progress: ProgressReporter,
    ) -> None:
        self._database = database
        self._connection = connection
        self._month = month
        self._stop = stop
        self._progress = progress
        self._last_date: date = month.end.report_date - timedelta(days=1)

    @cached_property
    def _dialect(self) -> Dialect:
        return citus.dialect(self._connection)

    def run(self, lock_tries: int) -> int:
        """Build, compare, and swap; locks are asked for `lock_tries` times, for 50 ms at most each.

        Returns:
            How many partitions were merged; 0: none was left.

        Raises:
            SliceBusy: readers or loaders were in the way, or a slice of the month was loaded meanwhile.
            ReconciliationFailed: the facts and the ledger differ.
        """
        month = self._month.month
        self._connection.execute(_STATEMENT_TIMEOUT)
        self._progress.begin(f"{month}: comparing with the ledger")
        if not self._try_lock([_LOCK]):
            raise SliceBusy("another run is compacting the warehouse", next_step="run again when it has ended")
        known = self._facts_versions()
        slices = self._slice_partitions()
        if not slices:
            return 0
        drop = self._render("load/drop_slices", slices=_names(slices))
        self._look_for_obstacles(slices, drop, lock_tries)
        if not self._dialect.is_distributed:
            self._require_equal(known, "watch_time")
        self._execute(self._render("load/create_month"))
        self._copy()
        self._progress.begin(f"{month}: building the key")
        self._execute(self._render("load/key_month"))
        self._progress.begin(f"{month}: comparing with the ledger")
        self._require_equal(known, self._month.name)
        self._progress.begin(f"{month}: replacing the slices' partitions")
        self._retry_until_locked(lambda: self._try_to_swap(known, drop), lock_tries)
        return len(slices)

    def _look_for_obstacles(self, slices: Sequence[str], drop: sql.Composed, lock_tries: int) -> None:
        """Before a month is built, which takes long, find out what stands in the way of dropping its slices' tables.

        Readers may, or somebody's view of one of them; the latter is not looked for on Citus.
        """

        def try_to_drop() -> bool:
            with self._connection.transaction(force_rollback=True):
                self._execute(self._dialect.statement("load/lock_readers_out"))
                if not self._dialect.is_distributed:
                    self._execute(drop)
            return True

        if not self._dialect.is_distributed:
            hold_off = self._render("load/hold_off_autovacuum", slices=_names(slices))
            self._retry_until_locked(lambda: bool(self._connection.execute(hold_off)), 1)
        self._retry_until_locked(try_to_drop, lock_tries)

    def _copy(self) -> None:
        """Copy the rows: reads use a second connection, so that this one can write frozen rows."""
        records = ledger.read_range(self._connection, self._month.start.report_date, self._last_date)
        rows = sum(record.rows_stored for record in records.values())
        self._progress.begin(f"{self._month.month}: copying rows", of=rows)
        if self._dialect.is_distributed:
            self._connection.execute(self._render("load/citus/fill_month"))
            return
        with self._database.transaction() as reader:
            reader.execute(_STATEMENT_TIMEOUT)
            with (
                reader.cursor().copy(self._render("load/copy_month_out")) as out,
                self._connection.cursor().copy(self._render("load/copy_month_in")) as into,
            ):
                # Postgres sends each row by itself.
                for copied, row in enumerate(out):
                    into.write(row)
                    if copied % _REPORTED_EVERY == 0:
                        self._progress.reach(copied)

    def _try_to_swap(self, known: Mapping[Slice, int], drop: sql.Composed) -> bool:
        if not self._try_lock([str(slice_) for slice_ in self._slices()]):
            return False
        if self._facts_versions() != known:
            raise self._loaded_meanwhile()
        self._execute(self._dialect.statement("load/lock_readers_out"))
        self._execute(drop)
        self._execute(self._render("load/attach_month"))
        return True

    def _retry_until_locked(self, work: Callable[[], bool], tries: int) -> None:
        for _ in range(tries):
            if in_savepoint(self._connection, work):
                return
            self._stop.sleep(_PAUSE_S * (0.5 + random.random()))  # noqa: S311 - not for secrets
        raise SliceBusy(
            f"{self._month.name}: its partitions were in use all the time and could not be replaced",
            next_step="nothing has changed; look for long transactions, or try at a quieter time",
        )

    def _require_equal(self, known: Mapping[Slice, int], facts: str) -> None:
        """Compare the month's slices in the table `facts`, `watch_time` or the month's own, with the ledger."""
        unequal = fetch_rows(self._connection, self._render("load/list_unequal_slices", facts=sql.Identifier(facts)))
        if not unequal:
            return
        if self._facts_versions() != known:
            raise self._loaded_meanwhile()
        named = [Slice.of_row(row) for row in unequal[:_NAMED]]
        reloads = " ".join(f"`watch-time backfill {slice_.as_options()} --reload`" for slice_ in named)
        more = f" and {len(unequal) - len(named)} more" if len(unequal) > len(named) else ""
        raise ReconciliationFailed(
            f"{self._month.name}: rows or seconds differ from the ledger's in {', '.join(map(str, named))}{more}; "
            "rolled back",
            next_step=f"nothing has changed; load them again: {reloads}",
        )

    def _loaded_meanwhile(self) -> SliceBusy:
        return SliceBusy(
            f"a slice of {self._month.name} was loaded while the month was being merged",
            next_step="nothing has changed; the next run tries again",
        )

    def _slices(self) -> Sequence[Slice]:
        return slices_of(dates_between(self._month.start.report_date, self._last_date))

    def _facts_versions(self) -> Mapping[Slice, int]:
        return ledger.read_facts_versions(self._connection, self._month.start.report_date, self._last_date)

    def _slice_partitions(self) -> list[str]:
        """The month's partitions that hold one slice."""
        bounds = {"start": self._month.start.report_date, "end": self._last_date}
        return [
            row["partition"] for row in fetch_rows(self._connection, statement("load/list_slice_partitions"), bounds)
        ]

    def _try_lock(self, names: Sequence[str]) -> bool:
        """Whether all of these locks are ours, to the end of the transaction or savepoint."""
        found = self._connection.execute(statement("load/try_lock_slices"), {"slices": list(names)})
        return found.fetchone() == (True,)

    def _render(self, name: str, **more: sql.Composable) -> sql.Composed:
        return self._month.render(name, self._dialect, **more)

    def _execute(self, query: sql.SQL | sql.Composed) -> None:
        self._dialect.execute(self._connection, query)


def _names(partitions: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, partitions))
