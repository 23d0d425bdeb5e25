"""Forwards the pauses and retries of workers to the command, whose terminal shows them as for threads."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any, Final

from etl.domain.outcome import Pause
from etl.domain.slices import ReportType, Slice

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Client, Worker

# One topic for all runs: a scheduler keeps the newest events of each topic while it runs.
TOPIC: Final = "watch-time-pause"


def teller(worker: Worker, run: str) -> Callable[[Slice, Pause], None]:
    """The callback for a worker whose slice waits, in any thread. It never makes the slice fail."""

    def tell(slice_: Slice, pause: Pause) -> None:
        with suppress(Exception):
            worker.log_event(TOPIC, {"run": run, **slice_.as_json(), "pause": asdict(pause)})

    return tell


def listen(client: Client, run: str, on_pause: Callable[[Slice, Pause], None]) -> None:
    """Call `on_pause`, in the client's thread, when a slice of the run waits.

    After reconnecting, a client must listen again.
    """

    def hear(event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        if told["run"] == run:
            slice_ = Slice(date.fromisoformat(told["report_date"]), ReportType(told["report_type"]))
            on_pause(slice_, Pause(**told["pause"]))

    client.subscribe_topic(TOPIC, hear)
