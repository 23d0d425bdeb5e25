"""The lines a run leaves in the log: its start, its waits and retries, each slice with its figures, and its end."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from etl import __version__
from etl.domain.outcome import Outcome, Pause, Result
from etl.domain.slices import WHOLE, Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.domain.errors import ExitCode
    from etl.domain.slices import Slice

log = structlog.get_logger("watch_time")


def run_started(command: str, shard: Shard = WHOLE) -> None:
    """Log the start of a run, before the first request."""
    log.info("run_started", command=command, version=__version__, **shard.as_json())


def paused(slice_: Slice, pause: Pause) -> None:
    """Log that a slice is waiting: why, and until when."""
    now = datetime.now(UTC)
    figures = {
        "slice": str(slice_),
        "reason": pause.reason,
        "attempt": pause.attempt,
        "next_try": _moment(now, pause.seconds),
    }
    if pause.gives_up_s is None:
        log.info("retrying", **figures)
    else:
        log.info("waiting", **figures, gives_up=_moment(now, pause.gives_up_s))


def _moment(now: datetime, seconds: float) -> str:
    return (now + timedelta(seconds=seconds)).isoformat(timespec="seconds")


def outcome_done(outcome: Outcome) -> None:
    """Log a slice's outcome with its figures."""
    figures: Mapping[str, object] = {
        "message": outcome.message,
        "next_step": outcome.next_step,
        "request_id": outcome.request_id,
        "warnings": list(outcome.warnings) or None,
        "revision": outcome.revision or None,
        "rows": outcome.rows or None,
        "watch_seconds": f"{outcome.watch_seconds:f}" if outcome.rows else None,
        "report_bytes": outcome.report_bytes or None,
    }
    if outcome.change:
        change = outcome.change
        figures = {
            **figures,
            "inserted": change.inserted,
            "updated": change.updated,
            "deleted": change.deleted,
            "merged": change.merged,
            "rejected": outcome.rejected,
        }
    has_warnings = outcome.warnings or outcome.result is Result.WITHDRAWN
    log.log(
        logging.ERROR if outcome.exit_code else logging.WARNING if has_warnings else logging.INFO,
        "slice_done",
        slice=str(outcome.slice),
        result=outcome.result.value,
        exit_code=int(outcome.exit_code),
        elapsed_s=round(outcome.elapsed_s, 3),
        **{name: value for name, value in figures.items() if value is not None},
    )


def run_done(
    command: str, outcomes: Iterable[Outcome], exit_code: ExitCode, shard: Shard = WHOLE, *, not_tried: int = 0
) -> None:
    """Log the end of a run with its totals."""
    done = list(outcomes)
    counts = {result.value: sum(1 for outcome in done if outcome.result is result) for result in Result}
    log.info(
        "run_done",
        command=command,
        exit_code=int(exit_code),
        **shard.as_json(),
        slices=len(done),
        **{result: count for result, count in (counts | {"not_tried": not_tried}).items() if count},
        rows_loaded=sum(outcome.change.inserted + outcome.change.updated for outcome in done if outcome.change),
    )
