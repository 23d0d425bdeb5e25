"""A revision's rows as Parquet: what the table holds, with titles, exact, in key order. No network; little memory."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import csv

from etl.domain.contract import CONTENT_ID, CREATED_AT, CUSTOMER_ID, STREAMING_TYPE, TITLE, WATCH_SECONDS
from etl.domain.pipeline_values import add_exactly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

# Exact for every value of the contract, 12 digits and 18 decimals, and for the sum of a hundred million lines of a key.
# One type for all files, or readers would not take them for one table.
_SECONDS: Final = pa.decimal128(38, 18)
_MOMENT: Final = pa.timestamp("us", tz="UTC")

# The date and the type of the report are in the path, where readers expect Hive's partition columns.
_FIELDS: Final[list[pa.Field[Any]]] = [
    pa.field(CONTENT_ID, pa.string(), nullable=False),
    pa.field(TITLE, pa.string(), nullable=False),
    pa.field(CREATED_AT, _MOMENT),
    pa.field(STREAMING_TYPE, pa.string(), nullable=False),
    pa.field(CUSTOMER_ID, pa.string(), nullable=False),
    pa.field(WATCH_SECONDS, _SECONDS, nullable=False),
]
SCHEMA: Final = pa.schema(_FIELDS)

# About 75,000 rows: a row group that engines can use, and little memory.
_BLOCK_BYTES: Final = 8 << 20
_FOOTER: Final = "watch_time."


def write(path: Path, lines: Iterable[Any], about: Mapping[str, str]) -> tuple[int, Decimal]:
    """Write rows to the Parquet file at `path`; gives their number and the exact sum of their seconds.

    `lines` are bytes of CSV, whole records each; `about` is what the footer says of the file.
    """
    rows, watch_seconds = 0, Decimal(0)
    metadata = {f"{_FOOTER}{name}": value for name, value in about.items()}
    schema = SCHEMA.with_metadata(metadata)
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=True) as writer:
        for block in _blocks(lines):
            table = _table(block).cast(schema)
            writer.write_table(table)
            rows += len(table)
            watch_seconds = add_exactly(watch_seconds, pc.sum(table.column(WATCH_SECONDS)).as_py())
    return rows, watch_seconds


def read_footer(file: BinaryIO) -> dict[str, str]:
    """What the footer of a file says of it; nothing where it is no file of ours."""
    try:
        metadata = pq.read_metadata(file).metadata or {}
    except pa.ArrowException:
        return {}
    return {
        key.decode().removeprefix(_FOOTER): value.decode()
        for key, value in metadata.items()
        if key.startswith(_FOOTER.encode())
    }


def _blocks(lines: Iterable[Any]) -> Iterator[bytes]:
    held: list[Any] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _BLOCK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)


def _table(block: bytes) -> pa.Table:
    """Rows as Postgres writes them: texts quoted, an unquoted nothing for NULL, moments in microseconds."""
    types = {field.name: pa.int64() if field.name == CREATED_AT else field.type for field in SCHEMA}
    return csv.read_csv(
        pa.BufferReader(block),  # type: ignore[arg-type]  # the stubs do not know pyarrow's own files
        read_options=csv.ReadOptions(column_names=list(types), block_size=len(block) + 1, use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
