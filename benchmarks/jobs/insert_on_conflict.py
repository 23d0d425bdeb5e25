"""SQLAlchemy: read the CSV, and upsert batch after batch with `insert().on_conflict_do_update`, in one transaction.

    insert_on_conflict.py URL CSV executemany|values

`executemany` hands a batch over as a list of parameters, `values` writes it into one INSERT. Rows that the new report
does not have stay.
"""

from __future__ import annotations

import csv
import sys
from itertools import islice
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

_COLUMNS = ["title", "content_id", "streaming_type", "created_at", "customer_id", "watch_seconds"]
_BATCH_ROWS = {"executemany": 10_000, "values": 5_000}


def main(url: str, path: str, way: str) -> None:
    """Load once, over what is there."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:", 1))
    table = sa.Table("report", sa.MetaData(), autoload_with=engine)
    with Path(path).open(newline="", encoding="utf-8") as file, engine.begin() as connection:
        lines = csv.reader(file)
        next(lines)
        while batch := [dict(zip(_COLUMNS, line, strict=True)) for line in islice(lines, _BATCH_ROWS[way])]:
            new = insert(table) if way == "executemany" else insert(table).values(batch)
            upsert = new.on_conflict_do_update(
                constraint=table.primary_key,
                set_={name: new.excluded[name] for name in ("title", "created_at", "watch_seconds")},
            )
            if way == "executemany":
                connection.execute(upsert, batch)
            else:
                connection.execute(upsert)


if __name__ == "__main__":
    main(*sys.argv[1:])
