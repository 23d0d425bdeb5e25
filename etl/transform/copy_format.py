r"""Arrow columns to the text that `COPY ... FROM STDIN` reads, without a Python object per cell.

The text format is chosen over CSV because every special character is escaped in it: no value can look like the end of
the data (before Postgres 18 a line `\\.` inside a CSV value did). Source: Postgres manual, COPY, "Text Format".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.transform.arrow_pandas import octets

if TYPE_CHECKING:
    from collections.abc import Sequence

# The backslash first: the other escapes bring backslashes in.
_ESCAPES: Final = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))
_BACKSLASH: Final = ord("\\")
_FIRST_CONTROL: Final = ord("\t")
_LAST_CONTROL: Final = ord("\r")


def encode(table: pa.Table, columns: Sequence[str]) -> memoryview:
    r"""The rows of `table`, its `columns` in that order, as COPY text: tabs between values, `\\N` for nulls.

    Of strings, or timestamps in UTC; less than 2 GiB of text.
    """
    *texts, last = (_escaped(_as_text(table.column(name))) for name in columns)
    # The line's end goes to the last value first: cheaper than to whole lines.
    lines = _joined(*texts, _joined(last, "", "\n"), "\t")
    _, offsets, values = lines.buffers()
    if values is None or offsets is None or len(lines) == 0:
        return memoryview(b"")
    start, end = np.frombuffer(memoryview(offsets), np.int32)[[lines.offset, lines.offset + len(lines)]]
    return memoryview(values)[start:end]


def _joined(*parts_and_separator: pa.StringArray | str) -> pa.StringArray:
    # The stubs do not know that scalars are repeated for every row.
    return pc.binary_join_element_wise(  # type: ignore[call-overload,no-any-return]
        *parts_and_separator, null_handling="replace", null_replacement="\\N"
    )


def _as_text(column: pa.ChunkedArray[Any]) -> pa.StringArray:
    if pa.types.is_timestamp(column.type):
        # With the zone said afterwards: Arrow would look it up for every value, which takes ten times as long.
        moments = column.cast(pa.timestamp("us")).cast(pa.string()).combine_chunks()
        return cast("pa.StringArray", pc.binary_join_element_wise(moments, "Z", ""))  # type: ignore[call-overload]
    return cast("pa.StringArray", column.cast(pa.string()).combine_chunks())


def _escaped(column: pa.StringArray) -> pa.StringArray:
    if not _has_special(column):
        return column
    for character, escape in _ESCAPES:
        column = pc.replace_substring(column, character, escape)
    return column


def _has_special(column: pa.StringArray) -> bool:
    """Whether any value may need escaping: one look at the bytes is far cheaper than four replacements."""
    data = octets(column)
    return bool(np.any((data == _BACKSLASH) | ((data >= _FIRST_CONTROL) & (data <= _LAST_CONTROL))))
