"""The sandbox over real HTTP: the API's answers, the storage host's, and each way to misbehave."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from etl.domain.errors import Misconfigured
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from plain_http import EMPTY_TRUST_STORE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VOD = Slice(date(2023, 7, 3), ReportType.VOD)
LIVE = Slice(date(2023, 7, 3), ReportType.LIVE)
CREDENTIALS = {"authorization": "Bearer sandbox-token", "x-bv-org-id": "sandbox-org"}
CONFIG = SandboxConfig(vod_rows=500, live_rows=200, titles=60, quiet_one_day_in=0, today=lambda: date(2023, 7, 10))


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Sandbox, str]]:
    sandbox = Sandbox(CONFIG)
    with running(sandbox) as base_url:
        yield sandbox, base_url


@pytest.fixture
def sandbox(served: tuple[Sandbox, str]) -> Sandbox:
    sandbox, _ = served
    sandbox.reset()
    return sandbox


@pytest.fixture
def client(sandbox: Sandbox, served: tuple[Sandbox, str]) -> Iterator[httpx.Client]:
    _, base_url = served
    with httpx.Client(base_url=base_url, timeout=60, verify=EMPTY_TRUST_STORE) as client:
        yield client


def ask(
    client: httpx.Client,
    slice_: Slice = VOD,
    *,
    headers: dict[str, str] = CREDENTIALS,
    params: dict[str, str] | None = None,
) -> httpx.Response:
    query = {
        "time": f"{slice_.report_date}T00:00:00Z",
        "streaming_type": f"REPORT_STREAMING_TYPE_{slice_.report_type}",
        **(params or {}),
    }
    return client.get("/bv/analytics/v1/reports/watch-time", params=query, headers=headers)


def url_of(client: httpx.Client, slice_: Slice = VOD) -> str:
    answer = ask(client, slice_)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["url"])


class TestApi:
    @pytest.mark.parametrize("slice_", [pytest.param(VOD, id="vod"), pytest.param(LIVE, id="live")])
    def test_a_url_leads_to_the_report(self, sandbox: Sandbox, client: httpx.Client, slice_: Slice) -> None:
        answer = client.get(url_of(client, slice_))
        assert answer.status_code == 200
        assert answer.content == sandbox.report(slice_).path.read_bytes()

    def test_a_time_without_z_is_the_same(self, client: httpx.Client) -> None:
        assert ask(client, params={"time": "2023-07-03T00:00:00"}).status_code == 200

    @pytest.mark.parametrize(
        ("headers", "status", "code"),
        [
            pytest.param({"x-bv-org-id": "sandbox-org"}, 401, 16, id="no token"),
            pytest.param({**CREDENTIALS, "authorization": "Bearer other"}, 401, 16, id="wrong token"),
            pytest.param({**CREDENTIALS, "authorization": "sandbox-token"}, 401, 16, id="token without Bearer"),
            pytest.param({"authorization": "Bearer sandbox-token"}, 403, 7, id="no organization"),
            pytest.param({**CREDENTIALS, "x-bv-org-id": "other"}, 403, 7, id="organization of another token"),
        ],
    )
    def test_strangers_are_refused(self, client: httpx.Client, headers: dict[str, str], status: int, code: int) -> None:
        answer = ask(client, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (status, code)

    @pytest.mark.parametrize(
        "params",
        [
            pytest.param({"time": ""}, id="no time"),
            pytest.param({"time": "2023-07-03"}, id="time without hours"),
            pytest.param({"time": "2023-02-30T00:00:00Z"}, id="no such day"),
            pytest.param({"streaming_type": ""}, id="no type"),
            pytest.param({"streaming_type": "VOD"}, id="unknown type"),
        ],
    )
    def test_malformed_requests_are_invalid_arguments(self, client: httpx.Client, params: dict[str, str]) -> None:
        answer = ask(client, params=params)
        assert answer.status_code == 400
        assert answer.json().keys() == {"code", "message", "details"}
        assert answer.json()["code"] == 3

    @pytest.mark.parametrize(
        ("day", "status"),
        [
            pytest.param(date(2023, 6, 30), 404, id="before the first day"),
            pytest.param(date(2023, 7, 1), 200, id="first day"),
            pytest.param(date(2023, 7, 8), 200, id="day before yesterday"),
            pytest.param(date(2023, 7, 9), 404, id="yesterday"),
            pytest.param(date(9999, 12, 31), 404, id="last day of the calendar"),
        ],
    )
    def test_reports_that_are_not_there_are_not_found(self, client: httpx.Client, day: date, status: int) -> None:
        answer = ask(client, Slice(day, ReportType.VOD))
        assert answer.status_code == status
        assert status == 200 or answer.json()["code"] == 5

    def test_a_day_without_viewing_is_not_found_for_that_type_only(self) -> None:
        sandbox = Sandbox(replace(CONFIG, quiet_one_day_in=2))
        days = [date(2023, 7, day) for day in range(1, 9)]
        slices = [Slice(day, report_type) for day in days for report_type in ReportType]
        with (
            running(sandbox) as base_url,
            httpx.Client(base_url=base_url, verify=EMPTY_TRUST_STORE, timeout=60) as client,
        ):
            there = {slice_: ask(client, slice_).status_code == 200 for slice_ in slices}
        assert there == {slice_: sandbox.has_history(slice_) for slice_ in slices}
        assert any(there[Slice(day, ReportType.VOD)] != there[Slice(day, ReportType.LIVE)] for day in days)

    def test_a_report_appears_when_its_day_comes(self) -> None:
        today = [date(2023, 7, 4)]
        sandbox = Sandbox(replace(CONFIG, today=lambda: today[0]))
        with (
            running(sandbox) as base_url,
            httpx.Client(base_url=base_url, verify=EMPTY_TRUST_STORE, timeout=60) as client,
        ):
            assert ask(client).status_code == 404
            today[0] = date(2023, 7, 5)
            assert ask(client).status_code == 200

    def test_an_unknown_path_is_not_found_in_other_words_than_the_apis(self, client: httpx.Client) -> None:
        answer = client.get("/bv/analytics/v2/reports/watch-time")
        assert answer.status_code == 404
        assert not answer.text.startswith("{")


class TestStorage:
    def test_the_host_says_what_resuming_and_checking_need(self, sandbox: Sandbox, client: httpx.Client) -> None:
        answer = client.get(url_of(client))
        assert answer.headers["content-length"] == str(sandbox.report(VOD).size_bytes)
        assert answer.headers["etag"] == f'"{hashlib.md5(answer.content, usedforsecurity=False).hexdigest()}"'
        assert answer.headers["accept-ranges"] == "bytes"
        for name in ("date", "last-modified"):
            assert abs(parsedate_to_datetime(answer.headers[name]) - datetime.now(UTC)) < timedelta(minutes=5)

    @pytest.mark.parametrize(
        ("if_range", "status"),
        [
            pytest.param(None, 206, id="no condition"),
            pytest.param("{etag}", 206, id="same"),
            pytest.param('"other"', 200, id="changed"),
            pytest.param("W/{etag}", 200, id="weak"),
        ],
    )
    def test_a_range_is_given_if_the_file_is_the_same(
        self, sandbox: Sandbox, client: httpx.Client, if_range: str | None, status: int
    ) -> None:
        report = sandbox.report(VOD)
        headers = {"range": "bytes=100-"}
        if if_range:
            headers["if-range"] = if_range.format(etag=report.etag)
        answer = client.get(url_of(client), headers=headers)
        content = report.path.read_bytes()
        assert answer.status_code == status
        assert answer.content == (content[100:] if status == 206 else content)
        if status == 206:
            assert answer.headers["content-range"] == f"bytes 100-{len(content) - 1}/{len(content)}"

    def test_a_range_behind_the_end_cannot_be_given(self, sandbox: Sandbox, client: httpx.Client) -> None:
        size_bytes = sandbox.report(VOD).size_bytes
        answer = client.get(url_of(client), headers={"range": f"bytes={size_bytes}-"})
        assert answer.status_code == 416
        assert answer.headers["content-range"] == f"bytes */{size_bytes}"

    def test_a_token_is_refused_and_echoed(self, client: httpx.Client) -> None:
        answer = client.get(url_of(client), headers={"authorization": "Bearer sandbox-token"})
        assert answer.status_code == 400
        assert "<Code>InvalidArgument</Code>" in answer.text
        assert "Only one auth mechanism allowed" in answer.text
        assert "<ArgumentValue>Bearer sandbox-token</ArgumentValue>" in answer.text

    def test_a_url_is_good_for_its_lifetime(self) -> None:
        now = [datetime(2023, 7, 10, 12, tzinfo=UTC)]
        sandbox = Sandbox(replace(CONFIG, now=lambda: now[0]))
        with (
            running(sandbox) as base_url,
            httpx.Client(base_url=base_url, verify=EMPTY_TRUST_STORE, timeout=60) as client,
        ):
            url = url_of(client)
            now[0] += timedelta(minutes=59, seconds=59)
            assert client.get(url).status_code == 200
            now[0] += timedelta(seconds=1)
            late = client.get(url)
            assert client.get(url_of(client)).status_code == 200
        assert late.status_code == 403
        assert late.headers["content-type"] == "application/xml"
        assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in late.text
        assert "<Expires>2023-07-10T13:00:00Z</Expires>" in late.text

    @pytest.mark.parametrize(
        ("old", "new", "code"),
        [
            pytest.param("20230703", "20230704", "SignatureDoesNotMatch", id="path"),
            pytest.param("X-Amz-Expires=3600", "X-Amz-Expires=9999", "SignatureDoesNotMatch", id="lifetime"),
            pytest.param("X-Amz-Signature=", "X-Amz-Signature=0", "SignatureDoesNotMatch", id="signature"),
            pytest.param("X-Amz-Signature=", "Signature=", "AccessDenied", id="unsigned"),
        ],
    )
    def test_a_url_that_was_tampered_with_is_refused(self, client: httpx.Client, old: str, new: str, code: str) -> None:
        answer = client.get(url_of(client).replace(old, new))
        assert answer.status_code == 403
        assert f"<Code>{code}</Code>" in answer.text

    def test_a_url_for_get_is_not_one_for_head(self, client: httpx.Client) -> None:
        assert client.head(url_of(client)).status_code == 403

    def test_a_withdrawn_report_is_gone_from_both_hosts(self, sandbox: Sandbox, client: httpx.Client) -> None:
        url = url_of(client)
        sandbox.withdraw(VOD)
        assert ask(client).status_code == 404
        assert client.get(url).status_code == 404
        assert ask(client, LIVE).status_code == 200

    def test_a_restated_report_replaces_the_old_one_under_its_url(self, sandbox: Sandbox, client: httpx.Client) -> None:
        url = url_of(client)
        old = client.get(url)
        sandbox.restate(VOD)
        new = client.get(url, headers={"range": "bytes=100-", "if-range": old.headers["etag"]})
        assert new.status_code == 200
        assert new.content == sandbox.report(VOD).path.read_bytes() != old.content

    def test_two_first_downloads_at_once_get_the_same_bytes(self, client: httpx.Client) -> None:
        url = url_of(client)
        found: list[bytes] = []
        threads = [threading.Thread(target=lambda: found.append(httpx.get(url, timeout=60).content)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 4
        assert len(set(found)) == 1


class TestMisbehaviour:
    @pytest.mark.parametrize(
        "answer",
        [
            pytest.param(Answer(429, headers={"Retry-After": "7"}), id="429 with Retry-After"),
            pytest.param(Answer(500, '{"code":13,"message":"internal","details":[]}'), id="500"),
            pytest.param(Answer(404, "<html>Not here</html>", media_type="text/html"), id="404 in HTML"),
            pytest.param(Answer(200, "<html>Log in</html>", media_type="text/html"), id="200 in HTML"),
            pytest.param(Answer(200, "{}"), id="200 without url"),
            pytest.param(Answer(200, '{"url":"ftp://elsewhere.example/x.csv"}'), id="url of another scheme"),
            pytest.param(Answer(200, b"\xff\xfe"), id="bytes"),
            pytest.param(Answer(302, headers={"Location": "https://elsewhere.example/"}), id="redirect"),
        ],
    )
    def test_the_api_answers_as_told_and_then_truly(
        self, sandbox: Sandbox, client: httpx.Client, answer: Answer
    ) -> None:
        sandbox.script(VOD, api=[answer])
        got = ask(client)
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        assert (got.status_code, got.content) == (answer.status, body)
        assert got.headers["content-type"].startswith(answer.media_type)
        assert answer.headers.items() <= {name.title(): value for name, value in got.headers.items()}.items()
        assert ask(client).status_code == 200

    def test_a_script_is_followed_item_by_item_by_its_slice_first(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.script(VOD, api=[Answer(500), None])
        sandbox.script(None, api=[Answer(503)])
        assert [ask(client, slice_).status_code for slice_ in (VOD, VOD, LIVE, VOD)] == [500, 200, 503, 200]

    def test_storage_answers_as_told_and_then_truly(self, sandbox: Sandbox, client: httpx.Client) -> None:
        url = url_of(client)
        sandbox.script(VOD, storage=[Answer(503), Delivery(expired=True), Delivery(expired=True), None])
        answers = [client.get(url) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [503, 403, 403, 200]
        assert "Request has expired" in answers[1].text

    @pytest.mark.parametrize("body", [b"", b"\x00\xff", b"Content Title\n"], ids=["empty", "binary", "text"])
    def test_exact_bytes_can_stand_for_a_report(self, sandbox: Sandbox, client: httpx.Client, body: bytes) -> None:
        sandbox.override(VOD, Delivery(body=body, media_type="application/octet-stream"))
        answer = client.get(url_of(client))
        assert answer.content == body
        assert answer.headers["content-length"] == str(len(body))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert client.get(url_of(client, LIVE)).content != body

    def test_an_override_of_a_slice_wins_over_that_of_all(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(None, Delivery(body="all"))
        sandbox.override(VOD, Delivery(body="one"))
        assert client.get(url_of(client)).text == "one"
        assert client.get(url_of(client, LIVE)).text == "all"

    def test_a_report_can_be_compressed_on_the_way(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(gzip="encoding"))
        answer = client.get(url_of(client))
        assert answer.headers["content-encoding"] == "gzip"
        assert int(answer.headers["content-length"]) < sandbox.report(VOD).size_bytes
        assert answer.content == sandbox.report(VOD).path.read_bytes()

    def test_a_report_can_be_a_compressed_file(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(gzip="file"))
        url = url_of(client)
        answer = client.get(url)
        assert httpx.URL(url).path.endswith(".csv.gz")
        assert "content-encoding" not in answer.headers
        assert gzip.decompress(answer.content) == sandbox.report(VOD).path.read_bytes()

    @pytest.mark.parametrize("cut_after_bytes", [0, 1, 1_000])
    @pytest.mark.parametrize("headers", [{}, {"content-length": None}], ids=["length", "chunked"])
    def test_a_download_can_be_cut(
        self, sandbox: Sandbox, client: httpx.Client, cut_after_bytes: int, headers: dict[str, str | None]
    ) -> None:
        sandbox.script(VOD, storage=[Delivery(cut_after_bytes=cut_after_bytes, headers=headers)])
        received = bytearray()
        with client.stream("GET", url_of(client)) as answer:
            assert ("content-length" in answer.headers) != bool(headers)
            with pytest.raises(httpx.RemoteProtocolError):
                _read_into(received, answer)
        assert received == sandbox.report(VOD).path.read_bytes()[:cut_after_bytes]
        assert client.get(url_of(client)).status_code == 200

    def test_a_cut_behind_the_end_is_none(self, sandbox: Sandbox, client: httpx.Client) -> None:
        size_bytes = sandbox.report(VOD).size_bytes
        sandbox.override(VOD, Delivery(cut_after_bytes=size_bytes))
        assert len(client.get(url_of(client)).content) == size_bytes

    def test_a_resumed_download_is_cut_by_its_own_bytes(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(cut_after_bytes=sandbox.report(VOD).size_bytes - 10))
        answer = client.get(url_of(client), headers={"range": "bytes=10-"})
        assert answer.status_code == 206

    def test_an_etag_can_be_missing_or_weak(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.script(VOD, storage=[Delivery(headers={"ETag": None}), Delivery(headers={"ETag": 'W/"1"'})])
        assert "etag" not in client.get(url_of(client)).headers
        weak = client.get(url_of(client), headers={"range": "bytes=9-", "if-range": 'W/"1"'})
        assert (weak.status_code, weak.headers["etag"]) == (200, 'W/"1"')

    def test_ranges_can_be_not_understood(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(ranges=False))
        answer = client.get(url_of(client), headers={"range": "bytes=9-"})
        assert answer.status_code == 200
        assert "accept-ranges" not in answer.headers

    def test_a_transfer_can_be_chunked(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(headers={"content-length": None}))
        answer = client.get(url_of(client))
        assert answer.headers["transfer-encoding"] == "chunked"
        assert "content-length" not in answer.headers
        assert answer.content == sandbox.report(VOD).path.read_bytes()

    def test_headers_can_be_added(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(headers={"x-goog-hash": "md5=AAAA"}))
        assert client.get(url_of(client)).headers["x-goog-hash"] == "md5=AAAA"

    def test_a_download_can_drip(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.override(VOD, Delivery(body=b"x" * 1_000, bytes_per_s=4_000))
        started = time.monotonic()
        assert client.get(url_of(client)).content == b"x" * 1_000
        assert time.monotonic() - started > 0.2

    def test_answers_can_be_late(self, sandbox: Sandbox, client: httpx.Client) -> None:
        url = url_of(client)
        sandbox.script(VOD, api=[Answer(500, latency_s=5)], storage=[Delivery(latency_s=5)])
        client.timeout = httpx.Timeout(0.2)
        with pytest.raises(httpx.ReadTimeout):
            ask(client)
        with pytest.raises(httpx.ReadTimeout):
            client.get(url)

    def test_every_answer_can_be_late(self) -> None:
        with (
            running(Sandbox(replace(CONFIG, latency_s=0.2))) as base_url,
            httpx.Client(base_url=base_url, verify=EMPTY_TRUST_STORE, timeout=60) as client,
        ):
            started = time.monotonic()
            client.get(url_of(client))
            assert time.monotonic() - started >= 0.4


class TestLog:
    def test_requests_are_logged_without_secrets(self, sandbox: Sandbox, client: httpx.Client) -> None:
        url = url_of(client)
        client.get(url, headers={"range": "bytes=9-"})
        api, storage = sandbox.requests()
        assert (api.kind, api.method, api.status) == ("api", "GET", 200)
        assert api.query["streaming_type"] == "REPORT_STREAMING_TYPE_VOD"
        assert api.headers["authorization"] == "Bearer ..."
        assert (storage.kind, storage.path, storage.status) == ("storage", httpx.URL(url).path, 206)
        assert storage.headers["range"] == "bytes=9-"
        assert "authorization" not in storage.headers
        shown = repr(sandbox.requests()) + repr(sandbox.config)
        assert "sandbox-token" not in shown
        assert httpx.URL(url).params["X-Amz-Signature"] not in shown

    def test_statuses_are_counted(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.script(None, api=[Answer(500), Answer(500)])
        ask(client)
        ask(client)
        client.get(url_of(client))
        assert sandbox.statuses("api") == {500: 2, 200: 1}
        assert sandbox.statuses("storage") == {200: 1}

    def test_a_reset_sandbox_is_as_new(self, sandbox: Sandbox, client: httpx.Client) -> None:
        sandbox.restate(VOD)
        sandbox.withdraw(LIVE)
        sandbox.script(None, api=[Answer(500)], storage=[Answer(500)])
        sandbox.override(None, Delivery(body="x"))
        sandbox.reset()
        assert sandbox.revision(VOD) == 0
        assert client.get(url_of(client, LIVE)).content == sandbox.report(LIVE).path.read_bytes()
        assert len(sandbox.requests()) == 2


class TestRemoteControl:
    def test_the_page_names_every_endpoint_and_the_credentials(self, client: httpx.Client) -> None:
        page = client.get("/sandbox/").text
        for part in ("restate", "withdraw", "script", "override", "reset", "requests", "report", "sandbox-token"):
            assert part in page

    def test_the_pages_example_works_as_it_stands(self, client: httpx.Client) -> None:
        command = client.get("/sandbox/").text.partition("  curl ")[2].partition("\n\n")[0]
        words = command.replace("\\\n", "").split("'")
        headers = dict(text.split(": ") for text in (words[1], words[3]))
        assert client.get(words[5], headers=headers).status_code == 200

    def test_restating_says_what_changed(self, sandbox: Sandbox, client: httpx.Client) -> None:
        said = client.post("/sandbox/restate?date=2023-07-03&type=vod").json()
        assert said["revision"] == sandbox.revision(VOD) == 1
        assert said["rows_added"] > 0
        report = client.get("/sandbox/report?date=2023-07-03&type=VOD").json()
        assert (report["revision"], report["rows"]) == (1, sandbox.report(VOD).rows)
        assert report["watch_seconds"] == str(sandbox.report(VOD).watch_seconds)
        assert client.get("/sandbox/report?date=2023-07-03&type=VOD&revision=0").json()["rows"] == 500

    def test_withdrawing_and_resetting(self, client: httpx.Client) -> None:
        assert client.post("/sandbox/withdraw?date=2023-07-03&type=VOD").status_code == 204
        assert ask(client).status_code == 404
        assert client.post("/sandbox/reset").status_code == 204
        assert ask(client).status_code == 200

    def test_scripts_and_overrides_come_as_json(self, client: httpx.Client) -> None:
        script = {
            "api": [{"status": 429, "headers": {"Retry-After": "1"}}, None],
            "storage": [{"status": 404, "body": "gone"}, {"expired": True}],
        }
        assert client.post("/sandbox/script?date=2023-07-03&type=VOD", json=script).status_code == 204
        assert client.post("/sandbox/override", json={"body": "ü", "headers": {"etag": None}}).status_code == 204
        assert ask(client).headers["retry-after"] == "1"
        url = url_of(client)
        answers = [client.get(url) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [404, 403, 200]
        assert answers[2].text == "ü"
        assert "etag" not in answers[2].headers

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            pytest.param("/sandbox/restate", {}, id="no slice"),
            pytest.param("/sandbox/restate?date=2023-07-32&type=VOD", {}, id="no such day"),
            pytest.param("/sandbox/withdraw?date=2023-07-03&type=DVD", {}, id="no such type"),
            pytest.param("/sandbox/script", {"app": []}, id="unknown list"),
            pytest.param("/sandbox/script", {"api": [{"expired": True}]}, id="a delivery for the API"),
            pytest.param("/sandbox/override", {"cut": 3}, id="unknown name"),
            pytest.param("/sandbox/override", {"cut_after_bytes": "many"}, id="no number"),
        ],
    )
    def test_mistakes_are_named(self, client: httpx.Client, path: str, body: dict[str, object]) -> None:
        answer = client.post(path, json=body)
        assert answer.status_code == 400
        assert answer.text

    def test_the_log_can_be_read_and_is_not_in_itself(self, client: httpx.Client) -> None:
        ask(client)
        client.get("/sandbox/requests")
        (request,) = client.get("/sandbox/requests").json()
        assert request["status"] == 200


class TestServer:
    def test_it_stops_at_once_though_clients_hang(self) -> None:
        """One client waits for a late answer, one does not read a large one, one never ends its request."""
        sandbox = Sandbox(CONFIG)
        sandbox.override(VOD, Delivery(body=b"x" * 50_000_000))
        sandbox.script(LIVE, storage=[Delivery(latency_s=60)])
        with ExitStack() as clients:
            with running(sandbox) as base_url:
                client = clients.enter_context(httpx.Client(base_url=base_url, timeout=60))
                late = threading.Thread(target=_expect_a_drop, args=(url_of(client, LIVE),))
                late.start()
                clients.enter_context(client.stream("GET", url_of(client)))
                clients.enter_context(_connected(base_url)).sendall(b"GET / HTTP/1.1\r\n")
                time.sleep(0.2)
                started = time.monotonic()
            assert time.monotonic() - started < 30
        late.join()

    def test_it_stops_at_once_though_a_large_report_is_being_made(self) -> None:
        sandbox = Sandbox(replace(CONFIG, vod_rows=20_000_000, titles=3_000))
        with running(sandbox) as base_url, httpx.Client(base_url=base_url, timeout=60) as client:
            waiting = threading.Thread(target=_expect_a_drop, args=(url_of(client),))
            waiting.start()
            time.sleep(0.5)
            started = time.monotonic()
        waiting.join()
        assert time.monotonic() - started < 30

    def test_it_can_be_started_again_on_the_same_port_with_what_it_knew(self) -> None:
        sandbox = Sandbox(CONFIG)
        with running(sandbox) as base_url:
            httpx.post(f"{base_url}/sandbox/restate?date=2023-07-03&type=VOD")
        with pytest.raises(httpx.ConnectError):
            httpx.get(base_url)
        with running(sandbox, port=httpx.URL(base_url).port or 0) as again:
            assert again == base_url
            assert httpx.get(f"{again}/sandbox/report?date=2023-07-03&type=VOD").json()["revision"] == 1

    def test_a_taken_port_is_a_matter_of_configuration(self, client: httpx.Client) -> None:
        with (
            pytest.raises(Misconfigured, match="is in use") as caught,
            running(Sandbox(), port=client.base_url.port or 0),
        ):
            pass
        assert "--port" in caught.value.next_step

    def test_a_failure_of_the_sandbox_itself_is_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        sandbox = Sandbox(replace(CONFIG, vod_rows=1_000_000, titles=1, customers=10))
        with (
            running(sandbox) as base_url,
            httpx.Client(base_url=base_url, verify=EMPTY_TRUST_STORE, timeout=60) as client,
        ):
            assert client.get(url_of(client)).status_code == 500
        assert [record.message for record in caplog.records if record.name == "etl.sandbox.app"] == [
            "sandbox_answer_failed"
        ]

    def test_it_logs_nothing_and_leaves_logging_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        handlers = list(logging.getLogger().handlers)
        with caplog.at_level(logging.DEBUG), running(Sandbox(CONFIG)) as base_url:
            httpx.get(base_url)
        assert not [record for record in caplog.records if record.name.startswith(("uvicorn", "etl"))]
        assert logging.getLogger().handlers == handlers

    @pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
    def test_in_the_foreground_it_tells_where_it_is_and_stops_on_a_signal(
        self, signal_number: signal.Signals, tmp_path: Path
    ) -> None:
        # A shell's background job, in which these tests may run, ignores SIGINT, and so would its children.
        program = (
            "import signal\n"
            "from etl.sandbox.sandbox import Sandbox\n"
            "from etl.sandbox.server import serve\n"
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "serve(Sandbox(), '127.0.0.1', 0, on_ready=lambda base_url: print(base_url, flush=True))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        ) as process:
            assert process.stdout
            base_url = process.stdout.readline().strip()
            answer = httpx.get(f"{base_url}/sandbox/report?date=2023-07-03&type=VOD", timeout=60)
            process.send_signal(signal_number)
            assert process.wait(timeout=60) in (-signal_number, 128 + signal_number)
            assert process.stdout.read() == ""
        assert answer.json()["rows"] == 2_000
        assert not list(tmp_path.iterdir())


def _expect_a_drop(url: str) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(url, timeout=60)


def _read_into(received: bytearray, answer: httpx.Response) -> None:
    for piece in answer.iter_raw():
        received += piece


def _connected(base_url: str) -> socket.socket:
    url = httpx.URL(base_url)
    return socket.create_connection((url.host, url.port or 0))
