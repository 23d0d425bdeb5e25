"""A block of whole CSV records: its bytes, and where in them records and fields begin and end."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Positions: TypeAlias = npt.NDArray[np.intp]

QUOTE, COMMA, CR, LF = b'",\r\n'


class Block:
    """Whole records of a report, as they stand in the file; blank lines between them are no records.

    Where each of them begins and ends is looked for when somebody asks: of a usual block nobody does.

    Attributes:
        data: the bytes; quoting in them is sound.
        line_number: the physical line at which `data` begins; the file's first line is 1, and every LF ends one.
    """

    def __init__(self, data: bytes, line_number: int) -> None:
        self.data = data
        self.line_number = line_number

    @cached_property
    def line_count(self) -> int:
        """How many lines end in `data`, in quotes or not: at least as many as there are records."""
        return count_of(self.data, LF)

    @cached_property
    def _line_ends(self) -> Positions:
        return positions_of(self.data, LF)

    @cached_property
    def _bounds(self) -> tuple[Positions, Positions]:
        """Where each record begins, and where it ends, its line end not included."""
        record_ends = outside(positions_of(self.data, QUOTE), self._line_ends)
        starts = np.concatenate(([0], record_ends[:-1] + 1))[: record_ends.size]
        ends = record_ends - ((record_ends > starts) & (np.frombuffer(self.data, np.uint8)[record_ends - 1] == CR))
        filled = ends > starts
        return starts[filled], ends[filled]

    def __len__(self) -> int:
        return self._bounds[0].size

    def part(self, low: int, high: int | None = None) -> Block:
        """The records from `low` to before `high`."""
        begin, end = self._begin(low), len(self.data) if high is None else self._begin(high)
        return Block(self.data[begin:end], self.line_number + int(np.searchsorted(self._line_ends, begin)))

    def _begin(self, index: int) -> int:
        starts, _ = self._bounds
        return int(starts[index]) if index < len(self) else len(self.data)

    def record(self, index: int) -> bytes:
        """One record as it stands in the file, without its line end."""
        starts, ends = self._bounds
        return self.data[starts[index] : ends[index]]

    def lines(self, indices: Iterable[int]) -> bytes:
        """The records at `indices`, each with a line end."""
        return b"".join(self.record(index) + b"\n" for index in indices)

    def line_numbers(self, indices: Sequence[int]) -> list[int]:
        """The physical lines at which the records begin."""
        before = np.searchsorted(self._line_ends, self._bounds[0][np.asarray(indices, np.intp)])
        return [self.line_number + int(count) for count in before]

    def field_counts(self) -> Positions:
        """The number of fields in each record."""
        commas = outside(positions_of(self.data, QUOTE), positions_of(self.data, COMMA))
        starts, ends = self._bounds
        return np.searchsorted(commas, ends) - np.searchsorted(commas, starts) + 1

    def fields(self, index: int) -> list[bytes]:
        """The fields of one record, without their quotes."""
        record = self.record(index)
        commas = outside(positions_of(record, QUOTE), positions_of(record, COMMA)).tolist()
        begins, ends = [0, *(comma + 1 for comma in commas)], [*commas, len(record)]
        return [_unquoted(record[begin:end]) for begin, end in zip(begins, ends, strict=True)]


def count_of(data: bytes, octet: int) -> int:
    """How often `octet` stands in `data`."""
    # Looking whether there is one is many times cheaper than counting.
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == octet)) if octet in data else 0


def positions_of(data: bytes, octet: int) -> Positions:
    """Where `octet` stands in `data`."""
    if octet not in data:  # as above
        return np.empty(0, np.intp)
    return np.flatnonzero(np.frombuffer(data, np.uint8) == octet)


def outside(quotes: Positions, positions: Positions) -> Positions:
    """Those of the positions that are outside quotes: an even number of quotes comes before them."""
    return positions[np.searchsorted(quotes, positions) % 2 == 0] if quotes.size else positions


def _unquoted(field: bytes) -> bytes:
    return field[1:-1].replace(b'""', b'"') if field.startswith(b'"') else field
