"""Stopping: what a signal does to the process, and how threads learn of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from etl.runtime.cancellation import Stop, Stopped

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
        rest, _ = process.communicate(timeout=10)
    assert (rest, process.returncode) == ("cleaning up\ndone\n", code)


def test_the_second_signal_ends_it_at_once() -> None:
    with working(cleaning_s=60) as process:
        process.send_signal(signal.SIGTERM)
        assert next_line(process) == "cleaning up\n"
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=10)
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
