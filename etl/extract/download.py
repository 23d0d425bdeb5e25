"""Downloading a report to local disk: complete and verified, or not at all.

A file is complete when its length or its chunks say so, and a checksum agrees where the host announces one. A cut
download is resumed if the URL still names the same file (`report_source`) and the host can prove that it has not
changed; an expired address is replaced by a fresh one. The token stays with the API, and the signed query string never
reaches an error or a log; nor does an error's body, in which storage hosts like to repeat what they were sent.
"""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import httpx

from etl.domain.errors import MalformedReport, SourceUnavailable, TryLater, WatchTimeError
from etl.domain.report_values import Origin, ReportFile
from etl.extract.file_identity import source_of
from etl.extract.http_checksums import Checksums
from etl.extract.http_clients import HTTP_ERRORS, explain, request_id
from etl.extract.retry import BROKEN, PASSING, FailureKind, RetryableError, ThroughputGuard, is_temporary
from etl.extract.spool import Spool
from etl.extract.url_policy import redacted_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from etl.domain.report_values import ReportAddress
    from etl.extract.retry import RetryPolicy
    from etl.extract.url_policy import UrlPolicy
    from etl.runtime.cancellation import Stop

# A report of 5 GB comes in this time at 700 kB a second. It bounds a slice's work, retries included.
_TOTAL_S: Final = 7200.0
# Storage hosts redirect to a region or a cache, once; more than this is a loop.
_MAX_REDIRECTS: Final = 3

# The first address and two fresh ones: then it is not the hour that has run out.
EXPIRED: Final = FailureKind("expired", 3)
# Not there, whatever the API says; a fresh address may point elsewhere.
GONE: Final = FailureKind("gone", 2)
# A file that cannot be a report: fetched a second time, from a fresh address, before it is refused.
UNREADABLE: Final = FailureKind("unreadable", 2)

# The hosts say "expired" in as many ways as there are hosts: S3 and Azure 403, Google 400, others 401 or 410.
_EXPIRED_STATUSES = frozenset({400, 401, 403, 410})
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]+"')
_ENCODINGS = frozenset({"", "identity", "gzip", "x-gzip"})
_LATER = "run again later; what is loaded stays as it is"


class Unmodified(Exception):
    """The download host says that the file is still the one that is known (304): no error, and no file."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Downloads reports. Safe to use from several threads.

    Attributes:
        client: of `http_clients.storage_client`.
        policy: which URLs may be fetched, redirects included.
        retry_policy: time and chance.
        stop: asked between two pieces.
    """

    client: httpx.Client
    policy: UrlPolicy
    retry_policy: RetryPolicy
    stop: Stop

    def download(
        self,
        address: ReportAddress,
        *,
        renew: Callable[[], ReportAddress],
        folder: Path,
        if_none_match: Origin | None = None,
        on_retry: Callable[[], None] | None = None,
        on_body: Callable[[], None] = lambda: None,
    ) -> ReportFile:
        """Download a report into `folder`, as `report.csv`, decompressed.

        Args:
            address: where the report lies.
            renew: asks the API for a fresh address.
            folder: made if need be; the caller removes it. After an error no file is left in it.
            if_none_match: do not, if the host says that the file there is still this one.
            on_retry: called before a failed attempt is repeated.
            on_body: called when a file begins to come.

        Raises:
            Unmodified: the file is still that of `if_none_match`.
            SourceUnavailable: the host's trouble outlasted the retries.
            MalformedReport: what lies there is no CSV, twice.
            Misconfigured: the policy refuses the URL, or the host's certificate cannot be verified.
            TryLater: the disk is full.
            Stopped: as asked.
        """
        url = self.policy.check(address.url)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "report.csv"
        try:
            with closing(Spool(path)) as spool:
                attempt = _Download(self, url, renew, spool, if_none_match=if_none_match, on_body=on_body).attempt
                return self.retry_policy.retry(attempt, total_s=_TOTAL_S, on_retry=on_retry)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


class _Download:
    """What is known of one download between two attempts."""

    def __init__(
        self,
        tools: Downloader,
        url: httpx.URL,
        renew: Callable[[], ReportAddress],
        spool: Spool,
        *,
        if_none_match: Origin | None,
        on_body: Callable[[], None],
    ) -> None:
        self._client = tools.client
        self._policy = tools.policy
        self._retry_policy = tools.retry_policy
        self._stop = tools.stop
        self._url = url
        self._renew = renew
        self._spool = spool
        self._if_none_match = if_none_match
        self._on_body = on_body
        self._began_s = tools.retry_policy.clock()
        self._end_s = self._began_s + _TOTAL_S
        self._is_stale = False
        self._resumed = 0
        # Of the bytes in the spool; None where the host gave no strong ETag.
        self._origin: Origin | None = None
        self._total_bytes: int | None = None
        self._checksums = Checksums({})

    @property
    def _place(self) -> str:
        """Host and path, as messages name them."""
        return redacted_url(self._url).partition("://")[2] + self._url.raw_path.partition(b"?")[0].decode("ascii")

    def attempt(self) -> ReportFile:
        """Fetch the file, or what is left of it."""
        self._stop.check()
        if self._is_stale:
            self._url = self._policy.check(self._renew().url)
            self._is_stale = False
        try:
            return self._fetch()
        except HTTP_ERRORS as error:
            explained = explain(error, f"the download host {self._place}")
            raise (RetryableError(explained) if isinstance(explained, TryLater) else explained) from None
        except MalformedReport as error:
            raise self._anew(error, UNREADABLE) from None

    def _fetch(self) -> ReportFile:
        """Request the URL, and where it leads to; the policy is applied at each hop."""
        url = self._url
        for _ in range(_MAX_REDIRECTS + 1):
            headers = {**_signed_headers(url), **self._conditions(url)}
            with self._client.stream("GET", url, headers=headers) as response:
                if not response.has_redirect_location:
                    return self._take(response)
                url = self._policy.check(urljoin(str(url), response.headers["location"]))
        raise self._anew(self._trouble(f"redirects more than {_MAX_REDIRECTS} times"), BROKEN)

    def _take(self, response: httpx.Response) -> ReportFile:
        """Sort an answer: take in the body, or say what is wrong."""
        status, headers = response.status_code, response.headers
        if status == HTTPStatus.NOT_MODIFIED and self._agrees(response):
            raise Unmodified
        if status == HTTPStatus.PARTIAL_CONTENT and _asked_for_the_rest(response):
            if not self._continues(response):
                raise self._anew(self._trouble("answered with another part than was asked for"), PASSING)
            self._resumed += 1
        elif status == HTTPStatus.OK:
            self._begin(response)
        else:
            raise self._sort_refusal(response)
        if fault := _what_is_unverifiable(headers):
            raise self._anew(self._trouble(fault), BROKEN)
        self._on_body()
        self._read(response)
        return self._finish()

    def _sort_refusal(self, response: httpx.Response) -> RetryableError:
        status = response.status_code
        error = self._trouble(f"answered {status}", request_id(response.headers))
        if status in _EXPIRED_STATUSES:
            self._is_stale = True
            return RetryableError(error, EXPIRED)
        if status == HTTPStatus.NOT_FOUND:
            return self._anew(error, GONE)
        if is_temporary(status):
            return RetryableError(error, PASSING, self._retry_policy.retry_after_s(response.headers))
        past_the_end = status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and _asked_for_the_rest(response)
        return self._anew(error, PASSING if past_the_end else BROKEN)

    def _read(self, response: httpx.Response) -> None:
        """Take in the body. Falling short of the pace or of the deadline counts as a timeout, as it is one."""
        pace = ThroughputGuard(self._retry_policy.clock)
        for piece in response.iter_raw():
            self._stop.check()
            self._checksums.update(piece)
            self._spool.write(piece)
            if pace.is_too_slow(len(piece)) or self._retry_policy.clock() >= self._end_s:
                raise httpx.ReadTimeout(f"too slow, after {self._spool.received_bytes} bytes")

    def _finish(self) -> ReportFile:
        if self._total_bytes not in (None, self._spool.received_bytes):
            what = f"sent {self._spool.received_bytes} bytes where {self._total_bytes} were announced"
            raise self._anew(self._trouble(what), PASSING)
        if name := self._checksums.mismatch():
            raise self._anew(self._trouble(f"sent bytes that do not have the {name} checksum it announced"), BROKEN)
        sha256 = self._spool.finish()
        return ReportFile(
            path=self._spool.path,
            sha256=sha256,
            size_bytes=self._spool.size_bytes,
            received_bytes=self._spool.received_bytes,
            origin=self._origin,
            elapsed_s=self._retry_policy.clock() - self._began_s,
            resumed=self._resumed,
        )

    def _conditions(self, url: httpx.URL) -> dict[str, str]:
        """The headers that make a request one for the rest of the file, or for none at all if it is known.

        Only where the URL names the file that the ETag is of: a host that counts versions gives the second version of
        every file the same ETag.
        """
        source = source_of(url)
        if self._spool.received_bytes and self._origin and self._origin.source == source:
            return {"Range": f"bytes={self._spool.received_bytes}-", "If-Range": self._origin.etag}
        if self._if_none_match and self._if_none_match.source == source:
            return {"If-None-Match": self._if_none_match.etag}
        return {}

    def _agrees(self, not_modified: httpx.Response) -> bool:
        """Whether an answer of "not modified" is one to our question; the file is fetched plainly where it is not."""
        asked, self._if_none_match = not_modified.request.headers.get("if-none-match"), None
        return asked is not None and not_modified.headers.get("etag", asked) == asked

    def _begin(self, response: httpx.Response) -> None:
        self._forget()
        headers, etag = response.headers, response.headers.get("etag", "")
        if _STRONG_ETAG.fullmatch(etag):
            self._origin = Origin(source_of(response.url), etag)
        self._checksums = Checksums.announced_in(headers)
        if "content-length" in headers:
            self._total_bytes = int(headers["content-length"])

    def _continues(self, rest: httpx.Response) -> bool:
        """Whether a partial answer is the rest of the file that was begun, from the next byte to the last."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", rest.headers.get("content-range", ""), re.ASCII)
        asked = rest.request.headers["if-range"]
        if not found or rest.headers.get("etag", asked) != asked:
            return False
        first, last, total = map(int, found.groups())
        if first != self._spool.received_bytes or last != total - 1 or self._total_bytes not in (None, total):
            return False
        self._total_bytes = total
        return True

    def _forget(self) -> None:
        """Give up what was received: the next attempt begins with the first byte."""
        self._spool.restart()
        self._origin = None
        self._total_bytes = None
        self._checksums = Checksums({})

    def _anew(self, error: WatchTimeError, trouble: FailureKind) -> RetryableError:
        """Begin with the first byte, and except for weather from a fresh address."""
        self._forget()
        self._is_stale = trouble is not PASSING
        return RetryableError(error, trouble)

    def _trouble(self, what: str, request: str | None = None) -> SourceUnavailable:
        return SourceUnavailable(f"the download host {self._place} {what}", next_step=_LATER, request_id=request)


def _signed_headers(url: httpx.URL) -> dict[str, str]:
    """The header without which S3 refuses a URL that was signed with it; S3 then announces its own checksum.

    Where it was not signed it must not be sent: S3 refuses that too.
    """
    names = url.params.get("X-Amz-SignedHeaders", "").lower().split(";")
    return {"x-amz-checksum-mode": "ENABLED"} if "x-amz-checksum-mode" in names else {}


def _asked_for_the_rest(response: httpx.Response) -> bool:
    """Whether an answer is one to a request for the rest of a file."""
    return "range" in response.request.headers


def _what_is_unverifiable(headers: httpx.Headers) -> str | None:
    """Why the end of this body, or its meaning, could not be told for certain; None where it can."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        return "sends the report in an encoding that was not asked for"
    if "content-length" not in headers and "transfer-encoding" not in headers:
        # A body that ends where the connection ends looks the same whether it was sent or cut.
        return "says neither how long the report is nor where it ends, so that a cut could not be told from the end"
    if headers.get("content-type", "").lower().startswith("text/html"):
        return "sends a web page instead of the report"
    return None
