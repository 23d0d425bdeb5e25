"""A report read to its end and put together, for the tests of reading."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import reduce
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from etl.domain import contract
from etl.domain.pipeline_values import add_exactly
from etl.transform import normalise, record_splitter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from etl.domain.pipeline_values import Reject

# In the order of `contract.COLUMNS`, so that a line of the file and a row of the result look alike.
HEADER = "Content ID,Customer ID,Streaming Type,Watch Time (sec.),Content Title,Created At"


@dataclass(frozen=True)
class Read:
    rows: list[tuple[Any, ...]]
    contents: list[tuple[Any, ...]]
    rejects: list[Reject]
    watch_seconds: Decimal
    created_at_unread: int
    unknown_types: int


def read(
    path: Path, *, aliases: Mapping[str, str] | None = None, block_bytes: int = record_splitter.BLOCK_BYTES
) -> Read:
    chunks = list(normalise.chunks(path, aliases=aliases or {}, block_bytes=block_bytes))
    return Read(
        rows=[row for chunk in chunks for row in _rows(chunk.rows, contract.FACTS)],
        contents=[row for chunk in chunks for row in _rows(chunk.contents, contract.CONTENT)],
        rejects=[reject for chunk in chunks for reject in chunk.rejects],
        watch_seconds=reduce(add_exactly, (chunk.watch_seconds for chunk in chunks), Decimal(0)),
        created_at_unread=sum(chunk.created_at_unread for chunk in chunks),
        unknown_types=sum(chunk.unknown_types for chunk in chunks),
    )


def _rows(frame: pd.DataFrame, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    return list(zip(*(pa.array(frame[name]).to_pylist() for name in columns), strict=True))
