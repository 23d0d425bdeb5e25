"""Encodes chunks as COPY text, in a thread ahead of the COPY, so that the server does not wait for it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa

from etl.domain import contract
from etl.domain.contract import CREATED_AT, REJECT
from etl.domain.pipeline_values import EncodedChunk
from etl.transform import arrow_pandas
from etl.transform.copy_format import encode
from etl.transform.prefetch import prefetch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from etl.domain.pipeline_values import Chunk, Reject, Tally

# Contents remembered as sent already. Past that many they are sent again, which costs time; and where such a report
# has several titles for one content, the last line's wins.
_CONTENTS_REMEMBERED: Final = 500_000


def encode_ahead(chunks: Iterable[Chunk], tally: Tally) -> AbstractContextManager[Iterator[EncodedChunk]]:
    """The encoded chunks in their order, made in a thread one step ahead of who sends them; no chunk is kept.

    Each chunk is counted into `tally`, which is complete when the last one was taken.
    """
    # Not in a loop, whose variable would keep a chunk while the next one is made.
    return prefetch(map(partial(_encoded, tally=tally, known=_KnownContents()), chunks))


def _encoded(chunk: Chunk, tally: Tally, known: _KnownContents) -> EncodedChunk:
    tally.add(chunk)
    return EncodedChunk(
        encode(arrow_pandas.table(chunk.rows), contract.FACTS),
        encode(known.new_in(arrow_pandas.table(chunk.contents)), contract.CONTENT),
        _rejects(chunk.rejects),
    )


def _rejects(rejects: Sequence[Reject]) -> memoryview:
    if not rejects:
        return memoryview(b"")
    return encode(pa.table({name: [getattr(reject, name) for reject in rejects] for name in REJECT}), REJECT)


class _KnownContents:
    """What has been said of contents: most chunks say the same."""

    def __init__(self) -> None:
        # 64-bit hashes instead of the texts: half a million take 4 MB, and do not collide by chance. Sorted, and never
        # empty: Python has no hash of -1.
        self._hashes = np.array([-1], np.int64)

    def new_in(self, contents: pa.Table) -> pa.Table:
        """The rows that are not known yet; from now on they are."""
        # Moments as integers: a Python datetime for each costs more than all the rest.
        created_at = contents.column(CREATED_AT).cast(pa.int64())
        parts = contents.set_column(contents.column_names.index(CREATED_AT), CREATED_AT, created_at)
        rows = zip(*(column.to_pylist() for column in parts.columns), strict=True)
        hashes = np.fromiter(map(hash, rows), np.int64, len(contents))
        new = self._hashes.take(np.searchsorted(self._hashes, hashes), mode="clip") != hashes
        if self._hashes.size < _CONTENTS_REMEMBERED:
            self._hashes = np.union1d(self._hashes, hashes)
        return contents.filter(pa.array(new))
