"""The lines a run leaves in the log: one for each slice, with every figure that explains it, and one for the whole."""

from __future__ import annotations

import io
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from etl.domain.errors import ExitCode
from etl.domain.outcome import Outcome, Result
from etl.domain.pipeline_values import Change
from etl.domain.slices import ReportType, Slice, State
from etl.job import planner
from etl.pipeline import outcome_log
from etl.runtime import logs
from etl.warehouse.ledger import SliceRecord

VOD = Slice(date(2026, 11, 16), ReportType.VOD)
CHANGE = Change(inserted=3, updated=2, deleted=1, unchanged=4, merged=5, repeated=0)
LOADED = Outcome(
    VOD, Result.LOADED, revision=2, rows=9, watch_seconds=Decimal("1.50"), rejected=6, change=CHANGE, report_bytes=100,
    elapsed_s=0.12345,
)  # fmt: skip


@pytest.fixture
def stream() -> io.StringIO:
    stream = io.StringIO()
    logs.configure(stream=stream)
    return stream


def line(stream: io.StringIO) -> dict[str, Any]:
    (event,) = stream.getvalue().splitlines()
    told: dict[str, Any] = json.loads(event)
    del told["timestamp"]
    return told


def test_a_loaded_slice_is_told_with_all_its_figures(stream: io.StringIO) -> None:
    outcome_log.outcome_done(LOADED)
    assert line(stream) == {
        "event": "slice_done", "level": "info", "slice": "2026-11-16 VOD", "result": "loaded", "exit_code": 0,
        "elapsed_s": 0.123, "revision": 2, "rows": 9, "watch_seconds": "1.50", "report_bytes": 100,
        "inserted": 3, "updated": 2, "deleted": 1, "merged": 5, "rejected": 6,
    }  # fmt: skip


def test_a_failed_slice_is_told_with_the_next_step_and_without_figures(stream: io.StringIO) -> None:
    outcome_log.outcome_done(Outcome(VOD, Result.FAILED, ExitCode.TRY_LATER, "down", "wait"))
    assert line(stream) == {
        "event": "slice_done", "level": "error", "slice": "2026-11-16 VOD", "result": "failed", "exit_code": 75,
        "elapsed_s": 0.0, "message": "down", "next_step": "wait",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "level"),
    [
        (Outcome(VOD, Result.UNCHANGED), "info"),
        (Outcome(VOD, Result.UNAVAILABLE, message="not published yet"), "info"),
        (Outcome(VOD, Result.WITHDRAWN), "warning"),
        (Outcome(VOD, Result.LOADED, warnings=("2 lines rejected",)), "warning"),
        (Outcome(VOD, Result.HELD, ExitCode.DATA_REFUSED), "error"),
    ],
)
def test_the_level_says_whether_anybody_should_look(stream: io.StringIO, outcome: Outcome, level: str) -> None:
    outcome_log.outcome_done(outcome)
    assert line(stream)["level"] == level


def test_the_run_is_summed_up(stream: io.StringIO) -> None:
    held = Outcome(VOD, Result.HELD, ExitCode.DATA_REFUSED)
    late = Outcome(VOD, Result.FAILED, ExitCode.TRY_LATER)
    outcome_log.run_done("run", iter([LOADED, LOADED, held, late]), ExitCode.DATA_REFUSED)
    assert line(stream) == {
        "event": "run_done", "level": "info", "command": "run", "exit_code": 65, "slices": 4, "loaded": 2, "held": 1,
        "failed": 1, "rows_loaded": 10,
    }  # fmt: skip


def test_a_run_without_work_is_a_success(stream: io.StringIO) -> None:
    outcome_log.run_done("backfill", [], ExitCode.OK)
    assert line(stream) == {
        "event": "run_done", "level": "info", "command": "backfill", "exit_code": 0, "slices": 0, "rows_loaded": 0,
    }  # fmt: skip


def known(state: State, *, reason: str | None = None) -> SliceRecord:
    moment = datetime(2026, 11, 18, 4, 5, tzinfo=UTC)
    return SliceRecord(VOD, state, 1, "0" * 64, "{}", 3, Decimal(1), 1, moment, moment, reason, None, None, None, None)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (None, "never tried"),
        (known(State.LOADED), "loaded 2026-11-18, checked again"),
        (known(State.EMPTY), "empty, last checked 2026-11-18 04:05"),
        (known(State.HELD, reason="rejects"), "held, last checked 2026-11-18 04:05: rejects"),
    ],
)
def test_a_plan_says_why_a_slice_is_worked_on(record: SliceRecord | None, reason: str) -> None:
    assert planner._reason(record) == reason
