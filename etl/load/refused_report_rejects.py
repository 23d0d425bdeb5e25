"""Rejected lines in the database: those of a refused report are recorded; an accepted report's come with its load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.domain.pipeline_values import Reject
    from etl.domain.slices import Slice
    from etl.warehouse.transactions import Connection


def record(connection: Connection, slice_: Slice, report_sha256: str, rejects: Sequence[Reject]) -> None:
    """Store rejected lines with number, reason and raw text."""
    with connection.cursor() as cursor, cursor.copy(statement("load/copy_rejects")) as copy:
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


def delete(connection: Connection, slice_: Slice, *, report_sha256: str | None = None) -> None:
    """Delete the rejected lines of reports that were not accepted, and of the current report, which is read again."""
    connection.execute(statement("load/delete_rejects"), {**slice_.key(), "report_sha256": report_sha256})
