"""Loading a slice that a partition covers, its own or its month's: only what differs from it is written.

Without `write` and `finish` it only compares: `watch-time verify`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from etl.load.slice_load import SliceLoad
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.abc import Buffer

    from etl.domain.pipeline_values import Tally


class DifferenceLoad(SliceLoad):
    """The report's lines lie beside the table, to be compared with it.

    From `deduplicate` on, the temporary table `difference` has the rows in which the two differ.
    """

    def _lines_name(self) -> str:
        return f"{self._partition.name}_incoming"

    def _create_lines(self) -> None:
        self._execute("load/create_incoming", distribute=self._dialect.distribute(self._lines_name()))

    def deduplicate(self, tally: Tally) -> int:
        """Sum the lines of one key into one row, and compare them with what is stored; gives the number of rows."""
        self._execute("load/compare_slice")
        lines = {**self.slice.key(), "lines": tally.rows_accepted}
        if self._fetch_one(statement("load/shares_keys"), lines) == (True,):
            self._merge_lines("load/merge_incoming", tally)
            self._execute("load/compare_slice")
        self._drop_lines()
        return self._count_rows(tally)

    def write(self) -> None:
        """Write the differences, and sum the rows."""
        name = f"{self._partition.name}_difference"
        distribute = self._dialect.distribute(name)
        self._execute("load/apply_differences", difference=sql.Identifier(name), distribute=distribute)
        self._store_sums(self._render("load/select_slice"))

    def stored_rows(self) -> Iterator[Buffer]:
        """The rows that the slice has in its partition."""
        return self._copy_out(self._render("load/select_slice"))

    def count_wrong_sums(self) -> int:
        """How many contents the rollup has other sums of than the stored rows give; for who does not write."""
        self._sum(self._render("load/select_slice"))
        (contents,) = self._fetch_one(self._render("load/count_wrong_sums"))
        return int(contents)

    def _publish(self) -> tuple[int, int, int]:
        inserted, deleted, updated = self._fetch_one(statement("load/count_differences"))
        return inserted, deleted, updated
