"""Records the outcome of syncing a slice: loaded, unchanged, not found, held or failed.

Every check is noted in the transaction that records its outcome, under the slice's lock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

import structlog

from etl.domain.errors import DatabaseUnavailable, DataRefused, SliceBusy, WatchTimeError, WrongOrganization
from etl.domain.outcome import FetchOptions, Outcome, Result, refusal, warnings_about
from etl.domain.slices import State
from etl.load import refused_report_rejects
from etl.pipeline import not_found_policy
from etl.pipeline.not_found_policy import NotFound
from etl.warehouse import ledger, revisions, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.domain.errors import GuardRefused
    from etl.domain.pipeline_values import Change, LoadedReport, ReportFile, ReportNotFound, Tally
    from etl.domain.slices import Slice
    from etl.warehouse.database import Database
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.transactions import Connection

log = structlog.get_logger("watch_time")


class StaleBaseline(Exception):
    """Another run committed the slice after this one had requested it."""


@dataclass(frozen=True, slots=True)
class SliceAttempt:
    """A slice, its fetch options, and the revision that it had before it was requested."""

    slice: Slice
    options: FetchOptions
    base_revision: int

    def require_fresh_baseline(self, known: SliceRecord | None) -> None:
        """Require that no other run committed the slice since it was requested: it may have loaded a newer report.

        Raises:
            StaleBaseline: the slice's revision changed after it was requested.
        """
        if revision_of(known) != self.base_revision:
            raise StaleBaseline


class Recorder:
    """Notes outcomes in the ledger. Safe to use from several threads."""

    def __init__(self, database: Database, org_id: str) -> None:
        self._database = database
        self._org_id = org_id

    def transaction(self, slice_: Slice, work: Callable[[Connection], Outcome]) -> Outcome:
        """Run `work` in a transaction that also records the check."""

        def and_note(connection: Connection) -> Outcome:
            outcome = work(connection)
            ledger.record_check(connection, slice_, outcome.result.value, outcome.message)
            return outcome

        return self._database.run(and_note)

    def lock_and_read(self, connection: Connection, slice_: Slice) -> SliceRecord | None:
        """Take the slice's lock, then read what the ledger knows about the slice."""
        ledger.lock(connection, slice_, sleep=self._database.stop.sleep)
        return ledger.read(connection, slice_)

    def claim_ownership(self, connection: Connection) -> None:
        """Claim the schema for the organization. Call it last in a transaction: other claimants wait for the commit."""
        schema.claim(connection, self._org_id)
        schema.require_owner(self._database, connection, self._org_id)

    def record_unchanged(self, connection: Connection, known: SliceRecord, report: ReportFile | None = None) -> Outcome:
        """Note that the source still has the stored report; `report` is the file, if it had to be downloaded."""
        refused_report_rejects.delete(connection, known.slice)
        ledger.record_state(connection, known.slice, known.stored_state, reason=why_empty(known.rows_stored))
        if report:
            ledger.record_origin(connection, known.slice, report.origin)
        return _of_stored(
            Outcome(known.slice, Result.UNCHANGED, report_bytes=report.size_bytes if report else 0), known
        )

    def record_accepted(
        self, connection: Connection, slice_: Slice, known: SliceRecord | None, loaded: LoadedReport
    ) -> Outcome:
        """Note a revision that was written."""
        tally, change = loaded.tally, loaded.change
        why = why_empty(change.stored)
        revision = ledger.record_revision(connection, slice_, known, loaded, reason=why)
        self.claim_ownership(connection)
        return Outcome(
            slice_,
            Result.LOADED if change.stored else Result.EMPTY,
            message=why,
            revision=revision,
            rows=change.stored,
            watch_seconds=tally.watch_seconds,
            rejected=tally.rows_rejected,
            change=change,
            seconds_before=known.watch_seconds if known else Decimal(0),
            warnings=(*warnings_about(tally, change), *(f"accepted by hand: {each}" for each in loaded.overridden)),
            report_bytes=loaded.file.size_bytes,
        )

    def record_repaired(
        self, connection: Connection, known: SliceRecord, report: ReportFile, change: Change
    ) -> Outcome:
        """Note that the stored report was loaded again, which restored any facts that had been changed."""
        outcome = self.record_unchanged(connection, known, report)
        if not change.written:
            return outcome
        ledger.raise_facts_version(connection, known.slice)
        message = (
            f"corrected stored rows that did not match the report: {change.inserted:,} missing, "
            f"{change.deleted:,} extra, {change.updated:,} with different seconds"
        )
        return replace(outcome, result=Result.LOADED, change=change, message=message, warnings=(message,))

    def record_not_found(self, attempt: SliceAttempt, answer: ReportNotFound) -> Outcome:
        """Note a 404, and what it means."""

        def record(connection: Connection) -> Outcome:
            known = self.lock_and_read(connection, attempt.slice)
            attempt.require_fresh_baseline(known)
            found = NotFound(
                asks=answer.asks,
                is_settled=attempt.options.settled,
                has_revision=revision_of(known) > 0,
                report_seen=known is not None and known.report_seen,
                evidence=ledger.read_evidence(connection, attempt.slice),
            )
            outcome = not_found_policy.outcome_of(attempt.slice, found)
            state = not_found_policy.new_state(not_found_policy.meaning_of(found))
            if state is None:
                ledger.record_last_check(connection, attempt.slice, outcome.message or "")
                return _of_stored(outcome, known)
            ledger.record_state(connection, attempt.slice, state, reason=outcome.message)
            # A 404 does not claim the schema: it does not prove that the token belongs to this organization.
            schema.require_owner(self._database, connection, self._org_id)
            return outcome

        return self.transaction(attempt.slice, record)

    def reclassify_not_found(self, slice_: Slice) -> Outcome | None:
        """Look for evidence again, for a slice whose 404 was confirmed before its neighbours were loaded in this run.

        None if the slice's state has changed since, or if there still is no evidence.
        """

        def reclassify(connection: Connection) -> Outcome:
            known = self.lock_and_read(connection, slice_)
            evidence = ledger.read_evidence(connection, slice_)
            if known is None or known.state is not State.UNAVAILABLE or not evidence:
                raise _NoChange
            asks = not_found_policy.ASKS_TO_CONFIRM
            confirmed = NotFound(asks, is_settled=True, has_revision=False, report_seen=False, evidence=evidence)
            outcome = not_found_policy.outcome_of(slice_, confirmed)
            ledger.record_state(connection, slice_, State.EMPTY, reason=outcome.message)
            return outcome

        try:
            return self.transaction(slice_, reclassify)
        except _NoChange:
            return None

    def record_held(self, attempt: SliceAttempt, report: ReportFile, tally: Tally, error: GuardRefused) -> Outcome:
        """Note a refused report; its load was rolled back, so its first rejects come from memory."""
        slice_ = attempt.slice

        def record(connection: Connection) -> Outcome:
            known = self.lock_and_read(connection, slice_)
            attempt.require_fresh_baseline(known)
            refused_report_rejects.delete(connection, slice_)
            if revisions.accepted_rejects(connection, slice_, report.sha256) is None:
                refused_report_rejects.record(connection, slice_, report.sha256, tally.first_rejects)
            ledger.record_state(
                connection, slice_, State.HELD, reason=str(error), error=error, held_sha256=report.sha256
            )
            self.claim_ownership(connection)
            return _of_stored(replace(refusal(slice_, Result.HELD, error), report_bytes=report.size_bytes), known)

        return self.transaction(slice_, record)

    def record_failure(self, slice_: Slice, error: WatchTimeError) -> Outcome:
        """Record an error if possible: not if the database is what failed, or if another run has the slice."""
        outcome = refusal(slice_, Result.FAILED, error)
        if isinstance(error, DatabaseUnavailable):
            return replace(outcome, lost_database=True)
        if isinstance(error, (SliceBusy, WrongOrganization)):
            return outcome

        def record(connection: Connection) -> Outcome:
            known = self.lock_and_read(connection, slice_)
            if known and known.has_answer and not isinstance(error, DataRefused):
                # A temporary failure says nothing about the stored facts, or about a held report that needs a person.
                ledger.record_last_check(connection, slice_, f"failed: {error}")
            else:
                ledger.record_state(connection, slice_, State.FAILED, reason=str(error), error=error)
            return _of_stored(outcome, known)

        try:
            return self.transaction(slice_, record)
        except WatchTimeError as second:
            log.warning("failure_not_recorded", slice=str(slice_), error=str(second))
            return outcome


class _NoChange(Exception):
    """Rolls back a transaction that has nothing to record."""


def revision_of(known: SliceRecord | None) -> int:
    """The stored revision; 0 when there is none."""
    return known.revision if known else 0


def why_empty(rows: int) -> str | None:
    """Why an accepted report has no rows to store; None if it has some."""
    return None if rows else "the report has a header and no rows"


def _of_stored(outcome: Outcome, known: SliceRecord | None) -> Outcome:
    """The outcome of a check that changed no facts, with what is stored."""
    if known is None:
        return outcome
    return replace(outcome, revision=known.revision, rows=known.rows_stored, watch_seconds=known.watch_seconds)
