"""What thousands of partitions cost a reader, and what is left of it once settled months have one each.

    .venv/bin/python benchmarks/partitions.py --years 5

Backfills that many years of small days with the real program, then asks, before and after `watch-time compact`, for the
planning time and the number of locks of a query that names no date; while the months are put together, a reader keeps
asking, and its longest wait is told. All in one run, on one embedded server.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse import embedded_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNPRUNED = "SELECT content_id, sum(watch_seconds) FROM watch_time WHERE content_id = 'none' GROUP BY content_id"
_ROUNDS = 7
_SLOW_MS = 20


@dataclass(frozen=True)
class ReadCost:
    """What a query that names no date costs."""

    partitions: int
    planning_ms: float
    locks: int
    sum_of_all: tuple[object, ...]


@dataclass(frozen=True)
class Measurement:
    """Before and after, and what readers noticed."""

    before: ReadCost
    after: ReadCost
    slices: int
    backfill_s: float
    compact_s: float
    reads: int
    longest_read_ms: float
    slow_reads: int
    usual_read_ms: float


def measure(years: float, rows: int) -> Measurement:
    """Backfill, read, compact, read again."""
    last = datetime.now(UTC).date() - timedelta(days=3)
    first = last - timedelta(days=round(years * 365.25) - 1)
    config = SandboxConfig(
        vod_rows=rows, live_rows=rows, quiet_one_day_in=0, first_day=first, today=lambda: last + timedelta(days=3)
    )
    sandbox = Sandbox(config)
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-partitions-") as folder,
        embedded_postgres.server(Path(folder) / "postgres") as uri,
        running(sandbox) as base_url,
    ):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCH_TIME_")} | {
            "WATCH_TIME_API_BASE_URL": base_url,
            "WATCH_TIME_API_TOKEN": sandbox.config.token,
            "WATCH_TIME_ORG_ID": sandbox.config.org_id,
            "WATCH_TIME_DATABASE_URL": uri,
        }
        _command(folder, environment, "migrate")
        backfill_s = _command(folder, environment, "backfill", "--start", f"{first}", "--end", f"{last}")
        before = _read(uri)
        with _reader(uri, first) as waits_s:
            time.sleep(1)
            compact_s = _command(folder, environment, "compact")
        after = _read(uri)
        return Measurement(
            before,
            after,
            slices=2 * ((last - first).days + 1),
            backfill_s=backfill_s,
            compact_s=compact_s,
            reads=len(waits_s),
            longest_read_ms=max(waits_s) * 1000,
            slow_reads=sum(wait_s * 1000 > _SLOW_MS for wait_s in waits_s),
            usual_read_ms=statistics.median(waits_s) * 1000,
        )


def _command(folder: str, environment: dict[str, str], *arguments: str) -> float:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "etl", *arguments],
        check=False,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"watch-time {arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return time.monotonic() - began


def _read(uri: str) -> ReadCost:
    """On a connection of its own each time: a session remembers what it has planned."""
    plannings_ms = []
    for _ in range(_ROUNDS):
        with psycopg.connect(uri) as connection:
            plan = connection.execute(f"EXPLAIN (SUMMARY, FORMAT JSON) {_UNPRUNED}").fetchone()
            plannings_ms.append(plan[0][0]["Planning Time"] if plan else 0.0)
    with psycopg.connect(uri) as connection:
        connection.execute(_UNPRUNED)
        ((locks,),) = connection.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()").fetchall()
    with psycopg.connect(uri) as connection:
        ((partitions,),) = connection.execute(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'watch_time'::regclass"
        ).fetchall()
        (everything,) = connection.execute(
            "SELECT count(*), sum(watch_seconds), sum(hashtextextended(watch_time::text, 0)::numeric) FROM watch_time"
        ).fetchall()
    return ReadCost(partitions, statistics.median(plannings_ms), locks, everything)


@contextmanager
def _reader(uri: str, day: date) -> Iterator[list[float]]:
    """A reader that asks for one date again and again; gives how long each answer took."""
    waits_s: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with psycopg.connect(uri, autocommit=True) as connection:
            # The first question of a session learns of every partition; that is no wait for a swap.
            connection.execute("SELECT sum(watch_seconds) FROM watch_time WHERE report_date = %s", [day])
            while not over.is_set():
                began = time.monotonic()
                connection.execute("SELECT sum(watch_seconds) FROM watch_time WHERE report_date = %s", [day])
                waits_s.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield waits_s
    finally:
        over.set()
        thread.join()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--rows", type=int, default=100, help="rows of a report")
    arguments = parser.parse_args()
    found = measure(arguments.years, arguments.rows)
    rate = found.slices / found.backfill_s
    print(f"{found.slices:,} slices backfilled in {found.backfill_s:.0f} s ({rate:.1f} a second)")
    print(f"compacted in {found.compact_s:.0f} s; a reader asked {found.reads:,} times meanwhile: usually "
          f"{found.usual_read_ms:.1f} ms, at most {found.longest_read_ms:.0f} ms, "
          f"{found.slow_reads:,} times more than {_SLOW_MS} ms")  # fmt: skip
    print(f"{'':12}{'before':>10}{'after':>10}")
    for name, before, after in (
        ("partitions", found.before.partitions, found.after.partitions),
        ("locks", found.before.locks, found.after.locks),
    ):
        print(f"{name:12}{before:>10,}{after:>10,}")
    print(f"{'planning ms':12}{found.before.planning_ms:>10.1f}{found.after.planning_ms:>10.1f}")
    print(f"rows: {'the same' if found.before.sum_of_all == found.after.sum_of_all else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
