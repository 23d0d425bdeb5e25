"""A big day, from an empty database to the last row, and the proof that nothing was lost on the way.

    .venv/bin/python benchmarks/big_day.py --rows 2000000

Serves a report of that many rows from the sandbox, loads it with the command in a process of its own into an embedded
Postgres, and then compares what is stored with the CSV: read by the standard library's csv module, added up in
integers of a thousandth of a second, row by row in key order. No code of the program takes part in the comparison.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse import embedded_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY = date(2026, 1, 5)
_STREAMING_TYPES = {"VOD": "VOD", "Live": "LIVE", "Live-to-VOD": "LIVE_TO_VOD"}


@dataclass(frozen=True)
class Comparison:
    """What was found; `equal` is the verdict."""

    equal: bool
    csv_rows: int
    csv_seconds: Decimal
    table_rows: int
    table_seconds: Decimal
    load_s: float
    peak_mb: float


def compare(rows: int, archive: str | None = None) -> Comparison:
    """Load a report of `rows` rows and compare; with the address of an empty archive, archive it too."""
    slice_ = Slice(DAY, ReportType.VOD)
    sandbox = Sandbox(SandboxConfig(vod_rows=rows, quiet_one_day_in=0, today=lambda: DAY + timedelta(days=3)))
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-big-day-") as folder,
        embedded_postgres.server(Path(folder) / "postgres") as uri,
        running(sandbox) as base_url,
    ):
        report = sandbox.report(slice_)  # made before the clock starts
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCH_TIME_")} | {
            "WATCH_TIME_API_BASE_URL": base_url,
            "WATCH_TIME_API_TOKEN": sandbox.config.token,
            "WATCH_TIME_ORG_ID": sandbox.config.org_id,
            "WATCH_TIME_DATABASE_URL": uri,
        }
        if archive:
            environment["WATCH_TIME_ARCHIVE_URL"] = archive
        _command(folder, environment, "migrate")
        began = time.monotonic()
        _command(folder, environment, "backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD")
        load_s = time.monotonic() - began
        peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (
            1024 if sys.platform != "darwin" else 1 << 20
        )
        csv_rows = sorted(_from_csv(report.path))
        table_rows = list(_from_table(uri))
        return Comparison(
            equal=csv_rows == table_rows,
            csv_rows=len(csv_rows),
            csv_seconds=Decimal(sum(row[3] for row in csv_rows)) / 1000,
            table_rows=len(table_rows),
            table_seconds=Decimal(sum(row[3] for row in table_rows)) / 1000,
            load_s=load_s,
            peak_mb=peak_mb,
        )


def _command(folder: str, environment: dict[str, str], *arguments: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "etl", *arguments], cwd=folder, env=environment, check=True, capture_output=True
    )


def _from_csv(path: Path) -> Iterator[tuple[bytes, bytes, str, int]]:
    with path.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file, strict=True):
            whole, _, thousandths = line["Watch Time (sec.)"].partition(".")
            yield (
                line["Content ID"].encode(),
                line["Customer ID"].encode(),
                _STREAMING_TYPES[line["Streaming Type"]],
                int(whole) * 1000 + int(thousandths.ljust(3, "0")),
            )


def _from_table(uri: str) -> Iterator[tuple[bytes, bytes, str, int]]:
    with psycopg.connect(uri) as connection, connection.cursor("facts") as cursor:
        cursor.itersize = 50_000
        cursor.execute(
            "SELECT convert_to(content_id, 'UTF8'), convert_to(customer_id, 'UTF8'), streaming_type, "
            "(watch_seconds * 1000)::bigint FROM watch_time ORDER BY content_id, customer_id, streaming_type"
        )
        yield from cursor


def main() -> None:
    """Print the comparison; exit 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--archive", help="archive it there: an empty folder, or s3://bucket/prefix")
    arguments = parser.parse_args()
    found = compare(arguments.rows, arguments.archive)
    print(f"CSV    {found.csv_rows:>12,} rows {found.csv_seconds:>22,} s")
    print(f"table  {found.table_rows:>12,} rows {found.table_seconds:>22,} s")
    print(f"rows compared one by one: {'equal' if found.equal else 'DIFFERENT'}")
    print(f"loaded in {found.load_s:.1f} s, process start and download included; peak memory {found.peak_mb:.0f} MB")
    raise SystemExit(0 if found.equal else 1)


if __name__ == "__main__":
    main()
