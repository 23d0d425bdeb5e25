"""Parses a block of CSV records into a table of text, and finds the records that are not valid rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pyarrow as pa
from pyarrow import csv

from etl.domain import contract
from etl.domain.errors import ReconciliationFailed
from etl.transform.arrow_pandas import frame, octets

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from etl.transform.record_block import Block

# Reasons by the position of the record in its block.
Faults: TypeAlias = dict[int, str]


def parse(block: Block, columns: Sequence[str]) -> tuple[pd.DataFrame, Faults]:
    """Return the rows as text, indexed by the position of their record, and the faults of invalid records."""
    table = _read(block.data, columns)
    # The usual block: each of its line ends is at the end of a row or within a value, so each record is a row.
    if table is not None and len(table) + _line_ends_within(table) == block.line_count:
        return frame(table.select(list(contract.COLUMNS))), {}
    faults: Faults = {}
    positions = np.arange(len(block))
    if table is None:
        faults = _record_faults(block, len(columns))
        positions = np.delete(positions, list(faults))
        table = _read(block.lines(positions), columns)
    if table is None or len(table) != len(positions):
        raise ReconciliationFailed(
            f"{len(positions):,} records from line {block.line_number} on returned another number of rows",
            next_step="this is a bug: please report it, with those lines of the file if they may be shown; nothing was "
            "loaded",
        )
    return frame(table.select(list(contract.COLUMNS))).set_index(positions), faults


def _read(data: bytes, columns: Sequence[str]) -> pa.Table | None:
    """All columns as text; None when some record is no row (see `_record_faults`)."""
    if b"\0" in data:
        return None
    # A blank line is passed over, and keeps pyarrow from taking the first three bytes for a byte-order mark, or no
    # bytes at all for an error.
    data = b"\n" + data
    # Every column as text, those that are not wanted too: their bytes must be UTF-8 like the others'.
    names = [f"{column} {index}" if column == contract.IGNORE else column for index, column in enumerate(columns)]
    try:
        table = csv.read_csv(
            pa.BufferReader(data),  # type: ignore[arg-type]  # the stubs do not know pyarrow's own files
            # One block, so that pyarrow does not look for record ends of its own.
            read_options=csv.ReadOptions(column_names=names, block_size=len(data), use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[], strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid:
        return None
    return table


def _line_ends_within(table: pa.Table) -> int:
    """How many line ends the values have in them."""
    chunks = (chunk for column in table.columns for chunk in column.chunks)
    return sum(int(np.count_nonzero(octets(chunk) == ord("\n"))) for chunk in chunks)


def _record_faults(block: Block, width: int) -> Faults:
    """Records with more or fewer fields than the header, that are not UTF-8, or that Postgres's text cannot hold."""
    faults: Faults = {}
    for position, fields in enumerate(block.field_counts().tolist()):
        record = block.record(position)
        if fields != width:
            faults[position] = f"{fields} instead of {width} fields"
        elif b"\0" in record:
            faults[position] = "a NUL character, which Postgres cannot store"
        elif not is_utf8(record):
            faults[position] = "not UTF-8"
    return faults


def is_utf8(record: bytes) -> bool:
    """Whether the bytes can be read as text."""
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True
