"""Asking BlendVision's report API where a slice's report lies.

Every answer is sorted by one function into: an address; not there; try again; refused; misconfigured. What is worth
trying again is tried again; the rest is raised at once. Neither the token nor a signed URL is logged or shown.

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
from etl.extract.http_errors import HTTP_ERRORS, explain, request_id
from etl.extract.retry import BROKEN, PASSING, FailureKind, RateLimiter, RetryableError, is_temporary
from etl.extract.url_policy import BASE_SETTING, redacted_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.domain.slices import Slice
    from etl.extract.retry import RetryPolicy

_PATH: Final = "/bv/analytics/v1/reports/watch-time"

# One question may take so long in all: twice the longest Retry-After that is honoured.
_TOTAL_S: Final = 1800.0
# Between two asks that are to confirm each other: long enough for another machine behind the balancer to answer.
_CONFIRM_AFTER_S: Final = 1.0
# A good answer is a URL of a kilobyte or two. More is some web page, of which the beginning says enough.
_MAX_ANSWER_BYTES: Final = 65_536
# httpx's timeouts count each read; this one counts the whole answer, so that a dripping one comes to an end.
_ANSWER_S: Final = 120.0

_NOT_PUBLISHED: Final = "not published (404)"

_GRPC_NOT_FOUND = 5
_MAX_QUOTED = 200


@dataclass(frozen=True)
class ReportApi:
    """The report API, as one organization sees it. Safe to use from several threads.

    Attributes:
        client: of `http_clients.api_client`.
        retry_policy: time and chance.
        strict_not_found: whether a 404 must have the API's own body.
        rate: how fast requests may follow each other, repeated ones included; None: as fast as they are answered.
        on_retry: called before a failed request is repeated.
        on_wait: called before a report that is not there is asked for again.
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
        """Ask until the report is there or `budget_s` seconds are over; a budget of 0 asks once.

        Raises:
            SourceUnavailable: no answer that can be used, in spite of retries.
            CredentialsRefused: 401 or 403.
            Misconfigured: this is not the API, or not a URL for it.
            NeedsAPerson: the API takes the question for wrong.
        """
        asks = 0

        def ask() -> ReportAddress | ReportNotFound:
            nonlocal asks
            asks += 1
            return self._ask(slice_)

        answer = self.retry_policy.poll(
            ask,
            until=_is_there,
            budget_s=budget_s,
            on_wait=lambda attempt, pause_s, left_s: self.on_wait(Pause(_NOT_PUBLISHED, attempt, pause_s, left_s)),
        )
        return replace(answer, asks=asks)

    def ask_once(self, slice_: Slice, *, confirm: bool = False) -> ReportAddress | ReportNotFound:
        """Ask once; with `confirm`, a "not there" is asked for a second time about a second later.

        Confirming is for dates past the settling window, where "not there" will be taken for "nothing to come".
        Raises what `await_report` raises.
        """
        answer = self._ask(slice_)
        if confirm and isinstance(answer, ReportNotFound):
            self.retry_policy.sleep(_CONFIRM_AFTER_S * (0.5 + self.retry_policy.chance()))
            answer = replace(self._ask(slice_), asks=2)
        return answer

    def renew(self, slice_: Slice) -> ReportAddress:
        """A fresh address of a report that was there a moment ago. Raises what `await_report` raises."""
        answer = self._ask(slice_)
        if isinstance(answer, ReportNotFound):
            raise SourceUnavailable(
                f"{self._where} returned a URL for {slice_} and now answers 404",
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
        """The body, or its beginning where there is more of it than an answer has."""
        end_s = self.retry_policy.clock() + _ANSWER_S
        body = b""
        for piece in response.iter_bytes():
            body += piece
            if len(body) > _MAX_ANSWER_BYTES:
                break
            if self.retry_policy.clock() > end_s:
                raise httpx.ReadTimeout(f"the answer was incomplete after {_ANSWER_S:.0f} s")
        return body

    def _sort(self, slice_: Slice, response: httpx.Response, body: bytes) -> ReportAddress | ReportNotFound:
        """Sort an answer: an address and not there are returned; try again, refused and misconfigured are raised."""
        status, answer = response.status_code, _json_object(body)
        said = f"{self._where} answered {status} for {slice_}: {self._quote(answer)}"
        request = request_id(response.headers)
        match status:
            case HTTPStatus.OK if isinstance(url := answer.get("url"), str) and url:
                # Whether it may be fetched is for the URL policy to say, which names what is wrong with it.
                return ReportAddress(url, asks=1)
            case HTTPStatus.NOT_FOUND if _is_not_found(answer) or not self.strict_not_found:
                return ReportNotFound(asks=1, message=self._quote(answer))
            case _ if is_temporary(status):
                raise self._again(said, PASSING, response)
            case _ if status < HTTPStatus.MULTIPLE_CHOICES:
                # A success without an address: a captive portal, a proxy's page, a half-made deployment. It goes away
                # without anyone here doing anything, hence 75, and not 65: no report was seen that could be refused.
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
                # We made the question from a date and an enum: the API has changed, or this is a bug. Exit code 70.
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
        """The API's own message, fit to be shown: one line of bounded length, and without the token."""
        message = answer.get("message")
        if not isinstance(message, str):
            return "no URL or error message in the response"
        token = self.client.headers.get("authorization", "").removeprefix("Bearer ")
        message = message.replace(token, "<token>") if token else message
        return "".join(char if char.isprintable() else " " for char in message)[:_MAX_QUOTED]


def _is_there(answer: ReportAddress | ReportNotFound) -> bool:
    return isinstance(answer, ReportAddress)


def _json_object(body: bytes) -> dict[str, object]:
    """The JSON object in `body`; an empty one where it is anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}


def _is_not_found(answer: dict[str, object]) -> bool:
    """Whether this is the API's own error body for "not found", and not some other server's 404."""
    return answer.get("code") == _GRPC_NOT_FOUND and isinstance(answer.get("message"), str)
