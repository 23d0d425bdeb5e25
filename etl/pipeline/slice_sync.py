"""The story of one slice, from the question to the API to the committed revision.

The only module that knows all stages. The network is finished before the transaction begins; everything from the
slice's lock to its ledger row is one transaction. `job` decides which slices there are.
"""

from __future__ import annotations

import importlib
import json
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from etl.domain import contract
from etl.domain.errors import CredentialsRefused, GuardRefused, SliceBusy, WatchTimeError
from etl.domain.outcome import Outcome, Trust
from etl.domain.report_values import NotThere, Tally
from etl.extract.download import Unmodified
from etl.load import partitions
from etl.pipeline import guards
from etl.pipeline.archive_stage import Archiving, restored
from etl.pipeline.outcome_recorder import Overtaken, Recorder, Work, revision_of
from etl.runtime.cancellation import Stopped
from etl.warehouse import ledger

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from etl.archive.archive import Archive, Marker
    from etl.archive.layout import Key
    from etl.config.settings import Settings
    from etl.domain.outcome import Ask
    from etl.domain.report_values import Chunk, Origin, ReportFile
    from etl.domain.slices import Slice
    from etl.extract.report_source import Source
    from etl.runtime.cancellation import Stop
    from etl.warehouse.connection import Connection, Database
    from etl.warehouse.ledger import SliceRecord

log = structlog.get_logger("watch_time")


# So often a slice's work begins anew because another run committed the slice meanwhile.
_OVERTAKEN_AT_MOST: Final = 3


class _Retries:
    """How often the source was asked or fetched from again, for one slice."""

    def __init__(self) -> None:
        self.count = 0

    def add(self) -> None:
        """One more."""
        self.count += 1


class Pipeline:
    """The stages, wired together for one organization and one schema. Safe to use from several threads."""

    def __init__(
        self, settings: Settings, database: Database, source: Source, stop: Stop, archive: Archive | None = None
    ) -> None:
        self._settings = settings
        self._database = database
        self._source = source
        self._recorder = Recorder(database, settings.require("org_id"), stop)
        self._stop = stop
        self._archiving = Archiving(archive, database)
        self._limits = guards.Limits(settings.max_reject_ratio, settings.shrink_limit)

    def bring(self, slice_: Slice, ask: Ask) -> Outcome:
        """Make the slice equal to the newest report, or say why not.

        Raises:
            CredentialsRefused: the next slice would meet it too; nothing is recorded.
            Stopped: as asked.
        """
        began_s, retries = time.monotonic(), _Retries()
        try:
            outcome = self._bring(slice_, ask, retries)
        except (CredentialsRefused, Stopped):
            raise
        except WatchTimeError as error:
            outcome = self._recorder.failure(slice_, error)
        except Exception as error:
            log.exception("bug", slice=str(slice_))
            bug = WatchTimeError(
                f"{slice_}: {type(error).__name__} in watch-time itself",
                next_step="the log has the traceback; nothing was committed; please report it",
            )
            outcome = self._recorder.failure(slice_, bug)
        return replace(outcome, elapsed_s=time.monotonic() - began_s, retries=retries.count)

    def refused(self, slice_: Slice, error: CredentialsRefused) -> Outcome:
        """Record that the credentials were refused at this slice, which ends the run: for one slice of a run."""
        return self._recorder.failure(slice_, error)

    def graded_again(self, slice_: Slice) -> Outcome | None:
        """What a 404 that was confirmed in this run means now that other slices have come; None: nothing new."""
        try:
            return self._recorder.graded_again(slice_)
        except WatchTimeError as error:
            log.warning("not_graded_again", slice=str(slice_), error=str(error))
            return None

    def _bring(self, slice_: Slice, ask: Ask, retries: _Retries) -> Outcome:
        for _ in range(_OVERTAKEN_AT_MOST):
            try:
                return self._bring_once(slice_, ask, retries)
            except Overtaken:
                continue
        raise SliceBusy(
            f"other runs loaded this slice {_OVERTAKEN_AT_MOST} times while this one asked for it",
            next_step="nothing is lost: see what runs at the same time",
        )

    def _bring_once(self, slice_: Slice, ask: Ask, retries: _Retries) -> Outcome:
        """Ask, download, load; what is asked from here on is at least as new as `seen`."""
        seen, origin, lost = self._database.run(lambda connection: self._seen(connection, slice_, ask))
        work = Work(slice_, ask, seen)
        try:
            with self._source.fetched(
                slice_, ask, unless=origin, on_retry=retries.add, on_body=_get_ready_to_load
            ) as report:
                marker = self._archiving.confirm(lost, report)
                if isinstance(report, NotThere):
                    return self._recorder.absence(work, report)
                return self._archiving.published(self._load_or_hold(work, report, marker), report.sha256)
        except Unmodified:
            return self._recorder.transaction(slice_, lambda connection: self._unmodified(connection, work))

    def _seen(self, connection: Connection, slice_: Slice, ask: Ask) -> tuple[int, Origin | None, Key | None]:
        """The slice's revision; the origin of its report if a new load of the same file would change nothing.

        And the revision that the archive has and the ledger lost.
        """
        known = ledger.read(connection, slice_)
        lost = self._archiving.lost(slice_, known)
        is_done = not lost and known and self._is_current(connection, known, ask) and self._archiving.is_done(known)
        return revision_of(known), known.origin if known and is_done else None, lost

    def _unmodified(self, connection: Connection, work: Work) -> Outcome:
        """Note that the source still has the stored report, in a transaction of its own."""
        known = self._recorder.locked(connection, work.slice)
        work.require_not_overtaken(known)
        if known is None or not self._is_current(connection, known, work.ask):
            raise Overtaken
        return self._recorder.unchanged(connection, known)

    def _load_or_hold(self, work: Work, report: ReportFile, lost: Marker | None) -> Outcome:
        """Load the report, or note that it was refused."""
        tries: list[Tally] = []

        def load(connection: Connection) -> Outcome:
            tries.append(Tally())
            return self._load(connection, work, report, tries[-1], lost)

        try:
            return self._recorder.transaction(work.slice, load)
        except GuardRefused as error:
            return self._recorder.held(work, report, tries[-1], error)

    def _load(
        self, connection: Connection, work: Work, report: ReportFile, tally: Tally, lost: Marker | None
    ) -> Outcome:
        """From the lock to the ledger row: one transaction.

        A `lost` revision is loaded as it was accepted; the archive has it, and nothing of it is written there again.
        """
        began_s = time.monotonic()
        slice_ = work.slice
        known = self._recorder.locked(connection, slice_)
        aliases = json.loads(lost.read_as) if lost else self._settings.header_aliases
        is_stored = known is not None and known.report_sha256 == report.sha256
        if not lost and known and is_stored and self._is_current(connection, known, work.ask):
            self._archiving.keep_stored(connection, known, report, self._chunks(report, aliases))
            return self._recorder.unchanged(connection, known, report)

        from etl.load.slice_load import Loading  # noqa: PLC0415 - see _get_ready_to_load
        from etl.transform import normalise  # noqa: PLC0415 - see _get_ready_to_load

        work.require_not_overtaken(known)
        header = normalise.header(report.path)
        read_as = contract.read_as(header, contract.match_header(header, aliases))
        ledger.forget_rejects(connection, slice_, report_sha256=report.sha256)
        accepted = ledger.accepted_rejects(connection, slice_, report.sha256) or 0
        acceptance = guards.Acceptance(
            is_held=known is not None and known.held_sha256 == report.sha256,
            is_asked_for=work.ask.accept,
        )
        loading = Loading(connection, slice_, report.sha256)
        loading.stage(self._chunks(report, aliases), tally)
        overridden = acceptance.override(guards.check_rejects(slice_, tally, self._limits, accepted=accepted))
        rows = loading.merge(tally)
        overridden += acceptance.override(
            guards.check_shrinking(
                slice_,
                tally,
                self._limits,
                rows=rows,
                rows_stored=known.rows_stored if known else 0,
                seconds_stored=known.watch_seconds if known else Decimal(0),
            )
        )
        if lost:
            change = loading.apply(tally)
            outcome = restored(connection, self._recorder, lost, known=known, tally=tally, change=change)
            return replace(
                outcome, warnings=("the warehouse had lost this revision; it is back as the archive has it",)
            )
        # The same rows of the same report are the same revision: whatever had become of the facts.
        is_repair = is_stored and self._has_been_read_so(known, rows, tally)
        change = loading.apply(
            tally,
            before_sharing=lambda: self._archiving.keep(
                connection,
                loading,
                report,
                revision=revision_of(known) + (not is_repair),
                read_as=read_as,
                rows=rows,
                tally=tally,
            ),
        )
        if known and is_repair:
            return self._recorder.repaired(connection, known, report, change)
        load_duration = timedelta(seconds=report.elapsed_s + time.monotonic() - began_s)
        return self._recorder.accepted(
            connection,
            slice_,
            known,
            report,
            tally=tally,
            change=change,
            read_as=read_as,
            overridden=overridden,
            load_duration=load_duration,
        )

    def _has_been_read_so(self, known: SliceRecord | None, rows: int, tally: Tally) -> bool:
        """Whether reading the stored report gave just this when it was accepted."""
        return (
            known is not None
            and contract.is_read_alike(known.read_as, self._settings.header_aliases)
            and (known.rows_stored, known.watch_seconds) == (rows, tally.watch_seconds)
        )

    def _is_current(self, connection: Connection, known: SliceRecord, ask: Ask) -> bool:
        """Whether the stored report was read as it would be read now, and its facts are there, as far as is asked."""
        if ask.trust is Trust.NOTHING or not contract.is_read_alike(known.read_as, self._settings.header_aliases):
            return False
        if known.rows_stored and not partitions.is_covered(connection, known.slice):
            return False
        return ask.trust is Trust.LEDGER or partitions.measure(connection, known.slice) == (
            known.rows_stored,
            known.watch_seconds,
        )

    def _chunks(self, report: ReportFile, aliases: Mapping[str, str]) -> Iterator[Chunk]:
        from etl.transform import normalise  # noqa: PLC0415 - as above

        for chunk in normalise.chunks(report.path, aliases=aliases):
            self._stop.check()
            yield chunk


def _get_ready_to_load() -> None:
    """Import what loading needs while the download is under way.

    That is pandas above all, and takes a quarter of a second, which a run that finds nothing new need not spend at all.
    """
    if "etl.load.slice_load" not in sys.modules:
        threading.Thread(target=importlib.import_module, args=("etl.load.slice_load",), name="import").start()
