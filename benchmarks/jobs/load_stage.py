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
from typing import TYPE_CHECKING, Any
from unittest import mock

from etl import load, normalise  # noqa: F401 - the program imports them while it downloads
from etl.db import Database
from etl.outcome import Ask, Result
from etl.pipeline import Pipeline, opened
from etl.report import ReportFile
from etl.settings import Settings
from etl.slices import ReportType, Slice
from etl.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Iterator


def main(url: str, csv: str, sha256: str) -> None:
    """Load once; what is stored already is compared, as always."""
    path = Path(csv)
    size_bytes = path.stat().st_size

    @contextmanager
    def at_hand(*_: Any, **__: Any) -> Iterator[ReportFile]:
        yield ReportFile(path, sha256, size_bytes, received_bytes=size_bytes, origin=None, elapsed_s=0.0)

    settings = Settings.model_validate({})
    stop = Stop()
    with (
        mock.patch.object(Pipeline, "fetched", at_hand),
        opened(settings, Database(url, schema="public", stop=stop), stop) as pipeline,
    ):
        began_s = time.monotonic()
        outcome = pipeline.bring(Slice(date(2026, 1, 5), ReportType.VOD), Ask())
        elapsed_s = time.monotonic() - began_s
    if outcome.result not in (Result.LOADED, Result.UNCHANGED):
        raise SystemExit(f"{outcome.result}: {outcome.message}")
    print(elapsed_s)


if __name__ == "__main__":
    main(*sys.argv[1:])
