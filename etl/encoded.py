"""From chunks to the bytes that are sent of them: made ahead of the COPY, so that the server need not wait for them.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from etl import columns, contract
from etl.contract import CONTENT_ID, CREATED_AT, TITLE
from etl.copy_text import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from etl.report import Chunk, Reject, Tally

# Contents remembered as sent already. Past that many they are sent again, which costs time; and where such a report
# has several titles for one content, the last line's wins.
_CONTENTS_REMEMBERED: Final = 500_000


@dataclass(frozen=True, slots=True)
class Encoded:
    """What is sent of a chunk; rows and contents as COPY text.

    Attributes:
        facts: its rows, the columns of `contract.FACTS`.
        contents: what it says of contents, and no chunk before it said; the columns of `contract.CONTENT`.
        rejects: its lines that are not loaded.
    """

    facts: memoryview
    contents: memoryview
    rejects: tuple[Reject, ...]


def encoded(chunks: Iterable[Chunk], tally: Tally) -> Iterator[Encoded]:
    """What is sent of the chunks, in their order; each is counted into `tally`, and not kept."""
    known = _KnownContents()
    for chunk in chunks:
        tally.add(chunk)
        contents = known.new_in(columns.table(chunk.contents))
        yield Encoded(
            encode(columns.table(chunk.rows), contract.FACTS), encode(contents, contract.CONTENT), chunk.rejects
        )


class _KnownContents:
    """What has been said of contents: most chunks say the same."""

    def __init__(self) -> None:
        # 64-bit hashes instead of the texts: half a million of them stay small, and do not collide by chance.
        self._hashes: set[int] = set()

    def new_in(self, contents: pa.Table) -> pa.Table:
        """The rows that are not known yet; from now on they are."""
        # Moments as integers: a Python datetime for each costs more than all the rest.
        parts = (contents.column(CONTENT_ID), contents.column(TITLE), contents.column(CREATED_AT).cast(pa.int64()))
        hashes = [hash(row) for row in zip(*(part.to_pylist() for part in parts), strict=True)]
        new = [each not in self._hashes for each in hashes]
        if len(self._hashes) < _CONTENTS_REMEMBERED:
            self._hashes.update(hashes)
        return contents.filter(pa.array(new, pa.bool_()))
