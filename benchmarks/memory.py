"""The peak memory of a load: of an ordinary report, and of reports that are made to take as much of it as they can.

    .venv/bin/python benchmarks/memory.py --rows 4000000

Serves each report from the sandbox, loads it with the command in a process of its own into a new database, and checks
that each of its lines is stored, merged, or kept as a reject. Ends with 1 where one is not, or a peak is above the
limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import postgres
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.report_generator import HEADER
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from measure import Server, cost, database_in

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from measure import Cost

SLICE: Final = Slice(date(2026, 1, 5), ReportType.VOD)

# What design.md promises for reports of any size.
LIMIT_MB: Final = 400


def _numbered(line: str) -> Callable[[int], bytes]:
    """So many lines; `#` in them stands for the number of the line."""
    return lambda rows: "".join(line.replace("#", str(number)) for number in range(rows)).encode()


# A report with nothing else than rejected lines is never accepted.
_GOOD: Final = b"t,c,VOD,,u,1\n"

# The other lines, made from their number, by what there is much of. None: the report as the sandbox makes it.
REPORTS: Final[Mapping[str, Callable[[int], bytes] | None]] = {
    "ordinary rows": None,
    "rejected lines": lambda rows: b"x\n" * rows,
    "rejected values": _numbered("t,c,VOD,,u#,-1\n"),
    "blank lines": lambda rows: b"\n" * rows,
    "quotes": lambda rows: (b'"",' * 1_000 + b"\n") * (rows // 1_000),
    "streaming types": _numbered("t,c,A#,,u,1\n"),
    "contents": _numbered("title #,c#,VOD,2026-01-02T03:04:05Z,u,1\n"),
    "creation times": _numbered("t,c,VOD,2026-01-02 03:04:05.# UTC,u#,1\n"),
}

_IS_COMPLETE: Final = """
    SELECT rows_read = %s
       AND rows_rejected = (SELECT count(*) FROM report_reject)
       AND rows_read = rows_rejected + rows_merged + (SELECT count(*) FROM watch_time)
    FROM report_revision
"""


@dataclass(frozen=True, slots=True)
class Load:
    """What loading a report cost, and whether each of its lines is where it belongs."""

    spent: Cost
    is_complete: bool


def load(name: str, rows: int) -> Load:
    """Load the report of that name into a new database, with `WATCH_TIME_MAX_REJECT_RATIO=1`."""
    sandbox = Sandbox(
        SandboxConfig(vod_rows=rows, quiet_one_day_in=0, today=lambda: SLICE.report_date + timedelta(days=3))
    )
    if lines := REPORTS[name]:
        body = HEADER + _GOOD + lines(rows)
        records = sum(map(bool, body.split(b"\n"))) - 1
        sandbox.override(SLICE, Delivery(body=body))
    else:
        records = sandbox.report(SLICE).rows
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-memory-") as folder,
        postgres.running("wheel-18", durable=True) as server,
        server.database() as url,
        running(sandbox) as base_url,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCH_TIME_")} | {
            "WATCH_TIME_API_BASE_URL": base_url,
            "WATCH_TIME_API_TOKEN": sandbox.config.token,
            "WATCH_TIME_ORG_ID": sandbox.config.org_id,
            "WATCH_TIME_DATABASE_URL": url,
            "WATCH_TIME_MAX_REJECT_RATIO": "1",
        }
        day = f"{SLICE.report_date}"
        spent = cost(
            [sys.executable, "-m", "etl", "backfill", "--start", day, "--end", day, "--type", "VOD"],
            server=Server(connection),
            database=database_in(url),
            environment=environment,
            folder=Path(folder),
        )
        with psycopg.connect(url) as warehouse:
            return Load(spent, warehouse.execute(_IS_COMPLETE, [records]).fetchone() == (True,))


def main() -> None:
    """Print the peaks, each when it is known; exit 1 if one is above the limit, or a line is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=4_000_000)
    parser.add_argument("--only", nargs="+", choices=list(REPORTS), default=list(REPORTS))
    arguments = parser.parse_args()
    failed = False
    for name in arguments.only:
        found = load(name, arguments.rows)
        failed |= not found.is_complete or found.spent.peak_mb > LIMIT_MB
        print(
            f"{arguments.rows:>12,} {name:<16} peak memory {found.spent.peak_mb:>5.0f} MB, loaded in "
            f"{found.spent.elapsed_s:>5.1f} s; lines {'all accounted for' if found.is_complete else 'MISSING'}",
            flush=True,
        )
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
