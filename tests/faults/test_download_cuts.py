"""A download is whole or an error of ours, whichever byte of the answer, header included, the connection breaks at."""

from __future__ import annotations

import base64
import gzip
import hashlib
import random
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from awscrt import checksums

from effort import SEED, effort, sample
from etl.domain.errors import ContractBroken, MalformedReport, SourceUnavailable
from etl.domain.pipeline_values import ReportAddress, ReportFile
from etl.extract.download import Downloader
from etl.extract.http_clients import storage_client
from etl.extract.url_policy import UrlPolicy
from etl.runtime.cancellation import Stop
from etl.transform import normalise
from raw_server import Answer, FakeTime, RawServer, Request, raw_server, reply
from tally import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

POLICY = UrlPolicy(api_on_loopback=True)
CSV = (
    b"Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    b'"A title, no. 1",id-1,VOD,2023-07-01T00:00:00Z,customer-7,1.5\n'
    b'"\xc3\x89t\xc3\xa9\n2",id-2,VOD,,,22\n'
)
SHA256 = hashlib.sha256(CSV).hexdigest()
MEMBERS = gzip.compress(CSV[:90], mtime=0), gzip.compress(CSV[90:], mtime=0)
BODIES = {"plain": CSV, "gzip": gzip.compress(CSV, mtime=0), "two-members": b"".join(MEMBERS)}
# Attempts at trouble that may pass, before it is given up: `retry.PASSING`.
ATTEMPTS = 5


@dataclass(frozen=True)
class Way:
    """One way in which a storage host sends a report."""

    body: str
    framing: str = "length"
    encoding: str = ""
    etag: str = ""

    def __str__(self) -> str:
        parts = (self.body, self.framing, f"encoding {self.encoding}" * bool(self.encoding), "etag" * bool(self.etag))
        return "-".join(filter(None, parts))

    @property
    def headers(self) -> dict[str, str]:
        known = {"ETag": self.etag, "Content-Encoding": self.encoding}
        return {name: value for name, value in known.items() if value}

    def answer(self, request: Request) -> bytes:
        """The answer of a host that is well; it understands ranges where it has an ETag."""
        body, asked = BODIES[self.body], request.headers.get("range", "")
        if not (asked and self.etag and request.headers.get("if-range") == self.etag):
            return reply(200, body, headers=self.headers, framing=self.framing)
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            return reply(416, headers={"Content-Range": f"bytes */{len(body)}"})
        part = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return reply(206, body[start:], headers=self.headers | part, framing=self.framing)


WAYS = [
    Way("plain"),
    Way("plain", "chunked"),
    Way("gzip"),
    Way("gzip", "chunked", "gzip"),
    Way("two-members", "length", "gzip"),
    Way("two-members", "chunked"),
]
RESUMABLE = [
    Way("plain", etag='"v1"'),
    Way("plain", "chunked", etag='"v1"'),
    Way("gzip", "chunked", etag='"v1"'),
    Way("two-members", "length", "gzip", etag='"v1"'),
]


@dataclass
class Host:
    """A storage host whose first answers end after so many bytes each, header included; the next ones are whole."""

    server: RawServer
    download: Callable[[], ReportFile]

    def sending(self, way: Way, *cuts: int) -> ReportFile:
        left = list(cuts)
        return self.answering(lambda request: way.answer(request)[: left.pop(0) if left else None])

    def answering(self, answer: Answer) -> ReportFile:
        self.server.answer = answer
        self.server.requests.clear()
        return self.download()

    def giving(self, answer: bytes) -> ReportFile:
        return self.answering(lambda _: answer)

    @property
    def ranges(self) -> list[str]:
        return [request.headers.get("range", "") for request in self.server.requests]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("spool")
    with raw_server() as server, storage_client(POLICY, proxies={}) as client:
        address = ReportAddress(server.report_url, asks=1)

        def download() -> ReportFile:
            tools = Downloader(client, POLICY, FakeTime().retry_policy(), Stop())
            return tools.download(address, renew=lambda: address, folder=folder)

        yield Host(server, download)


@pytest.fixture(autouse=True)
def orderly_ends(host: Host) -> None:
    host.server.resets = False


def size(way: Way) -> int:
    return len(way.answer(Request("/", {})))


def cuts_of(way: Way) -> list[int]:
    """After how many bytes its answer is cut: a plain run takes some, and the first and last of each part."""
    whole = way.answer(Request("/", {}))
    begins = whole.index(b"\r\n\r\n") + 4
    at_ends = {0, 1, begins - 1, begins, begins + 1, len(whole) - 1}
    return sorted(at_ends | set(sample(range(len(whole)), len(whole) // 4, f"{way}")))


def assert_whole(report: ReportFile, way: Way, where: object) -> None:
    assert report.path.read_bytes() == CSV, f"{way} cut at {where}"
    assert (report.sha256, report.size_bytes, report.received_bytes) == (SHA256, len(CSV), len(BODIES[way.body])), where


@pytest.mark.parametrize("resets", [pytest.param(False, id="closed"), pytest.param(True, id="reset")])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_download_cut_at_any_byte_is_fetched_again_whole(way: Way, resets: bool, host: Host) -> None:
    for cut in cuts_of(way):
        # A reset may reach the client before the bytes sent last; the whole answer must not be lost by one.
        first = iter([True])

        def answer(request: Request, cut: int = cut, first: Iterator[bool] = first) -> bytes:
            host.server.resets = resets and next(first, False)
            return way.answer(request)[: cut if len(host.server.requests) == 1 else None]

        assert_whole(host.answering(answer), way, cut)
        assert host.ranges == ["", ""], cut
        record("downloads cut", 1)


@pytest.mark.parametrize("way", RESUMABLE, ids=str)
def test_a_download_cut_at_any_byte_goes_on_where_a_strong_etag_proves_the_rest(way: Way, host: Host) -> None:
    whole = way.answer(Request("/", {}))
    begins = whole.index(b"\r\n\r\n") + 4
    for cut in cuts_of(way):
        report = host.sending(way, cut)
        assert_whole(report, way, cut)
        ranged = [asked for asked in host.ranges if asked]
        if cut <= begins:
            assert ranged == [], cut
        elif way.framing == "length":
            assert ranged == [f"bytes={cut - begins}-"], cut
            assert report.resumed == 1
        # With all the chunks here, and only their end missing, the host says 416 and the download begins anew.
        assert report.resumed == len(ranged) or len(host.ranges) == 3, cut
        record("downloads cut", 1)


@pytest.mark.parametrize("way", RESUMABLE, ids=str)
def test_the_rest_of_a_download_may_be_cut_at_any_byte_as_well(way: Way, host: Host) -> None:
    middle = size(way) - len(BODIES[way.body]) // 2
    for cut in cuts_of(way):
        assert_whole(host.sending(way, middle, cut), way, (middle, cut))
        record("downloads cut", 1)


def test_a_download_cut_several_times_anywhere_is_whole_or_given_up(host: Host) -> None:
    """Cuts in every attempt but the last; chance says where."""
    chance = random.Random(SEED)  # noqa: S311 - reproducible cases, no secrets
    for case in range(count := effort(150)):
        way = chance.choice([*WAYS, *RESUMABLE])
        cuts = [chance.randrange(size(way)) for _ in range(chance.randint(2, ATTEMPTS - 1))]
        told = f"{cuts}, seed {SEED}, case {case}"
        given_up = ""
        try:
            assert_whole(host.sending(way, *cuts), way, told)
        except SourceUnavailable as error:
            given_up = error.message
        if given_up:
            # The last attempt was spent on learning that all the chunks were here, and only their end missing.
            assert given_up.endswith("returned 416"), f"{way} cut at {told}"
            assert len(host.ranges) == ATTEMPTS, told
    record("downloads cut", count)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_a_host_that_always_cuts_is_given_up_after_five_attempts(way: Way, host: Host) -> None:
    for cut in range(0, size(way), max(1, round(17 / effort(1)))):
        with pytest.raises(SourceUnavailable) as caught:
            host.sending(way, *[cut] * ATTEMPTS)
        assert type(caught.value) is SourceUnavailable
        assert len(host.ranges) == ATTEMPTS, cut


@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_ends_where_the_connection_ends_is_never_taken(body: str, host: Host) -> None:
    way = Way(body, framing="close")
    for cut in range(size(way) + 1):
        with pytest.raises(SourceUnavailable):
            host.sending(way, *[cut] * ATTEMPTS)
    record("downloads cut", size(way) + 1)


def _sums(body: bytes) -> Iterator[tuple[str, Mapping[str, str]]]:
    md5 = hashlib.md5(body, usedforsecurity=False)
    yield "Content-MD5", {"Content-MD5": base64.b64encode(md5.digest()).decode()}
    yield "Google", {"x-goog-hash": f"md5={base64.b64encode(md5.digest()).decode()}"}
    crc32c = base64.b64encode(checksums.crc32c(body).to_bytes(4, "big")).decode()
    yield "Google, composed of others", {"x-goog-hash": f"crc32c={crc32c}"}
    yield "S3's ETag", {"ETag": f'"{md5.hexdigest()}"', "Server": "AmazonS3"}
    yield "S3's SHA-256", {"x-amz-checksum-sha256": base64.b64encode(hashlib.sha256(body).digest()).decode()}
    yield "S3's CRC-32", {"x-amz-checksum-crc32": base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}
    crc64nvme = base64.b64encode(checksums.crc64nvme(body).to_bytes(8, "big")).decode()
    yield "S3's CRC-64/NVME", {"x-amz-checksum-crc64nvme": crc64nvme}


@pytest.mark.parametrize("body", BODIES)
def test_an_object_stored_cut_is_refused_where_the_host_announces_a_checksum(body: str, host: Host) -> None:
    """The transfer is complete: its framing cannot tell."""
    whole = BODIES[body]
    sums = dict(_sums(whole))
    for cut in range(len(whole)):
        name = list(sums)[cut % len(sums)]
        answer = reply(200, whole[:cut], headers=sums[name], framing=["length", "chunked"][cut % 2])
        with pytest.raises((SourceUnavailable, MalformedReport)):
            host.giving(answer)
    for headers in sums.values():
        assert host.giving(reply(200, whole, headers=headers)).sha256 == SHA256
    record("objects stored cut", len(whole))


@pytest.mark.parametrize("body", ["gzip", "two-members"])
def test_a_gzip_object_stored_cut_is_refused_by_gzips_own_end(body: str, host: Host) -> None:
    """Without a checksum too; only a cut between two members looks like an end, as it is one."""
    whole = BODIES[body]
    for cut in range(len(whole)):
        for framing in ("length", "chunked"):
            answer = reply(200, whole[:cut], framing=framing)
            if body == "two-members" and cut == len(MEMBERS[0]):
                assert host.giving(answer).size_bytes == 90
                continue
            # Of one or two bytes nobody can tell that they are gzip: then it is the header line that is none.
            with pytest.raises((MalformedReport, ContractBroken)):
                list(normalise.chunks(host.giving(answer).path, aliases={}))
    record("objects stored cut", 2 * len(whole))


def test_after_an_error_no_file_is_left(host: Host, tmp_path: Path) -> None:
    host.server.answer = lambda request: WAYS[0].answer(request)[:-9]
    address, folder = ReportAddress(host.server.report_url, asks=1), tmp_path / "2023-07-03-VOD"
    with storage_client(POLICY, proxies={}) as client, pytest.raises(SourceUnavailable):
        Downloader(client, POLICY, FakeTime().retry_policy(), Stop()).download(
            address, renew=lambda: address, folder=folder
        )
    assert list(folder.iterdir()) == []
