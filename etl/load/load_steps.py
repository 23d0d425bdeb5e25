"""Loads a normalized report into one slice, in the caller's transaction: the steps that both strategies share.

The steps, in this order: `stage`, `deduplicate`, `write`, `finish`. Readers see no change before `write`,
so guards run before it. The report is counted while it is staged, and compared with the stored rows at the end.

Needs the transaction's search path to name the warehouse's schema, and the slice's lock to be held.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

from psycopg import sql

from etl.domain.errors import ReconciliationFailed
from etl.domain.pipeline_values import Change
from etl.domain.plurals import plural
from etl.load import partition_bounds
from etl.warehouse import citus
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from psycopg.abc import Buffer
    from psycopg.rows import TupleRow

    from etl.domain.pipeline_values import EncodedChunk, Tally
    from etl.domain.slices import Slice
    from etl.warehouse.transactions import Connection

# Limit of contents and rejects kept in memory while facts are sent.
_BESIDE_BYTES: Final = 8 << 20


class SliceLoad(ABC):
    """The load of one report into one slice.

    Attributes:
        slice: which one.
    """

    def __init__(self, connection: Connection, slice_: Slice, report_sha256: str) -> None:
        self.slice = slice_
        self._connection = connection
        self._report_sha256 = report_sha256
        self._partition = partition_bounds.of_slice(slice_)
        self._dialect = citus.dialect(connection)
        self._lines = sql.Identifier(self._lines_name())
        self._has_rejects = False
        self._totals = "load/total_sums"
        self._rows = 0
        self._merged = 0
        self._repeated = 0

    @abstractmethod
    def _lines_name(self) -> str:
        """The table that receives the report's lines."""

    @abstractmethod
    def _create_lines(self) -> None: ...

    def stage(self, chunks: Iterator[EncodedChunk]) -> None:
        """Copy the report into the database, invisible to readers."""
        self._connection.execute(statement("load/create_incoming_content"))
        self._create_lines()
        beside, goes_on = _SideBuffer(), True
        while goes_on:
            goes_on = self._copy_facts(chunks, beside)
            self._copy_beside(beside)

    @abstractmethod
    def deduplicate(self, tally: Tally) -> int:
        """Sum lines with equal keys into one row; returns the number of rows."""

    @abstractmethod
    def write(self) -> None:
        """Replace the stored rows with those of the report, and update the rollup.

        Takes no lock that loads of other slices would wait for.
        """

    @abstractmethod
    def stored_rows(self) -> Iterator[Buffer]:
        """The rows that are stored, or about to be, with titles, in key order, as CSV records."""

    def finish(self, tally: Tally) -> Change:
        """Make the rows visible, reconcile them, and store contents and rejects (these lock rows of other slices).

        Raises:
            ReconciliationFailed: the slice's rows or seconds are not those of the report; the caller rolls back.
        """
        inserted, deleted, updated = self._publish()
        change = Change(
            inserted=inserted,
            updated=updated,
            deleted=deleted,
            unchanged=self._rows - inserted - updated,
            merged=self._merged,
            repeated=self._repeated,
        )
        self._reconcile(change, tally)
        # Last, because it locks content rows that other slices need too until the commit.
        self._connection.execute(statement("load/upsert_content"), self.slice.key())
        if self._has_rejects:
            self._connection.execute(statement("load/store_rejects"))
        return change

    @abstractmethod
    def _publish(self) -> tuple[int, int, int]:
        """Make the written rows visible; returns the numbers of inserted, deleted and updated rows."""

    def _copy_facts(self, chunks: Iterator[EncodedChunk], beside: _SideBuffer) -> bool:
        """Copy facts in one COPY until `beside` is full (each COPY leaves empty pages); False at the report's end."""
        query = self._render("load/copy_facts")
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            for chunk in chunks:
                copy.write(chunk.facts)
                beside.add(chunk)
                if beside.size_bytes > _BESIDE_BYTES:
                    return True
        return False

    def _copy_beside(self, beside: _SideBuffer) -> None:
        contents, rejects = beside.take()
        self._copy("load/copy_content", contents)
        if any(rejects):
            # Into a side table first: a refused report with a million rejects would leave as many dead rows behind.
            if not self._has_rejects:
                self._execute("load/create_incoming_reject", report_sha256=sql.Literal(self._report_sha256))
                self._has_rejects = True
            self._copy("load/copy_incoming_reject", rejects)

    def _copy(self, statement_name: str, texts: Sequence[memoryview]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(statement(statement_name)) as copy:
            for text in texts:
                copy.write(text)

    def _copy_out(self, facts: sql.Composable) -> Iterator[Buffer]:
        """The rows of that table or query."""
        # Nothing here was analyzed yet, and a nested loop, which is never right for whole slices, may look cheap.
        self._connection.execute("SET LOCAL enable_nestloop = off")
        query = statement("load/copy_slice_out").format(facts=facts)
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            yield from copy
        self._connection.execute("SET LOCAL enable_nestloop TO DEFAULT")

    def _reconcile(self, change: Change, tally: Tally) -> None:
        totals = self._connection.execute(self._render(self._totals)).fetchall()
        for table, total in zip(("watch_time", "content_daily"), totals, strict=True):
            if total != (change.stored, tally.watch_seconds):
                rows, watch_seconds = total
                raise ReconciliationFailed(
                    f"the report has {plural(change.stored, 'row')} and {tally.watch_seconds:,f} s, "
                    f"but {table} would have {plural(rows, 'row')} and {watch_seconds:,f} s; rolled back",
                    next_step="keep the report file and report this as a bug; the stored data is unchanged",
                )

    def _sum(self, facts: sql.Composable) -> None:
        """Sum the rows in `facts`, a table or query, per content."""
        self._execute("load/sum_slice", sums=self._render("load/select_sums", facts=facts))

    def _store_sums(self, facts: sql.Composable) -> None:
        """Make the rollup that of the rows in `facts`, a table or query."""
        self._sum(facts)
        self._execute("load/store_sums")

    def _merge_lines(self, statement_name: str, tally: Tally) -> None:
        name = f"{self._partition.name}_merged"
        (self._repeated,) = self._fetch_one(self._render("load/count_repeated"))
        distribute = self._dialect.distribute(name)
        self._execute(statement_name, merged=sql.Identifier(name), distribute=distribute)
        (rows,) = self._fetch_one(sql.SQL("SELECT count(*) FROM {}").format(self._lines))
        self._merged = tally.rows_accepted - rows

    def _count_rows(self, tally: Tally) -> int:
        self._rows = tally.rows_accepted - self._merged
        return self._rows

    def _execute(self, statement_name: str, **more: sql.Composable) -> None:
        self._dialect.execute(self._connection, self._render(statement_name, **more))

    def _render(self, statement_name: str, **more: sql.Composable) -> sql.Composed:
        return self._partition.render(statement_name, self._dialect, lines=self._lines, **more)

    def _drop_lines(self) -> None:
        self._connection.execute(sql.SQL("DROP TABLE {}").format(self._lines))

    def _fetch_one(self, query: sql.SQL | sql.Composed, parameters: Mapping[str, object] | None = None) -> TupleRow:
        row = self._connection.execute(query, parameters).fetchone()
        return row or ()


class _SideBuffer:
    """Buffers rows for other tables while the COPY of facts is running.

    Attributes:
        size_bytes: approximate memory use.
    """

    def __init__(self) -> None:
        self._contents: list[memoryview] = []
        self._rejects: list[memoryview] = []
        self.size_bytes = 0

    def take(self) -> tuple[Sequence[memoryview], Sequence[memoryview]]:
        """Return the contents and the rejects as COPY text, and empty the buffer."""
        taken = self._contents, self._rejects
        self._contents, self._rejects, self.size_bytes = [], [], 0
        return taken

    def add(self, chunk: EncodedChunk) -> None:
        """Buffer a chunk's contents and rejects."""
        self._contents.append(chunk.contents)
        self._rejects.append(chunk.rejects)
        self.size_bytes += len(chunk.contents) + len(chunk.rejects)
