"""The lines of a report that are not loaded, on their way into the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from etl.db import statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etl.db import Connection
    from etl.report import Reject
    from etl.slices import Slice


def record(
    connection: Connection,
    slice_: Slice,
    report_sha256: str,
    rejects: Sequence[Reject],
    *,
    table: str = "report_reject",
) -> None:
    """Keep them with number, reason and raw text, in `table` or one of its shape."""
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
