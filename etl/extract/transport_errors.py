"""What httpx's errors mean for the user, without quoting a URL, a header or a body."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING, Final

import httpx

from etl.domain.errors import Misconfigured, SourceUnavailable, WatchTimeError
from etl.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

# All errors of httpx that a request can raise. `CookieConflict` and the `StreamError`s cannot: those are bugs.
# httpx lets IDNA errors, which are UnicodeErrors, through as they are.
HTTP_ERRORS: Final = (httpx.HTTPError, httpx.InvalidURL, UnicodeError)

_REQUEST_ID_HEADERS = ("x-request-id", "x-amzn-requestid", "x-amz-request-id", "x-guploader-uploadid",
                       "x-ms-request-id", "x-cloud-trace-context", "cf-ray")  # fmt: skip
_PROXY_WANTS_LOGIN = "407"


def explain(error: Exception, where: str) -> WatchTimeError:
    """What one of `HTTP_ERRORS` means for the user; never with a URL, a header or a body in it.

    `where` describes the server in words that may be shown.
    """
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in _causes(error)):
        return Misconfigured(
            f"{where} presented a certificate that cannot be verified",
            next_step="name a file with your network's certificate authority in SSL_CERT_FILE; "
            "check this machine's clock",
        )
    match error:
        case httpx.UnsupportedProtocol() | httpx.InvalidURL() | UnicodeError():
            return Misconfigured(f"the URL of {where} cannot be used", next_step="check the URLs in the settings")
        case httpx.LocalProtocolError():
            # Its text quotes the invalid header, which may contain the token.
            return Misconfigured(
                f"the request to {where} cannot be sent: a header has invalid characters",
                next_step="check WATCH_TIME_API_TOKEN and WATCH_TIME_ORG_ID for stray characters",
            )
        case httpx.ProxyError() if str(error).startswith(_PROXY_WANTS_LOGIN):
            return Misconfigured(
                f"the proxy to {where} requires a login", next_step="add user and password to HTTPS_PROXY"
            )
        case httpx.NetworkError() | httpx.TimeoutException():
            what = f"could not be reached or stopped responding ({type(error).__name__}: {error})"
        case httpx.ProxyError():
            what = "could not be reached through the proxy"
        case _:
            # The server violated HTTP; these texts quote what it sent.
            what = f"sent an incomplete response ({type(error).__name__})"
    return SourceUnavailable(f"{where} {what}", next_step="run again later; loaded data is unchanged")


def request_id(headers: httpx.Headers) -> str | None:
    """The server's own name for the request, for its support, as in `x-request-id: 7f3a`.

    A proxy may repeat there what it was sent.
    """
    for name in _REQUEST_ID_HEADERS:
        if name in headers:
            return f"{name}: {redact(re.sub(r'[^!-~]', '?', headers[name]))[:100]}"
    return None


def _causes(error: BaseException) -> Iterable[BaseException]:
    """The error and its causes; httpx and httpcore use `raise ... from` in some places only."""
    pending, seen = [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) not in seen:
            seen.add(id(current))
            yield current
            pending += [cause for cause in (current.__cause__, current.__context__) if cause]
