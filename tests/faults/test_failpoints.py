"""Struck at any named point, in any way, a load is whole or has not happened, and the next run heals it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

import postgres
from effort import EXHAUSTIVE, SEED, effort
from etl.domain.slices import ReportType, slices_of
from failpoints import ACTIONS, COMPACTION, FIRST_LOAD, RESTATED
from job_environment import NEWEST_DAY, OLD_DAY, SERVERS, JobEnvironment, Source, backfill, loaded_template, serving
from tally import record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from job_environment import Ended

pytestmark = pytest.mark.timeout(180 + 60 * effort(1))

ROUNDS = effort(1)
OTHER_ACTIONS = ACTIONS[1:]
# A day for each strike, so that one more run can heal all of them.
DAYS = [NEWEST_DAY - timedelta(days=back) for back in range(len(ACTIONS) * ROUNDS if EXHAUSTIVE else 2)]
OLD_DAYS = [OLD_DAY, OLD_DAY + timedelta(days=1)]

# How the program ends that meets trouble once; it gets over a lost connection.
CODES = {"kill": -9, "term": 143, "bug": 70, "disk-full": 70, "terminate": 0, "shut": 0}


@dataclass(frozen=True)
class Prepared:
    """What the tests of a server share: a folder for runs, sources, templates without and with facts."""

    name: str
    folder: Path
    calm: Source
    restated: Source
    server: postgres.Server
    stored: postgres.Server
    settled: postgres.Server

    def strikes(self, turn: int) -> tuple[str, ...]:
        """What happens at a point: in `make soak` all there is; else a kill, and one of the others in their turn.

        The seed says which one is the first; each server begins at another one.
        """
        if EXHAUSTIVE:
            return ACTIONS * ROUNDS
        return ("kill", OTHER_ACTIONS[(SEED + turn + 2 * SERVERS.index(self.name)) % len(OTHER_ACTIONS)])


@pytest.fixture(scope="module", name="sources")
def _sources() -> Iterator[tuple[Source, Source]]:
    with serving() as calm, serving(restated=slices_of(DAYS)) as restated:
        yield calm, restated


@pytest.fixture(scope="module", name="prepared", params=SERVERS)
def _prepared(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sources: tuple[Source, Source]
) -> Iterator[Prepared]:
    (calm, restated), folder = sources, tmp_path_factory.mktemp("runs")
    with (
        postgres.running(request.param) as server,
        server.database() as first,
        server.database() as second,
        loaded_template(server, JobEnvironment(first, calm, folder), DAYS) as stored,
        loaded_template(server, JobEnvironment(second, calm, folder), OLD_DAYS) as settled,
    ):
        yield Prepared(request.param, folder, calm, restated, server, stored, settled)


def _require_struck(ended: Ended, failpoint: str, *, code: int) -> None:
    assert ended.has_fired, f"seed {SEED}: {failpoint} was not reached\n{ended.err}"
    assert ended.code == code, f"seed {SEED}: {failpoint} ended with {ended.code}, not {code}\n{ended.err}"


def _strike_all(
    environment: JobEnvironment,
    point: str,
    strikes: tuple[str, ...],
    *,
    revisions: tuple[int, ...],
    may_be_missing: bool,
) -> None:
    """Strike a load of its own in every way; look at what is there; heal all by one plain run."""
    # The slice that is struck is the only one, but where something is to happen after it.
    types = tuple(ReportType) if point == "between-slices" else (ReportType.VOD,)
    only = () if len(types) > 1 else ("--type", "VOD")
    days = DAYS[: len(strikes)]
    for day, action in zip(days, strikes, strict=True):
        ended = environment.run(*backfill([day], *only), failpoint=f"{point}:{action}")
        _require_struck(ended, f"{point}:{action}", code=CODES[action])
        found = environment.violations(slices_of([day], types), revisions=revisions, may_be_missing=may_be_missing)
        assert found == [], f"seed {SEED}, after {point}:{action}"
        record("failpoints", 1)
    healed = environment.run(*backfill(days, *only))
    assert healed.code == 0, healed.err
    assert environment.violations(slices_of(days, types), revisions=revisions[-1:]) == [], f"healed after {point}"


@pytest.mark.parametrize("point", FIRST_LOAD)
def test_a_first_load_struck_anywhere_is_whole_or_not_there(prepared: Prepared, point: str) -> None:
    with prepared.server.database() as url:
        environment = JobEnvironment(url, prepared.calm, prepared.folder)
        _strike_all(environment, point, prepared.strikes(FIRST_LOAD.index(point)), revisions=(0,), may_be_missing=True)


@pytest.mark.parametrize("point", RESTATED)
def test_a_restatement_struck_anywhere_leaves_the_old_or_the_new_report(prepared: Prepared, point: str) -> None:
    with prepared.stored.database() as url:
        environment = JobEnvironment(url, prepared.restated, prepared.folder)
        _strike_all(
            environment, point, prepared.strikes(2 + RESTATED.index(point)), revisions=(0, 1), may_be_missing=False
        )


@pytest.mark.parametrize("point", COMPACTION)
def test_a_compaction_struck_anywhere_changes_no_row(prepared: Prepared, point: str) -> None:
    for action in dict.fromkeys(prepared.strikes(COMPACTION.index(point))):
        with prepared.settled.database() as url:
            environment = JobEnvironment(url, prepared.calm, prepared.folder)
            ended = environment.run("compact", failpoint=f"{point}:{action}")
            _require_struck(ended, f"{point}:{action}", code=CODES[action])
            assert environment.violations(slices_of(OLD_DAYS)) == [], f"after {point}:{action}"
            healed = environment.run("compact")
            assert healed.code == 0, healed.err
            assert environment.violations(slices_of(OLD_DAYS)) == [], f"healed after {point}:{action}"
            assert environment.partitions() == [f"watch_time_{OLD_DAY:%Y%m}"]
            record("failpoints", 1)


def test_a_failpoint_that_is_not_reached_fails_its_test(prepared: Prepared) -> None:
    with prepared.server.database() as url:
        ended = JobEnvironment(url, prepared.calm, prepared.folder).run(*backfill(DAYS[:1]), failpoint="deleted:kill")
    with pytest.raises(AssertionError, match="deleted:kill was not reached"):
        _require_struck(ended, "deleted:kill", code=-9)
