"""What syncing slices needs: warehouse, source, archive and pipeline, opened once per process."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from etl.extract import report_source
from etl.pipeline.slice_sync import Pipeline
from etl.warehouse import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.archive.archive import Archive
    from etl.config.settings import Settings
    from etl.domain.outcome import Pause
    from etl.domain.slices import Slice
    from etl.runtime.cancellation import Stop
    from etl.warehouse.database import Database


@dataclass(frozen=True, slots=True)
class RunContext:
    """An opened warehouse and archive, and the pipeline that syncs slices there. Safe to use from several threads."""

    database: Database
    pipeline: Pipeline
    archive: Archive | None


@contextmanager
def open_run_context(
    settings: Settings,
    stop: Stop | None = None,
    *,
    requests_per_second: float | None = None,
    on_pause: Callable[[Slice, Pause], None] = lambda _slice, _pause: None,
) -> Iterator[RunContext]:
    """The configured warehouse, source and archive; `settings` must have token, organization and database.

    `on_pause` is called, in any thread, when a slice waits before a retry. The report API gets at most
    `requests_per_second`; None: no limit.

    Raises:
        SchemaNotReady, WrongOrganization: before any request to the source.
        ArchiveUnavailable, CredentialsRefused, Misconfigured: the configured archive cannot be read.
    """
    with schema.open_checked(settings, stop=stop) as database:
        archive = _archive(settings, database.stop)
        with report_source.open_source(settings, database.stop, requests_per_second=requests_per_second) as reports:
            pipeline = Pipeline(settings, database, reports, archive, on_pause=on_pause)
            yield RunContext(database, pipeline, archive)


def _archive(settings: Settings, stop: Stop) -> Archive | None:
    if settings.archive_url is None:
        return None

    from etl.archive.archive import open_archive  # noqa: PLC0415 - only where there is an archive

    return open_archive(settings, stop)
