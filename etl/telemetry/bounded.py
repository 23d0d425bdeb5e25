"""Reaching others without waiting for them: work with a hard bound in time, and small HTTP requests.

For what a run tells of itself. A timeout of a library bounds a step, not the whole: a name server that is silent, or a
host that sends a byte every few seconds, keeps a request for minutes.
"""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

from etl import __version__
from etl.domain.errors import Misconfigured, SourceUnavailable
from etl.extract.url_policy import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

_OURS: Final = {"User-Agent": f"watch-time/{__version__}"}
_SUCCESS: Final = 2
# What a server says when the same request may succeed at once.
_WORTH_ANOTHER_TRY: Final = frozenset({408, 429, 500, 502, 503, 504})


class Background(Generic[T]):
    """Work in a thread of its own, which ends with the process where it hangs."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._value: T | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._do, daemon=True)
        self._thread.start()

    def _do(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits for it
            self._error = error

    def result(self, seconds: float) -> T:
        """What the work gave, or raised.

        Raises:
            TimeoutError: it is not done within `seconds`; it is left behind.
        """
        self._thread.join(max(0.0, seconds))
        if self._thread.is_alive():
            raise TimeoutError(errno.ETIMEDOUT, "no answer in time")
        if self._error:
            raise self._error
        return cast("T", self._value)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Do `work`, and wait for it no longer than that.

    Raises:
        TimeoutError: it is not done; it is left behind.
    """
    return Background(work).result(seconds)


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
    """Ask a server for something that it answers with 2xx.

    Args:
        method: of HTTP.
        url: never shown.
        where: who is asked, in words that may be shown.
        timeout_s: of each step of each try.
        content: the body.
        headers: beside our own.
        tries: how often, where another try may succeed.

    Raises:
        WatchTimeError: no such answer came.
    """
    import httpx  # noqa: PLC0415 - slow to import, and needed only where something is configured

    from etl.extract.http_clients import HTTP_ERRORS, explain  # noqa: PLC0415 - as above

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
            if not (remaining and status in _WORTH_ANOTHER_TRY):
                raise SourceUnavailable(f"{where} answered {status}", next_step="check its URL in the settings")


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
