"""Several workers where the report API takes its time: slices a second by threads, by Dask and by shards.

    .venv/bin/python benchmarks/workers.py --days 30 --latency-ms 200

Loads the same range into a new database each time: with so many threads (`--concurrency N`), with so many workers of
`--dask local`, and with so many processes of `--shard I/N`, one slice at a time each. Sandbox and server are on the
same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import postgres
from etl.domain.slices import dates_between, slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from measure import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

FIRST: Final = date(2025, 1, 1)
_WORDS: Final = 1_500


@dataclass(frozen=True, slots=True)
class Measurement:
    """One way with one number of workers.

    Attributes:
        first_s: from the start of the processes to the first slice that was done.
        equal: whether the table has the reports' rows and seconds.
    """

    way: str
    workers: int
    slices: int
    elapsed_s: float
    first_s: float
    equal: bool

    @property
    def per_second(self) -> float:
        """Slices, process start included."""
        return self.slices / self.elapsed_s

    @property
    def per_second_at_work(self) -> float:
        """Slices, from the first one that was done to the end."""
        return (self.slices - 1) / (self.elapsed_s - self.first_s)


def commands(way: str, workers: int) -> list[list[str]]:
    """The options of the processes that are a way of having so many workers."""
    match way:
        case "threads":
            return [["--concurrency", f"{workers}"]]
        case "dask":
            return [["--dask", "local", "--concurrency", f"{workers}"]]
        case _:
            return [["--shard", f"{part}/{workers}", "--concurrency", "1"] for part in range(workers)]


def measure(
    days: int, rows: int, *, latency_s: float, counts: Sequence[int], source: str = "wheel-18"
) -> Iterator[Measurement]:
    """Load both reports of `days` days in each way and with each number of workers."""
    last = FIRST + timedelta(days=days - 1)
    config = SandboxConfig(
        vod_rows=rows, live_rows=rows, quiet_one_day_in=0, latency_s=latency_s, today=lambda: last + timedelta(days=3)
    )
    sandbox = Sandbox(config)
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-workers-") as folder,
        postgres.running(source, durable=True) as server,
        running(sandbox) as base_url,
    ):
        # Made before the clock starts.
        reports = [sandbox.report(slice_) for slice_ in slices_of(dates_between(FIRST, last))]
        expected = (sum(each.rows for each in reports), sum((each.watch_seconds for each in reports), Decimal()))
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCH_TIME_")} | {
            "WATCH_TIME_API_BASE_URL": base_url,
            "WATCH_TIME_API_TOKEN": config.token,
            "WATCH_TIME_ORG_ID": config.org_id,
        }
        backfill = [sys.executable, "-m", "etl", "backfill", "--start", f"{FIRST}", "--end", f"{last}"]
        for workers in counts:
            for way in ("threads", "dask", "shards"):
                with server.database() as url:
                    known = {**environment, "WATCH_TIME_DATABASE_URL": url}
                    elapsed_s, first_s = _timed([backfill + each for each in commands(way, workers)], known, folder)
                    with psycopg.connect(url) as facts:
                        query = "SELECT count(*), coalesce(sum(watch_seconds), 0) FROM watch_time"
                        equal = facts.execute(query).fetchone() == expected
                yield Measurement(way, workers, len(reports), elapsed_s, first_s, equal)


def _timed(processes: Sequence[Sequence[str]], environment: Mapping[str, str], folder: str) -> tuple[float, float]:
    """Run them side by side; seconds until all have ended, and until the first line on a slice.

    Raises:
        CommandFailed: one did not end with 0.
    """
    began, began_s = datetime.now(UTC), time.monotonic()
    with ExitStack() as stack:
        started = [
            stack.enter_context(
                subprocess.Popen(
                    command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
                )
            )
            for command in processes
        ]
        for process in started:
            stack.callback(process.kill)
        said = [process.communicate()[1] for process in started]
        elapsed_s = time.monotonic() - began_s
    for process, complaints in zip(started, said, strict=True):
        if process.returncode:
            raise CommandFailed(f"exit {process.returncode}: {complaints[-_WORDS:].strip()}")
    lines = [json.loads(line) for text in said for line in text.splitlines() if line.startswith("{")]
    first = min(datetime.fromisoformat(line["timestamp"]) for line in lines if line["event"] == "slice_done")
    return elapsed_s, (first - began).total_seconds()


def main() -> None:
    """Print what was found; exit 1 if a table is not what the reports were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--rows", type=int, default=300, help="of each report, two of which are a day's")
    parser.add_argument("--latency-ms", type=int, default=200, help="by which every answer of API and storage is late")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--postgres", default="wheel-18", choices=("wheel-18", "wheel-16", "debian-15"))
    given = parser.parse_args()
    print(f"{given.days} days, {given.rows} rows a report, every answer {given.latency_ms} ms late, "
          f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start")  # fmt: skip
    print(f"{'':10}{'workers':>8}{'s':>8}{'first s':>9}{'slices/s':>10}{'at work':>9}{'times one':>11}  table")
    alone: dict[str, float] = {}
    wrong = False
    for found in measure(
        given.days, given.rows, latency_s=given.latency_ms / 1000, counts=given.workers, source=given.postgres
    ):
        one = alone.setdefault(found.way, found.per_second_at_work)
        print(
            f"{found.way:10}{found.workers:8}{found.elapsed_s:8.1f}{found.first_s:9.1f}{found.per_second:10.1f}"
            f"{found.per_second_at_work:9.1f}{found.per_second_at_work / one:11.2f}  "
            f"{'equal' if found.equal else 'DIFFERENT'}",
            flush=True,
        )
        wrong |= not found.equal
    print(f"load {os.getloadavg()[0]:.1f} at the end")
    raise SystemExit(wrong)


if __name__ == "__main__":
    main()
