"""Forwards the log of `--dask local` workers to the command's log."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Final, TextIO, cast

import structlog

from etl.runtime import logs

if TYPE_CHECKING:
    from distributed import Worker

log = structlog.get_logger("watch_time")

TOPIC: Final = "watch-time-log"


class _ForwardingStream(io.TextIOBase):
    """A stream that sends each line as an event of the cluster to the command."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def write(self, text: str) -> int:
        """Send an event for each line."""
        if line := text.strip():
            self._worker.log_event(TOPIC, line)
        return len(text)


stream: TextIO | None = None
"""Where this process logs to, if it is a worker of `--dask local`."""


def forward(worker: Worker) -> None:
    """Send this process's log to the command from now on."""
    global stream  # noqa: PLW0603 - a process logs to one place
    stream = cast("TextIO", _ForwardingStream(worker))
    logs.configure(stream=stream)


def relog(line: str) -> None:
    """Log a worker's line in this process."""
    event = json.loads(line)
    event.pop("timestamp", None)
    say = getattr(log, event.pop("level", "warning"), log.warning)
    say(event.pop("event", ""), **event)
