"""`watch-time compact`: compacts all settled months, and updates all customer counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.load import compaction, distinct_customers
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse import schema

if TYPE_CHECKING:
    from etl.config.settings import Settings
    from etl.domain.errors import WatchTimeError
    from etl.load.compaction import Compacted


def maintain(
    settings: Settings, progress: ProgressReporter = SILENT
) -> tuple[list[Compacted], int, list[WatchTimeError]]:
    """Give every settled month one partition, then count the customers of periods not counted yet.

    Returns:
        The months that were compacted, how many days and months were counted, and the errors for the others.

    Raises:
        SchemaNotReady: the tables are missing or of another version.
    """
    today = settings.today()
    with schema.open_checked(settings, with_owner=False) as database:
        done, trouble = compaction.compact_all(database, settings, database.stop, today=today, progress=progress)
        counted, _ = distinct_customers.count_stale(database, settings, database.stop, today=today, progress=progress)
    return done, counted, trouble
