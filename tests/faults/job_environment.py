"""What the fault tests run the program on: a small sandbox, a database of the test's own, and failpoints."""

from __future__ import annotations

import os
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import psycopg
from psycopg import conninfo

import postgres
import prefork
from etl.config.environment import PREFIX
from etl.domain.slices import slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from warehouse_checker import violations, wait_for_no_backend

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from datetime import date

    from etl.domain.slices import Slice
    from prefork import Process

SANDBOX_CONFIG = SandboxConfig(vod_rows=60, live_rows=40, titles=30, quiet_one_day_in=0)
OLDEST_AND_NEWEST = list(dict.fromkeys((postgres.SOURCES[0], postgres.SOURCES[-1])))
# Templates with facts are copied, which a cluster cannot do.
ONE = postgres.ONE if postgres.ONE in postgres.SOURCES else postgres.SOURCES[-1]
SERVERS = OLDEST_AND_NEWEST if postgres.EVERY else [ONE]

MUTANT = os.environ.get("WATCH_TIME_TEST_MUTANT")

# Real dates: the program decides for itself what today is.
NEWEST_DAY = datetime.now(UTC).date() - timedelta(days=4)
# In a month that is settled, whatever the day of the tests.
OLD_DAY = (NEWEST_DAY - timedelta(days=60)).replace(day=10)

# The program's pauses between two attempts, at the database and at the source.
_SHORT_PAUSES = {"warehouse.database._LONGEST_PAUSE_S": 0.05, "extract.retry._BACKOFF_S": 0.05}


@dataclass(frozen=True)
class Source:
    """A sandbox that serves."""

    sandbox: Sandbox
    base_url: str


@contextmanager
def serving(config: SandboxConfig = SANDBOX_CONFIG, *, restated: Iterable[Slice] = ()) -> Iterator[Source]:
    """A sandbox of this configuration; some of its slices were restated."""
    sandbox = Sandbox(config)
    for slice_ in restated:
        sandbox.restate(slice_)
    with running(sandbox) as base_url:
        yield Source(sandbox, base_url)


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    code: int
    out: str
    err: str
    has_fired: bool


@dataclass(frozen=True)
class Run:
    """A run of the program, with a failpoint or without one."""

    process: Process
    folder: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait(self) -> Ended:
        done = self.process.result()
        return Ended(done.returncode, done.stdout, done.stderr, (self.folder / "fired").exists())

    def kill(self, number: int) -> Ended:
        """Send the signal, if it still runs, and wait."""
        self.process.send_signal(number)
        return self.wait()

    def wait_until_fired(self, timeout_s: float = 20.0) -> None:
        """Wait until the failpoint is reached."""
        deadline = time.monotonic() + timeout_s
        while not (self.folder / "fired").exists():
            assert time.monotonic() < deadline, "the failpoint was not reached"
            time.sleep(0.01)

    def resume(self) -> None:
        """Let it continue from a failpoint that pauses it."""
        (self.folder / "go").touch()


@dataclass(frozen=True)
class JobEnvironment:
    """A migrated database, a source, and a folder for the program between them."""

    url: str
    source: Source
    folder: Path

    def run(self, *arguments: str, failpoint: str | None = None, mutant: str | None = None, **settings: str) -> Ended:
        """Run the program to its end."""
        return self.start(*arguments, failpoint=failpoint, mutant=mutant, **settings).wait()

    def start(self, *arguments: str, failpoint: str | None = None, mutant: str | None = None, **settings: str) -> Run:
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
        folder = self.folder / uuid.uuid4().hex
        folder.mkdir()
        before: list[prefork.Call] = []
        if mutant := mutant or MUTANT:
            before.append(("mutants", "mutate", [mutant]))
        if failpoint:
            before.append(("failpoints", "arm", [failpoint, str(folder / "fired")]))
        process = prefork.start(
            arguments,
            self._environment() | {f"{PREFIX}{name}": value for name, value in (known | settings).items()},
            folder,
            limits=_SHORT_PAUSES,
            before=before,
            to_files=True,
        )
        return Run(process, folder)

    def _environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        # To read all certificates, for a sandbox without TLS, takes longer than a load.
        return plain | {"COLUMNS": "160", "SSL_CERT_FILE": str(one_certificate(self.folder))}

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


def one_certificate(folder: Path) -> Path:
    """A file in the folder with one of the certificates that are trusted."""
    file = folder / "one.pem"
    if not file.exists():
        first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
        file.write_text(first + end, encoding="utf-8")
    return file


@contextmanager
def loaded_template(
    server: postgres.Server, environment: JobEnvironment, days: Sequence[date]
) -> Iterator[postgres.Server]:
    """The server, with a template in which the source's reports of these days are loaded already."""
    done = environment.run(*backfill(days))
    assert done.code == 0, done.err
    assert environment.violations(slices_of(days)) == []
    assert wait_for_no_backend(environment.url) == []
    yield replace(server, template=str(conninfo.conninfo_to_dict(environment.url)["dbname"]))


def backfill(days: Sequence[date], *more: str) -> tuple[str, ...]:
    """The command that loads these days."""
    return ("backfill", "--start", f"{min(days)}", "--end", f"{max(days)}", "--refresh", *more)
