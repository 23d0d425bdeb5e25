"""Loads a slice that its own or its month's partition covers: only the differences are written.

Without `write` and `finish` it only compares, as `watch-time verify` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from etl.load.load_steps import SliceLoad
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.abc import Buffer

    from etl.domain.pipeline_values import Tally


class DifferenceLoad(SliceLoad):
    """Stages the report's lines in a temporary table, and compares them with the stored rows.

    From `deduplicate` on, the temporary table `difference` has the rows in which the two differ.
    """

    def _lines_name(self) -> str:
        return f"{self._partition.name}_incoming"

    def _create_lines(self) -> None:
        self._execute("load/create_incoming", distribute=self._dialect.distribute(self._lines_name()))

    def deduplicate(self, tally: Tally) -> int:
        """Sum lines with equal keys into one row, and compare them with the stored rows; returns the number of rows."""
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
        """The slice's stored rows."""
        return self._copy_out(self._render("load/select_slice"))

    def count_wrong_sums(self) -> int:
        """How many content items have a sum in the rollup that differs from the stored rows. Only without `write`."""
        self._sum(self._render("load/select_slice"))
        (contents,) = self._fetch_one(self._render("load/count_wrong_sums"))
        return int(contents)

    def _publish(self) -> tuple[int, int, int]:
        inserted, deleted, updated = self._fetch_one(statement("load/count_differences"))
        return inserted, deleted, updated
