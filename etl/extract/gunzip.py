"""Gzip, decoded to the very end or refused.

httpx's own decoder returns a truncated file without an error, drops every member after the first, and decompresses any
number of layers into memory at once. Here each member must end with its checksum, and output is in bounded pieces.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final

from etl.domain.errors import MalformedReport

if TYPE_CHECKING:
    from collections.abc import Iterator

# The magic number and the only method there is.
MAGIC: Final = b"\x1f\x8b\x08"

# Size limit of one piece of output, and so of the memory used, whatever the input.
_PIECE_BYTES: Final = 1 << 20
# zlib's window bits for "gzip, nothing else".
_GZIP_ONLY: Final = 31


class Gunzip:
    """Decodes a gzip file with any number of members, piece by piece."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_ONLY)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decode `data`, yielding pieces of at most a mebibyte.

        Raises:
            MalformedReport: damaged, or followed by something that is not gzip.
        """
        while data:
            if self._member.eof:
                self._member = zlib.decompressobj(_GZIP_ONLY)
            piece = self._decode(data)
            while piece:
                yield piece
                # A full piece may have left more behind, inside zlib as well as in the tail.
                piece = self._decode(self._member.unconsumed_tail) if len(piece) == _PIECE_BYTES else b""
            data = self._member.unused_data

    def finish(self) -> None:
        """Signal the end of the input.

        Raises:
            MalformedReport: the file ends in the middle.
        """
        if not self._member.eof:
            raise MalformedReport("the gzip file is truncated", next_step=_NEXT_STEP)

    def _decode(self, data: bytes) -> bytes:
        try:
            return self._member.decompress(data, _PIECE_BYTES)
        except zlib.error:
            raise MalformedReport("the gzip file is damaged, or followed by other data", next_step=_NEXT_STEP) from None


_NEXT_STEP: Final = "run again later; if it persists, ask BlendVision to generate the report again"
