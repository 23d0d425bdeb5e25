"""Whatever goes wrong, neither the token nor a signature is logged or told."""

from __future__ import annotations

import json
import logging
import traceback
from datetime import date
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from etl.domain.errors import WatchTimeError
from etl.domain.pipeline_values import ReportAddress
from etl.domain.slices import ReportType, Slice
from etl.extract.download import Downloader
from etl.extract.http_clients import api_client, storage_client
from etl.extract.report_api import ReportApi
from etl.extract.url_policy import UrlPolicy
from etl.runtime.cancellation import Stop
from raw_server import CSV, SIGNATURE, TOKEN, FakeTime, RawServer, in_turn, raw_server, reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SLICE = Slice(date(2023, 7, 3), ReportType.LIVE)
ECHO = json.dumps({"code": 16, "message": f"bad header Authorization: Bearer {TOKEN}", "details": []}).encode()
LEAKY_BODY = f"<?xml?><Error><ArgumentValue>Bearer {TOKEN}</ArgumentValue>{SIGNATURE}</Error>".encode()


@pytest.fixture
def api_server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture
def storage() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.mark.parametrize(
    ("api_answer", "storage_answer"),
    [
        pytest.param(reply(401, ECHO), b"", id="API echoes the token in 401"),
        pytest.param(reply(404, ECHO.replace(b"16", b"5")), b"", id="API echoes the token in 404"),
        pytest.param(reply(500, ECHO), b"", id="API echoes the token in 500"),
        pytest.param(reply(302, headers={"Location": f"https://x.example/?{SIGNATURE}"}), b"", id="API redirects"),
        pytest.param(None, reply(403, LEAKY_BODY), id="storage echoes in 403"),
        pytest.param(None, reply(200, LEAKY_BODY), id="storage echoes in 200"),
        pytest.param(None, b"", id="storage hangs up"),
        pytest.param(None, reply(200, CSV, framing="close"), id="storage does not say how long"),
        pytest.param(None, reply(200, CSV, cut=9), id="storage cuts"),
        pytest.param(
            None, b"HTTP/1.1 200 OK\r\nX\x00-" + SIGNATURE.encode() + b"\r\n\r\n", id="storage sends a bad header"
        ),
        pytest.param(
            None, reply(302, headers={"Location": f"https://10.0.0.1/r?{SIGNATURE}"}), id="storage redirects inside"
        ),
        pytest.param(None, reply(200, CSV), id="all is well"),
    ],
)
def test_neither_token_nor_signature_shows(
    *,
    api_answer: bytes | None,
    storage_answer: bytes,
    api_server: RawServer,
    storage: RawServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    found = reply(200, json.dumps({"url": storage.report_url}).encode())
    api_server.answer = in_turn(api_answer or found)
    storage.answer = in_turn(storage_answer)
    policy, retry_policy, told = UrlPolicy.beside(api_server.url), FakeTime().retry_policy(), ""
    with (
        api_client(api_server.url, token=SecretStr(TOKEN), org_id="org-1") as api_http,
        storage_client(policy) as storage_http,
    ):
        api = ReportApi(api_http, retry_policy=retry_policy)
        tools = Downloader(storage_http, policy, retry_policy, Stop())
        try:
            answer = api.ask_once(SLICE)
            told += repr(answer)
            if isinstance(answer, ReportAddress):
                told += repr(tools.download(answer, renew=lambda: api.renew(SLICE), folder=tmp_path))
        except WatchTimeError as error:
            told += "".join(traceback.format_exception(error)) + repr(error) + error.next_step
    assert told
    told += "".join(f"{record.getMessage()} {record.args} {record.exc_text}" for record in caplog.records)
    assert TOKEN not in told
    assert SIGNATURE not in told
    assert all(TOKEN not in str(request) for request in storage.requests)
