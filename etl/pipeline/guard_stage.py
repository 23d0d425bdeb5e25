"""The guard steps of syncing a slice: runs the guards on a load, and applies overrides."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from etl.domain.errors import GuardRefused
from etl.pipeline import guards
from etl.warehouse import revisions

if TYPE_CHECKING:
    from etl.domain.pipeline_values import ReportFile, Tally
    from etl.pipeline.guards import Limits
    from etl.pipeline.outcome_recorder import SliceAttempt
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.transactions import Connection


class Refused(Exception):
    """Rolls back the load of a report that a guard refuses."""

    def __init__(self, error: GuardRefused, tally: Tally) -> None:
        super().__init__(error)
        self.error = error
        self.tally = tally


@dataclass(frozen=True, slots=True)
class GuardStage:
    """The guards of one load. A check returns the message of an overridden guard, or raises `Refused`.

    Attributes:
        known: the slice before the load.
        tally: counts of the report's lines staged so far.
    """

    limits: Limits
    attempt: SliceAttempt
    known: SliceRecord | None
    report: ReportFile
    tally: Tally

    def check_rejects(self, connection: Connection) -> tuple[str, ...]:
        """Check that no more lines are rejected than allowed, or than when this report was accepted before."""
        if not self.tally.rows_rejected:
            return ()
        accepted = revisions.accepted_rejects(connection, self.attempt.slice, self.report.sha256) or 0
        return self._override(guards.check_rejects(self.attempt.slice, self.tally, self.limits, accepted=accepted))

    def check_shrinking(self, rows: int) -> tuple[str, ...]:
        """Check that the report, with `rows` rows after merging equal keys, has not shrunk too much."""
        refusal = guards.check_shrinking(
            self.attempt.slice,
            self.tally,
            self.limits,
            rows=rows,
            rows_stored=self.known.rows_stored if self.known else 0,
            seconds_stored=self.known.watch_seconds if self.known else Decimal(0),
        )
        return self._override(refusal)

    def _override(self, refusal: GuardRefused | None) -> tuple[str, ...]:
        is_held = self.known is not None and self.known.held_sha256 == self.report.sha256
        try:
            return guards.override(refusal, is_held=is_held, is_asked_for=self.attempt.options.accept)
        except GuardRefused as error:
            raise Refused(error, self.tally) from None
