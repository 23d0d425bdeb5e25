"""Each check is run against a program that lacks the safeguard it is there for: it must fail then, for that reason.

Without the mutant the same check passes; together that shows that the check looks at what it says.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING
from unittest.mock import patch

import psycopg
import pytest

import postgres
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.server import running
from job_environment import NEWEST_DAY, OLD_DAY, SANDBOX_CONFIG, JobEnvironment, Source, backfill
from mutants import mutate
from raw_server import raw_server, reply, resumable
from tally import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VOD = Slice(NEWEST_DAY, ReportType.VOD)
LOAD = backfill([NEWEST_DAY], "--type", "VOD")
_RECORD = re.compile(rb'(?:"[^"]*"|[^"\n])*\n')


@dataclass(frozen=True)
class Trial:
    """An environment, and the mutant, if any, that all programs are."""

    environment: JobEnvironment
    mutant: str | None

    @property
    def sandbox(self) -> Sandbox:
        return self.environment.source.sandbox

    def records(self) -> list[bytes]:
        """The report's header and records; a title may go over several lines."""
        return _RECORD.findall(self.sandbox.report(VOD).path.read_bytes())

    def load(self, failpoint: str | None = None) -> int:
        """Load the slice; returns the exit code."""
        return self.environment.run(*LOAD, failpoint=failpoint, mutant=self.mutant).code

    def load_while(self, failpoint: str, meanwhile: Callable[[], None]) -> list[int]:
        """Pause a load at a point, do something, begin a second load, resume; returns the two exit codes."""
        first = self.environment.start(*LOAD, failpoint=f"{failpoint}:pause", mutant=self.mutant)
        first.wait_until_fired()
        meanwhile()
        second = self.environment.start(*LOAD, mutant=self.mutant)
        # Long enough for a load that nobody holds back, short for one that waits for the lock.
        time.sleep(1)
        first.resume()
        return [first.wait().code, second.wait().code]

    def found(self, revision: int = 0) -> list[str]:
        return self.environment.violations([VOD], revisions=[revision])


def check_races(trial: Trial) -> list[str]:
    assert trial.load() == 0
    trial.sandbox.restate(VOD)
    codes = trial.load_while("compared", lambda: None)
    return [f"two loads at once ended with {code}" for code in codes if code] + trial.found(1)


def check_overtaking(trial: Trial) -> list[str]:
    def meanwhile() -> None:
        trial.sandbox.restate(VOD)

    codes = trial.load_while("downloaded", meanwhile)
    return [f"ended with {code}" for code in codes if code] + trial.found(1)


def check_kill_before_commit(trial: Trial) -> list[str]:
    assert trial.load("before-commit:kill") == -9
    return trial.environment.violations([VOD], may_be_missing=True)


def check_cut_download(trial: Trial) -> list[str]:
    records = trial.records()
    cut = Delivery(cut_after_bytes=len(b"".join(records[:-5])), headers={"etag": None}, ranges=False)
    trial.sandbox.script(VOD, storage=[cut])
    code = trial.load()
    return [f"ended with {code}"] * (code != 0) + trial.found()


def check_resumed_download(trial: Trial) -> list[str]:
    """Cut and then expired; the fresh URL leads to another file, with the same ETag text and length."""
    report = trial.sandbox.report(VOD).path.read_bytes()
    former = re.sub(rb"\d(\r?\n)", rb"7\1", report)
    assert former != report
    with raw_server() as host:
        cut = reply(200, former, headers={"ETag": '"2"'}, cut=len(report) // 2)
        answer, expires = resumable(report, '"2"', first=cut), iter([False, True])
        host.answer = lambda request: reply(403) if next(expires, False) else answer(request)
        urls = [json.dumps({"url": host.signed_url(path)}) for path in ("/former.csv", "/report.csv")]
        trial.sandbox.script(VOD, api=[Answer(200, url) for url in urls])
        code = trial.load()
    return [f"ended with {code}"] * (code != 0) + trial.found()


def check_cut_gzip(trial: Trial) -> list[str]:
    """An object that was stored cut, between two records, where only gzip's end tells."""
    records = trial.records()
    packer = zlib.compressobj(wbits=31)
    body = packer.compress(b"".join(records[:-5])) + packer.flush(zlib.Z_SYNC_FLUSH)
    trial.sandbox.override(VOD, Delivery(body=body))
    code = trial.load()
    return [f"ended with {code}"] * (code != 65) + trial.environment.violations([VOD], may_be_missing=True)


def check_plain_load(trial: Trial) -> list[str]:
    trial.load()
    return trial.found()


def check_plain_load_or_none(trial: Trial) -> list[str]:
    trial.load()
    return trial.environment.violations([VOD], may_be_missing=True)


def check_repeated_load(trial: Trial) -> list[str]:
    assert [trial.load(), trial.load()] == [0, 0]
    return trial.found()


def check_overtaken_compaction(trial: Trial) -> list[str]:
    """A slice is restated after its month was compared with the ledger, before the month is swapped in."""
    slice_, load = Slice(OLD_DAY, ReportType.VOD), backfill([OLD_DAY], "--type", "VOD")
    assert trial.environment.run(*load, mutant=trial.mutant).code == 0
    compaction = trial.environment.start("compact", failpoint="month-compared:pause", mutant=trial.mutant)
    compaction.wait_until_fired()
    trial.sandbox.restate(slice_)
    assert trial.environment.run(*load, mutant=trial.mutant).code == 0
    compaction.resume()
    code = compaction.wait().code
    return [f"ended with {code}"] * (code != 75) + trial.environment.violations([slice_], revisions=[1])


def check_shrinking(trial: Trial) -> list[str]:
    assert trial.load() == 0
    records = trial.records()
    trial.sandbox.override(VOD, Delivery(body=b"".join(records[:3])))
    code = trial.load()
    # Held is what it has to be; what is stored is another matter.
    return [f"ended with {code}"] * (code != 65) + [each for each in trial.found() if not each.endswith("is held")]


def check_secrets(trial: Trial) -> list[str]:
    """A proxy on the way repeats the token in a header that is told, for support to find the request by."""
    token = trial.sandbox.config.token
    trial.sandbox.script(VOD, api=[Answer(400, headers={"x-request-id": token})] * 5)
    ended = trial.environment.run(*LOAD, mutant=trial.mutant)
    with psycopg.connect(trial.environment.url) as connection:
        kept = connection.execute("SELECT reason FROM report_slice").fetchall()
    return ["the token is told"] * (token in ended.out + ended.err) + ["the token is kept"] * (token in str(kept))


CONTROLS = [
    ("no-slice-lock", check_races, "two loads at once ended with"),
    ("overtaking", check_overtaking, "has the hash of none of the reports [1]"),
    ("ledger-apart", check_kill_before_commit, "report_slice says"),
    ("no-length-check", check_cut_download, "has the hash of none"),
    ("blind-to-sources", check_resumed_download, "has the hash of none"),
    ("no-gzip-end", check_cut_gzip, "has the hash of none"),
    ("na-is-nothing", check_plain_load, "rows are wrong"),
    ("mutilated", check_plain_load, "missing"),
    ("mutilated-unreconciled", check_plain_load_or_none, "rows are wrong"),
    ("rollup-left-alone", check_plain_load, "missing"),
    ("rollup-left-alone-unreconciled", check_plain_load, "content_daily has"),
    ("no-redaction", check_secrets, "the token is told"),
    ("no-shrink-guard", check_shrinking, "has the hash of none"),
    ("attached-without-key", check_plain_load, "a DEFAULT of its making is left"),
    ("blind-to-hashes", check_repeated_load, "the same report was loaded twice"),
    ("swapping-blindly", check_overtaken_compaction, "rows are wrong"),
]


@pytest.fixture(scope="module", name="newest")
def _newest() -> Iterator[postgres.Server]:
    with postgres.running(postgres.SOURCES[-1]) as server:
        yield server


@pytest.mark.parametrize(("mutant", "check", "reason"), [pytest.param(*control, id=control[0]) for control in CONTROLS])
def test_a_check_fails_without_its_safeguard_and_passes_with_it(
    newest: postgres.Server,
    tmp_path: Path,
    mutant: str,
    check: Callable[[Trial], list[str]],
    reason: str,
) -> None:
    mutate(mutant)  # what it takes away is there: a program that cannot begin would look like one that fails
    patch.stopall()

    found = {}
    for applied in (None, mutant):
        sandbox = Sandbox(SANDBOX_CONFIG)
        with running(sandbox) as base_url, newest.database() as url:
            environment = JobEnvironment(url, Source(sandbox, base_url), tmp_path)
            found[applied] = check(Trial(environment, applied))
    assert found[None] == []
    assert reason in "\n".join(found[mutant]), found[mutant]
    record("mutants caught", 1)
