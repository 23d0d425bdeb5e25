"""Reads a downloaded report for a load: what its header says, and its lines as COPY text.

Imports `transform` late: importing pandas takes a quarter of a second, which a run without new reports saves.
"""

from __future__ import annotations

import importlib
import sys
import threading
from typing import TYPE_CHECKING

from etl.domain import contract

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from etl.domain.pipeline_values import Chunk, EncodedChunk, Tally
    from etl.runtime.cancellation import Stop


def start_import() -> None:
    """Import the reader's dependencies in a thread during the download."""
    if "etl.transform.copy_encoder" not in sys.modules:
        threading.Thread(target=importlib.import_module, args=("etl.transform.copy_encoder",), name="import").start()


def header_mapping(path: Path, aliases: Mapping[str, str]) -> str:
    """How the report's header is read, as the ledger stores it."""
    from etl.transform import normalise  # noqa: PLC0415 - late

    header = normalise.header(path)
    return contract.header_mapping(header, contract.match_header(header, aliases))


def encode(
    path: Path, aliases: Mapping[str, str], tally: Tally, stop: Stop
) -> AbstractContextManager[Iterator[EncodedChunk]]:
    """The report's lines, encoded one chunk ahead of the consumer, and counted in `tally`.

    Raises:
        ContractBroken, DataRefused: the report cannot be read.
        Stopped: as asked.
    """
    from etl.transform import copy_encoder, normalise  # noqa: PLC0415 - late

    return copy_encoder.encode_ahead(_until_stopped(normalise.chunks(path, aliases=aliases), stop), tally)


def _until_stopped(chunks: Iterator[Chunk], stop: Stop) -> Iterator[Chunk]:
    for chunk in chunks:
        stop.check()
        yield chunk
