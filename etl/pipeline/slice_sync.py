"""Syncs one slice, from the API request to the committed revision.

The only module that uses all stages. The download is complete before the transaction begins; everything from the
slice's lock to its ledger row is one transaction. `job` decides which slices there are.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from etl.domain import contract
from etl.domain.errors import CredentialsRefused, SliceBusy, WatchTimeError
from etl.domain.outcome import Outcome, Trust
from etl.domain.pipeline_values import LoadedReport, ReportNotFound, Tally
from etl.extract.download import Unmodified
from etl.load import partition_bounds, refused_report_rejects
from etl.load.load_strategy import begin_load
from etl.pipeline import outcome_log, report_reader
from etl.pipeline.archive_stage import ArchiveStage, restored
from etl.pipeline.guard_stage import GuardStage, Refused
from etl.pipeline.guards import Limits
from etl.pipeline.outcome_recorder import Recorder, SliceAttempt, StaleBaseline, revision_of
from etl.runtime.cancellation import Stopped
from etl.warehouse import ledger

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.archive.archive import Archive
    from etl.archive.layout import Key
    from etl.archive.manifests import Marker
    from etl.config.settings import Settings
    from etl.domain.outcome import FetchOptions, Pause
    from etl.domain.pipeline_values import Origin, ReportFile
    from etl.domain.slices import Slice
    from etl.extract.report_source import Source
    from etl.warehouse.database import Database
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.transactions import Connection

log = structlog.get_logger("watch_time")


_LOST: Final = "the warehouse had lost this revision; it was restored from the archive"
# How many times a slice is retried because another run committed it in the meantime.
_MAX_STALE_BASELINES: Final = 3


@dataclass(frozen=True, slots=True)
class _Baseline:
    """What is known about a slice before the source is asked.

    Attributes:
        revision: the stored one.
        origin: of the stored report, if a new load of the same file would change nothing.
        lost: the revision that the archive has and the ledger lost.
    """

    revision: int
    origin: Origin | None
    lost: Key | None


class _Pauses:
    """Reports pauses while one slice waits, and counts its retries."""

    def __init__(self, slice_: Slice, tell: Callable[[Slice, Pause], None]) -> None:
        self._slice = slice_
        self._tell = tell
        self.retries = 0

    def retry(self, pause: Pause) -> None:
        """Report that a request failed and is retried."""
        self.retries += 1
        self.wait(pause)

    def wait(self, pause: Pause) -> None:
        """Report that the report is not published yet."""
        outcome_log.paused(self._slice, pause)
        self._tell(self._slice, pause)


class Pipeline:
    """The stages, wired together for one organization and one schema. Safe to use from several threads."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        source: Source,
        archive: Archive | None = None,
        *,
        on_pause: Callable[[Slice, Pause], None] = lambda _slice, _pause: None,
    ) -> None:
        self._settings = settings
        self._database = database
        self._source = source
        self._recorder = Recorder(database, settings.require("org_id"))
        self._on_pause = on_pause
        self._archive_stage = ArchiveStage(archive, database)
        self._limits = Limits(settings.max_reject_ratio, settings.shrink_limit)

    def sync_slice(self, slice_: Slice, options: FetchOptions) -> Outcome:
        """Load the newest report of the slice; the outcome says what happened.

        Raises:
            CredentialsRefused: the next slice would fail too; nothing is recorded.
            Stopped: as asked.
        """
        began_s, pauses = time.monotonic(), _Pauses(slice_, self._on_pause)
        try:
            outcome = self._sync(slice_, options, pauses)
        except (CredentialsRefused, Stopped):
            raise
        except WatchTimeError as error:
            outcome = self._recorder.record_failure(slice_, error)
        except Exception as error:
            log.exception("bug", slice=str(slice_))
            bug = WatchTimeError(
                f"{slice_}: a bug in watch-time: {type(error).__name__}",
                next_step="the log has the traceback; nothing was committed; please report it",
            )
            outcome = self._recorder.record_failure(slice_, bug)
        return replace(outcome, elapsed_s=time.monotonic() - began_s, retries=pauses.retries)

    def refused(self, slice_: Slice, error: CredentialsRefused) -> Outcome:
        """Record that the credentials were refused at this slice. Called once per run, which the refusal ends."""
        return self._recorder.record_failure(slice_, error)

    def reclassify_not_found(self, slice_: Slice) -> Outcome | None:
        """The new outcome of a 404 confirmed in this run, now that other slices are loaded; None if it is unchanged."""
        try:
            return self._recorder.reclassify_not_found(slice_)
        except WatchTimeError as error:
            log.warning("not_found_not_reclassified", slice=str(slice_), error=str(error))
            return None

    def _sync(self, slice_: Slice, options: FetchOptions, pauses: _Pauses) -> Outcome:
        for _ in range(_MAX_STALE_BASELINES):
            try:
                return self._sync_once(slice_, options, pauses)
            except StaleBaseline:
                continue
        raise SliceBusy(
            f"other runs loaded this slice {_MAX_STALE_BASELINES} times in the meantime",
            next_step="nothing is lost: check for other runs, then run again",
        )

    def _sync_once(self, slice_: Slice, options: FetchOptions, pauses: _Pauses) -> Outcome:
        """Request, download, load. What is requested from here on is at least as new as the baseline."""
        baseline = self._database.run(lambda connection: self._read_baseline(connection, slice_, options))
        attempt = SliceAttempt(slice_, options, baseline.revision)
        fetched = self._source.fetch(
            slice_,
            options,
            if_none_match=baseline.origin,
            on_retry=pauses.retry,
            on_wait=pauses.wait,
            on_body=report_reader.start_import,
        )
        try:
            with fetched as report:
                lost = self._archive_stage.confirm(baseline.lost, report)
                if isinstance(report, ReportNotFound):
                    return self._recorder.record_not_found(attempt, report)
                outcome = self._load_or_hold(attempt, report, lost)
                return self._archive_stage.publish_committed(outcome, report.sha256)
        except Unmodified:
            return self._recorder.transaction(slice_, lambda connection: self._record_unmodified(connection, attempt))

    def _read_baseline(self, connection: Connection, slice_: Slice, options: FetchOptions) -> _Baseline:
        known = ledger.read(connection, slice_)
        lost = self._archive_stage.check_history(slice_, known)
        is_done = (
            not lost and known and self._is_current(connection, known, options) and self._archive_stage.is_done(known)
        )
        return _Baseline(revision_of(known), known.origin if known and is_done else None, lost)

    def _record_unmodified(self, connection: Connection, attempt: SliceAttempt) -> Outcome:
        """Note that the source still has the stored report, in a transaction of its own."""
        known = self._recorder.lock_and_read(connection, attempt.slice)
        attempt.require_fresh_baseline(known)
        if known is None or not self._is_current(connection, known, attempt.options):
            raise StaleBaseline
        return self._recorder.record_unchanged(connection, known)

    def _load_or_hold(self, attempt: SliceAttempt, report: ReportFile, lost: Marker | None) -> Outcome:
        """Load the report, or note that it was refused."""
        try:
            return self._recorder.transaction(
                attempt.slice, lambda connection: self._load(connection, attempt, report, lost)
            )
        except Refused as refused:
            return self._recorder.record_held(attempt, report, refused.tally, refused.error)

    def _load(self, connection: Connection, attempt: SliceAttempt, report: ReportFile, lost: Marker | None) -> Outcome:
        """From the lock to the ledger row: one transaction.

        A `lost` revision is loaded as it was accepted; it is not written to the archive again.
        """
        began_s = time.monotonic()
        known = self._recorder.lock_and_read(connection, attempt.slice)
        aliases = json.loads(lost.read_as) if lost else self._settings.header_aliases
        is_stored = known is not None and known.report_sha256 == report.sha256
        if not lost and known and is_stored and self._is_current(connection, known, attempt.options):
            encode = partial(report_reader.encode, report.path, aliases, stop=self._database.stop)
            self._archive_stage.store_current(connection, known, report, encode)
            return self._recorder.record_unchanged(connection, known, report)
        attempt.require_fresh_baseline(known)

        tally = Tally()
        load = begin_load(connection, attempt.slice, report.sha256)
        refused_report_rejects.delete(connection, attempt.slice, report_sha256=report.sha256)
        with report_reader.encode(report.path, aliases, tally, self._database.stop) as chunks:
            load.stage(chunks)
        guard = GuardStage(self._limits, attempt, known, report, tally)
        overridden = guard.check_rejects(connection)
        rows = load.deduplicate(tally)
        overridden += guard.check_shrinking(rows)
        load.write()
        if lost:
            change = load.finish(tally)
            outcome = restored(connection, self._recorder, lost, known=known, tally=tally, change=change)
            return replace(outcome, warnings=(_LOST,))
        # The same rows of the same report are the same revision, even if the facts had been changed.
        is_repair = is_stored and self._has_been_read_so(known, rows, tally)
        header_mapping = report_reader.header_mapping(report.path, aliases)
        revision = revision_of(known) + (not is_repair)
        self._archive_stage.store(
            connection, load, report, revision=revision, header_mapping=header_mapping, rows=rows, tally=tally
        )
        change = load.finish(tally)
        if known and is_repair:
            return self._recorder.record_repaired(connection, known, report, change)
        duration = timedelta(seconds=report.elapsed_s + time.monotonic() - began_s)
        loaded = LoadedReport(report, tally, change, header_mapping, overridden, duration)
        return self._recorder.record_accepted(connection, attempt.slice, known, loaded)

    def _has_been_read_so(self, known: SliceRecord | None, rows: int, tally: Tally) -> bool:
        """Whether reading the stored report yielded the same result when it was accepted."""
        return (
            known is not None
            and contract.is_read_alike(known.read_as, self._settings.header_aliases)
            and (known.rows_stored, known.watch_seconds) == (rows, tally.watch_seconds)
        )

    def _is_current(self, connection: Connection, known: SliceRecord, options: FetchOptions) -> bool:
        """Whether the stored report would be read the same way now and its facts exist, as far as `options` ask."""
        if options.trust is Trust.NOTHING or not contract.is_read_alike(known.read_as, self._settings.header_aliases):
            return False
        if known.rows_stored and not partition_bounds.is_covered(connection, known.slice):
            return False
        return options.trust is Trust.LEDGER or partition_bounds.holds(
            connection, known.slice, known.rows_stored, known.watch_seconds
        )
