"""Splits a report's bytes into blocks of whole records, or says on which line that is impossible.

Strict by RFC 4180, because the CSV readers at hand are not: pandas mends short rows and text after a closing quote,
pyarrow accepts a quote that is never closed. Under the strict rules the k-th quote of a file opens when k is even and
closes when it is odd, and its neighbours prove it; so quotes, line ends and record ends are found with numpy on whole
blocks, without looking at single records. The first broken rule makes the file malformed: after it nothing certain can
be said about where a record ends.

This module knows nothing of columns, encodings of values or rejects, and must not show data in its messages.
"""

from __future__ import annotations

import codecs
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

import numpy as np

from etl.domain.errors import MalformedReport
from etl.transform.record_block import COMMA, CR, LF, QUOTE, Block, count_of, outside, positions_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from pathlib import Path

    from etl.transform.record_block import Positions

# From 2 to 8 MiB the time is the same.
BLOCK_BYTES: Final = 8 * 1024 * 1024

# Quotes, commas and line ends in what is looked at at once: the positions of a million take 8 MB, several times over. A
# block of ordinary rows has a third as many, or, with all values in quotes, about as many.
BLOCK_MARKS: Final = 1024 * 1024

# Two ids of 1,000 bytes, a title and some numbers: a longer record is a lost line end or no CSV at all.
RECORD_LIMIT_BYTES: Final = 1024 * 1024

# A block of ordinary rows has half as many. The limit bounds what is made per record (rejects), and keeps sums over a
# block far from overflow.
BLOCK_RECORDS: Final = 100_000

_BLANK: Final = (b"", b"\r", b"\n")

_MAY_PRECEDE_OPENING: Final = np.isin(np.arange(256), [QUOTE, COMMA, LF])
_MAY_FOLLOW_CLOSING: Final = np.isin(np.arange(256), [QUOTE, COMMA, CR, LF])

_WIDE_MARKS: Final = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark begins this one
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


def blocks(path: Path, *, block_bytes: int = BLOCK_BYTES) -> Generator[Block]:
    """Read the file in blocks of about `block_bytes`, smaller ones where it is dense; none of them without a record.

    The size of blocks decides how the records are divided, and nothing else.

    Raises:
        MalformedReport: at the first place where the file breaks the rules; blocks before it have been yielded by then.
    """
    with path.open("rb") as file:
        file.seek(_bytes_before_text(file.read(4)))
        rest, line_number = b"", 1
        # The first are smaller: somebody waits for them. A record longer than a block: twice as much each time, so that
        # it is not scanned over and over.
        sizes = chain((block_bytes // 8, block_bytes // 2), repeat(block_bytes))
        while data := file.read(max(next(sizes), len(rest), 1)):
            for piece in _pieces(data):
                block, rest = _cut(rest + piece, line_number)
                yield from _divided(block)
                line_number += block.line_count
    if rest:
        # The last line end may be missing; half a line end is no line end.
        block, rest = _cut(rest if rest.endswith(b"\r") else rest + b"\n", line_number)
        if rest:
            raise _unfinished(rest, line_number)
        yield from _divided(block)


def _pieces(data: bytes) -> Generator[bytes]:
    """The data in pieces with at most `BLOCK_MARKS` in each."""
    if len(data) <= BLOCK_MARKS or sum(count_of(data, octet) for octet in (QUOTE, COMMA, CR, LF)) <= BLOCK_MARKS:
        yield data
    else:
        middle = len(data) // 2
        yield from _pieces(data[:middle])
        yield from _pieces(data[middle:])


def _divided(block: Block) -> Iterable[Block]:
    """The block in pieces of at most `BLOCK_RECORDS`; none where there are only blank lines."""
    if block.line_count <= BLOCK_RECORDS and block.data[:1] not in _BLANK:
        return (block,)
    return (block.part(low, low + BLOCK_RECORDS) for low in range(0, len(block), BLOCK_RECORDS))


def _bytes_before_text(beginning: bytes) -> int:
    """The length of the byte-order mark, if there is one, which must be that of UTF-8."""
    for mark, encoding in _WIDE_MARKS.items():
        if beginning.startswith(mark):
            raise MalformedReport(
                f"the report is encoded in {encoding}, not in UTF-8 (line 1 begins with its byte-order mark)",
                next_step="ask BlendVision for the report in UTF-8; nothing was loaded",
            )
    return len(codecs.BOM_UTF8) if beginning.startswith(codecs.BOM_UTF8) else 0


def _cut(data: bytes, line_number: int) -> tuple[Block, bytes]:
    """Divide `data`, which begins with a record, into its whole records and the unfinished rest behind them."""
    quotes = positions_of(data, QUOTE)
    _refuse_first_fault(data, line_number, quotes)
    end = _end_of_last_record(data, quotes, 0, len(data))
    return Block(data[:end], line_number), data[end:]


def _end_of_last_record(data: bytes, quotes: Positions, low: int, high: int) -> int:
    """Where the last record that ends between `low` and `high` does, its line end included; 0: none ends there."""
    while end := data.rfind(b"\n", low, high) + 1:
        before = int(np.searchsorted(quotes, end))
        if before % 2 == 0:
            break
        high = max(low, int(quotes[before - 1]))
    return end


def _refuse_first_fault(data: bytes, line_number: int, quotes: Positions) -> None:
    """Raise for the first place at which `data` breaks the rules, if there is one.

    The first, and not any: a fault makes those behind it meaningless, and the same file must give the same message
    whatever the size of blocks. What stands at the very end of `data` is judged when more is known.
    """
    octets = np.frombuffer(data, np.uint8)
    opening, closing = quotes[0::2], quotes[1::2]
    closing = closing[closing + 1 < octets.size]
    returns = outside(quotes, positions_of(data, CR))
    returns = returns[returns + 1 < octets.size]
    too_long = _too_long(data, quotes)
    # Where the rule is broken; how far from there the line to name is; in words.
    faults = (
        (opening[~_MAY_PRECEDE_OPENING[octets[opening - 1]] & (opening > 0)], 0, "a quote inside an unquoted field"),
        (closing[~_MAY_FOLLOW_CLOSING[octets[closing + 1]]], 0, "text after a closing quote"),
        (returns[octets[returns + 1] != LF], 0, "a carriage return without a line feed"),
        (too_long + RECORD_LIMIT_BYTES, -RECORD_LIMIT_BYTES, f"a record longer than {RECORD_LIMIT_BYTES:,} bytes"),
    )
    found = [(int(positions[0]), offset, words) for positions, offset, words in faults if positions.size]
    if found:
        position, offset, words = min(found)
        raise _malformed(words, line_number + data.count(b"\n", 0, position + offset))


def _too_long(data: bytes, quotes: Positions) -> Positions:
    """Where the records begin that are longer than the limit."""
    half = RECORD_LIMIT_BYTES // 2
    pieces = range(0, len(data) - half, half)
    # Where a record ends in every half of the limit, none is longer than the whole.
    if all(_end_of_last_record(data, quotes, low, low + half) for low in pieces):
        return np.empty(0, np.intp)
    starts = np.concatenate(([0], outside(quotes, positions_of(data, LF)) + 1))
    lengths = np.diff(starts, append=len(data) + 1) - 1
    return starts[lengths > RECORD_LIMIT_BYTES]


def _unfinished(rest: bytes, line_number: int) -> MalformedReport:
    """What is wrong with a file that ends in the middle of the record `rest`."""
    quotes = positions_of(rest, QUOTE)
    if quotes.size % 2 == 0:
        return _malformed("a carriage return without a line feed", line_number + rest.count(b"\n"))
    # The opening quote of the field, and not the second half of a doubled quote within it.
    opening = next(int(at) for at in quotes[::-2] if rest[at - 1 : at] != b'"')
    return _malformed("an unterminated quoted field begins", line_number + rest.count(b"\n", 0, opening))


def _malformed(what: str, line_number: int) -> MalformedReport:
    return MalformedReport(
        f"the report cannot be split into records: {what} on line {line_number}",
        next_step="check that line of the file. If the file is truncated there, run again to download it again; "
        "otherwise send the line to BlendVision. Reports must follow RFC 4180: fields with quotes, commas or "
        "line breaks are quoted, quotes in them are doubled, lines end with LF or CRLF. Nothing was loaded",
    )
