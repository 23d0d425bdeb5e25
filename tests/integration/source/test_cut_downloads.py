"""A download is whole or an error, wherever the connection breaks."""

from __future__ import annotations

import gzip
import hashlib
from typing import TYPE_CHECKING

import pytest
from raw_server import CSV, GZIPPED, Answer, FakeTime, RawServer, in_turn, raw_server, reply, storing

from etl.download import Downloader
from etl.errors import MalformedReport, SourceUnavailable
from etl.http_clients import storage_client
from etl.report import ReportAddress, ReportFile
from etl.stop import Stop
from etl.url_policy import UrlPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POLICY = UrlPolicy(api_on_loopback=True)


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture(scope="module")
def fetch(server: RawServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Answer], ReportFile]]:
    folder = tmp_path_factory.mktemp("spool")
    with storage_client(POLICY, proxies={}) as client:

        def download(answer: Answer) -> ReportFile:
            server.answer = answer
            server.requests.clear()
            address = ReportAddress(server.report_url, asks=1)
            tools = Downloader(client, POLICY, FakeTime().patience(), Stop())
            return tools.download(address, renew=lambda: address, folder=folder)

        yield download


@pytest.mark.parametrize(
    ("body", "framing"),
    [
        pytest.param(CSV, "length", id="content-length"),
        pytest.param(CSV, "chunked", id="chunked"),
        pytest.param(GZIPPED, "length", id="gzip with content-length"),
        pytest.param(GZIPPED, "chunked", id="gzip in chunks"),
    ],
)
def test_a_download_cut_anywhere_is_fetched_again_whole(
    body: bytes, framing: str, fetch: Callable[[Answer], ReportFile]
) -> None:
    whole = reply(200, body, framing=framing)
    for cut in range(len(whole) - whole.index(b"\r\n\r\n") - 4):
        report = fetch(in_turn(reply(200, body, framing=framing, cut=cut), whole))
        assert report.path.read_bytes() == CSV, cut
        assert report.sha256 == hashlib.sha256(CSV).hexdigest()
        assert (report.size_bytes, report.received_bytes, report.resumed) == (len(CSV), len(body), 0)


@pytest.mark.parametrize(
    ("body", "framing"),
    [
        pytest.param(CSV, "length", id="content-length"),
        pytest.param(GZIPPED, "chunked", id="gzip in chunks"),
    ],
)
def test_a_download_cut_anywhere_goes_on_where_the_host_has_a_strong_etag(
    body: bytes, framing: str, fetch: Callable[[Answer], ReportFile], server: RawServer
) -> None:
    whole = len(reply(200, body, framing=framing).partition(b"\r\n\r\n")[2])
    for cut in range(whole):
        first = reply(200, body, framing=framing, headers={"ETag": '"v1"'}, cut=cut)
        report = fetch(storing(body, '"v1"', first=first))
        assert report.path.read_bytes() == CSV, cut
        resumed = [request for request in server.requests if "range" in request.headers]
        assert all(request.headers["if-range"] == '"v1"' for request in resumed)
        assert report.resumed == 1 or not resumed or len(server.requests) == 3


@pytest.mark.parametrize("body", [pytest.param(CSV, id="plain"), pytest.param(GZIPPED, id="gzip")])
def test_a_body_that_ends_where_the_connection_ends_is_never_taken(
    body: bytes, fetch: Callable[[Answer], ReportFile]
) -> None:
    for cut in range(len(body) + 1):
        with pytest.raises(SourceUnavailable, match="neither how long"):
            fetch(in_turn(reply(200, body, framing="close", cut=cut)))


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_gzip_object_that_was_stored_cut_is_refused(framing: str, fetch: Callable[[Answer], ReportFile]) -> None:
    """The transfer is complete; only gzip's own end tells that the object is not."""
    for cut in range(3, len(GZIPPED), 7):
        with pytest.raises(MalformedReport, match="ends in the middle"):
            fetch(in_turn(reply(200, GZIPPED[:cut], framing=framing)))


def test_a_gzip_object_in_several_members_is_taken_whole(fetch: Callable[[Answer], ReportFile]) -> None:
    members = gzip.compress(CSV[:300]) + gzip.compress(CSV[300:])
    assert fetch(in_turn(reply(200, members, headers={"Content-Encoding": "gzip"}))).path.read_bytes() == CSV


def test_after_an_error_no_file_is_left(server: RawServer, tmp_path: Path) -> None:
    server.answer = in_turn(reply(200, CSV, cut=100))
    address = ReportAddress(server.report_url, asks=1)
    with storage_client(POLICY, proxies={}) as client, pytest.raises(SourceUnavailable):
        Downloader(client, POLICY, FakeTime().patience(), Stop()).download(
            address, renew=lambda: address, folder=tmp_path / "2023-07-03-VOD"
        )
    assert list((tmp_path / "2023-07-03-VOD").iterdir()) == []
