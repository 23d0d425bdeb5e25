"""The archive's part in the story of a slice, which is none where no archive is configured.

`archive` knows files and names; here is what a load asks of it, before its commit and after.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from etl.errors import WatchTimeError
from etl.outcome import Outcome, Result
from etl.report import Tally
from etl.stop import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.archive.keeping import Archive
    from etl.db import Connection, Database
    from etl.ledger import SliceRecord
    from etl.load import Loading
    from etl.report import Chunk, ReportFile
    from etl.slices import Slice

log = structlog.get_logger("watch_time")

_STORED = frozenset({Result.LOADED, Result.EMPTY, Result.UNCHANGED})


class Archiving:
    """A stage of the pipeline. Safe to use from several threads.

    Args:
        archive: where accepted revisions go; None: nowhere, and nothing is done.
        database: of the ledger that says what was committed.
    """

    def __init__(self, archive: Archive | None, database: Database) -> None:
        self._archive = archive
        self._database = database

    def require_ours(self, slice_: Slice, known: SliceRecord | None) -> None:
        """Refuse to write into another warehouse's archive.

        Raises:
            Misconfigured: it is another's, or this one's before it lost its data.
        """
        if self._archive:
            self._archive.require_ours(slice_, known)

    def is_done(self, known: SliceRecord) -> bool:
        """Whether the archive has all of the stored revision, as far as was known when it was opened."""
        if self._archive is None or not known.report_sha256:
            return True
        return self._archive.is_whole(known.slice, known.revision, known.report_sha256)

    def keep(
        self,
        connection: Connection,
        loading: Loading,
        report: ReportFile,
        *,
        revision: int,
        read_as: str,
        rows: int,
        tally: Tally,
    ) -> None:
        """Store what is about to be committed; `Archive.keep` says what it raises."""
        if self._archive:
            self._archive.keep(
                connection,
                loading.slice,
                revision,
                report,
                loading.stored_rows(),
                expected=(rows, tally.watch_seconds),
                read_as=read_as,
            )

    def keep_stored(
        self, connection: Connection, known: SliceRecord, report: ReportFile, chunks: Iterable[Chunk]
    ) -> None:
        """Store the stored revision where it was loaded without the archive.

        Args:
            connection: of the transaction, which holds the slice's lock.
            known: the slice.
            report: of the stored revision; titles come from there.
            chunks: its lines; not read where there is nothing to do.
        """
        if self.is_done(known):
            return

        from etl.load import Loading  # noqa: PLC0415 - pandas: an unchanged report needs none of it

        tally = Tally()
        loading = Loading(connection, known.slice, report.sha256, aside=True)
        loading.stage(chunks, tally)
        rows = loading.merge(tally)
        self.keep(
            connection, loading, report, revision=known.revision, read_as=known.read_as or "", rows=rows, tally=tally
        )

    def published(self, outcome: Outcome, sha256: str) -> Outcome:
        """Show the archive's readers what was committed. Where that fails, any later run does it."""
        archive = self._archive
        if archive is None or outcome.result not in _STORED:
            return outcome
        if archive.is_whole(outcome.slice, outcome.revision, sha256):
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
                f"{type(error).__name__} in watch-time itself", next_step="the log has the traceback; please report it"
            )
        else:
            return outcome
        message = f"committed, but readers of the archive do not see it yet: {trouble.message}"
        return replace(outcome, exit_code=trouble.exit_code, message=message, next_step=trouble.next_step)
