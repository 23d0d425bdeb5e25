"""Bringing a normalised report into the fact table, inside the caller's transaction.

Two ways. A slice that no partition covers gets a bare table, which is filled, keyed and attached: several times cheaper
than filling a keyed table. One that is covered, by its own partition or its month's, is compared with the new report,
and only the differences are written. What the report holds is counted on the way in, and compared with what is stored
at the end.

Needs the transaction's search path to name the warehouse's schema, and the slice's lock to be held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pyarrow as pa
from psycopg import sql

from etl import partitions
from etl.ahead import ahead
from etl.contract import CONTENT_ID, CREATED_AT, CUSTOMER_ID, STREAMING_TYPE, TITLE, WATCH_SECONDS
from etl.copy_text import encode
from etl.db import builds_unique, statement
from etl.errors import ReconciliationFailed
from etl.report import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from psycopg.rows import TupleRow

    from etl.db import Connection
    from etl.report import Chunk, Reject, Tally
    from etl.slices import Slice

_FACTS: Final = (CONTENT_ID, CUSTOMER_ID, STREAMING_TYPE, WATCH_SECONDS)
_CONTENT: Final = (CONTENT_ID, TITLE, CREATED_AT)

# Contents remembered as sent already. Past that many they are sent again, which costs time; and where such a report
# has several titles for one content, the last line's wins.
_CONTENTS_REMEMBERED: Final = 500_000


class Loading:
    """One report on its way into one slice: `stage`, then `merge`, then `apply`, in one transaction.

    With `aside` the report stays beside the table, however it is stored, and there is no `apply`.

    Between `merge` and `apply` nothing that readers see has changed yet: that is where guards belong.
    """

    def __init__(self, connection: Connection, slice_: Slice, report_sha256: str, *, aside: bool = False) -> None:
        self._connection = connection
        self._slice = slice_
        self._report_sha256 = report_sha256
        self._parameters = {"report_date": slice_.report_date, "report_type": slice_.report_type.value}
        self._leaf = partitions.of_slice(slice_)
        self._is_stored = aside or partitions.is_covered(connection, slice_)
        self._lines = sql.Identifier("incoming" if self._is_stored else self._leaf.name)
        self._has_rejects = False
        self._merged = 0
        self._repeated = 0

    def stage(self, chunks: Iterable[Chunk], tally: Tally) -> None:
        """Bring the report into the database, unseen by readers, and count it into `tally`."""
        self._connection.execute(statement("create_incoming_content"))
        if self._is_stored:
            self._connection.execute(statement("create_incoming"))
        else:
            self._connection.execute(self._leaf.on("create_leaf"))
        copy_facts, copy_content = statement("copy_facts").format(table=self._lines), statement("copy_content")
        contents = _Contents()
        for chunk in ahead(chunks):
            tally.add(chunk)
            table = pa.Table.from_pandas(chunk.rows, preserve_index=False)
            self._copy(copy_facts, encode(table, _FACTS))
            self._copy(copy_content, encode(contents.new_in(table), _CONTENT))
            self._stage_rejects(chunk.rejects)

    def merge(self, tally: Tally) -> int:
        """Make one row of the lines of one key; gives the number of rows.

        Where the report lies beside the table, the temporary table `difference` then has the rows in which the two
        differ.
        """
        if self._is_stored:
            self._connection.execute(self._leaf.on("compare_slice"))
            missing, surplus = self._row_of(statement("count_one_sided"))
            stored, _ = self._row_of(statement("measure_slice"), self._parameters)
            self._merged = tally.rows_accepted - (stored + missing - surplus)
            if self._merged:
                self._count_repeated()
        elif not builds_unique(self._connection, self._leaf.on("key_leaf")):
            self._count_repeated()
            self._connection.execute(self._leaf.on("merge_leaf", merged=sql.Identifier(f"{self._leaf.name}_merged")))
            self._connection.execute(self._leaf.on("key_leaf"))
            (rows,) = self._row_of(sql.SQL("SELECT count(*) FROM {}").format(self._lines))
            self._merged = tally.rows_accepted - rows
        return tally.rows_accepted - self._merged

    def apply(self, tally: Tally) -> Change:
        """Make the slice equal to the report, and prove it.

        Raises:
            ReconciliationFailed: the slice's rows or seconds are not those of the report; the caller rolls back.
        """
        rows = tally.rows_accepted - self._merged
        if self._is_stored:
            deleted = self._connection.execute(statement("delete_vanished"), self._parameters).rowcount
            updated = self._connection.execute(statement("update_changed"), self._parameters).rowcount
            inserted = self._connection.execute(statement("insert_new"), self._parameters).rowcount
        else:
            deleted, updated, inserted = 0, 0, rows
            if rows:
                self._connection.execute(self._leaf.on("attach_leaf"))
            else:
                self._connection.execute(sql.SQL("DROP TABLE {}").format(self._lines))
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
        self._connection.execute(statement("upsert_content"), self._parameters)
        if self._has_rejects:
            self._connection.execute(statement("keep_rejects"))
        return change

    def _reconcile(self, change: Change, tally: Tally) -> None:
        rows, watch_seconds = self._row_of(statement("measure_slice"), self._parameters)
        if (rows, watch_seconds) != (change.stored, tally.watch_seconds):
            raise ReconciliationFailed(
                f"the report has {change.stored} rows and {tally.watch_seconds} s, "
                f"the table would have {rows} rows and {watch_seconds} s; rolled back",
                next_step="keep the report and have this looked at; what was stored before is untouched",
            )

    def _stage_rejects(self, rejects: Sequence[Reject]) -> None:
        """Aside first: a refused report with a million of them would leave as many dead rows behind."""
        if rejects and not self._has_rejects:
            self._connection.execute(statement("create_incoming_reject"))
            self._has_rejects = True
        if rejects:
            record_rejects(self._connection, self._slice, self._report_sha256, rejects, table="incoming_reject")

    def _count_repeated(self) -> None:
        (self._repeated,) = self._row_of(statement("count_repeated").format(lines=self._lines))

    def _copy(self, query: sql.SQL | sql.Composed, text: memoryview) -> None:
        if text:
            with self._connection.cursor() as cursor, cursor.copy(query) as copy:
                copy.write(text)

    def _row_of(self, query: sql.SQL | sql.Composed, parameters: Mapping[str, object] | None = None) -> TupleRow:
        row = self._connection.execute(query, parameters).fetchone()
        return row or ()


def record_rejects(
    connection: Connection,
    slice_: Slice,
    report_sha256: str,
    rejects: Sequence[Reject],
    *,
    table: str = "report_reject",
) -> None:
    """Keep lines that are not loaded, with number, reason and raw text."""
    query = statement("copy_rejects").format(table=sql.Identifier(table))
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for reject in rejects:
            copy.write_row(
                (
                    slice_.report_date,
                    slice_.report_type.value,
                    report_sha256,
                    reject.line_number,
                    reject.reason,
                    reject.raw_text,
                )
            )


class _Contents:
    """Which contents of a report were sent already: most chunks name the same ones."""

    def __init__(self) -> None:
        # 64-bit hashes instead of the texts: half a million of them stay small, and do not collide by chance.
        self._sent: set[int] = set()

    def new_in(self, table: pa.Table) -> pa.Table:
        """The contents of `table` that were not sent yet, one row per spelling of title and creation time."""
        distinct = table.group_by(list(_CONTENT), use_threads=False).aggregate([])
        # Moments as integers: a Python datetime for each costs more than all the rest.
        columns = (distinct.column(CONTENT_ID), distinct.column(TITLE), distinct.column(CREATED_AT).cast(pa.int64()))
        keys = [hash(row) for row in zip(*(column.to_pylist() for column in columns), strict=True)]
        fresh = [key not in self._sent for key in keys]
        if len(self._sent) < _CONTENTS_REMEMBERED:
            self._sent.update(keys)
        return distinct.filter(pa.array(fresh, pa.bool_()))
