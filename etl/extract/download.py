"""Downloading a report to local disk: complete and verified, or not at all.

A file is complete when its length or its chunks say so, and a checksum agrees where the host announces one. A cut
download is resumed if the URL still names the same file (`signed_url_identity`) and the host can prove that it has not
changed; an expired address is replaced by a fresh one. The token stays with the API, and the signed query string never
reaches an error or a log; nor does an error's body, in which storage hosts often repeat the request.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin

import httpx

from etl.domain.errors import MalformedReport, SourceUnavailable, TryLater, WatchTimeError
from etl.domain.pipeline_values import ReportFile
from etl.extract.download_writer import DownloadWriter
from etl.extract.http_checksums import Checksums
from etl.extract.retry import BROKEN, PASSING, FailureKind, RetryableError, ThroughputGuard, is_temporary
from etl.extract.storage_headers import (
    conditions,
    is_for_the_rest,
    is_unmodified,
    origin_of,
    signed_headers,
    total_of_rest,
    why_unverifiable,
)
from etl.extract.transport_errors import HTTP_ERRORS, explain, request_id
from etl.extract.url_policy import redacted_url

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from etl.domain.outcome import Pause
    from etl.domain.pipeline_values import Origin, ReportAddress
    from etl.extract.retry import RetryPolicy
    from etl.extract.url_policy import UrlPolicy
    from etl.runtime.cancellation import Stop

# Enough for 5 GB at 700 kB a second. It limits the time per slice, including retries.
_TOTAL_S: Final = 7200.0
# Storage hosts redirect once, to a region or a cache; more than this is a loop.
_MAX_REDIRECTS: Final = 3

# The first address and two fresh ones; after that, expiry is not the cause.
EXPIRED: Final = FailureKind("expired", 3)
# Missing, although the API says otherwise; a fresh address may point elsewhere.
GONE: Final = FailureKind("gone", 2)
# A file that cannot be a report is downloaded again, from a fresh address, before it is refused.
UNREADABLE: Final = FailureKind("unreadable", 2)

# Each host says "expired" in its own way: S3 and Azure 403, Google 400, others 401 or 410.
_EXPIRED_STATUSES = frozenset({400, 401, 403, 410})
_LATER = "run again later; loaded data is unchanged"


class Unmodified(Exception):
    """The download host says that the file has not changed (304): not an error, but there is no file."""


@dataclass(frozen=True, slots=True)
class Downloader:
    """Downloads reports. Safe to use from several threads.

    Attributes:
        client: of `http_clients.storage_client`.
        policy: which URLs may be fetched, redirects included.
        retry_policy: clock, sleep and randomness.
        stop: checked between two pieces.
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
        on_retry: Callable[[Pause], None] | None = None,
        on_body: Callable[[], None] = lambda: None,
    ) -> ReportFile:
        """Download a report into `folder`, as `report.csv`, decompressed.

        Args:
            address: where the report is.
            renew: asks the API for a fresh address.
            folder: created if needed; the caller removes it. After an error it contains no file.
            if_none_match: skip the download if the host says that the file is still this one.
            on_retry: called before a failed attempt is repeated.
            on_body: called when a file starts to arrive.

        Raises:
            Unmodified: the file is still that of `if_none_match`.
            SourceUnavailable: the host's failures outlasted the retries.
            MalformedReport: the file was not CSV, twice.
            Misconfigured: the policy refuses the URL, or the host's certificate cannot be verified.
            TryLater: the disk is full.
            Stopped: a stop was requested.
        """
        url = self.policy.check(address.url)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "report.csv"
        try:
            with closing(DownloadWriter(path)) as writer:
                begun = _Download(self, url, renew, writer, if_none_match, on_body, began_s=self.retry_policy.clock())
                return self.retry_policy.retry(begun.attempt, total_s=_TOTAL_S, on_retry=on_retry)
        except BaseException:
            path.unlink(missing_ok=True)
            raise


@dataclass(slots=True)
class _Download:
    """What is known of one download between two attempts.

    Attributes:
        origin: of the bytes written so far; None where the host gave no strong ETag.
    """

    tools: Downloader
    url: httpx.URL
    renew: Callable[[], ReportAddress]
    writer: DownloadWriter
    if_none_match: Origin | None
    on_body: Callable[[], None]
    began_s: float
    is_stale: bool = False
    resumed: int = 0
    origin: Origin | None = None
    total_bytes: int | None = None
    checksums: Checksums = field(default_factory=lambda: Checksums({}))

    @property
    def _place(self) -> str:
        """Host and path, as messages name them."""
        return redacted_url(self.url).partition("://")[2] + self.url.raw_path.partition(b"?")[0].decode("ascii")

    def attempt(self) -> ReportFile:
        """Fetch the file, or the rest of it."""
        self.tools.stop.check()
        if self.is_stale:
            self.url = self.tools.policy.check(self.renew().url)
            self.is_stale = False
        try:
            return self._fetch()
        except HTTP_ERRORS as error:
            explained = explain(error, f"the download host {self._place}")
            raise (RetryableError(explained) if isinstance(explained, TryLater) else explained) from None
        except MalformedReport as error:
            raise self._restart(error, UNREADABLE) from None

    def _fetch(self) -> ReportFile:
        """Request the URL and follow redirects; the policy is applied at each hop."""
        url = self.url
        for _ in range(_MAX_REDIRECTS + 1):
            headers = signed_headers(url) | conditions(
                url, begun=self.origin, received_bytes=self.writer.received_bytes, known=self.if_none_match
            )
            with self.tools.client.stream("GET", url, headers=headers) as response:
                if not response.has_redirect_location:
                    return self._receive(response)
                url = self.tools.policy.check(urljoin(str(url), response.headers["location"]))
        raise self._restart(self._trouble(f"redirects more than {_MAX_REDIRECTS} times"), BROKEN)

    def _receive(self, response: httpx.Response) -> ReportFile:
        """Classify a response: read the body, or raise what is wrong."""
        status, headers = response.status_code, response.headers
        if status == HTTPStatus.NOT_MODIFIED:
            # Asked once: where the answer is to another question, the file is fetched plainly.
            self.if_none_match = None
            if is_unmodified(response):
                raise Unmodified
        if status == HTTPStatus.PARTIAL_CONTENT and is_for_the_rest(response):
            self._resume(response)
        elif status == HTTPStatus.OK:
            self._begin(response)
        else:
            raise self._sort_refusal(response)
        if fault := why_unverifiable(headers):
            raise self._restart(self._trouble(fault), BROKEN)
        self.on_body()
        self._read(response)
        return self._finish()

    def _sort_refusal(self, response: httpx.Response) -> RetryableError:
        status = response.status_code
        error = self._trouble(f"returned {status}", request_id(response.headers))
        if status in _EXPIRED_STATUSES:
            self.is_stale = True
            return RetryableError(error, EXPIRED)
        if status == HTTPStatus.NOT_FOUND:
            return self._restart(error, GONE)
        if is_temporary(status):
            return RetryableError(error, PASSING, self.tools.retry_policy.retry_after_s(response.headers))
        past_the_end = status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and is_for_the_rest(response)
        return self._restart(error, PASSING if past_the_end else BROKEN)

    def _read(self, response: httpx.Response) -> None:
        """Read the body. Being too slow or missing the deadline counts as a timeout."""
        pace = ThroughputGuard(self.tools.retry_policy.clock)
        for piece in response.iter_raw():
            self.tools.stop.check()
            self.checksums.update(piece)
            self.writer.write(piece)
            if pace.is_too_slow(len(piece)) or self.tools.retry_policy.clock() >= self.began_s + _TOTAL_S:
                raise httpx.ReadTimeout(f"too slow, after {self.writer.received_bytes} bytes")

    def _finish(self) -> ReportFile:
        if self.total_bytes not in (None, self.writer.received_bytes):
            what = f"sent {self.writer.received_bytes} of {self.total_bytes} bytes"
            raise self._restart(self._trouble(what), PASSING)
        if name := self.checksums.mismatch():
            raise self._restart(self._trouble(f"sent bytes that do not match their {name} checksum"), BROKEN)
        sha256 = self.writer.finish()
        return ReportFile(
            path=self.writer.path,
            sha256=sha256,
            size_bytes=self.writer.size_bytes,
            received_bytes=self.writer.received_bytes,
            origin=self.origin,
            elapsed_s=self.tools.retry_policy.clock() - self.began_s,
            resumed=self.resumed,
        )

    def _begin(self, response: httpx.Response) -> None:
        self._forget()
        headers = response.headers
        self.origin = origin_of(response)
        self.checksums = Checksums.announced_in(headers)
        if "content-length" in headers:
            self.total_bytes = int(headers["content-length"])

    def _resume(self, response: httpx.Response) -> None:
        total = total_of_rest(response, received_bytes=self.writer.received_bytes)
        if total is None or self.total_bytes not in (None, total):
            raise self._restart(self._trouble("sent a different range than requested"), PASSING)
        self.total_bytes = total
        self.resumed += 1

    def _forget(self) -> None:
        """Discard what was received: the next attempt starts at the first byte."""
        self.writer.restart()
        self.origin = None
        self.total_bytes = None
        self.checksums = Checksums({})

    def _restart(self, error: WatchTimeError, trouble: FailureKind) -> RetryableError:
        """The next attempt begins with the first byte, and unless the trouble is a passing one from a fresh address."""
        self._forget()
        self.is_stale = trouble is not PASSING
        return RetryableError(error, trouble)

    def _trouble(self, what: str, request: str | None = None) -> SourceUnavailable:
        return SourceUnavailable(f"the download host {self._place} {what}", next_step=_LATER, request_id=request)
