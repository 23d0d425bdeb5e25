"""pandas: read_csv in chunks, and each chunk's `to_sql` into a table with a key, in one transaction.

    to_sql.py URL CSV rows|multi|copy

`rows` is to_sql's default, `multi` many rows to an INSERT, `copy` the callable with COPY from pandas's documentation.
to_sql cannot update: what is stored of the day is deleted first.
"""

from __future__ import annotations

import csv
import io
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Iterable

_COLUMNS = ["title", "content_id", "streaming_type", "created_at", "customer_id", "watch_seconds"]

# An INSERT takes 65,535 parameters at most.
_ROWS_TO_AN_INSERT = 65_535 // len(_COLUMNS)
_ROWS_TO_A_CHUNK = 100_000


def _copy(table: Any, connection: sa.Connection, keys: list[str], rows: Iterable[Any]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    columns = ", ".join(f'"{key}"' for key in keys)
    query = f"COPY {table.name} ({columns}) FROM STDIN WITH (FORMAT csv, FORCE_NOT_NULL (customer_id))"
    # psycopg's own cursor, which SQLAlchemy knows as any driver's.
    cursor: Any = connection.connection.cursor()
    with cursor, cursor.copy(query) as copy:
        copy.write(text.getvalue())


def main(url: str, path: str, way: str) -> None:
    """Load once, in the place of what is there."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    types = dict.fromkeys(_COLUMNS, "str") | {"watch_seconds": "float64"}
    chunks = pd.read_csv(
        path, names=_COLUMNS, header=0, dtype=types, keep_default_na=False, encoding="utf-8", chunksize=_ROWS_TO_A_CHUNK
    )
    with engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM report WHERE report_date = '2026-01-05' AND report_type = 'VOD'"))
        for chunk in chunks:
            typed = chunk.assign(created_at=pd.to_datetime(chunk["created_at"], utc=True))
            if way == "copy":
                typed.to_sql("report", connection, if_exists="append", index=False, method=_copy)
            elif way == "multi":
                typed.to_sql(
                    "report", connection, if_exists="append", index=False, method="multi", chunksize=_ROWS_TO_AN_INSERT
                )
            else:
                typed.to_sql("report", connection, if_exists="append", index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
