"""The limit: rows that lie ready as COPY text go into a bare table, whose key is built afterwards.

    copy_prepared.py URL PREPARED

Nothing is read, checked or recorded. Prints the seconds from connecting to the commit: starting Python is not in them.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psycopg

_BLOCK_BYTES = 4 << 20


def main(url: str, prepared: str) -> None:
    """Load once, anew."""
    began_s = time.monotonic()
    with psycopg.connect(url) as connection, Path(prepared).open("rb") as file:
        connection.execute("DROP TABLE IF EXISTS report")
        connection.execute("""
            CREATE TABLE report (
                content_id     text COLLATE "C" NOT NULL,
                customer_id    text COLLATE "C" NOT NULL,
                streaming_type text COLLATE "C" NOT NULL,
                report_date    date NOT NULL DEFAULT '2026-01-05',
                report_type    text COLLATE "C" NOT NULL DEFAULT 'VOD',
                watch_seconds  numeric NOT NULL
            )""")
        with connection.cursor().copy(
            "COPY report (content_id, customer_id, streaming_type, watch_seconds) FROM STDIN"
        ) as copy:
            while block := file.read(_BLOCK_BYTES):
                copy.write(block)
        connection.execute(
            "ALTER TABLE report ADD PRIMARY KEY (customer_id, content_id, streaming_type, report_date, report_type)"
        )
        connection.execute("DROP TABLE IF EXISTS report_sums")
        connection.execute("""
            CREATE TABLE report_sums AS
            SELECT content_id,
                   streaming_type,
                   count(*) FILTER (WHERE customer_id <> '') AS customers,
                   sum(watch_seconds) AS watch_seconds,
                   sum(watch_seconds) FILTER (WHERE customer_id = '') AS anonymous_seconds
            FROM report
            GROUP BY content_id, streaming_type
            """)
    print(time.monotonic() - began_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
