"""Every answer of a storage host leads to the whole report or to one error, and no secret goes astray."""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest
from awscrt import checksums

from etl.domain.errors import MalformedReport, Misconfigured, SourceUnavailable, TryLater
from etl.domain.pipeline_values import Origin, ReportAddress, ReportFile
from etl.extract.download import Downloader, Unmodified
from etl.extract.http_clients import storage_client
from etl.extract.url_policy import UrlPolicy
from etl.runtime.cancellation import Stop, Stopped
from raw_server import CSV, GZIPPED, FakeTime, RawServer, Request, chunked, in_turn, raw_server, reply, resumable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

POLICY = UrlPolicy(api_on_loopback=True)
MD5 = base64.b64encode(hashlib.md5(CSV, usedforsecurity=False).digest()).decode()
CRC32C = base64.b64encode(checksums.crc32c(CSV).to_bytes(4, "big")).decode()
CRC64NVME = base64.b64encode(checksums.crc64nvme(CSV).to_bytes(8, "big")).decode()
WRONG_MD5 = base64.b64encode(hashlib.md5(b"", usedforsecurity=False).digest()).decode()
HTML = b"\xef\xbb\xbf \n<!DOCTYPE html><html><body>Sign in</body></html>"
XML = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
WHOLE = reply(200, CSV)


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with storage_client(POLICY, proxies={}) as client:
        yield client


@dataclass
class Work:
    """A download from `server`, and how often a fresh address was asked for."""

    server: RawServer
    client: httpx.Client
    folder: Path
    time: FakeTime = field(default_factory=FakeTime)
    stop: Stop = field(default_factory=Stop)
    target: str = "/reports/20230703.csv"
    renewed_target: str | None = None
    renewed: int = 0

    def run(
        self, *answers: bytes, if_none_match: Origin | None = None, on_body: Callable[[], None] = lambda: None
    ) -> ReportFile:
        self.server.answer = in_turn(*answers) if answers else self.server.answer
        tools = Downloader(self.client, POLICY, self.time.retry_policy(), self.stop)
        address = ReportAddress(self.server.signed_url(self.target), asks=1)
        return tools.download(
            address, renew=self._renew, folder=self.folder, if_none_match=if_none_match, on_body=on_body
        )

    def origin(self, etag: str) -> Origin:
        return Origin(f"127.0.0.1:{self.server.port}/reports/20230703.csv", etag)

    def _renew(self) -> ReportAddress:
        self.renewed += 1
        url = self.server.signed_url(self.renewed_target or self.target, f"renewed-{self.renewed}")
        return ReportAddress(url, asks=1)


@pytest.fixture
def work(server: RawServer, client: httpx.Client, tmp_path: Path) -> Work:
    server.requests.clear()
    return Work(server, client, tmp_path)


def headed(body: bytes = CSV, **headers: str) -> bytes:
    return reply(200, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_an_empty_file_is_a_file(work: Work) -> None:
    """What it means is for the contract to say."""
    assert work.run(reply(200)).size_bytes == 0


def test_retry_after_is_honoured(work: Work) -> None:
    report = work.run(reply(503, headers={"Retry-After": "77"}), WHOLE)
    assert work.time.pauses == [77]
    assert report.elapsed_s == 77


def test_a_body_that_begins_to_come_is_told(work: Work) -> None:
    """Then it is time to import what reads it; an answer without one has nothing to read."""
    begun = list[int]()
    work.run(reply(503), WHOLE, on_body=lambda: begun.append(len(work.server.requests)))
    assert begun == [2]


def test_the_token_and_the_organization_stay_with_the_api(work: Work) -> None:
    work.run(reply(302, headers={"Location": "/elsewhere"}), WHOLE)
    for request in work.server.requests:
        assert request.headers.keys() <= {"host", "accept", "accept-encoding", "connection", "user-agent"}
        assert request.headers["accept-encoding"] == "identity"


NOT_MODIFIED = reply(304, headers={"ETag": '"v1"'})


def test_a_file_that_is_still_the_known_one_is_not_downloaded(work: Work) -> None:
    with pytest.raises(Unmodified):
        work.run(NOT_MODIFIED, if_none_match=work.origin('"v1"'))
    assert [request.headers["if-none-match"] for request in work.server.requests] == ['"v1"']


def test_a_host_may_pay_no_heed_to_what_is_known(work: Work) -> None:
    report = work.run(reply(200, CSV, headers={"ETag": '"v1"'}), if_none_match=work.origin('"v1"'))
    assert (report.path.read_bytes(), report.origin) == (CSV, work.origin('"v1"'))


def test_what_is_known_of_another_address_says_nothing(work: Work) -> None:
    """Hosts that count versions give the second report of another path the same ETag as the second of this one."""
    work.run(WHOLE, if_none_match=Origin(f"127.0.0.1:{work.server.port}/reports/of-yesterday.csv", '"2"'))
    assert "if-none-match" not in work.server.requests[0].headers


def test_what_is_known_of_one_query_says_nothing_of_another(work: Work) -> None:
    """Where the query names the file, a host that counts versions gives two files one ETag: a restatement must come."""
    etag, restated = {"ETag": '"2"'}, CSV.replace(b"customer-1", b"customer-X")
    files = {"r1": CSV, "r2": restated}

    def answer(request: Request) -> bytes:
        if request.headers.get("if-none-match") == '"2"':
            return reply(304, headers=etag)
        return reply(200, files[parse_qs(urlsplit(request.target).query)["object"][0]], headers=etag)

    work.server.answer = answer
    work.target = "/download?object=r1"
    known = work.run().origin
    work.target = "/download?object=r2"
    assert work.run(if_none_match=known).path.read_bytes() == restated
    with pytest.raises(Unmodified):
        work.run(if_none_match=work.run().origin)


def test_what_is_known_of_where_a_redirect_led_says_nothing_of_where_it_leads_now(work: Work) -> None:
    """The ETag is that of the host which sent the file, not of the one that sent there."""
    etag, leads_to = {"ETag": '"2"'}, iter(["/cache/1", "/cache/2", "/cache/2"])
    files = {"/cache/1": CSV, "/cache/2": CSV[::-1]}

    def answer(request: Request) -> bytes:
        if request.target.startswith("/reports/"):
            return reply(302, headers={"Location": next(leads_to)})
        if request.headers.get("if-none-match") == '"2"':
            return reply(304, headers=etag)
        return reply(200, files[request.target], headers=etag)

    work.server.answer = answer
    known = work.run().origin
    report = work.run(if_none_match=known)
    assert report.path.read_bytes() == CSV[::-1]
    with pytest.raises(Unmodified):
        work.run(if_none_match=report.origin)


@pytest.mark.parametrize("query", ["object=r1&key=canary-5c0e", "token=canary-5c0e", "X-Amz-Signature=canary-5c0e"])
def test_of_a_query_nothing_is_kept_in_the_clear(query: str, work: Work) -> None:
    work.target = f"/download?{query}"
    origin = work.run(reply(200, CSV, headers={"ETag": '"v1"'})).origin
    assert origin
    assert re.fullmatch(rf"127\.0\.0\.1:{work.server.port}/download(\?sha256=[0-9a-f]{{64}})?", origin.source)


def test_the_known_file_of_another_etag_is_fetched_plainly(work: Work) -> None:
    report = work.run(NOT_MODIFIED, WHOLE, if_none_match=work.origin('"v0"'))
    assert report.path.read_bytes() == CSV
    assert ["if-none-match" in request.headers for request in work.server.requests] == [True, False]


def test_not_modified_is_no_answer_where_nothing_was_known(work: Work) -> None:
    with pytest.raises(SourceUnavailable, match="returned 304"):
        work.run(NOT_MODIFIED)


@pytest.mark.parametrize("etag", [None, "", 'W/"v1"', "v1"])
def test_a_weak_etag_is_not_kept(work: Work, etag: str | None) -> None:
    headers = {} if etag is None else {"ETag": etag}
    assert work.run(reply(200, CSV, headers=headers)).origin is None


def test_an_expired_address_is_replaced_and_the_download_goes_on(work: Work) -> None:
    """The part that is here is kept: its ETag proves that the fresh address leads to the same file."""
    answer = resumable(CSV, '"v1"', first=reply(200, CSV, headers={"ETag": '"v1"'}, cut=200))
    late = iter([False, True, False])
    work.server.answer = lambda request: reply(403, XML) if next(late) else answer(request)
    report = work.run()
    assert report.path.read_bytes() == CSV
    assert (report.resumed, work.renewed, report.origin and report.origin.etag) == (1, 1, '"v1"')
    assert work.server.requests[-1].headers["range"] == "bytes=200-"
    assert work.server.requests[-1].target.endswith("renewed-1")


REPORT, OTHER_REPORT = "/reports/20230703.csv", "/reports/20230704.csv"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
@pytest.mark.parametrize(
    ("target", "renewed_target"),
    [
        pytest.param(REPORT, OTHER_REPORT, id="another path"),
        pytest.param("/download?object=r1", "/download?object=r2", id="another query"),
    ],
)
def test_a_resumed_download_is_never_spliced_of_two_files(
    target: str, renewed_target: str, status: int, framing: str, work: Work
) -> None:
    """In the middle of a download the URL expires, and the fresh one leads to another file, with the same ETag text."""
    work.target, work.renewed_target = target, renewed_target
    other = CSV.replace(b"A title", b"B title")
    cut = reply(200, CSV, headers={"ETag": '"2"'}, framing=framing, cut=300)
    answer = resumable(other, '"2"', first=cut)
    late = iter([False, True])
    work.server.answer = lambda request: reply(status, XML) if next(late, False) else answer(request)
    report = work.run()
    assert report.path.read_bytes() == other
    assert (report.resumed, work.renewed) == (0, 1)


def test_a_resumed_download_is_not_spliced_where_a_redirect_leads_elsewhere(work: Work) -> None:
    other = CSV.replace(b"A title", b"B title")
    answer = resumable(other, '"2"', first=reply(200, CSV, headers={"ETag": '"2"'}, cut=300))
    leads_to = iter(["/cache/1", "/cache/2"])

    def redirect(request: Request) -> bytes:
        if request.target.startswith("/reports/"):
            return reply(302, headers={"Location": next(leads_to)})
        return answer(request)

    work.server.answer = redirect
    assert work.run().path.read_bytes() == other


def test_a_file_that_vanished_and_came_back_is_fetched_from_its_first_byte(work: Work) -> None:
    """A host that counts versions counts from the beginning again."""
    other = CSV.replace(b"A title", b"B title")
    answer = resumable(other, '"1"', first=reply(200, CSV, headers={"ETag": '"1"'}, cut=300))
    vanished = iter([False, True])
    work.server.answer = lambda request: reply(404, XML) if next(vanished, False) else answer(request)
    assert work.run().path.read_bytes() == other


def test_a_part_that_was_not_asked_for_is_not_taken_for_the_rest(work: Work) -> None:
    """The host of the fresh URL sends the end of its own file, whatever it is asked for."""
    work.renewed_target = OTHER_REPORT
    other = CSV.replace(b"A title", b"B title")
    rest = {"ETag": '"2"', "Content-Range": f"bytes 300-{len(CSV) - 1}/{len(CSV)}"}
    report = work.run(
        reply(200, CSV, headers={"ETag": '"2"'}, cut=300),
        reply(403, XML),
        reply(206, other[300:], headers=rest),
        reply(200, other),
    )
    assert report.path.read_bytes() == other


def test_a_report_that_changes_under_the_download_is_fetched_anew(work: Work) -> None:
    old = b"old," * 100
    work.server.answer = resumable(CSV, '"v2"', first=reply(200, old, headers={"ETag": '"v1"'}, cut=200))
    report = work.run()
    assert report.path.read_bytes() == CSV
    assert (report.resumed, report.origin and report.origin.etag, len(work.server.requests)) == (0, '"v2"', 2)


@pytest.mark.parametrize(
    ("etag", "part"),
    [
        pytest.param('"v1"', {"Content-Range": f"bytes 199-{len(CSV) - 1}/{len(CSV)}"}, id="another part"),
        pytest.param('"v1"', {"Content-Range": f"bytes 200-{len(CSV) - 1}/{len(CSV) + 1}"}, id="another length"),
        pytest.param('"v1"', {"Content-Range": f"bytes 200-{len(CSV) - 2}/{len(CSV)}"}, id="not to the end"),
        pytest.param('"v1"', {"Content-Range": f"bytes 200-{len(CSV) - 1}/*"}, id="unknown length"),
        pytest.param('"v1"', {}, id="no word which part"),
        pytest.param(
            '"v1"', {"Content-Range": f"bytes 200-{len(CSV) - 1}/{len(CSV)}", "ETag": '"v2"'}, id="another file"
        ),
    ],
)
def test_a_part_that_does_not_fit_is_not_taken(etag: str, part: dict[str, str], work: Work) -> None:
    first = reply(200, CSV, headers={"ETag": etag}, cut=200)
    report = work.run(first, reply(206, b"x" * (len(CSV) - 200), headers=part), WHOLE)
    assert report.path.read_bytes() == CSV
    assert report.resumed == 0


def test_a_part_that_ends_early_is_not_taken_for_the_rest(work: Work) -> None:
    first = reply(200, CSV, headers={"ETag": '"v1"'}, cut=200)
    part = {"Content-Range": f"bytes 200-{len(CSV) - 1}/{len(CSV)}"}
    report = work.run(first, reply(206, CSV[200:-9], headers=part, framing="chunked"), WHOLE)
    assert report.path.read_bytes() == CSV
    assert len(work.server.requests) == 3


@pytest.mark.parametrize("etag", ['W/"v1"', "v1", '"v\xe91"', ""])
def test_without_a_strong_etag_no_part_is_asked_for(etag: str, work: Work) -> None:
    first = f"HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: {len(CSV)}\r\n\r\n".encode("latin-1") + CSV[:200]
    assert work.run(first, WHOLE).path.read_bytes() == CSV
    assert "range" not in work.server.requests[-1].headers


def test_a_checksum_of_the_whole_is_held_against_the_parts_together(work: Work) -> None:
    headers = {"ETag": '"v1"', "Content-MD5": WRONG_MD5}
    work.server.answer = resumable(CSV, '"v1"', first=reply(200, CSV, headers=headers, cut=200))
    assert work.run().path.read_bytes() == CSV
    assert [("range" in request.headers) for request in work.server.requests] == [False, True, False]


def test_an_object_that_google_composed_of_others_is_held_against_its_crc32c(work: Work) -> None:
    """It has no MD5; here its end is lost in storage, so that its length says nothing."""
    whole = {"x-goog-hash": f"crc32c={CRC32C}", "x-goog-component-count": "2"}
    with pytest.raises(SourceUnavailable, match="crc32c checksum"):
        work.run(reply(200, CSV[:-9], headers=whole))
    assert work.run(reply(200, CSV, headers=whole)).path.read_bytes() == CSV


def test_a_url_that_s3_signed_with_its_checksum_header_is_sent_with_it(work: Work) -> None:
    """S3 refuses such a URL without that header, and any other with it."""
    sums = {"x-amz-checksum-crc64nvme": CRC64NVME, "x-amz-checksum-type": "FULL_OBJECT"}

    def answer(request: Request) -> bytes:
        signed = "x-amz-checksum-mode" in parse_qs(urlsplit(request.target).query)["X-Amz-SignedHeaders"][0]
        if signed != (request.headers.get("x-amz-checksum-mode") == "ENABLED"):
            return reply(403, XML)
        return reply(200, CSV[:-9] if "cut" in request.target else CSV, headers=sums if signed else {})

    work.server.answer = answer
    for names in ("host", "host%3Bx-amz-checksum-mode"):
        work.target = f"/report.csv?X-Amz-SignedHeaders={names}"
        assert work.run().path.read_bytes() == CSV
    work.target = "/cut.csv?X-Amz-SignedHeaders=host%3Bx-amz-checksum-mode"
    with pytest.raises(SourceUnavailable, match="crc64nvme checksum"):
        work.run()


@pytest.mark.parametrize(
    "location",
    [
        pytest.param("http://storage.example.com/r.csv?sig=1", id="plain http"),
        pytest.param("https://169.254.169.254/latest/meta-data", id="metadata"),
        pytest.param("//[::ffff:127.0.0.1]/r.csv", id="mapped loopback"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("http://user:secret@127.0.0.1/r.csv", id="user name"),
        pytest.param("http://127.0.0.1:65616/r.csv", id="port that wraps"),
        pytest.param("/a b", id="blank"),
    ],
)
def test_a_redirect_is_held_against_the_policy(location: str, work: Work) -> None:
    with pytest.raises(Misconfigured):
        work.run(reply(302, headers={"Location": location}))
    assert len(work.server.requests) == 1


def test_redirects_in_a_circle_come_to_an_end(work: Work) -> None:
    with pytest.raises(SourceUnavailable, match="redirects more than 3 times"):
        work.run(reply(302, headers={"Location": "/again"}))
    assert len(work.server.requests) == 8


def test_a_drip_is_given_up(work: Work) -> None:
    """Each byte arrives in time; the file would take a day."""
    work.server.answer = in_turn(
        reply(200, chunked(CSV, size=1), headers={"Transfer-Encoding": "chunked"}, framing="as it is")
    )
    slow = work.time.retry_policy()
    clock = iter(range(0, 10**9, 45))
    tools = Downloader(
        work.client,
        POLICY,
        type(slow)(sleep=slow.sleep, clock=lambda: float(next(clock)), now=slow.now, chance=slow.chance),
        work.stop,
    )
    with pytest.raises(SourceUnavailable, match="too slow"):
        tools.download(ReportAddress(work.server.report_url, asks=1), renew=work._renew, folder=work.folder)
    assert len(work.server.requests) == 5, "given up for its pace, each time, and not only at the deadline"


def test_a_request_to_stop_is_heard_during_the_download(work: Work) -> None:
    def answer(_: object) -> bytes:
        work.stop.request()
        return WHOLE

    work.server.answer = answer
    with pytest.raises(Stopped):
        work.run()
    assert list(work.folder.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full, a disk that is always full")
def test_a_full_disk_says_where_to_make_room(work: Work) -> None:
    (work.folder / "report.csv").symlink_to("/dev/full")
    with pytest.raises(TryLater, match="no space left") as caught:
        work.run(WHOLE)
    assert str(work.folder) in caught.value.message
    assert "TMPDIR" in caught.value.next_step


def test_a_bomb_is_given_up_before_it_fills_the_disk(work: Work) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(squeeze.compress(bytes(1 << 20)) for _ in range(100)) + squeeze.flush()
    with pytest.raises(MalformedReport, match="decompresses from"):
        work.run(headed(bomb))


def test_two_layers_of_gzip_are_refused(work: Work) -> None:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    with pytest.raises(MalformedReport, match="gzip in gzip"):
        work.run(headed(squeeze.compress(GZIPPED) + squeeze.flush()))
