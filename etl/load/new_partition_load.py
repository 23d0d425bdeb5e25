"""Loads a slice that no partition covers: into a table without indexes, which is then given its key and attached.

Several times cheaper than filling a table that has its key already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etl.load.load_steps import SliceLoad
from etl.warehouse.transactions import try_build_unique

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg.abc import Buffer

    from etl.domain.pipeline_values import Tally

# So many rows take less than min_parallel_table_scan_size, 8 MB: Postgres sums them without parallel workers.
_FEW_ROWS: Final = 50_000


class NewPartitionLoad(SliceLoad):
    """Copies the report's lines into the table that becomes the slice's partition."""

    def _lines_name(self) -> str:
        return self._partition.name

    def _create_lines(self) -> None:
        self._execute("load/create_partition")

    def deduplicate(self, tally: Tally) -> int:
        """Sum lines with equal keys into one row, if building the key finds any; returns the number of rows."""
        build = self._render("load/build_unique", query=self._render("load/key_partition"))
        if not try_build_unique(self._connection, build):
            self._merge_lines("load/merge_partition", tally)
            self._execute("load/key_partition")
        return self._count_rows(tally)

    def write(self) -> None:
        """Store the sums per content item; the lines already are the rows."""
        if self._dialect.is_distributed or not 0 < self._rows <= _FEW_ROWS:
            self._store_sums(self._lines)
        else:
            self._execute("load/insert_sums", sums=self._render("load/select_sums", facts=self._lines))
            self._totals = "load/total_partition"

    def stored_rows(self) -> Iterator[Buffer]:
        """The rows of the future partition."""
        return self._copy_out(self._lines)

    def _publish(self) -> tuple[int, int, int]:
        if self._rows:
            self._execute("load/attach_partition")
        else:
            self._drop_lines()
        return self._rows, 0, 0
