"""The archive steps of syncing a slice. They do nothing if no archive is configured.

`archive` handles files and names; this module calls it before and after a load's commit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from etl.domain.errors import ReconciliationFailed, WatchTimeError
from etl.domain.outcome import Outcome, Result
from etl.domain.pipeline_values import ReportNotFound, Tally
from etl.load.difference_load import DifferenceLoad
from etl.pipeline.outcome_recorder import why_empty
from etl.runtime.cancellation import Stopped
from etl.warehouse import revisions, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from etl.archive.archive import Archive
    from etl.archive.layout import Key
    from etl.archive.manifests import Marker
    from etl.domain.pipeline_values import Change, EncodedChunk, ReportFile
    from etl.domain.slices import Slice
    from etl.load.load_steps import SliceLoad
    from etl.pipeline.outcome_recorder import Recorder
    from etl.warehouse.database import Database
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.revisions import Accepted
    from etl.warehouse.transactions import Connection

log = structlog.get_logger("watch_time")

_STORED = frozenset({Result.LOADED, Result.EMPTY, Result.UNCHANGED})


class ArchiveStage:
    """A stage of the pipeline, which does nothing where `archive` is None. Safe to use from several threads."""

    def __init__(self, archive: Archive | None, database: Database) -> None:
        self._archive = archive
        self._database = database

    def check_history(self, slice_: Slice, known: SliceRecord | None) -> Key | None:
        """The committed revision that the ledger lacks. Raises what `Archive.check_history` raises."""
        return self._archive.check_history(slice_, known) if self._archive else None

    def confirm(self, lost: Key | None, report: ReportFile | ReportNotFound) -> Marker | None:
        """The archived revision that the ledger lost, if the source still has its report; None if none is lost.

        Raises:
            Misconfigured: the source has another report, or none; or another warehouse committed the revision.
        """
        archive = self._archive
        if archive is None or lost is None:
            return None
        if isinstance(report, ReportNotFound) or report.sha256 != lost.sha256:
            raise archive.unknown_revision(lost)
        marker = archive.marker(lost)
        if marker.claimed_at is None or marker.claimed_at != self._database.run(schema.claimed_at):
            raise archive.unknown_revision(lost)
        return marker

    def is_done(self, known: SliceRecord) -> bool:
        """Whether the archive had the complete stored revision when it was opened."""
        if self._archive is None or not known.report_sha256:
            return True
        return self._archive.is_complete(known.slice, known.revision, known.report_sha256)

    def store(
        self,
        connection: Connection,
        load: SliceLoad,
        report: ReportFile,
        *,
        revision: int,
        header_mapping: str,
        rows: int,
        tally: Tally,
    ) -> None:
        """Store the revision that is about to be committed. Raises what `Archive.store_revision` raises."""
        if self._archive:
            self._archive.store_revision(
                connection,
                load.slice,
                revision,
                report,
                load.stored_rows(),
                expected=(rows, tally.watch_seconds),
                read_as=header_mapping,
            )

    def store_current(
        self,
        connection: Connection,
        known: SliceRecord,
        report: ReportFile,
        encode: Callable[[Tally], AbstractContextManager[Iterator[EncodedChunk]]],
    ) -> None:
        """Archive the stored revision if it was loaded without the archive.

        Titles come from its `report`. `encode` reads and counts its lines; it is called only if something is missing.
        """
        if self.is_done(known):
            return
        tally = Tally()
        load = DifferenceLoad(connection, known.slice, report.sha256)
        with encode(tally) as chunks:
            load.stage(chunks)
        rows = load.deduplicate(tally)
        mapping = known.read_as or ""
        self.store(connection, load, report, revision=known.revision, header_mapping=mapping, rows=rows, tally=tally)

    def publish_committed(self, outcome: Outcome, sha256: str) -> Outcome:
        """Make the committed revision visible to readers of the archive. If that fails, a later run does it."""
        archive = self._archive
        if archive is None or outcome.result not in _STORED:
            return outcome
        if archive.is_complete(outcome.slice, outcome.revision, sha256):
            return outcome
        try:
            self._database.run(lambda connection: archive.publish(connection, outcome.slice))
        except Stopped:
            raise
        except WatchTimeError as error:
            trouble = error
        except Exception as error:
            log.exception("bug", slice=str(outcome.slice))
            trouble = WatchTimeError(
                f"a bug in watch-time: {type(error).__name__}", next_step="the log has the traceback; please report it"
            )
        else:
            return outcome
        message = f"committed, but not yet visible to readers of the archive: {trouble.message}"
        return replace(outcome, exit_code=trouble.exit_code, message=message, next_step=trouble.next_step)


def restored(
    connection: Connection,
    recorder: Recorder,
    marker: Marker,
    *,
    known: SliceRecord | None,
    tally: Tally,
    change: Change,
) -> Outcome:
    """Record an archived revision as it was accepted, as the last step of the transaction that loads its rows.

    `known` is the slice before it, `tally` what its report holds, and `change` what loading it did.

    Raises:
        ReconciliationFailed: its rows are not those that were accepted.
    """
    accepted = marker.accepted
    _require_equal(accepted, known, tally, change)
    revisions.restore(connection, accepted, read_as=marker.read_as, reason=why_empty(accepted.rows_stored))
    recorder.claim_ownership(connection)
    return replace(outcome_of(marker, Result.LOADED if accepted.rows_stored else Result.EMPTY), change=change)


def _require_equal(accepted: Accepted, known: SliceRecord | None, tally: Tally, change: Change) -> None:
    """Require that the report's bytes yield the same rows as when the revision was accepted.

    Raises:
        ReconciliationFailed: it is not.
    """
    pairs: dict[str, tuple[object, object]] = {
        "rows_read": (accepted.rows_read, tally.rows_read),
        "rows_merged": (accepted.rows_merged, change.merged),
        "rows_repeated": (accepted.rows_repeated, change.repeated),
        "rows_rejected": (accepted.rows_rejected, tally.rows_rejected),
        "rows_stored": (accepted.rows_stored, change.stored),
        "seconds_after": (accepted.seconds_after, tally.watch_seconds),
        "created_at_unread": (accepted.created_at_unread, tally.created_at_unread),
        "unknown_types": (accepted.unknown_types, tally.unknown_types),
    }
    if (known.revision if known else 0) == accepted.revision - 1:
        # The previous revision is stored too, so the changes can be compared.
        pairs |= {
            "rows_inserted": (accepted.rows_inserted, change.inserted),
            "rows_updated": (accepted.rows_updated, change.updated),
            "rows_deleted": (accepted.rows_deleted, change.deleted),
            "seconds_before": (accepted.seconds_before, known.watch_seconds if known else 0),
        }
    wrong = [f"{name} was {old}, would be {new}" for name, (old, new) in pairs.items() if old != new]
    if wrong:
        raise ReconciliationFailed(
            f"{accepted.slice} revision {accepted.revision}: the archived report is read differently now: "
            f"{'; '.join(wrong)}; rolled back",
            next_step=f"install watch-time {accepted.code_version}, which loaded it, and run the same command again",
        )


def outcome_of(marker: Marker, result: Result) -> Outcome:
    """The outcome for an archived revision."""
    then = marker.accepted
    return Outcome(
        then.slice,
        result,
        message=why_empty(then.rows_stored),
        revision=then.revision,
        rows=then.rows_stored,
        watch_seconds=then.seconds_after,
        rejected=then.rows_rejected,
        seconds_before=then.seconds_before,
        report_bytes=then.report_bytes,
    )
