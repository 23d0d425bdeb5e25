"""A backfill of a year under faults of every kind, and the same year without any: both must end in the same facts."""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

import postgres
from disposable_server import DisposableServer, disposable_server
from etl.domain.slices import ReportType, Slice, slices_of
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import schema
from etl.warehouse.database import Database
from expected_reports import expected_report
from job_environment import NEWEST_DAY, JobEnvironment, backfill, serving
from random_faults import RandomFaults
from tally import record
from warehouse_checker import wait_for_no_backend

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import date

    from job_environment import Ended

_WINDOW_DAYS = 10
_RESTATED_SHARE = 0.1
_TIMES_LARGER = 1.2
# Of the program's memory in the last quarter of a long run against the first; and what a small run may differ by.
_TIMES_FATTER, _SLACK_KB = 1.2, 20_000
# A run with fewer looks at its memory is all beginning: what it imports and what it needs once.
_LOOKS = 300
# Shares of the time, after which the next part must begin: the load, the restated reports, the year without faults.
_LOAD, _RESTATED, _FAULTLESS = 0.45, 0.65, 0.9
_PLANNED_CODES = {0, 75, 143, -9}
_FACTS = """
    SELECT report_date, report_type, count(*), sum(watch_seconds),
        md5(string_agg(concat_ws('|', content_id, customer_id, streaming_type, watch_seconds), E'\\n'
            ORDER BY content_id, customer_id, streaming_type))
    FROM watch_time
    GROUP BY report_date, report_type
"""
_BYTES = """
    SELECT sum(pg_total_relation_size(oid))
    FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


@dataclass
class SoakResult:
    """What came of it."""

    days: int
    slices: int
    compared: int = 0
    verified: int = 0
    runs: int = 0
    restated: int = 0
    size_ratio: float = 0.0
    memory_kb: tuple[int, int] = (0, 0)
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_short(self) -> bool:
        return self.compared < self.slices


@dataclass
class _Year:
    """The days, what is to be restated of them, and the faults over them."""

    days: list[date]
    faulty: JobEnvironment
    faultless: JobEnvironment
    faults: RandomFaults
    began: float
    seconds: float
    found: SoakResult

    def __post_init__(self) -> None:
        sandbox = self.faulty.source.sandbox
        self.slices = [slice_ for slice_ in slices_of(self.days) if sandbox.has_history(slice_)]
        chance = random.Random(f"{self.faults.seed} restated")  # noqa: S311 - to be repeated
        self.restated = sorted(chance.sample(self.slices, max(1, round(len(self.slices) * _RESTATED_SHARE))))
        self.found.slices = len(self.slices)

    def until(self, share: float) -> float:
        return self.began + share * self.seconds

    def load(self) -> None:
        """Window by window until each slice is there; half of the restated ones change on the way."""
        windows = [self.days[at : at + _WINDOW_DAYS] for at in range(0, len(self.days), _WINDOW_DAYS)]
        usual_s = 1.0
        for number, window in enumerate(windows):
            if number == len(windows) // 2:
                self._restate(self.restated[::2])
            wanted = [slice_ for slice_ in self.slices if slice_.report_date in set(window)]
            while self._lacks(wanted):
                if time.monotonic() > self.until(_LOAD):
                    return
                self.faults.script_source(self.faulty.source.sandbox, wanted)
                began = time.monotonic()
                ended = self._run(window, wanted, usual_s, self.until(_LOAD))
                if ended.code == 0:
                    usual_s = time.monotonic() - began

    def restate(self) -> None:
        """The other half is restated, and one long run asks for everything again; no kill ends it."""
        self._restate(self.restated[1::2])
        there = [slice_ for slice_ in self.slices if slice_ not in self._lacks(self.slices)]
        while self._behind(there) and time.monotonic() < self.until(_RESTATED):
            self.faults.script_source(self.faulty.source.sandbox, there)
            days = [slice_.report_date for slice_ in there]
            command = backfill(days, "--concurrency", "2")
            strikes = self.faults.plan(there, len(there) / 30, but=("kill", "crash"))
            ended, memory = self.faults.strike(self.faulty.start(*command), strikes, self.until(_RESTATED))
            self._judge(ended)
            if ended.code == 0:
                self._judge_memory(memory)

    def _restate(self, slices: Sequence[Slice]) -> None:
        for slice_ in slices:
            self.faulty.source.sandbox.restate(slice_)
        self.found.restated += len(slices)

    def without_faults(self) -> None:
        """The same world into the second database, as far as the first one came."""
        if not (reached := self._reached()):
            return
        days = [slice_.report_date for slice_ in reached]
        source = self.faultless.source.sandbox
        for restated in (False, True):
            if restated:
                for slice_ in self.restated:
                    source.restate(slice_)
            ended, memory = self.faults.strike(
                self.faultless.start(*backfill(days, "--concurrency", "2")), [], self.until(_FAULTLESS)
            )
            self._judge(ended)
            self._judge_memory(memory)

    def compare(self) -> None:
        """Facts, sizes, and what the checker says, before and after the settled months are put together."""
        there = [slice_ for slice_ in self._reached() if slice_ not in self._behind(self.slices, self.faultless)]
        self.found.compared = len(there)
        sizes = [_size(environment.url) for environment in (self.faulty, self.faultless)]
        self.found.size_ratio = sizes[0] / sizes[1]
        if not self.found.is_short and self.found.size_ratio > _TIMES_LARGER:
            self.found.violations.append(f"tables are {self.found.size_ratio:.2f} times as large as without faults")
        self._compare(there, "")
        self._compact()
        self._compare(there, "compacted: ")
        self._verify()

    def _compare(self, there: Sequence[Slice], moment: str) -> None:
        faulty, faultless = (_facts(environment.url) for environment in (self.faulty, self.faultless))
        found = [
            f"{each}: not the facts of the run without faults" for each in there if faulty[each] != faultless[each]
        ]
        found += self.faulty.violations(there, revisions=(0, 1))
        self.found.violations += [f"{moment}{each}" for each in found]

    def _verify(self) -> None:
        """Every stored slice equals its report row by row, as `verify` finds by asking for each of them again."""
        first, last = f"{min(self.days)}", f"{max(self.days)}"
        ended = self.faulty.run("verify", "--start", first, "--end", last, "--json")
        self._judge(ended)
        verdicts = json.loads(ended.out)
        behind = {str(slice_) for slice_ in self._behind(self.slices)}
        for verdict in verdicts:
            name = f"{verdict['report_date']} {verdict['report_type']}"
            if verdict["verdict"] == "equal":
                self.found.verified += 1
            elif name not in behind:
                self.found.violations.append(f"verify: {name} {verdict['verdict']}: {verdict['message']}")

    def _compact(self) -> None:
        for delay_s in (0.2, 0.6):
            if time.monotonic() < self.until(1):
                self.faults.strike(self.faulty.start("compact"), [(delay_s, "kill")], self.until(1))
        self._judge(self.faulty.run("compact"))

    def _run(self, window: Sequence[date], wanted: Sequence[Slice], usual_s: float, deadline: float) -> Ended:
        first, last = (f"{day}" for day in (min(window), max(window)))
        concurrency = f"{self.faults.chance.randint(1, 4)}"
        started = self.faulty.start("backfill", "--start", first, "--end", last, "--concurrency", concurrency)
        ended, _ = self.faults.strike(started, self.faults.plan(wanted, usual_s), deadline)
        self._judge(ended)
        return ended

    def _judge(self, ended: Ended) -> None:
        self.found.runs += 1
        if ended.code not in _PLANNED_CODES:
            self.found.violations.append(f"a run ended with {ended.code}: {ended.err[-2_000:]}")

    def _judge_memory(self, memory: Sequence[int]) -> None:
        if len(memory) < _LOOKS:
            return
        quarter = len(memory) // 4
        first, last = max(memory[:quarter]), max(memory[-quarter:])
        self.found.memory_kb = max(self.found.memory_kb, (first, last), key=lambda pair: pair[1] / max(1, pair[0]))
        if last > first * _TIMES_FATTER + _SLACK_KB:
            self.found.violations.append(f"memory of one run: {first} kB in its first quarter, {last} kB in its last")

    def _lacks(self, slices: Sequence[Slice]) -> list[Slice]:
        known = _hashes(self.faulty.url)
        return [slice_ for slice_ in slices if slice_ not in known]

    def _behind(self, slices: Sequence[Slice], environment: JobEnvironment | None = None) -> list[Slice]:
        """Those that are not there in the newest revision."""
        known, sandbox = _hashes((environment or self.faulty).url), self.faulty.source.sandbox
        return [
            slice_
            for slice_ in slices
            if known.get(slice_) != expected_report(sandbox, slice_, sandbox.revision(slice_)).sha256
        ]

    def _reached(self) -> list[Slice]:
        behind = set(self._behind(self.slices))
        return [slice_ for slice_ in self.slices if slice_ not in behind]


def soak(*, minutes: float, seed: int, days: int, source: str, rate: float = 0.05) -> SoakResult:
    """Run it; ends by itself, when all is done or the time is over.

    Args:
        minutes: how long at most.
        seed: of the faults and of what is restated.
        days: how many, up to the newest that is settled.
        source: of the server: `wheel-18` or another of `postgres.SOURCES` that can be stopped.
        rate: how likely a slice is to meet a fault of each layer.
    """
    began = time.monotonic()
    found = SoakResult(days, 0)
    with _environments(seed, source, rate) as (faulty, faultless, faults):
        all_days = [NEWEST_DAY - timedelta(days=back) for back in reversed(range(days))]
        year = _Year(all_days, faulty, faultless, faults, began, minutes * 60, found)
        faults.compress_some(faulty.source.sandbox, year.slices)
        year.load()
        year.restate()
        year.without_faults()
        year.compare()
    found.counts = faults.counts
    record("slices of a soak compared with a run without faults", found.compared)
    for name, count in faults.counts.items():
        record(name, count)
    return found


@contextmanager
def _environments(seed: int, source: str, rate: float) -> Iterator[tuple[JobEnvironment, JobEnvironment, RandomFaults]]:
    """Two databases of one server, each with a source of its own that has the same reports."""
    world = SandboxConfig(seed=seed, vod_rows=60, live_rows=40, titles=30, customers=500)
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-soak-") as folder,
        serving(world) as faulty,
        serving(world) as faultless,
        disposable_server(source, migrated=False) as server,
    ):
        urls = [_database(server, name) for name in ("faulty", "faultless")]
        yield (
            JobEnvironment(urls[0], faulty, Path(folder)),
            JobEnvironment(urls[1], faultless, Path(folder)),
            RandomFaults(seed, rate, server),
        )


def _database(server: DisposableServer, name: str) -> str:
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = postgres.conninfo_url(server.url, name)
    schema.migrate(Database(url, schema="public"))
    return url


def _hashes(url: str) -> dict[Slice, str]:
    """The report that each stored slice is of."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT report_date, report_type, report_sha256 FROM report_slice WHERE revision > 0"
        ).fetchall()
    return {Slice(day, ReportType(kind)): sha256 for day, kind, sha256 in rows}


def _facts(url: str) -> dict[Slice, tuple[Any, ...]]:
    """Rows, seconds and a checksum of each slice."""
    with psycopg.connect(url) as connection:
        return {Slice(day, ReportType(kind)): tuple(rest) for day, kind, *rest in connection.execute(_FACTS).fetchall()}


def _size(url: str) -> int:
    """Bytes of all tables and their indexes, after a VACUUM."""
    assert wait_for_no_backend(url) == []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM")
        row = connection.execute(_BYTES).fetchone()
    return int(row[0]) if row else 0
