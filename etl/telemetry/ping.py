"""The dead man's switch: a service that raises the alarm when a run fails, or does not take place at all.

The protocol is that of healthchecks.io: `URL/start` at the beginning, `URL` after success, `URL/<exit code>` otherwise,
each with a short body. The URL is a secret: whoever knows it can report success.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit, urlunsplit

import structlog

from etl.domain.errors import ExitCode, Misconfigured
from etl.runtime.call_timeout import Background, within
from etl.runtime.cancellation import SIGNALLED
from etl.telemetry.http_sender import request, require_http

log = structlog.get_logger("watch_time")

_WHERE: Final = "the ping host"
_STEP_S: Final = 5.0
_TRIES: Final = 2
# Two tries, and a name server that takes its time.
_TIMEOUT_S: Final = 11.0
# The end must not arrive before the start, but a start that hangs must not keep the end for long.
_START_TIMEOUT_S: Final = 5.0
# Who stops a process kills it soon after.
_STOPPING_S: Final = 1.0


class Ping:
    """The pings of one run. `start` returns at once; nothing here raises."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._starting: Background[None] | None = None

    def start(self, command: str) -> None:
        """Tell that a run begins, while it goes on."""
        self._starting = Background(lambda: _send(self._url, "/start", command, tries=_TRIES))

    def finish(self, exit_code: int, summary: str) -> None:
        """Tell how the run ended, within a quarter of a minute; within a second where it was stopped."""
        stopped = exit_code >= SIGNALLED
        if self._starting and not stopped:
            try:
                self._starting.result(_START_TIMEOUT_S)
            except Exception as error:  # noqa: BLE001 - no ping may fail a run
                log.warning("ping_failed", signal="start", error=error)
        suffix = "" if exit_code == ExitCode.OK else f"/{exit_code}"
        try:
            within(
                _STOPPING_S if stopped else _TIMEOUT_S,
                lambda: _send(self._url, suffix, summary, tries=1 if stopped else _TRIES),
            )
        except Exception as error:  # noqa: BLE001 - no ping may fail a run
            log.warning("ping_failed", signal=exit_code, error=error)


def probe(url: str) -> str:
    """Look at the URL and whether its host can be reached, without pinging: that would count as a run.

    Raises:
        Misconfigured: with what is amiss.
    """
    import socket  # noqa: PLC0415 - here only

    require_http(url, _WHERE)
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        within(_STEP_S, lambda: socket.create_connection((parts.hostname or "", port), timeout=_STEP_S).close())
    except (OSError, ValueError) as error:
        raise Misconfigured(
            f"{parts.hostname} cannot be reached ({type(error).__name__})",
            next_step="check WATCH_TIME_PING_URL; behind a proxy this can be normal",
        ) from None
    return f"{parts.hostname} can be reached; nothing was sent, since that would count as a run"


def _send(url: str, suffix: str, body: str, *, tries: int) -> None:
    require_http(url, _WHERE)
    parts = urlsplit(url)
    target = urlunsplit(parts._replace(path=parts.path.rstrip("/") + suffix if suffix else parts.path))
    request("POST", target, where=_WHERE, timeout_s=_STEP_S, content=body.encode(), tries=tries)
