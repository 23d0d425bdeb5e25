"""A year of small days: how many slices a second a backfill loads, and where the time goes.

    .venv/bin/python benchmarks/many_days.py --days 365 --rows 1000

Serves both reports of each day from the sandbox, loads them with one `backfill` in a process of its own, and compares
rows and seconds of the year. The sandbox answers from this process, on the same cores: its share is shown as well.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
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
from measure import Server, cost, database_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Cost

FIRST: Final = date(2025, 1, 1)
_SAMPLE_EVERY_S: Final = 0.05
_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class Year:
    """What was found.

    Attributes:
        equal: whether the table has the reports' rows and seconds.
        sandbox_cpu_s: of this process, which serves the reports.
        seen: what the program's sessions were doing, in looks of equal distance.
    """

    slices: int
    equal: bool
    spent: Cost
    sandbox_cpu_s: float
    seen: Counter[str]

    @property
    def per_second(self) -> float:
        """Slices."""
        return self.slices / self.spent.elapsed_s


def backfill(days: int, rows: int, *, source: str = "wheel-18", concurrency: int | None = None) -> Year:
    """Load both reports of `days` days, each of `rows` rows, into a new database."""
    last = FIRST + timedelta(days=days - 1)
    sandbox = Sandbox(
        SandboxConfig(vod_rows=rows, live_rows=rows, quiet_one_day_in=0, today=lambda: last + timedelta(days=3))
    )
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-many-days-") as folder,
        postgres.running(source, durable=True) as server,
        server.database() as url,
        running(sandbox) as base_url,
        psycopg.connect(server.url, autocommit=True) as connection,
    ):
        # Made before the clock starts.
        reports = [sandbox.report(slice_) for slice_ in slices_of(dates_between(FIRST, last))]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("WATCH_TIME_")} | {
            "WATCH_TIME_API_BASE_URL": base_url,
            "WATCH_TIME_API_TOKEN": sandbox.config.token,
            "WATCH_TIME_ORG_ID": sandbox.config.org_id,
            "WATCH_TIME_DATABASE_URL": url,
        }
        command = [sys.executable, "-m", "etl", "backfill", "--start", f"{FIRST}", "--end", f"{last}"]
        if concurrency:
            command += ["--concurrency", f"{concurrency}"]
        seen: Counter[str] = Counter()
        began_cpu_s = time.process_time()
        with _sampling(server.url, seen):
            spent = cost(
                command,
                server=Server(connection),
                database=database_in(url),
                environment=environment,
                folder=Path(folder),
            )
        sandbox_cpu_s = time.process_time() - began_cpu_s
        with psycopg.connect(url) as facts:
            found = facts.execute("SELECT count(*), coalesce(sum(watch_seconds), 0) FROM watch_time").fetchone()
        expected = (sum(each.rows for each in reports), sum((each.watch_seconds for each in reports), Decimal()))
    return Year(len(reports), found == expected, spent, sandbox_cpu_s, seen)


@contextmanager
def _sampling(url: str, seen: Counter[str]) -> Iterator[None]:
    """Look again and again at what the program's sessions do, from another thread."""
    done = threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            while not done.wait(_SAMPLE_EVERY_S):
                states = connection.execute(
                    "SELECT CASE WHEN state <> 'active' THEN 'waiting for the program, ' || state "
                    "WHEN wait_event IS NULL THEN 'on the processor' "
                    "ELSE 'waiting for ' || wait_event_type || ' ' || wait_event END "
                    "FROM pg_stat_activity WHERE application_name = 'watch-time'"
                ).fetchall()
                seen.update(state for (state,) in states)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main() -> None:
    """Print what was found; exit 1 if the table is not what the reports were."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--rows", type=int, default=1_000, help="of each report, two of which are a day's")
    parser.add_argument("--postgres", default="wheel-18", choices=("wheel-18", "wheel-16", "debian-15"))
    parser.add_argument("--concurrency", type=int, help="slices at the same time; default: as the program has it")
    given = parser.parse_args()
    found = backfill(given.days, given.rows, source=given.postgres, concurrency=given.concurrency)
    spent = found.spent
    print(
        f"{found.slices:,} slices in {spent.elapsed_s:.1f} s: {found.per_second:.1f} a second, process start included"
    )
    print(f"rows and seconds: {'equal' if found.equal else 'DIFFERENT'}; peak memory {spent.peak_mb:.0f} MB; "
          f"WAL {spent.wal_mb:.0f} MB")  # fmt: skip
    print("processor time, of one slice in milliseconds:")
    whole_s = spent.elapsed_s * (os.cpu_count() or 1)
    for who, cpu_s in (
        ("program", spent.client_cpu_s),
        ("server", spent.server_cpu_s),
        ("sandbox", found.sandbox_cpu_s),
        ("idle, or others", whole_s - spent.client_cpu_s - spent.server_cpu_s - found.sandbox_cpu_s),
    ):
        print(f"  {who:<16}{cpu_s:7.1f} s{1000 * cpu_s / found.slices:8.1f} ms{cpu_s / whole_s:7.0%}")
    print("what the program's sessions were seen doing:")
    for what, times in found.seen.most_common(_SHOWN):
        print(f"  {times / found.seen.total():6.1%}  {what}")
    raise SystemExit(0 if found.equal else 1)


if __name__ == "__main__":
    main()
