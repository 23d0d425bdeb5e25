"""Rebuilds the warehouse from its archive, without the source: reloads each committed revision in the original order.

The raw bytes are read with the original header mapping, by the same stages as in a load. The resulting rows must match
the archived ledger entry, which also supplies the revision's number, its times and who accepted it.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from etl.archive import layout, raw
from etl.archive.archive import open_archive
from etl.domain.errors import ExitCode, Misconfigured, WatchTimeError, WrongUsage
from etl.domain.outcome import Result, refusal
from etl.domain.pipeline_values import Tally
from etl.extract import scratch_folder
from etl.load import refused_report_rejects
from etl.load.load_strategy import begin_load
from etl.pipeline import outcome_log, report_reader
from etl.pipeline.archive_stage import outcome_of, restored
from etl.pipeline.outcome_recorder import Recorder
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse import revisions, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from datetime import date, datetime
    from pathlib import Path

    from etl.archive.archive import Archive
    from etl.archive.layout import Key
    from etl.archive.manifests import Marker
    from etl.config.settings import Settings
    from etl.domain.outcome import Outcome
    from etl.domain.slices import ReportType, Slice
    from etl.runtime.cancellation import Stop
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection


class Replay:
    """An opened warehouse and its archive. One revision at a time: `content` depends on their order."""

    def __init__(self, settings: Settings, database: Database, archive: Archive, folder: Path) -> None:
        self._database = database
        self._archive = archive
        self._folder = folder
        self._recorder = Recorder(database, settings.require("org_id"))

    def plan(
        self,
        start: date | None,
        end: date | None,
        report_types: Collection[ReportType],
        *,
        progress: ProgressReporter = SILENT,
    ) -> list[Marker]:
        """The committed revisions of a range of report dates, in the order in which they were loaded.

        Raises:
            WrongUsage: there is none.
            ArchiveDamaged, WrongOrganization: a marker cannot be read, or is another organization's.
        """
        progress.begin(f"listing {self._archive.store.url}")
        names = self._archive.store.names(layout.REVISIONS)
        keys = sorted(
            key
            for key in filter(None, map(layout.parse_key, names))
            if (start is None or key.slice.report_date >= start)
            and (end is None or key.slice.report_date <= end)
            and key.slice.report_type in report_types
        )
        if not keys:
            raise WrongUsage(
                f"the archive {self._archive.store.url} has no revision in this range",
                next_step="check WATCH_TIME_ARCHIVE_URL, --start, --end and --type",
            )
        return _in_order(self._markers(keys, progress))

    def work(self, plan: Sequence[Marker], *, on_outcome: Callable[[Outcome], None] = lambda _: None) -> list[Outcome]:
        """Restore every revision; if one fails, later revisions of the same slice are skipped.

        If credentials are refused, all remaining revisions are skipped: they would fail too.
        """
        outcomes: list[Outcome] = []
        broken: set[Slice] = set()
        for marker in plan:
            if marker.accepted.slice in broken:
                continue
            outcome = self._restore(marker)
            if outcome.result is Result.FAILED:
                broken.add(outcome.slice)
            outcome_log.outcome_done(outcome)
            outcomes.append(outcome)
            on_outcome(outcome)
            if outcome.exit_code is ExitCode.CREDENTIALS_REFUSED:
                break
        return outcomes

    def _markers(self, keys: Collection[Key], progress: ProgressReporter) -> Iterator[Marker]:
        progress.begin("reading what the archive says of its revisions", of=len(keys))
        for read, key in enumerate(keys, 1):
            yield self._archive.marker(key)
            progress.reach(read)

    def _restore(self, marker: Marker) -> Outcome:
        slice_ = marker.accepted.slice
        try:
            if self._database.run(lambda connection: self._is_there(connection, marker)):
                return outcome_of(marker, Result.UNCHANGED)
            with scratch_folder.folder_in(self._folder) as folder:
                csv = self._fetched(marker, folder)
                return self._recorder.transaction(slice_, lambda connection: self._load(connection, marker, csv))
        except WatchTimeError as error:
            return replace(refusal(slice_, Result.FAILED, error), revision=marker.accepted.revision)

    def _is_there(self, connection: Connection, marker: Marker) -> bool:
        """Whether the warehouse has the revision already.

        Raises:
            Misconfigured: it has another one in its place.
        """
        key = marker.key
        known = {accepted.revision: accepted for accepted in revisions.read(connection, key.slice)}
        if key.revision in known and known[key.revision].report_sha256 == key.sha256:
            return True
        if known and max(known) >= key.revision:
            raise Misconfigured(
                f"the warehouse and the archive {self._archive.store.url} have different revisions of {key.slice}",
                next_step="set WATCH_TIME_SCHEMA to an empty schema and rebuild there: `watch-time migrate` "
                "`watch-time backfill --from-archive`",
            )
        return False

    def _fetched(self, marker: Marker, folder: Path) -> Path:
        """The report's bytes, which have the hash that they were accepted with."""
        packed, csv = folder / "report.csv.zst", folder / "report.csv"
        self._archive.store.fetch(marker.key.raw, packed, size_bytes=marker.accepted.report_bytes)
        with scratch_folder.needs_room(folder, "an archived report"):
            raw.unpack(packed, csv, sha256=marker.accepted.report_sha256)
        packed.unlink()
        return csv

    def _load(self, connection: Connection, marker: Marker, csv: Path) -> Outcome:
        """From the lock to the ledger row: one transaction."""
        slice_ = marker.accepted.slice
        known = self._recorder.lock_and_read(connection, slice_)
        if self._is_there(connection, marker):
            return outcome_of(marker, Result.UNCHANGED)
        tally = Tally()
        refused_report_rejects.delete(connection, slice_, report_sha256=marker.accepted.report_sha256)
        load = begin_load(connection, slice_, marker.accepted.report_sha256)
        aliases = json.loads(marker.read_as)
        with report_reader.encode(csv, aliases, tally, self._database.stop) as chunks:
            load.stage(chunks)
        load.deduplicate(tally)
        load.write()
        change = load.finish(tally)
        return restored(connection, self._recorder, marker, known=known, tally=tally, change=change)


def _in_order(markers: Iterable[Marker]) -> list[Marker]:
    """Sort by time of loading, but revisions of one slice always by number, in case clocks were wrong."""
    placed: dict[tuple[datetime, Key], Marker] = {}
    latest = None
    for marker in markers:  # by slice and revision
        if latest is None or latest[0] != marker.key.slice:
            latest = (marker.key.slice, marker.accepted.loaded_at)
        latest = (marker.key.slice, max(latest[1], marker.accepted.loaded_at))
        placed[latest[1], marker.key] = marker
    return [placed[place] for place in sorted(placed)]


@contextmanager
def open_replay(settings: Settings, *, stop: Stop | None = None) -> Iterator[Replay]:
    """A replay on the configured warehouse and archive.

    Raises:
        SchemaNotReady, WrongOrganization: before anything is read.
        ArchiveUnavailable, CredentialsRefused, Misconfigured: the archive cannot be read.
    """
    with schema.open_checked(settings, stop=stop) as database, scratch_folder.folder() as folder:
        yield Replay(settings, database, open_archive(settings, database.stop), folder)
