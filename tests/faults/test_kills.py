"""Killed at random moments: every slice is the old report, the new one or not there, and the end is exact.

A round has a warehouse in which some days are stored and were restated since, others never came, and an old month waits
to be compacted. Its work is killed several times, begun anew each time, and then left to get through.
"""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

import postgres
from effort import SEED, effort
from etl.domain.slices import slices_of
from job_environment import NEWEST_DAY, OLD_DAY, SERVERS, JobEnvironment, Source, backfill, loaded_template, serving
from tally import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRIES = 60  # to hit a load
GOLDEN_RATIO = (1 + 5**0.5) / 2
PARTS = 4  # of the rounds on a server, so that workers can share them
ROUNDS = effort(1)  # of a part
KILLS = 5  # of a round

OLD_DAYS = [OLD_DAY, OLD_DAY + timedelta(days=1)]
STORED_DAYS = [NEWEST_DAY - timedelta(days=back) for back in range(3, 6)]
NEW_DAYS = [NEWEST_DAY - timedelta(days=back) for back in range(3)]
OLD, STORED, NEW = slices_of(OLD_DAYS), slices_of(STORED_DAYS), slices_of(NEW_DAYS)
BACKFILL = backfill([*STORED_DAYS, *NEW_DAYS], "--concurrency", "2")
COMPACTION = ("compact",)
IN_FLIGHT = (
    "SELECT count(*) FROM pg_stat_activity "
    "WHERE application_name = 'watch-time' AND datname = current_database() AND backend_xid IS NOT NULL"
)


@dataclass(frozen=True)
class Prepared:
    """A server with facts in its template, the source that has restated some of them, and how long the work takes."""

    name: str
    server: postgres.Server
    source: Source
    folder: Path
    seconds: dict[tuple[str, ...], float]


@pytest.fixture(scope="module", name="prepared", params=SERVERS)
def _prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepared]:
    folder = tmp_path_factory.mktemp("runs")
    with (
        serving() as calm,
        serving(restated=STORED) as source,
        postgres.running(request.param) as server,
        server.database() as url,
        loaded_template(server, JobEnvironment(url, calm, folder), OLD_DAYS) as older,
        older.database() as second_url,
        loaded_template(server, JobEnvironment(second_url, calm, folder), STORED_DAYS) as stored,
    ):
        seconds = {}
        with stored.database() as url_to_measure:
            for work in (BACKFILL, COMPACTION):
                began = time.monotonic()
                assert JobEnvironment(url_to_measure, source, folder).run(*work).code == 0
                seconds[work] = time.monotonic() - began
        yield Prepared(request.param, stored, source, folder, seconds)


@pytest.mark.timeout(180 + 60 * ROUNDS)
@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_random_moments_nothing_is_half_and_the_end_is_exact(prepared: Prepared, part: int) -> None:
    for number in range(ROUNDS):
        seed = f"{SEED} {prepared.name} {part} {number}"
        again = (
            f"seed {seed}; repeat: WATCH_TIME_TEST_SEED={SEED} pytest {__file__} -k 'killed and {prepared.name}-{part}'"
        )
        with prepared.server.database() as url:
            environment = JobEnvironment(url, prepared.source, prepared.folder)
            chance = random.Random(seed)  # noqa: S311 - to be repeated
            for attempt in range(KILLS):
                # Three of four hit a backfill: there is more in it.
                work = chance.choice((BACKFILL, BACKFILL, BACKFILL, COMPACTION))
                # What the attempts before have done is not left to be killed.
                delay_s = chance.uniform(0, prepared.seconds[work] * (1 - attempt / KILLS / 2))
                _kill(environment, work, delay_s)
                found = environment.violations([*OLD, *STORED], revisions=(0, 1))
                found += environment.violations(NEW, may_be_missing=True)
                assert found == [], f"{work[0]} killed after {delay_s:.4f} s; {again}"
            for work in (BACKFILL, COMPACTION):
                ended = environment.run(*work)
                assert ended.code == 0, f"{again}\n{ended.err}"
            found = environment.violations([*OLD, *NEW]) + environment.violations(STORED, revisions=(1,))
            assert found == [], f"healed; {again}"
            assert f"watch_time_{OLD_DAY:%Y%m}" in environment.partitions(), again


def _kill(environment: JobEnvironment, work: tuple[str, ...], delay_s: float) -> None:
    with psycopg.connect(environment.url, autocommit=True) as observer:
        started = environment.start(*work)
        time.sleep(delay_s)
        row = observer.execute(IN_FLIGHT).fetchone()
        ended = started.kill(signal.SIGKILL)
    assert ended.code in {-signal.SIGKILL, 0}, ended.err
    if ended.code:
        record("kills", 1)
        record("kills with a load in flight", int(bool(row and row[0])))


def test_the_moments_of_the_kills_reach_loads_in_flight(prepared: Prepared) -> None:
    """Else all of the above would prove nothing."""
    longest_s = prepared.seconds[BACKFILL]
    for number in range(TRIES):
        # Spread evenly over the time that a backfill takes, as far as is known: it changes with the load.
        share = number * GOLDEN_RATIO % 1
        with prepared.server.database() as url, psycopg.connect(url, autocommit=True) as observer:
            environment = JobEnvironment(url, prepared.source, prepared.folder)
            started = environment.start(*BACKFILL)
            time.sleep(longest_s * share)
            row = observer.execute(IN_FLIGHT).fetchone()
            ended = started.kill(signal.SIGKILL)
            assert environment.violations([*OLD, *STORED], revisions=(0, 1)) == []
        if row and row[0]:
            return
        if ended.code == 0:
            longest_s *= share
        elif share > 1 - 1 / GOLDEN_RATIO / 2:
            longest_s *= 2
    pytest.fail(f"{TRIES} kills met no transaction that had written")
