"""Asks BlendVision's report API for the URL of a slice's report.

One function classifies every response: an address, not found, retryable, refused, or misconfigured. Retryable errors
are retried; the others are raised at once. Neither the token nor a signed URL is logged or shown.

Source of the rules: BlendVision One, `bv/analytics/v1/reports/watch-time`; errors are grpc-gateway bodies.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import httpx

from etl.domain.errors import CredentialsRefused, Misconfigured, NeedsAPerson, SourceUnavailable, TryLater
from etl.domain.outcome import Pause
from etl.domain.pipeline_values import ReportAddress, ReportNotFound
from etl.extract.retry import BROKEN, PASSING, FailureKind, RateLimiter, RetryableError, is_temporary
from etl.extract.transport_errors import HTTP_ERRORS, explain, request_id
from etl.extract.url_policy import BASE_SETTING, redacted_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.domain.slices import Slice
    from etl.extract.retry import RetryPolicy

_PATH: Final = "/bv/analytics/v1/reports/watch-time"

# Time limit of one request, retries included: twice the longest Retry-After that is honoured.
_TOTAL_S: Final = 1800.0
# Between a request and the one that confirms it: long enough for another machine behind the balancer to answer.
_CONFIRM_AFTER_S: Final = 1.0
# A valid response is a URL of a kilobyte or two. Anything longer is a web page, whose beginning is enough.
_MAX_ANSWER_BYTES: Final = 65_536
# httpx's timeouts count each read; this one counts the whole answer, so that a trickling one ends.
_ANSWER_S: Final = 120.0

_NOT_PUBLISHED: Final = "not published (404)"

_GRPC_NOT_FOUND = 5
_MAX_QUOTED = 200


@dataclass(frozen=True)
class ReportApi:
    """The report API, as one organization sees it. Safe to use from several threads.

    Attributes:
        client: of `http_clients.api_client`.
        retry_policy: clock, sleep and randomness.
        strict_not_found: whether a 404 must have the API's own body.
        rate: limits requests, including retries; None: no limit.
        on_retry: called before a failed request is repeated.
        on_wait: called before a missing report is requested again.
    """

    client: httpx.Client
    retry_policy: RetryPolicy
    strict_not_found: bool = True
    rate: RateLimiter | None = None
    on_retry: Callable[[Pause], None] = lambda _: None
    on_wait: Callable[[Pause], None] = lambda _: None

    @property
    def _where(self) -> str:
        return f"the report API at {redacted_url(self.client.base_url)}"

    def await_report(self, slice_: Slice, budget_s: float) -> ReportAddress | ReportNotFound:
        """Ask until the report exists or `budget_s` seconds have passed; a budget of 0 asks once.

        Raises:
            SourceUnavailable: no usable response, despite retries.
            CredentialsRefused: 401 or 403.
            Misconfigured: this is not the API, or not a URL for it.
            NeedsAPerson: the API considers the request invalid.
        """
        asks = 0

        def ask() -> ReportAddress | ReportNotFound:
            nonlocal asks
            asks += 1
            return self._ask(slice_)

        answer = self.retry_policy.poll(
            ask,
            until=lambda answer: isinstance(answer, ReportAddress),
            budget_s=budget_s,
            on_wait=lambda attempt, pause_s, left_s: self.on_wait(Pause(_NOT_PUBLISHED, attempt, pause_s, left_s)),
        )
        return replace(answer, asks=asks)

    def ask_once(self, slice_: Slice, *, confirm: bool = False) -> ReportAddress | ReportNotFound:
        """Ask once; with `confirm`, repeat the request about a second later if the report is not found.

        Confirming is for dates past the settling window, for which "not found" means that no report will come.
        Raises what `await_report` raises.
        """
        answer = self._ask(slice_)
        if confirm and isinstance(answer, ReportNotFound):
            self.retry_policy.sleep(_CONFIRM_AFTER_S * (0.5 + self.retry_policy.chance()))
            answer = replace(self._ask(slice_), asks=2)
        return answer

    def renew(self, slice_: Slice) -> ReportAddress:
        """A fresh address of a report that was found a moment ago. Raises what `await_report` raises."""
        answer = self._ask(slice_)
        if isinstance(answer, ReportNotFound):
            raise SourceUnavailable(
                f"{self._where} returned a URL for {slice_} but now returns 404",
                next_step="run again later; loaded data is unchanged",
            )
        return answer

    def _ask(self, slice_: Slice) -> ReportAddress | ReportNotFound:
        return self.retry_policy.retry(lambda: self._request(slice_), total_s=_TOTAL_S, on_retry=self.on_retry)

    def _request(self, slice_: Slice) -> ReportAddress | ReportNotFound:
        params = {
            "time": f"{slice_.report_date:%Y-%m-%d}T00:00:00Z",
            "streaming_type": f"REPORT_STREAMING_TYPE_{slice_.report_type}",
        }
        if self.rate:
            self.rate.wait()
        try:
            with self.client.stream("GET", _PATH, params=params) as response:
                body = self._read(response)
        except HTTP_ERRORS as error:
            explained = explain(error, self._where)
            raise (RetryableError(explained) if isinstance(explained, TryLater) else explained) from None
        return self._sort(slice_, response, body)

    def _read(self, response: httpx.Response) -> bytes:
        """The body, truncated if it is longer than a valid response."""
        end_s = self.retry_policy.clock() + _ANSWER_S
        body = b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _MAX_ANSWER_BYTES:
                break
            if self.retry_policy.clock() > end_s:
                raise httpx.ReadTimeout(f"the response was incomplete after {_ANSWER_S:.0f} s")
        return body

    def _sort(self, slice_: Slice, response: httpx.Response, body: bytes) -> ReportAddress | ReportNotFound:
        """Classify a response: an address and "not found" are returned; all others are raised."""
        status, answer = response.status_code, _json_object(body)
        said = f"{self._where} returned {status} for {slice_}: {self._quote(answer)}"
        request = request_id(response.headers)
        match status:
            case HTTPStatus.OK if isinstance(url := answer.get("url"), str) and url:
                # The URL policy decides whether it may be fetched, and says what is wrong with it.
                return ReportAddress(url, asks=1)
            case HTTPStatus.NOT_FOUND if _is_not_found(answer) or not self.strict_not_found:
                return ReportNotFound(asks=1, message=self._quote(answer))
            case _ if is_temporary(status):
                raise self._again(said, PASSING, response)
            case _ if status < HTTPStatus.MULTIPLE_CHOICES:
                # A success without an address: a captive portal, a proxy's page, a half-made deployment. It goes away
                # by itself, hence 75 and not 65: there was no report to refuse.
                raise self._again(said, BROKEN, response)
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                what = "the token" if status == HTTPStatus.UNAUTHORIZED else "token or organization"
                raise CredentialsRefused(
                    f"the API refuses {what}: {said}",
                    next_step="check WATCH_TIME_API_TOKEN (has it expired?), and that WATCH_TIME_ORG_ID is the "
                    "token's organization",
                    request_id=request,
                )
            case HTTPStatus.BAD_REQUEST:
                # The request consists of a date and an enum: the API has changed, or this is a bug. Exit code 70.
                raise NeedsAPerson(
                    said,
                    next_step="check WATCH_TIME_ORG_ID; if it is correct, report this as a bug in watch-time",
                    request_id=request,
                )
        raise Misconfigured(
            f"{said}; this response is not from the report API",
            next_step=f"check {BASE_SETTING} and any proxy in between"
            + (
                "; if every missing report gets this response, set WATCH_TIME_STRICT_NOT_FOUND=false"
                * (status == HTTPStatus.NOT_FOUND)
            ),
            request_id=request,
        )

    def _again(self, said: str, trouble: FailureKind, response: httpx.Response) -> RetryableError:
        error = SourceUnavailable(
            said, next_step="run again later; loaded data is unchanged", request_id=request_id(response.headers)
        )
        return RetryableError(error, trouble, self.retry_policy.retry_after_s(response.headers))

    def _quote(self, answer: dict[str, object]) -> str:
        """The API's own message, safe to show: one line of bounded length, without the token."""
        message = answer.get("message")
        if not isinstance(message, str):
            return "no URL or error message in the response"
        token = self.client.headers.get("authorization", "").removeprefix("Bearer ")
        message = message.replace(token, "<token>") if token else message
        return "".join(char if char.isprintable() else " " for char in message)[:_MAX_QUOTED]


def _json_object(body: bytes) -> dict[str, object]:
    """The JSON object in `body`; empty if it is anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_not_found(answer: dict[str, object]) -> bool:
    """Whether this is the API's own error body for "not found", and not some other server's 404."""
    return answer.get("code") == _GRPC_NOT_FOUND and isinstance(answer.get("message"), str)
