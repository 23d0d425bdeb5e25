"""What httpx can raise, and what the user is told."""

from __future__ import annotations

import ssl

import httpx
import idna
import pytest

from etl.domain.errors import Misconfigured, SourceUnavailable, WatchTimeError
from etl.extract.transport_errors import HTTP_ERRORS, explain, request_id
from etl.runtime.redaction import redact

EXCEPTIONS = [thing for thing in vars(httpx).values() if isinstance(thing, type) and issubclass(thing, Exception)]

# Using httpx wrongly: they cannot come from outside, and end as the bugs that they are.
BUGS = {
    httpx.CookieConflict,
    httpx.StreamError,
    httpx.StreamConsumed,
    httpx.StreamClosed,
    httpx.ResponseNotRead,
    httpx.RequestNotRead,
}

FOR_A_PERSON = {httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError}


def test_httpx_still_shows_its_exceptions() -> None:
    assert len(EXCEPTIONS) > 25


@pytest.mark.parametrize("kind", [*EXCEPTIONS, idna.IDNAError, UnicodeError], ids=lambda kind: str(kind.__name__))
def test_no_error_of_httpx_is_unmapped(kind: type[Exception]) -> None:
    if kind in BUGS:
        assert not issubclass(kind, HTTP_ERRORS)
        return
    assert issubclass(kind, HTTP_ERRORS)
    error = explain(kind.__new__(kind, "canary"), "the host")
    person = kind in FOR_A_PERSON or issubclass(kind, UnicodeError)
    assert type(error) is (Misconfigured if person else SourceUnavailable)
    assert "the host" in error.message


@pytest.mark.parametrize(
    "kind",
    [httpx.LocalProtocolError, httpx.RemoteProtocolError, httpx.InvalidURL, httpx.DecodingError, httpx.ProxyError],
)
def test_texts_that_may_quote_a_header_or_a_url_are_not_told(kind: type[Exception]) -> None:
    """h11 says `Illegal header value b'Bearer ...'`."""
    error = explain(kind("canary"), "the host")
    assert "canary" not in error.message + error.next_step


def raised(error: Exception, *, cause: Exception | None = None, context: Exception | None = None) -> Exception:
    error.__cause__, error.__context__ = cause, context
    return error


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(raised(httpx.ConnectError("x"), cause=ssl.SSLCertVerificationError()), id="cause"),
        pytest.param(raised(httpx.ConnectError("x"), context=ssl.SSLCertVerificationError()), id="context"),
        pytest.param(
            raised(httpx.ConnectError("x"), cause=raised(OSError(), context=ssl.SSLCertVerificationError())), id="deep"
        ),
    ],
)
def test_a_certificate_error_is_found_wherever_it_hides(error: Exception) -> None:
    assert isinstance(explain(error, "the host"), Misconfigured)


def test_errors_that_go_round_in_a_circle_end() -> None:
    first, second = httpx.ConnectError("x"), OSError()
    first.__context__, second.__context__ = second, first
    assert isinstance(explain(first, "the host"), WatchTimeError)


def test_a_secret_that_comes_back_as_a_request_id_is_masked() -> None:
    redact.know(["a-very-long-token" * 10])
    try:
        assert request_id(httpx.Headers({"x-request-id": "a-very-long-token" * 10})) == "x-request-id: ***"
        assert request_id(httpx.Headers({"x-request-id": "7f3a"})) == "x-request-id: 7f3a"
    finally:
        redact.know([])
