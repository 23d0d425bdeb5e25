"""Turns a report file into chunks of clean rows, and rejects with line number, reason and raw text.

Everything is text first: ids and titles are opaque and pass character for character, so nothing here trims, folds or
guesses them. Only the streaming type is brought to one spelling, and the creation time to a timestamp. A row is loaded
whole or rejected; `record_splitter` refuses a file that cannot be split into records for certain, before it gets here.

Pure: reads that one file; no network, no database, no clock. Memory is bounded by the size of blocks, not of the file.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import closing, suppress
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from etl.domain import contract
from etl.domain.contract import CONTENT_ID, CREATED_AT, CUSTOMER_ID, STREAMING_TYPE, WATCH_SECONDS
from etl.domain.errors import MalformedReport
from etl.domain.pipeline_values import Chunk, Reject
from etl.transform import record_splitter
from etl.transform.arrow_pandas import array, frame, octets, table
from etl.transform.record_parser import is_utf8, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt

    from etl.transform.record_block import Block
    from etl.transform.record_parser import Faults

# Enough to recognize a line by; a title alone may be a megabyte long.
RAW_TEXT_CHARACTERS: Final = 2_000

# More than any header of the contract; a longer first record is read to its end all the same.
_HEADER_BLOCK_BYTES: Final = 1 << 16

# 18 decimals as the contract has them, and room for the sum of more rows than a block can hold.
_DECIMAL: Final = pa.decimal128(38, 18)
_MOMENT: Final = pa.timestamp("us", tz="UTC")

_USUAL_MOMENT_BYTES: Final = len("2026-01-02T03:04:05Z")


def chunks(
    path: Path, *, aliases: Mapping[str, str], block_bytes: int = record_splitter.BLOCK_BYTES
) -> Iterator[Chunk]:
    """Read the report at `path`; a report without rows gives no chunk. Call again to read again.

    Args:
        path: the decompressed CSV.
        aliases: header text to column name, as `contract.match_header` takes them.
        block_bytes: about how much of the file becomes one chunk.

    Raises:
        MalformedReport: the file cannot be read for certain. It may come after chunks: nothing that was made of them
            may be kept.
        ContractBroken: the header is not that of the contract; comes before any chunk.
    """
    columns = contract.match_header(header(path), aliases)
    blocks = record_splitter.blocks(path, block_bytes=block_bytes)
    first = next(blocks)
    # Not in a loop, whose variable would keep a block while the next one is read.
    yield from map(partial(_chunk, columns=columns), chain([first.part(1)] if len(first) > 1 else [], blocks))


def header(path: Path) -> list[str]:
    """The header texts of the report at `path`, in order.

    Raises:
        MalformedReport: there is no header, or it cannot be read.
    """
    with closing(record_splitter.blocks(path, block_bytes=_HEADER_BLOCK_BYTES)) as blocks:
        first = next(blocks, None)
    if first is None:
        raise MalformedReport(
            "the report is empty: it has no header line",
            next_step="run again to download it again; if it stays empty, ask BlendVision for the report of that date "
            "(for a day without views there is only a header, or a 404)",
        )
    record = first.record(0)
    if b"\0" in record or not is_utf8(record):
        raise MalformedReport(
            f"the report's header, on line {first.line_number}, is invalid UTF-8",
            next_step="check the file: it is compressed or in another encoding; ask BlendVision for CSV in UTF-8",
        )
    return [field.decode() for field in first.fields(0)]


def _chunk(block: Block, columns: Sequence[str]) -> Chunk:
    text, faults = parse(block, columns)
    streaming_type = _each_distinct(text[STREAMING_TYPE], contract.fold_streaming_type, pa.string())
    value_faults = _value_faults(text, streaming_type)
    if value_faults:
        text, streaming_type = text.drop(index=list(value_faults)), streaming_type.drop(index=list(value_faults))
    rows = frame(table(text.assign(**{STREAMING_TYPE: streaming_type}), contract.FACTS))
    contents, created_at_unread = _contents(text)
    return Chunk(
        rows=rows,
        contents=contents,
        rejects=_rejects(block, faults | value_faults),
        watch_seconds=_sum(rows[WATCH_SECONDS]),
        created_at_unread=created_at_unread,
        unknown_types=int((~streaming_type.isin(contract.STREAMING_TYPES)).sum()),
    )


def _contents(text: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """What the rows say of contents, each spelling once, and how many rows have a creation time that is not read."""
    told = table(text, contract.CONTENT)
    counted = told.group_by(list(contract.CONTENT), use_threads=False).aggregate([([], "count_all")])
    contents = frame(counted.select(list(contract.CONTENT)))
    created_at = _moments(contents[CREATED_AT])
    unread = np.asarray(created_at.isna() & (contents[CREATED_AT] != ""))
    return contents.assign(**{CREATED_AT: created_at}), int(counted.column("count_all").to_numpy()[unread].sum())


def _value_faults(text: pd.DataFrame, types: pd.Series[Any]) -> Faults:
    """Rows with a value that the contract does not allow, with all their reasons."""
    # In bytes, as a key is measured; pandas counts characters.
    content_bytes, customer_bytes = _bytes_each(text[CONTENT_ID]), _bytes_each(text[CUSTOMER_ID])
    no_type = np.asarray(text[STREAMING_TYPE] == "")
    checks = (
        ("the content id is empty", content_bytes == 0),
        (f"the content id is longer than {contract.KEY_BYTES:,} bytes", content_bytes > contract.KEY_BYTES),
        (f"the customer id is longer than {contract.KEY_BYTES:,} bytes", customer_bytes > contract.KEY_BYTES),
        ("the streaming type is empty", no_type),
        ("the streaming type is invalid (expected the form of LIVE_TO_VOD)", np.asarray(types.isna()) & ~no_type),
    )
    reasons: defaultdict[int, list[str]] = defaultdict(list)
    positions = text.index.to_numpy()
    for reason, offends in checks:
        for position in positions[offends].tolist():
            reasons[position].append(reason)
    if not _are_short_whole_numbers(text[WATCH_SECONDS]):
        unread = ~text[WATCH_SECONDS].str.fullmatch(contract.WATCH_SECONDS_SHAPE)
        for position, value in zip(positions[unread].tolist(), text.loc[unread, WATCH_SECONDS], strict=True):
            reasons[position].append(contract.watch_seconds_fault(value))
    return {position: "; ".join(each) for position, each in reasons.items()}


def _bytes_each(column: pd.Series[str]) -> npt.NDArray[np.int32]:
    return pc.binary_length(array(column)).to_numpy()  # type: ignore[no-any-return]


def _are_short_whole_numbers(column: pd.Series[str]) -> bool:
    """Whether all values are digits, neither none nor too many: the usual case, told from their bytes."""
    sizes, digits = _bytes_each(column), octets(array(column))
    return bool(
        digits.size
        and sizes.min() > 0
        and sizes.max() <= contract.WATCH_SECONDS_DIGITS
        and digits.min() >= ord("0")
        and digits.max() <= ord("9")
    )


def _moments(created_at: pd.Series[str]) -> pd.Series[Any]:
    """Creation times as `contract.parse_created_at` reads them."""
    texts = array(created_at)
    is_usual = (
        (_bytes_each(created_at) == _USUAL_MOMENT_BYTES).all()
        and pc.all(pc.ends_with(texts, "Z")).as_py()
        and not pc.any(pc.starts_with(texts, "0000")).as_py()
    )
    if is_usual:
        # 2026-01-02T03:04:05Z, and of that length only this: Arrow reads it the same way, many times as fast.
        with suppress(pa.ArrowInvalid):
            return pd.Series(pd.arrays.ArrowExtensionArray(texts.cast(_MOMENT)), index=created_at.index)
    return _each_distinct(created_at, contract.parse_created_at, _MOMENT)


def _each_distinct(column: pd.Series[str], convert: Callable[[Any], object], to: pa.DataType) -> pd.Series[Any]:
    """Convert the values of a column, each distinct one once; None becomes null."""
    encoded = array(column).dictionary_encode()
    converted = pa.array([convert(value) for value in encoded.dictionary.to_pylist()], to)
    return pd.Series(pd.arrays.ArrowExtensionArray(converted.take(encoded.indices)), index=column.index)


def _sum(watch_seconds: pd.Series[str]) -> Decimal:
    """The exact sum; whole numbers, the usual case, are added five times as fast."""
    exact = pa.int64() if _are_short_whole_numbers(watch_seconds) else _DECIMAL
    return Decimal(watch_seconds.astype(pd.ArrowDtype(exact)).sum())


def _rejects(block: Block, faults: Faults) -> tuple[Reject, ...]:
    if not faults:
        return ()
    positions = sorted(faults)
    return tuple(
        Reject(line_number, faults[position], _raw_text(block.record(position)))
        for position, line_number in zip(positions, block.line_numbers(positions), strict=True)
    )


def _raw_text(record: bytes) -> str:
    text = record.decode(errors="backslashreplace").replace("\0", r"\x00")
    if len(text) <= RAW_TEXT_CHARACTERS:
        return text
    return f"{text[:RAW_TEXT_CHARACTERS]}... (the first {RAW_TEXT_CHARACTERS:,} of {len(text):,} characters)"
