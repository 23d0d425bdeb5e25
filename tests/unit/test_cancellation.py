"""Stopping: what a signal does to the process, and how threads learn of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from report_reader import HEADER

from etl.domain.pipeline_values import Tally
from etl.pipeline import report_reader
from etl.runtime.cancellation import Stop, Stopped

if TYPE_CHECKING:
    from pathlib import Path

_WORK = """
import time
from etl.runtime.cancellation import exit_on_signals
exit_on_signals()
try:
    print("working", flush=True)
    time.sleep(60)
finally:
    print("cleaning up", flush=True)
    time.sleep({cleaning_s})
    print("done", flush=True)
"""


def working(*, cleaning_s: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _WORK.format(cleaning_s=cleaning_s)], stdout=subprocess.PIPE, text=True
    )
    assert next_line(process) == "working\n"
    return process


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return process.stdout.readline()


@pytest.mark.parametrize(("wish", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_lets_the_process_clean_up(wish: signal.Signals, code: int) -> None:
    with working(cleaning_s=0) as process:
        process.send_signal(wish)
        rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == ("cleaning up\ndone\n", code)


def test_the_second_signal_ends_it_at_once() -> None:
    with working(cleaning_s=60) as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "cleaning up\n"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == ("", 130)


def test_a_request_ends_a_sleep_in_another_thread() -> None:
    stop = Stop()
    stop.check()
    stop.sleep(0)
    threading.Timer(0.05, stop.request).start()
    began = time.monotonic()
    with pytest.raises(Stopped):
        stop.sleep(30)
    assert time.monotonic() - began < 10


def test_a_request_stays() -> None:
    stop = Stop()
    stop.request()
    for ask in (stop.check, lambda: stop.sleep(0)):
        with pytest.raises(Stopped):
            ask()


def test_a_request_ends_the_reading_of_a_report(tmp_path: Path) -> None:
    report, stop, tally = tmp_path / "report.csv", Stop(), Tally()
    report.write_text(f"{HEADER}\nc1,u1,VOD,1,T,\n", encoding="utf-8")
    stop.request()
    with report_reader.encode(report, {}, tally, stop) as chunks, pytest.raises(Stopped):
        list(chunks)
    assert tally.rows_read == 0
