"""Struck anywhere, a load leaves an archive whose readers see committed revisions only; the next run completes it."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psycopg
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from archives import IN_THE_WAREHOUSE, ArchiveFiles, query
from effort import EXHAUSTIVE, SEED, effort, sample
from etl.archive.layout import Key, published
from etl.domain.slices import ReportType, Slice
from expected_reports import expected_by_hash, expected_report
from failpoints import ARCHIVE, FIRST_LOAD, RESTATED, SHORT_IDLE_S, SLOW
from job_environment import NEWEST_DAY, JobEnvironment, backfill, serving
from tally import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    import postgres
    from conftest import Program

pytestmark = pytest.mark.timeout(180 + 60 * effort(1))

DAYS = [NEWEST_DAY - timedelta(days=back) for back in range(4)]
SLICES = [Slice(day, ReportType.VOD) for day in DAYS]
# What the failpoints do to the warehouse is tried by `test_failpoints`; here each is a kill, and the archive's own
# points are struck in other ways too: in all of them by `make soak`, else in one that takes its turn.
STRIKES = ("kill", "term", "terminate", "shut")
CODES = {"kill": -9, "term": 143, "terminate": 0, "shut": 0}
# What is not passed by these loads, or before the archive is opened.
WITHOUT = {"connected", "closed", "between-slices"}
POINTS = [*(point for point in FIRST_LOAD if point not in WITHOUT), *ARCHIVE]
OTHER_POINTS = [point for point in RESTATED if point not in FIRST_LOAD]
# A plain run takes some of those at which the archive is not touched.
ALWAYS = ["before-commit", "after-commit", *ARCHIVE]
SOME_POINTS = [*sample([point for point in POINTS if point not in ALWAYS], 6, "archive"), *ALWAYS]
RESTATED_POINTS = [*sample(OTHER_POINTS, 2, "archive, restated"), *ALWAYS]

# Of the transaction that the program has open, if the server has not ended it.
IDLE_FOR_LONG = """
    SELECT state = 'idle in transaction' AND clock_timestamp() - state_change > make_interval(secs => %s)
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'watch-time' AND state <> 'idle'
"""


@dataclass(frozen=True)
class Lake:
    """An environment with an archive beside it, and what must be true of the two."""

    environment: JobEnvironment
    archive: ArchiveFiles

    def run(self, *arguments: str, failpoint: str | None = None) -> int:
        ended = self.environment.run(*arguments, failpoint=failpoint, ARCHIVE_URL=self.archive.url)
        assert failpoint is None or ended.has_fired, f"{failpoint} was not reached\n{ended.err}"
        return ended.code

    def committed(self) -> list[Key]:
        """What the ledger says was committed."""
        with psycopg.connect(self.environment.url) as connection:
            found = connection.execute(
                "SELECT report_date, report_type, revision, report_sha256 FROM report_revision ORDER BY 1, 2, 3"
            ).fetchall()
        return [Key(Slice(day, ReportType(kind)), revision, sha256) for day, kind, revision, sha256 in found]

    def violations(self) -> list[str]:
        """Slices of which readers see something that was never committed, to the row and to the second."""
        found = []
        for slice_ in SLICES:
            path = Path(self.archive.url) / published(slice_)
            if not path.exists():
                continue
            rows = query(
                "SELECT content_id, customer_id, streaming_type, watch_seconds FROM read_parquet(?)", str(path)
            )
            committed = [key.sha256 for key in self.committed() if key.slice == slice_]
            truths = expected_by_hash(self.environment.source.sandbox, slice_)
            if not any({row[:3]: row[3] for row in rows} == truths[sha256].facts for sha256 in committed):
                found.append(f"{slice_}: readers see {len(rows)} rows of no committed revision")
            if len(rows) != len({row[:3] for row in rows}):
                found.append(f"{slice_}: readers see a row twice")
        return found

    def require_complete(self) -> None:
        """Readers see the newest revisions; after a sweep there is what the ledger refers to, and nothing else."""
        with psycopg.connect(self.environment.url) as connection:
            assert self.archive.facts() == connection.execute(IN_THE_WAREHOUSE).fetchall()
        assert self.run("archive", "--sweep") == 0
        expected = {"organization.json"}
        for key in self.committed():
            expected |= {key.raw, key.parquet, key.marker, published(key.slice)}
        # What a kill left of the very first file of all has no slice.
        assert {name for name in self.archive.files() if not name.startswith(".organization")} == expected
        with psycopg.connect(self.environment.url) as connection:
            assert self.archive.facts() == connection.execute(IN_THE_WAREHOUSE).fetchall()


@pytest.fixture(name="lake")
def _lake(newest_server: postgres.Server, tmp_path: Path) -> Iterator[Lake]:
    with serving() as source, newest_server.database() as url:
        yield Lake(JobEnvironment(url, source, tmp_path), ArchiveFiles(str(tmp_path / "lake"), tmp_path / "copies"))


def _strikes(point: str) -> tuple[str, ...]:
    if point not in ARCHIVE:
        return ("kill",)
    others = STRIKES[1:]
    return STRIKES if EXHAUSTIVE else ("kill", others[(SEED + ARCHIVE.index(point)) % len(others)])


def _struck(lake: Lake, point: str) -> None:
    for slice_, action in zip(SLICES, _strikes(point), strict=False):
        code = lake.run(*backfill([slice_.report_date], "--type", "VOD"), failpoint=f"{point}:{action}")
        assert code == CODES[action], f"seed {SEED}: {point}:{action}"
        assert lake.violations() == [], f"seed {SEED}, after {point}:{action}"
        record("failpoints", 1)


@pytest.mark.parametrize("point", SOME_POINTS)
def test_a_first_load_struck_anywhere_shows_readers_nothing_uncommitted(lake: Lake, point: str) -> None:
    _struck(lake, point)
    assert lake.run(*backfill(DAYS, "--type", "VOD")) == 0
    assert lake.violations() == []
    lake.require_complete()


@pytest.mark.parametrize("point", RESTATED_POINTS)
def test_a_restatement_struck_anywhere_shows_readers_the_old_or_the_new_report(lake: Lake, point: str) -> None:
    assert lake.run(*backfill(DAYS, "--type", "VOD")) == 0
    for slice_ in SLICES:
        lake.environment.source.sandbox.restate(slice_)
    _struck(lake, point)
    assert lake.run(*backfill(DAYS, "--type", "VOD")) == 0
    assert {key.revision for key in lake.committed()} == {1, 2}
    lake.require_complete()


@pytest.mark.parametrize("point", ["after-commit", "published"])
def test_the_next_run_of_any_other_slice_publishes_what_a_killed_one_committed(lake: Lake, point: str) -> None:
    lake.run(*backfill(DAYS[:1], "--type", "VOD"), failpoint=f"{point}:kill")
    assert lake.run(*backfill(DAYS[1:2], "--type", "VOD")) == 0
    assert len(lake.committed()) == 2
    lake.require_complete()


@pytest.mark.parametrize("point", SLOW)
def test_a_slow_disk_or_store_does_not_end_the_transaction(lake: Lake, point: str) -> None:
    """The server ends sessions that say nothing for a second here; what is slow with reason has longer."""
    started = lake.environment.start(
        *backfill(DAYS[:1], "--type", "VOD"), failpoint=f"{point}:linger", ARCHIVE_URL=lake.archive.url
    )
    started.wait_until_fired()
    with psycopg.connect(lake.environment.url, autocommit=True) as observer:
        deadline = time.monotonic() + 20
        while (is_long := observer.execute(IDLE_FOR_LONG, [1.5 * SHORT_IDLE_S]).fetchall()) == [(False,)]:
            assert time.monotonic() < deadline, "the program is neither idle nor gone"
            time.sleep(0.05)
    started.resume()
    ended = started.wait()
    assert (is_long, ended.code) == ([(True,)], 0), ended.err
    lake.require_complete()


def test_a_sweep_beside_a_load_removes_nothing_of_it(lake: Lake, bare_program: Program) -> None:
    started = lake.environment.start(
        *backfill(DAYS[:1], "--type", "VOD"), failpoint="files-stored:pause", ARCHIVE_URL=lake.archive.url
    )
    started.wait_until_fired()
    with bare_program.start(
        "archive", "--sweep", "--json",
        ORG_ID=lake.environment.source.sandbox.config.org_id,
        DATABASE_URL=lake.environment.url, ARCHIVE_URL=lake.archive.url,
    ) as sweeping:  # fmt: skip
        # It waits for the load's lock.
        with pytest.raises(subprocess.TimeoutExpired):
            sweeping.wait(3)
        started.resume()
        assert started.wait().code == 0
        out, err = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 0, err
    assert json.loads(out)["removed"] == []
    lake.require_complete()


def test_whoever_reads_while_reports_are_restated_sees_one_whole_report(lake: Lake) -> None:
    slice_ = SLICES[0]
    assert lake.run(*backfill(DAYS[:1], "--type", "VOD")) == 0
    pattern, over = str(Path(lake.archive.url) / "facts" / "**" / "*.parquet"), threading.Event()
    seen: list[tuple[int, Decimal]] = []

    def look() -> None:
        while not over.is_set():
            # Arrow opens a file once, and what it opened stays whole.
            table = pq.ParquetFile(Path(lake.archive.url) / published(slice_)).read()
            seen.append((len(table), pc.sum(table.column("watch_seconds")).as_py()))
            # DuckDB opens it twice, and refuses when it was replaced in between; it must not answer wrongly.
            with suppress(duckdb.Error):
                seen.extend(query("SELECT count(*), sum(watch_seconds) FROM read_parquet(?)", pattern))

    looking = threading.Thread(target=look)
    looking.start()
    revisions = 5 * effort(1)
    try:
        for _ in range(revisions):
            lake.environment.source.sandbox.restate(slice_)
            assert lake.run(*backfill(DAYS[:1], "--type", "VOD")) == 0
    finally:
        over.set()
        looking.join()
    truths = [expected_report(lake.environment.source.sandbox, slice_, number) for number in range(revisions + 1)]
    assert set(seen) <= {(len(truth.facts), truth.seconds) for truth in truths}
    assert len(set(seen)) > 1


@pytest.mark.parametrize("round_", range(2 * effort(1)))
def test_after_any_sequence_of_loads_restatements_and_kills_one_run_completes_the_archive(
    lake: Lake, round_: int
) -> None:
    chance = random.Random(f"{SEED} archive {round_}")  # noqa: S311 - not for secrets
    for _ in range(12):
        slice_ = chance.choice(SLICES)
        what = chance.choice(("load", "restate", "kill", "kill", "sweep"))
        if what == "restate":
            lake.environment.source.sandbox.restate(slice_)
        elif what == "sweep":
            assert lake.run("archive", "--sweep") in {0, 75}
        else:
            # Where there is nothing new to load most points are not passed, and the run ends as it would.
            point = f"{chance.choice(POINTS)}:kill" if what == "kill" else None
            lake.environment.run(
                *backfill([slice_.report_date], "--type", "VOD"), failpoint=point, ARCHIVE_URL=lake.archive.url
            )
        assert lake.violations() == [], what
        record("random operations on an archive", 1)
    assert lake.run(*backfill(DAYS, "--type", "VOD")) == 0
    lake.require_complete()


def test_a_bug_in_publishing_is_told_as_one_after_the_commit(lake: Lake) -> None:
    ended = lake.environment.run(
        *backfill(DAYS[:1], "--type", "VOD", "--json"), failpoint="published:bug", ARCHIVE_URL=lake.archive.url
    )
    (slice_,) = json.loads(ended.out)["slices"]
    assert (ended.code, slice_["result"], len(lake.committed())) == (70, "loaded", 1)
    assert "committed, but" in slice_["message"]
    assert "Traceback" in ended.err
    assert lake.run(*backfill(DAYS[:1], "--type", "VOD")) == 0
    lake.require_complete()
