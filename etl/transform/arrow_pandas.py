"""Between pandas' columns and Arrow's, which are the same memory. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt


def frame(table: pa.Table) -> pd.DataFrame:
    """The table as a frame of Arrow-backed columns."""
    return table.to_pandas(types_mapper=pd.ArrowDtype, use_threads=False)


def table(frame: pd.DataFrame, columns: Sequence[str] | None = None) -> pa.Table:
    """A frame of Arrow-backed columns, or some of them in that order, as a table without its index.

    `Table.from_pandas` does more: it starts a pool of threads for every frame. A frame with fewer columns, only to be
    made a table of, takes several times as long as the table.
    """
    return pa.table({name: array(frame[name]) for name in columns or frame.columns})


def array(column: pd.Series[Any]) -> Any:
    """An Arrow-backed column as an Arrow array, in one piece."""
    values = pa.array(column)
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values


def octets(column: pa.Array[Any]) -> npt.NDArray[np.uint8]:
    """The bytes of all values, one behind the other; those of neighbours too where `column` is a slice."""
    values = column.buffers()[2]
    return np.frombuffer(b"" if values is None else memoryview(values), np.uint8)
