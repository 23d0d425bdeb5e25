"""What workers wait for or try again, told to the command, whose terminal shows it as it does for threads."""

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

# One for all runs: a scheduler keeps the newest events of each topic for as long as it runs.
TOPIC: Final = "watch-time-pause"


def teller(worker: Worker, run: str) -> Callable[[Slice, Pause], None]:
    """What a worker calls when work on a slice of the run stands still, in any thread. It never fails the slice."""

    def tell(slice_: Slice, pause: Pause) -> None:
        with suppress(Exception):
            worker.log_event(TOPIC, {"run": run, **slice_.as_json(), "pause": asdict(pause)})

    return tell


def listen(client: Client, run: str, on_pause: Callable[[Slice, Pause], None]) -> None:
    """Call `on_pause`, in the client's thread, when work on a slice of the run stands still.

    A client that has connected again has to listen again.
    """

    def hear(event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        if told["run"] == run:
            slice_ = Slice(date.fromisoformat(told["report_date"]), ReportType(told["report_type"]))
            on_pause(slice_, Pause(**told["pause"]))

    client.subscribe_topic(TOPIC, hear)
