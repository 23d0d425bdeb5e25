"""Writing down what came of asking for a slice: each answer, absence, refusal and failure, and what it means.

Every check is noted in the transaction that records its outcome, under the slice's lock.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from etl.domain.errors import DatabaseUnavailable, DataRefused, ExitCode, SliceBusy, WatchTimeError, WrongOrganization
from etl.domain.outcome import Ask, Outcome, Result, refusal, warnings_about
from etl.domain.slices import State
from etl.load import rejects
from etl.warehouse import ledger, schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from etl.domain.errors import GuardRefused
    from etl.domain.report_values import Change, NotThere, ReportFile, Tally
    from etl.domain.slices import Slice
    from etl.runtime.cancellation import Stop
    from etl.warehouse.connection import Connection, Database
    from etl.warehouse.ledger import SliceRecord

log = structlog.get_logger("watch_time")

# A 404 that is to mean "nothing to come" was answered twice.
_ASKS_TO_CONFIRM: Final = 2


class Overtaken(Exception):
    """Another run committed the slice after this one had asked for it."""


@dataclass(frozen=True, slots=True)
class Work:
    """A slice, how to ask for it, and the revision that it had before it was asked for."""

    slice: Slice
    ask: Ask
    seen: int

    def require_not_overtaken(self, known: SliceRecord | None) -> None:
        """What was asked for before another run's commit may be older than what that run loaded: ask again.

        Raises:
            Overtaken: the slice has another revision than before it was asked for.
        """
        if revision_of(known) != self.seen:
            raise Overtaken


class Recorder:
    """Notes outcomes in the ledger. Safe to use from several threads."""

    def __init__(self, database: Database, org_id: str, stop: Stop) -> None:
        self._database = database
        self._org_id = org_id
        self._stop = stop

    def transaction(self, slice_: Slice, work: Callable[[Connection], Outcome]) -> Outcome:
        """Do `work` in a transaction that also notes what the check met."""

        def and_note(connection: Connection) -> Outcome:
            outcome = work(connection)
            ledger.record_check(connection, slice_, outcome.result.value, _without_request_id(outcome.message))
            return outcome

        return self._database.run(and_note)

    def locked(self, connection: Connection, slice_: Slice) -> SliceRecord | None:
        """Take the slice's lock, and read what is known of it from then on."""
        ledger.lock(connection, slice_, sleep=self._stop.sleep)
        return ledger.read(connection, slice_)

    def claim(self, connection: Connection) -> None:
        """Last in the transaction: who claims first makes the others wait for its commit."""
        ledger.claim(connection, self._org_id)
        schema.require_owner(self._database, connection, self._org_id)

    def unchanged(self, connection: Connection, known: SliceRecord, report: ReportFile | None = None) -> Outcome:
        """Note that the source still has the stored report; `report` is the file, if it had to be downloaded."""
        ledger.forget_rejects(connection, known.slice)
        ledger.record_state(connection, known.slice, known.stored_state, reason=why_empty(known.rows_stored))
        if report:
            ledger.record_origin(connection, known.slice, report.origin)
        return _of_stored(
            Outcome(known.slice, Result.UNCHANGED, report_bytes=report.size_bytes if report else 0), known
        )

    def accepted(
        self,
        connection: Connection,
        slice_: Slice,
        known: SliceRecord | None,
        report: ReportFile,
        *,
        tally: Tally,
        change: Change,
        read_as: str,
        overridden: tuple[str, ...],
        load_duration: timedelta,
    ) -> Outcome:
        """Note a revision that was written; `overridden` is what guards said against it and a person overrode."""
        revision = ledger.record_revision(
            connection,
            slice_,
            known=known,
            report=report,
            tally=tally,
            change=change,
            reason=why_empty(change.stored),
            read_as=read_as,
            overruled="; ".join(overridden) or None,
            load_duration=load_duration,
        )
        self.claim(connection)
        return Outcome(
            slice_,
            Result.LOADED if change.stored else Result.EMPTY,
            message=why_empty(change.stored),
            revision=revision,
            rows=change.stored,
            watch_seconds=tally.watch_seconds,
            rejected=tally.rows_rejected,
            change=change,
            seconds_before=known.watch_seconds if known else Decimal(0),
            warnings=(*warnings_about(tally, change), *(f"accepted by hand: {message}" for message in overridden)),
            report_bytes=report.size_bytes,
        )

    def repaired(self, connection: Connection, known: SliceRecord, report: ReportFile, change: Change) -> Outcome:
        """Note that the stored report was loaded again; whatever the facts had become, they are its rows once more."""
        outcome = self.unchanged(connection, known, report)
        if not change.written:
            return outcome
        ledger.raise_facts_version(connection, known.slice)
        message = (
            f"the stored rows were not those of the report: {change.inserted:,} were missing, {change.deleted:,} were "
            f"surplus, {change.updated:,} had other seconds; put right"
        )
        return replace(outcome, result=Result.LOADED, change=change, message=message, warnings=(message,))

    def absence(self, work: Work, answer: NotThere) -> Outcome:
        """Note a 404: the source withdrew the report, has nothing of that date, or does not have it yet."""
        times = "once" if answer.asks == 1 else f"{answer.asks} times"

        def record(connection: Connection) -> Outcome:
            known = self.locked(connection, work.slice)
            work.require_not_overtaken(known)
            if known and known.revision:
                message = f"the source answered 404, asked {times}: it withdrew the report; what was loaded stays"
                ledger.record_last_check(connection, work.slice, message)
                return _of_stored(Outcome(work.slice, Result.WITHDRAWN, message=message), known)
            if known and known.was_there:
                # There were rows: whatever a 404 means now, it does not mean that nobody watched.
                message = f"the source answered 404, asked {times}: it withdrew the report, which was never accepted"
                ledger.record_last_check(connection, work.slice, message)
                return Outcome(
                    work.slice,
                    Result.WITHDRAWN,
                    ExitCode.DATA_REFUSED,
                    message,
                    next_step=f"ask BlendVision for the report; what was wrong with it: watch-time explain "
                    f"{work.slice.report_date} --type {work.slice.report_type}",
                )
            if work.ask.settled and answer.asks >= _ASKS_TO_CONFIRM:
                outcome = _graded(work.slice, times, ledger.read_evidence(connection, work.slice))
            else:
                outcome = Outcome(work.slice, Result.UNAVAILABLE, message=f"not published yet: 404, asked {times}")
            ledger.record_state(connection, work.slice, State(outcome.result.value), reason=outcome.message)
            # A 404 claims nothing: it says nothing of whose token and organization these are.
            schema.require_owner(self._database, connection, self._org_id)
            return outcome

        return self.transaction(work.slice, record)

    def graded_again(self, slice_: Slice) -> Outcome | None:
        """Look for evidence once more, for a slice whose 404 was confirmed in this run before its neighbours came.

        None: nothing to say; the slice has another state by now, or there still is no evidence.
        """

        def grade(connection: Connection) -> Outcome:
            known = self.locked(connection, slice_)
            evidence = ledger.read_evidence(connection, slice_)
            if known is None or known.state is not State.UNAVAILABLE or not evidence:
                raise _NothingToSay
            outcome = _graded(slice_, f"{_ASKS_TO_CONFIRM} times", evidence)
            ledger.record_state(connection, slice_, State.EMPTY, reason=outcome.message)
            return outcome

        try:
            return self.transaction(slice_, grade)
        except _NothingToSay:
            return None

    def held(self, work: Work, report: ReportFile, tally: Tally, error: GuardRefused) -> Outcome:
        """Note a refused report; its load was rolled back, so its first rejects come from memory."""
        slice_ = work.slice

        def record(connection: Connection) -> Outcome:
            known = self.locked(connection, slice_)
            work.require_not_overtaken(known)
            ledger.forget_rejects(connection, slice_)
            if ledger.accepted_rejects(connection, slice_, report.sha256) is None:
                rejects.record(connection, slice_, report.sha256, tally.first_rejects)
            ledger.record_state(
                connection, slice_, State.HELD, reason=str(error), error=error, held_sha256=report.sha256
            )
            self.claim(connection)
            return _of_stored(replace(refusal(slice_, Result.HELD, error), report_bytes=report.size_bytes), known)

        return self.transaction(slice_, record)

    def failure(self, slice_: Slice, error: WatchTimeError) -> Outcome:
        """Note an error where that is possible: not when the database is the trouble, or the slice is others'."""
        outcome = refusal(slice_, Result.FAILED, error)
        if isinstance(error, (DatabaseUnavailable, SliceBusy, WrongOrganization)):
            return outcome

        def record(connection: Connection) -> Outcome:
            known = self.locked(connection, slice_)
            if known and known.is_answered and not isinstance(error, DataRefused):
                # Trouble on the way says nothing about facts, nor about a report that a person has to look at.
                ledger.record_last_check(connection, slice_, f"failed: {error}")
            else:
                ledger.record_state(connection, slice_, State.FAILED, reason=str(error), error=error)
            return _of_stored(outcome, known)

        try:
            return self.transaction(slice_, record)
        except WatchTimeError as second:
            log.warning("failure_not_recorded", slice=str(slice_), error=str(second))
            return outcome


class _NothingToSay(Exception):
    """Rolls a transaction back that has nothing to record."""


def revision_of(known: SliceRecord | None) -> int:
    """The stored revision; 0 when there is none."""
    return known.revision if known else 0


def why_empty(rows: int) -> str | None:
    """Why an accepted report stores nothing; None when it stores something."""
    return None if rows else "the report has a header and no rows"


def _graded(slice_: Slice, times: str, evidence: tuple[str, ...]) -> Outcome:
    """What a settled, confirmed 404 means: presumably nothing to come where something shows it; else nobody knows."""
    asked = f"404, asked {times}, and the date is past the settling window"
    if evidence:
        return Outcome(slice_, Result.EMPTY, message=f"no report: {asked}; {'; '.join(evidence)}")
    return Outcome(
        slice_,
        Result.UNAVAILABLE,
        message=f"{asked}; but neither the date's other report nor a later one of this type is there to show that the "
        "source is done with the date",
    )


def _of_stored(outcome: Outcome, known: SliceRecord | None) -> Outcome:
    """The outcome of a check that changed no facts, with what is stored."""
    if known is None:
        return outcome
    return replace(outcome, revision=known.revision, rows=known.rows_stored, watch_seconds=known.watch_seconds)


def _without_request_id(message: str | None) -> str | None:
    """The same answer of the API has another request id each time; the log keeps it."""
    return message and re.sub(r" \((x-[\w-]+|cf-ray): [^()]*\)", "", message)
