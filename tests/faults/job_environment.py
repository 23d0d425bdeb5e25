"""Where the fault tests run the program: a small world, a database of the test's own, processes forked for it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo

import postgres
from etl.domain.slices import slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from warehouse_checker import violations, wait_for_no_backend

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import date

    from etl.domain.slices import Slice
    from forks import Ended, Forks, Started

WORLD = SandboxConfig(vod_rows=60, live_rows=40, titles=30, quiet_one_day_in=0)
OLDEST_AND_NEWEST = list(dict.fromkeys((postgres.SOURCES[0], postgres.SOURCES[-1])))
# Templates with facts are copied, which a cluster cannot do.
ONE = postgres.ONE if postgres.ONE in postgres.SOURCES else postgres.SOURCES[-1]
SERVERS = OLDEST_AND_NEWEST if postgres.EVERY else [ONE]

MUTANT = os.environ.get("WATCH_TIME_TEST_MUTANT")

# Real dates: the program decides for itself what today is.
NEWEST_DAY = datetime.now(UTC).date() - timedelta(days=4)
# In a month that is settled, whatever the day of the tests.
OLD_DAY = (NEWEST_DAY - timedelta(days=60)).replace(day=10)


@dataclass(frozen=True)
class Source:
    """A sandbox that serves."""

    sandbox: Sandbox
    base_url: str


@contextmanager
def serving(config: SandboxConfig = WORLD, *, restated: Iterable[Slice] = ()) -> Iterator[Source]:
    """A sandbox of that world; some of its slices were restated."""
    sandbox = Sandbox(config)
    for slice_ in restated:
        sandbox.restate(slice_)
    with running(sandbox) as base_url:
        yield Source(sandbox, base_url)


@dataclass(frozen=True)
class Ground:
    """A migrated database, a source, and the program between them."""

    url: str
    source: Source
    forks: Forks

    def run(self, *arguments: str, failpoint: str | None = None, mutant: str | None = None, **settings: str) -> Ended:
        """Run the program to its end."""
        return self.start(*arguments, failpoint=failpoint, mutant=mutant, **settings).wait()

    def start(
        self, *arguments: str, failpoint: str | None = None, mutant: str | None = None, **settings: str
    ) -> Started:
        """Start the program; as the mutant of WATCH_TIME_TEST_MUTANT, where one is named: to see a suite fail."""
        config = self.source.sandbox.config
        known = {
            "API_TOKEN": config.token,
            "ORG_ID": config.org_id,
            "API_BASE_URL": self.source.base_url,
            "DATABASE_URL": self.url,
            "NOT_FOUND_WAIT_SECONDS": "0",
            "CONCURRENCY": "1",
        }
        return self.forks.start(*arguments, failpoint=failpoint, mutant=mutant or MUTANT, **(known | settings))

    def violations(
        self, slices: Iterable[Slice], *, revisions: Collection[int] = (0,), may_be_missing: bool = False
    ) -> list[str]:
        """What is wrong with the database."""
        return violations(self.url, self.source.sandbox, slices, revisions=revisions, may_be_missing=may_be_missing)

    def partitions(self) -> list[str]:
        """The names of the partitions."""
        with psycopg.connect(self.url) as connection:
            return [
                str(name)
                for (name,) in connection.execute(
                    "SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'watch_time'::regclass ORDER BY 1"
                )
            ]


@contextmanager
def template(server: postgres.Server, ground: Ground, days: Sequence[date]) -> Iterator[postgres.Server]:
    """The server, with a template in which the source's reports of these days are loaded already."""
    done = ground.run(*span(days))
    assert done.code == 0, done.err
    assert ground.violations(slices_of(days)) == []
    assert wait_for_no_backend(ground.url) == []
    yield replace(server, template=str(conninfo.conninfo_to_dict(ground.url)["dbname"]))


def span(days: Sequence[date], *more: str) -> tuple[str, ...]:
    """The command that loads these days."""
    return ("backfill", "--start", f"{min(days)}", "--end", f"{max(days)}", "--refresh", *more)
