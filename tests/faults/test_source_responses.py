"""Each answer of the report API and of a storage host ends as api-responses.md says: exit code, requests, pauses.

The page is the expectation: it is read here, row by row, and a row without an answer or an answer without a row fails.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

import source_responses
from etl.config.settings import Settings
from etl.domain.errors import ExitCode, WatchTimeError
from etl.domain.pipeline_values import ReportNotFound
from etl.domain.slices import ReportType, Slice
from etl.extract.download import Downloader
from etl.extract.http_clients import api_client, storage_client
from etl.extract.report_source import Source
from etl.extract.retry import RateLimiter
from etl.extract.url_policy import UrlPolicy
from etl.runtime.cancellation import Stop
from etl.transform import normalise
from raw_server import CSV, TOKEN, FakeTime, in_turn, raw_server, url_answer
from tally import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.domain.outcome import Pause

PAGE = Path(__file__).parents[2] / "docs" / "internals" / "api-responses.md"
# Neither the token nor the organization is among them.
KNOWN_TO_STORAGE = {"host", "accept", "accept-encoding", "connection", "user-agent", "range", "if-range"}
SLICE = Slice(date(2023, 7, 3), ReportType.VOD)


@dataclass(frozen=True)
class Row:
    """A line of the page: who answers, what, and what comes of it."""

    who: str
    answer: str
    exit: str
    ends_as: str
    asked: int
    fetched: int
    paused_s: int

    def __str__(self) -> str:
        return f"{self.who}: {self.answer}"


def _rows() -> list[Row]:
    page = PAGE.read_text(encoding="utf-8")
    rows = []
    for who in source_responses.OF:
        part = page.partition(f"<!-- {who} -->\n")[2].partition(f"<!-- /{who} -->")[0]
        for line in part.splitlines()[2:]:
            answer, exit_, ends_as, *figures = (cell.strip().replace("`", "") for cell in line.strip("|").split("|"))
            rows.append(Row(who, answer, exit_, ends_as, *map(int, figures)))
    return rows


ROWS = _rows()


class Hosts:
    """The report API and a storage host, and the program's own way from one to the other."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.api, self.storage = (stack.enter_context(raw_server()) for _ in range(2))
        policy = UrlPolicy.beside(self.api.url)
        self._api_client = stack.enter_context(api_client(self.api.url, token=SecretStr(TOKEN), org_id="org-1"))
        self._storage_client = stack.enter_context(storage_client(policy, proxies={}))
        self._policy, self._folder = policy, folder

    def sync(self, who: str, answer: str) -> Row:
        """What comes of an answer, up to the last row of the report; nothing is loaded."""
        bytes_ = source_responses.OF[who](self.storage.report_url)[answer]
        given = in_turn(*(bytes_ if isinstance(bytes_, list) else [bytes_]))
        well = {"api": in_turn(url_answer(self.storage.report_url)), "storage": in_turn(source_responses.WHOLE)}
        self.api.answer, self.storage.answer = (given if who == name else well[name] for name in ("api", "storage"))
        for server in (self.api, self.storage):
            server.requests.clear()
        time, retries = FakeTime(), [0]
        exit_, ends_as = self._end(time, retries)
        asked, fetched = len(self.api.requests), len(self.storage.requests)
        led_on = sum("/elsewhere/" in request.target for request in self.storage.requests)
        assert retries[0] == (asked if who == "api" else fetched - led_on) - 1, "each repeated request is counted"
        if exit_ in {"70", "77", "78"}:
            assert retries[0] == 0, "what needs a person is not retried"
        for request in self.storage.requests:
            assert request.headers.keys() <= KNOWN_TO_STORAGE
        return Row(who, answer, exit_, ends_as, asked, fetched, round(sum(time.pauses)))

    def _end(self, time: FakeTime, retries: list[int]) -> tuple[str, str]:
        def retry(_: Pause) -> None:
            retries[0] += 1

        stop, retry_policy = Stop(), time.retry_policy()
        source = Source(
            self._api_client,
            Downloader(self._storage_client, self._policy, retry_policy, stop),
            self._folder,
            strict_not_found=Settings.model_validate({}).strict_not_found,
            rate=RateLimiter(None, retry_policy),
        )
        try:
            with source.fetch(SLICE, on_retry=retry) as report:
                if isinstance(report, ReportNotFound):
                    return "depends on the date", "no report"
                rows = sum(len(chunk.rows) for chunk in normalise.chunks(report.path, aliases={}))
                assert (rows, report.path.read_bytes()) == (10, CSV)
                return f"{ExitCode.OK:d}", "complete report"
        except WatchTimeError as error:
            _assert_tellable(error)
            return f"{error.exit_code:d}", type(error).__name__
        finally:
            assert list(self._folder.iterdir()) == [], "no file is left behind"


def _assert_tellable(error: WatchTimeError) -> None:
    assert error.next_step
    assert TOKEN not in error.message


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosts]:
    with ExitStack() as stack:
        yield Hosts(tmp_path_factory.mktemp("spool"), stack)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_an_answer_ends_as_the_page_says(row: Row, hosts: Hosts) -> None:
    assert hosts.sync(row.who, row.answer) == row
    record("answers", 1)


@pytest.mark.parametrize("who", source_responses.OF)
def test_the_page_lists_every_answer_once(who: str) -> None:
    listed = [row.answer for row in ROWS if row.who == who]
    assert sorted(listed) == sorted(source_responses.OF[who]("https://storage.example/r.csv"))


def test_the_exit_codes_of_the_page_are_those_of_the_program() -> None:
    codes = {row.exit for row in ROWS} - {"depends on the date"}
    assert codes <= {f"{code:d}" for code in ExitCode}
