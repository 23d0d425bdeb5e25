"""Every answer of the report API leads to one outcome, after a known number of requests and a known wait."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from etl.domain.errors import CredentialsRefused, SourceUnavailable
from etl.domain.pipeline_values import ReportAddress, ReportNotFound
from etl.domain.slices import ReportType, Slice
from etl.extract.http_clients import api_client
from etl.extract.report_api import ReportApi
from etl.extract.retry import RateLimiter
from raw_server import TOKEN, FakeTime, RawServer, grpc_error, in_turn, raw_server, reply, url_answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

SLICE = Slice(date(2023, 7, 3), ReportType.VOD)
URL = "https://storage.example/r.csv?sig=1"
HTML = b"<html><body>Not Found</body></html>"


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: RawServer) -> Iterator[httpx.Client]:
    with api_client(server.url, token=SecretStr(TOKEN), org_id="org-1") as client:
        yield client


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
def retries() -> list[None]:
    """One for each time that something was asked again."""
    return []


@pytest.fixture
def api(client: httpx.Client, server: RawServer, time: FakeTime, retries: list[None]) -> ReportApi:
    server.requests.clear()
    return ReportApi(client, retry_policy=time.retry_policy(), on_retry=lambda _: retries.append(None))


NOT_THERE = grpc_error(404, 5, "report not found")


def test_the_question_is_put_as_documented(api: ReportApi, server: RawServer) -> None:
    server.answer = in_turn(url_answer(URL))
    address = api.ask_once(SLICE)
    assert address == ReportAddress(URL, asks=1)
    (request,) = server.requests
    assert request.target.replace("%3A", ":") == (
        "/bv/analytics/v1/reports/watch-time?time=2023-07-03T00:00:00Z&streaming_type=REPORT_STREAMING_TYPE_VOD"
    )
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["x-bv-org-id"] == "org-1"
    assert request.headers["accept"] == "application/json"
    assert request.headers["user-agent"].startswith("watch-time/")


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param((reply(503), b"", grpc_error(429, 8)), id="weather"),
        pytest.param((reply(200, HTML),), id="a page"),
        pytest.param((reply(500), reply(200, HTML), reply(500)), id="of both kinds"),
    ],
)
def test_trouble_that_passes_is_only_counted(
    trouble: tuple[bytes, ...], api: ReportApi, server: RawServer, retries: list[None]
) -> None:
    server.answer = in_turn(*trouble, url_answer(URL))
    assert api.ask_once(SLICE) == ReportAddress(URL, asks=1)
    assert retries == [None] * len(trouble)


def test_a_404_of_the_api_itself_is_not_there(api: ReportApi, server: RawServer, time: FakeTime) -> None:
    server.answer = in_turn(NOT_THERE)
    assert api.ask_once(SLICE) == ReportNotFound(asks=1, message="report not found")
    assert time.pauses == []


def test_a_not_there_that_will_count_as_nothing_is_asked_for_twice(
    api: ReportApi, server: RawServer, time: FakeTime
) -> None:
    server.answer = in_turn(NOT_THERE)
    assert api.ask_once(SLICE, confirm=True) == ReportNotFound(asks=2, message="report not found")
    assert time.pauses == [1.5]


def test_the_confirming_ask_may_find_the_report(api: ReportApi, server: RawServer) -> None:
    server.answer = in_turn(NOT_THERE, url_answer(URL))
    assert api.ask_once(SLICE, confirm=True) == ReportAddress(URL, asks=2)


@pytest.mark.parametrize("answer", [pytest.param(reply(404, HTML), id="page"), pytest.param(NOT_THERE, id="its own")])
def test_any_404_is_not_there_when_told_so(
    answer: bytes, client: httpx.Client, server: RawServer, time: FakeTime
) -> None:
    server.answer = in_turn(answer)
    api = ReportApi(client, retry_policy=time.retry_policy(), strict_not_found=False)
    assert isinstance(api.ask_once(SLICE), ReportNotFound)


def test_waiting_ends_when_the_report_appears(api: ReportApi, server: RawServer, time: FakeTime) -> None:
    server.answer = in_turn(NOT_THERE, NOT_THERE, reply(503), NOT_THERE, url_answer(URL))
    assert api.await_report(SLICE, budget_s=900) == ReportAddress(URL, asks=4)
    assert time.pauses == [15, 30, 1, 60]


def test_waiting_ends_with_the_budget(api: ReportApi, server: RawServer, time: FakeTime) -> None:
    server.answer = in_turn(NOT_THERE)
    assert api.await_report(SLICE, budget_s=900) == ReportNotFound(asks=8, message="report not found")
    assert time.pauses == [15, 30, 60, 120, 240, 300, 135]


def test_without_a_budget_it_is_asked_once(api: ReportApi, server: RawServer, time: FakeTime) -> None:
    server.answer = in_turn(NOT_THERE)
    assert api.await_report(SLICE, budget_s=0) == ReportNotFound(asks=1, message="report not found")
    assert time.pauses == []


def test_a_renewed_address_must_be_one(api: ReportApi, server: RawServer) -> None:
    server.answer = in_turn(url_answer(URL), NOT_THERE)
    assert api.renew(SLICE).url == URL
    with pytest.raises(SourceUnavailable, match="but now returns 404"):
        api.renew(SLICE)


def test_an_error_names_the_slice_the_status_and_the_request(api: ReportApi, server: RawServer) -> None:
    server.answer = in_turn(grpc_error(403, 7, "no such\norganization", **{"X-Request-Id": "req-42"}))
    with pytest.raises(CredentialsRefused) as caught:
        api.ask_once(SLICE)
    assert str(caught.value) == (
        f"the API refuses token or organization: the report API at {server.url} returned 403 for 2023-07-03 VOD: "
        "no such organization (x-request-id: req-42)"
    )


def test_an_api_that_is_not_there_is_trouble_that_may_pass(time: FakeTime, retries: list[None]) -> None:
    with raw_server() as gone:
        address = gone.url
    with api_client(address, token=SecretStr(TOKEN), org_id="org-1") as client:
        api = ReportApi(client, retry_policy=time.retry_policy(), on_retry=lambda _: retries.append(None))
        with pytest.raises(SourceUnavailable, match="could not be reached"):
            api.ask_once(SLICE)
    assert len(retries) == 4


def test_requests_keep_to_the_rate_and_repeated_ones_count(
    client: httpx.Client, server: RawServer, time: FakeTime
) -> None:
    """Half a request a second: each but the first waits for its turn, a second's backoff included in it."""
    server.requests.clear()
    policy = time.retry_policy()
    api = ReportApi(client, retry_policy=policy, rate=RateLimiter(0.5, policy))
    server.answer = in_turn(reply(503), url_answer(URL), url_answer(URL))
    began_s = policy.clock()
    api.ask_once(SLICE)
    api.ask_once(SLICE)
    assert len(server.requests) == 3
    assert policy.clock() - began_s == pytest.approx(4)


def test_an_answer_that_drips_comes_to_an_end(api: ReportApi, server: RawServer, time: FakeTime) -> None:
    """Each piece arrives in time; the answer as a whole does not."""
    chunks = b"1\r\nx\r\n" * 2000
    server.answer = in_turn(reply(200, chunks, headers={"Transfer-Encoding": "chunked"}, framing="as it is"))
    slow = FakeTime()
    policy = slow.retry_policy()

    def clock() -> float:
        slow.now_s += 1.0  # so long takes each piece
        return slow.now_s

    dripping = ReportApi(
        api.client, retry_policy=type(policy)(sleep=slow.sleep, clock=clock, now=policy.now, chance=policy.chance)
    )
    with pytest.raises(SourceUnavailable, match="ReadTimeout"):
        dripping.ask_once(SLICE)
