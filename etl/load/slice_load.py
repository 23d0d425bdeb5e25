"""Bringing a normalised report into the fact table, inside the caller's transaction.

Two ways. A slice that no partition covers gets a bare table, which is filled, keyed and attached: several times cheaper
than filling a keyed table. One that is covered, by its own partition or its month's, is compared with the new report,
and only the differences are written. What the report holds is counted on the way in, and compared with what is stored
at the end.

Needs the transaction's search path to name the warehouse's schema, and the slice's lock to be held.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

from psycopg import sql

from etl.domain.errors import ReconciliationFailed
from etl.domain.report_values import Change
from etl.load import partitions
from etl.transform.copy_encoder import encoded
from etl.transform.prefetch import ahead
from etl.warehouse import citus
from etl.warehouse.connection import statement, try_build_unique

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from psycopg.abc import Buffer
    from psycopg.rows import TupleRow

    from etl.domain.report_values import Chunk, Tally
    from etl.domain.slices import Slice
    from etl.transform.copy_encoder import Encoded
    from etl.warehouse.connection import Connection

# So much of contents and rejects is kept in memory while facts are sent.
_BESIDE_BYTES: Final = 8 << 20


class Loading:
    """One report on its way into one slice: `stage`, then `merge`, then `apply`, in one transaction.

    With `aside` the report stays beside the table, however it is stored, and there is no `apply`.

    Between `merge` and `apply` nothing that readers see has changed yet: that is where guards belong.

    Attributes:
        slice: which one.
    """

    def __init__(self, connection: Connection, slice_: Slice, report_sha256: str, *, aside: bool = False) -> None:
        self._connection = connection
        self.slice = slice_
        self._report_sha256 = report_sha256
        self._parameters = {"report_date": slice_.report_date, "report_type": slice_.report_type.value}
        self._leaf = partitions.of_slice(slice_)
        self._is_stored = aside or partitions.is_covered(connection, slice_)
        self._dialect = citus.dialect(connection)
        self._lines_name = f"{self._leaf.name}_incoming" if self._is_stored else self._leaf.name
        self._lines = sql.Identifier(self._lines_name)
        self._has_rejects = False
        self._merged = 0
        self._repeated = 0

    def stage(self, chunks: Iterable[Chunk], tally: Tally) -> None:
        """Bring the report into the database, unseen by readers, and count it into `tally`."""
        self._connection.execute(statement("load/create_incoming_content"))
        if self._is_stored:
            self._do("load/create_incoming", distribute=self._dialect.distribute(self._lines_name))
        else:
            self._do("load/create_leaf")
        beside, goes_on = _Beside(), True
        with closing(ahead(encoded(chunks, tally))) as left:
            while goes_on:
                goes_on = self._copy_facts(left, beside)
                self._copy_beside(beside)

    def _copy_facts(self, pieces: Iterator[Encoded], beside: _Beside) -> bool:
        """In one COPY, each of which leaves some empty pages behind; False: that was all."""
        query = statement("load/copy_facts").format(table=self._lines)
        with self._connection.cursor() as cursor, cursor.copy(query) as copy:
            for piece in pieces:
                copy.write(piece.facts)
                beside.add(piece)
                if beside.size_bytes > _BESIDE_BYTES:
                    return True
        return False

    def _copy_beside(self, beside: _Beside) -> None:
        contents, rejects = beside.take()
        self._copy("load/copy_content", contents)
        if any(rejects):
            # Aside first: a refused report with a million of them would leave as many dead rows behind.
            if not self._has_rejects:
                self._do("load/create_incoming_reject", report_sha256=sql.Literal(self._report_sha256))
                self._has_rejects = True
            self._copy("load/copy_incoming_reject", rejects)

    def _copy(self, statement_name: str, texts: Sequence[memoryview]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(statement(statement_name)) as copy:
            for text in texts:
                copy.write(text)

    def merge(self, tally: Tally) -> int:
        """Make one row of the lines of one key; gives the number of rows.

        Where the report lies beside the table, the temporary table `difference` then has the rows in which the two
        differ.
        """
        if self._is_stored:
            self._do("load/compare_slice")
            if self._row_of(statement("load/shares_keys"), {**self._parameters, "lines": tally.rows_accepted}) == (
                True,
            ):
                self._merge_lines("load/merge_incoming", tally)
                self._do("load/compare_slice")
            self._drop_lines()
        elif not try_build_unique(
            self._connection, self._on("load/build_unique", table=self._lines, query=self._on("load/key_leaf"))
        ):
            self._merge_lines("load/merge_leaf", tally)
            self._do("load/key_leaf")
        return tally.rows_accepted - self._merged

    def stored_rows(self) -> Iterator[Buffer]:
        """The slice's rows with titles, in key order, each a record of CSV: what is stored, or is about to be."""
        facts = self._on("load/slice_rows") if self._is_stored else self._lines
        # Nothing here was analyzed yet, and a nested loop, which is never right for whole slices, may look cheap.
        self._connection.execute("SET LOCAL enable_nestloop = off")
        with (
            self._connection.cursor() as cursor,
            cursor.copy(statement("load/copy_slice_out").format(facts=facts)) as copy,
        ):
            yield from copy
        self._connection.execute("SET LOCAL enable_nestloop TO DEFAULT")

    def apply(self, tally: Tally, *, before_sharing: Callable[[], None] = lambda: None) -> Change:
        """Make the slice equal to the report, and prove it.

        Args:
            tally: what the report holds.
            before_sharing: called when `stored_rows` are the new ones, and no lock is taken yet that other slices
                would wait for.

        Raises:
            ReconciliationFailed: the slice's rows or seconds are not those of the report; the caller rolls back.
        """
        rows = tally.rows_accepted - self._merged
        if self._is_stored:
            inserted, deleted, updated = self._row_of(statement("load/count_differences"))
            name = f"{self._leaf.name}_difference"
            distribute = self._dialect.distribute(name)
            self._do("load/apply_differences", difference=sql.Identifier(name), distribute=distribute)
            before_sharing()
        else:
            inserted, deleted, updated = rows, 0, 0
            before_sharing()
            if rows:
                self._do("load/attach_leaf")
            else:
                self._drop_lines()
        change = Change(
            inserted=inserted,
            updated=updated,
            deleted=deleted,
            unchanged=rows - inserted - updated,
            merged=self._merged,
            repeated=self._repeated,
        )
        self._reconcile(change, tally)
        # Last: it locks contents that other slices name too, and they wait for our commit.
        self._connection.execute(statement("load/upsert_content"), self._parameters)
        if self._has_rejects:
            self._connection.execute(statement("load/keep_rejects"))
        return change

    def _reconcile(self, change: Change, tally: Tally) -> None:
        rows, watch_seconds = partitions.measure(self._connection, self.slice)
        if (rows, watch_seconds) != (change.stored, tally.watch_seconds):
            raise ReconciliationFailed(
                f"the report has {change.stored} rows and {tally.watch_seconds} s, "
                f"the table would have {rows} rows and {watch_seconds} s; rolled back",
                next_step="keep the report and have this looked at; what was stored before is untouched",
            )

    def _merge_lines(self, statement_name: str, tally: Tally) -> None:
        name = f"{self._leaf.name}_merged"
        (self._repeated,) = self._row_of(statement("load/count_repeated").format(lines=self._lines))
        distribute = self._dialect.distribute(name)
        self._do(statement_name, merged=sql.Identifier(name), distribute=distribute)
        (rows,) = self._row_of(sql.SQL("SELECT count(*) FROM {}").format(self._lines))
        self._merged = tally.rows_accepted - rows

    def _do(self, statement_name: str, **more: sql.Composable) -> None:
        self._dialect.execute(self._connection, self._on(statement_name, **more))

    def _on(self, statement_name: str, **more: sql.Composable) -> sql.Composed:
        return self._leaf.on(statement_name, self._dialect, incoming=self._lines, **more)

    def _drop_lines(self) -> None:
        self._connection.execute(sql.SQL("DROP TABLE {}").format(self._lines))

    def _row_of(self, query: sql.SQL | sql.Composed, parameters: Mapping[str, object] | None = None) -> TupleRow:
        row = self._connection.execute(query, parameters).fetchone()
        return row or ()


class _Beside:
    """What comes with the facts into other tables: kept while their COPY goes on.

    Attributes:
        size_bytes: about how much memory that takes.
    """

    def __init__(self) -> None:
        self._contents: list[memoryview] = []
        self._rejects: list[memoryview] = []
        self.size_bytes = 0

    def take(self) -> tuple[Sequence[memoryview], Sequence[memoryview]]:
        """The contents and the rejects, as COPY text; they are not kept any more."""
        taken = self._contents, self._rejects
        self._contents, self._rejects, self.size_bytes = [], [], 0
        return taken

    def add(self, piece: Encoded) -> None:
        """Keep what goes elsewhere."""
        self._contents.append(piece.contents)
        self._rejects.append(piece.rejects)
        self.size_bytes += len(piece.contents) + len(piece.rejects)
