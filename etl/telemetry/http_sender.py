"""Small HTTP requests to monitors and gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from etl import __version__
from etl.domain.errors import Misconfigured, SourceUnavailable
from etl.domain.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping

_OURS: Final = {"User-Agent": f"watch-time/{__version__}"}
_SUCCESS: Final = 2


def request(
    method: str,
    url: str,
    *,
    where: str,
    timeout_s: float,
    content: bytes = b"",
    headers: Mapping[str, str] | None = None,
    tries: int = 1,
) -> None:
    """Send a request that the server must answer with 2xx; up to `tries` times, where another try may succeed.

    The URL is never shown: `where` names the server in words that may be. `timeout_s` is that of each step of each try.

    Raises:
        WatchTimeError: no such answer came.
    """
    import httpx  # noqa: PLC0415 - slow to import, and needed only where something is configured

    from etl.extract.retry import is_temporary  # noqa: PLC0415 - as above
    from etl.extract.transport_errors import HTTP_ERRORS, explain  # noqa: PLC0415 - as above

    require_http(url, where)
    for remaining in reversed(range(tries)):
        try:
            with httpx.Client(
                timeout=timeout_s,
                follow_redirects=False,
                trust_env=not is_loopback(httpx.URL(url).host),
                headers=_OURS | dict(headers or {}),
            ) as client:
                status = client.request(method, url, content=content).status_code
        except HTTP_ERRORS as error:
            if not (remaining and isinstance(error, httpx.TransportError)):
                raise explain(error, where) from None
        else:
            if status // 100 == _SUCCESS:
                return
            if not (remaining and is_temporary(status)):
                raise SourceUnavailable(f"{where} returned {status}", next_step="check its URL in the settings")


def require_http(url: str, where: str) -> None:
    """Refuse what is no http(s) URL.

    Raises:
        Misconfigured: it is none.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Misconfigured(f"the URL of {where} is not valid", next_step="write it as https://host/path")
