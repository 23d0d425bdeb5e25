"""The lines a run leaves in the log: one for each slice, with every figure that explains it, and one for the whole."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import structlog

from etl.domain.outcome import Outcome, Result
from etl.domain.slices import WHOLE, Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.domain.errors import ExitCode

log = structlog.get_logger("watch_time")


def outcome_done(outcome: Outcome) -> None:
    """One line for a slice, with every figure that explains it."""
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
    """One line for the whole run."""
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
