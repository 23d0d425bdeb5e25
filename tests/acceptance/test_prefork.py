"""A process that was forked, as most tests have it, says and returns what one that was started anew does."""

from __future__ import annotations

import json
import re
import signal
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
ONE_SLICE = ("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}", "--type", "VOD")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


def _lasting(told: str) -> str:
    """Without what differs between two runs: moments, and how long something took."""
    told = re.sub(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]*(Z|\+00:00)?", "MOMENT", told)
    told = re.sub(r'"(elapsed_s|run_id)": ("[^"]*"|[\d.]+)', r'"\1": 0', told)
    return re.sub(r"\b\d+(\.\d+)? m?s\b", "0 s", told)


# From what is printed before anything is read to what needs all of it.
COMMANDS: list[tuple[tuple[str, ...], dict[str, str]]] = [
    (("--version",), {}),
    (("--help",), {}),
    ((), {}),
    (("status", "--nonsense"), {}),
    (("verify", "--json"), {}),
    (("status",), {"LAG_DAY": "3", "TIME_ZONE": "Asia/Taipei"}),
    (("status",), {"DATABASE_URL": ""}),
    ((*ONE_SLICE, "--refresh"), {}),
    ((*ONE_SLICE, "--refresh", "--json"), {"API_TOKEN": "wrong"}),
    ((*ONE_SLICE, "--refresh", "--dask", "local"), {}),
    (("explain", f"{TARGET}"), {}),
    (("doctor",), {}),
]


def test_both_say_and_return_the_same(program: Program) -> None:
    assert program(*ONE_SLICE).returncode == 0
    for arguments, settings in COMMANDS:
        ends = [started(*arguments, **settings) for started in (program, replace(program, new_interpreter=True))]
        forked, anew = ((end.returncode, _lasting(end.stdout), _lasting(end.stderr)) for end in ends)
        assert forked == anew, arguments


@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGTERM, 143, id="handled"), pytest.param(signal.SIGKILL, -9, id="killed")]
)
@pytest.mark.parametrize("new_interpreter", [False, True], ids=["forked", "anew"])
def test_both_are_ended_by_signals(
    program: Program, newest_warehouse: Warehouse, number: signal.Signals, code: int, *, new_interpreter: bool
) -> None:
    newest_warehouse.sandbox.withdraw(Slice(TARGET, ReportType.VOD))
    process = replace(program, new_interpreter=new_interpreter).start(*ONE_SLICE, NOT_FOUND_WAIT_SECONDS="600")
    assert process.stderr.readline(), "it has begun"
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert process.poll() == code


def test_a_variable_that_the_interpreter_reads_is_read(program: Program) -> None:
    """By a process that is started anew."""
    program = replace(program, environment={**program.environment, "PYTHONIOENCODING": "ascii"})
    assert program(*ONE_SLICE).returncode == 0
    told = program("explain", f"{TARGET}", "--json").stdout
    assert told.isascii()
    assert json.loads(told)


def test_limits_are_those_of_one_process(program: Program) -> None:
    changed = replace(program, limits={"diagnostics.status.NEVER_TRIED": "a canary"})
    assert ["a canary" in each("status", "--json").stdout for each in (changed, program)] == [True, False]
