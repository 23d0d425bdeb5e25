"""Bringing one message to chats and mailboxes with Apprise: in a process of its own, which ends when its time is over.

Apprise gives its calls to threads that Python waits for when a process ends, and its services have no common deadline:
within the job's own process a server that never answers would keep the job for as long. The message and the URLs come
by stdin, since arguments of a process can be seen by others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from etl.config.telemetry_settings import TelemetrySettings
from etl.domain.errors import Misconfigured
from etl.runtime import logs
from etl.runtime.call_timeout import Background

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger("watch_time")

# All channels at once. Noting what was told comes after it, so that half a minute is not exceeded.
_SEND_S: Final = 17.0
# For the process to start and to end.
_TIMEOUT_S: Final = 20.0
# The other process finds the same modules; not by `-m`, which would look into the working folder first.
_START: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from etl.telemetry.notifier import main; main()"
)


def send(urls: Sequence[str], title: str, text: str, *, is_trouble: bool) -> int:
    """Send a message to all of `urls`; how many accepted it. Those that did not are logged.

    Raises:
        TimeoutExpired: the other process did not end in time, and was killed.
    """
    message = {"urls": urls, "title": title, "text": text, "is_trouble": is_trouble}
    done = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-c", _START, json.dumps([path for path in sys.path if path])],
        input=json.dumps(message),
        stdout=subprocess.PIPE,
        text=True,
        timeout=_TIMEOUT_S,
        check=True,
    )
    return int(done.stdout)


def main() -> None:
    """Send the message that stdin holds, print how many accepted it, and end, whatever still hangs."""
    message = json.load(sys.stdin)
    urls = tuple(message.pop("urls"))
    logs.configure(secrets=TelemetrySettings(notify_urls=urls).secrets())
    logs.take_over_stderr()
    accepted = _send_all(urls, **message)
    os.write(1, str(accepted).encode())
    os._exit(0)


def probe(url: str) -> str:
    """Look whether a URL can be used, without sending anything.

    Raises:
        Misconfigured: with what is amiss.
    """
    _service(url)
    return f"{_kind(url)}: the URL can be used; nothing was sent"


def _send_all(urls: Sequence[str], *, title: str, text: str, is_trouble: bool) -> int:
    deadline = time.monotonic() + _SEND_S
    sending = [Background(lambda url=url: _send_one(url, title, text, is_trouble=is_trouble)) for url in urls]  # type: ignore[misc]  # mypy knows no default of a lambda
    accepted = 0
    for number, (url, each) in enumerate(zip(urls, sending, strict=True), start=1):
        about = {"channel": number, "kind": _kind(url)}
        try:
            each.result(deadline - time.monotonic())
            accepted += 1
        except Misconfigured as error:
            log.warning("notice_failed", error=error, next_step=error.next_step, **about)
        except Exception as error:  # noqa: BLE001 - one channel must not keep the others from being heard
            log.warning("notice_failed", error=error, **about)
    return accepted


def _send_one(url: str, title: str, text: str, *, is_trouble: bool) -> None:
    if not _service(url).notify(
        body=text, title=title, notify_type="warning" if is_trouble else "success", body_format="text"
    ):
        raise Misconfigured("the message was not accepted", next_step="check the URL in WATCH_TIME_NOTIFY_URLS")


def _service(url: str) -> Any:
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise Misconfigured("Apprise is not installed", next_step="`pip install 'watch-time[notify]'`") from None
    asset = apprise.AppriseAsset(async_mode=False, app_id="watch-time", app_desc="watch-time", secure_logging=True)
    service = apprise.Apprise(asset=asset)
    if not service.add(url):
        raise Misconfigured(
            f"{_kind(url)}: not a URL that Apprise understands",
            next_step="see https://appriseit.com for how it is written, and set WATCH_TIME_NOTIFY_URLS",
        )
    for each in service:
        # Chats refuse messages above their limit; Apprise cuts them only when told so.
        each.overflow_mode = apprise.OverflowMode.SPLIT
    return service


def _kind(url: str) -> str:
    return url.partition("://")[0] if "://" in url else "unknown"
