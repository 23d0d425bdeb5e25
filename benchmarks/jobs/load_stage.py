"""Our load stage alone: from the verified file on disk to the commit, the ledger included.

    load_stage.py URL CSV SHA256

The pipeline's own story of a slice, with the file handed to it where it would ask and download. Prints the seconds that
takes: starting Python and importing pandas are not in them.
"""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from etl import __main__  # noqa: F401 - as the program does: the first settles its memory
from etl.config.settings import Settings
from etl.domain.outcome import FetchOptions, Result
from etl.domain.pipeline_values import ReportFile
from etl.domain.slices import ReportType, Slice
from etl.load import load_steps  # noqa: F401 - as the program does: the first settles its memory
from etl.pipeline.slice_sync import Pipeline
from etl.transform import normalise  # noqa: F401 - as the program does: the first settles its memory
from etl.warehouse.database import Database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.extract.report_source import Source


class LocalFileSource:
    """A source whose report lies on disk."""

    def __init__(self, path: Path, sha256: str) -> None:
        size_bytes = path.stat().st_size
        self._file = ReportFile(path, sha256, size_bytes, received_bytes=size_bytes, origin=None, elapsed_s=0.0)

    @contextmanager
    def fetch(self, *_: Any, **__: Any) -> Iterator[ReportFile]:
        """The report."""
        yield self._file


def main(url: str, csv: str, sha256: str) -> None:
    """Load once; what is stored already is compared, as always."""
    source = cast("Source", LocalFileSource(Path(csv), sha256))
    pipeline = Pipeline(Settings.model_validate({}), Database(url, schema="public"), source)
    began_s = time.monotonic()
    outcome = pipeline.sync_slice(Slice(date(2026, 1, 5), ReportType.VOD), FetchOptions())
    elapsed_s = time.monotonic() - began_s
    if outcome.result not in (Result.LOADED, Result.UNCHANGED):
        raise SystemExit(f"{outcome.result}: {outcome.message}")
    print(elapsed_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
