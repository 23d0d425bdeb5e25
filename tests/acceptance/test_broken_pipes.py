"""Whoever reads the output may go at any time, as `head` and `true` do: the exit code stays what the work came to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
HEADER = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


def _unread(program: Program, *arguments: str, **settings: str) -> tuple[int, str]:
    """Exit code and stderr of a command whose stdout nobody reads, from before it writes."""
    with program.start(*arguments, **settings) as process:
        process.stdout.close()
        told = process.stderr.read()
        return process.wait(timeout=60), told


@pytest.mark.parametrize("form", [pytest.param((), id="table"), pytest.param(("--json",), id="document")])
def test_a_reader_that_has_gone_does_not_hide_a_held_slice(
    program: Program, newest_warehouse: Warehouse, form: tuple[str, ...]
) -> None:
    newest_warehouse.sandbox.override(VOD, Delivery(body=HEADER + "t,c1,VOD,,u1,-5\n"))
    code, told = _unread(program, "run", *form, LOOKBACK_DAYS="0", RECHECK_DAYS="0")
    assert code == 65, told
    assert "Traceback" not in told
    assert "Broken pipe" not in told
    assert newest_warehouse.query("SELECT report_type, state FROM report_slice ORDER BY 1") == [
        ("LIVE", "loaded"),
        ("VOD", "held"),
    ]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        pytest.param(("status",), 0, id="status"),
        pytest.param(("status", "--json"), 0, id="status as document"),
        pytest.param(("status", "--check"), 75, id="late"),
        pytest.param(("verify",), 2, id="nothing to verify"),
        pytest.param(("verify", "--json"), 2, id="nothing to verify as document"),
        pytest.param(("--version",), 0, id="version"),
    ],
)
def test_a_reader_that_has_gone_changes_no_exit_code(
    program: Program, arguments: tuple[str, ...], expected: int
) -> None:
    code, told = _unread(program, *arguments)
    assert code == expected, told
    assert "Traceback" not in told
    assert "Broken pipe" not in told
