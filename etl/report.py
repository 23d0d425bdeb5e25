"""The values that pass from stage to stage: a report's address, its file, its rows.

No behaviour beyond small sums; no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from decimal import Decimal
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True, slots=True)
class NotThere:
    """The API answered 404 in its own words: not generated yet, or no viewing history; it does not say which."""

    asks: int
    message: str


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """Where a report can be downloaded, for about an hour.

    The URL carries its own credentials in the query string: it is kept out of `repr`, and must stay out of logs.
    """

    url: str
    asks: int

    def __repr__(self) -> str:
        return f"ReportAddress(url=<signed>, asks={self.asks})"


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A complete, verified report on local disk, decompressed.

    Attributes:
        path: the CSV in the spool folder of its slice.
        sha256: of the decompressed bytes, 64 hex digits: two files of equal hash are the same report.
        size_bytes: of the decompressed file.
        received_bytes: over the wire.
        etag: the host's, if it sent one.
        source: host and path of the URL, without the signed query.
        resumed: how often the download went on after a cut.
    """

    path: Path
    sha256: str
    size_bytes: int
    received_bytes: int
    etag: str | None
    source: str
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    r"""A line that is not loaded.

    Attributes:
        line_number: the physical line at which the record begins; the header is line 1.
        reason: in words, without the offending value.
        raw_text: the record as it stands in the file; bytes that are no UTF-8, and NUL, as `\xNN`; shortened with a
            note when very long.
    """

    line_number: int
    reason: str
    raw_text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A bounded piece of a normalised report.

    Attributes:
        rows: a frame with the columns of `contract.COLUMNS`, all Arrow-backed. `content_id`, `customer_id`,
            `streaming_type`, `title` and `watch_seconds` are strings without nulls (`watch_seconds` the exact decimal
            as text, as Postgres's numeric reads it); `created_at` is timestamp[us, UTC] with nulls.
        rejects: in file order.
        watch_seconds: exact sum over `rows`.
        created_at_unread: rows whose creation time is present and in no known format.
        unknown_streaming_types: rows per streaming type that the documentation does not name (they are loaded).
    """

    rows: pd.DataFrame
    rejects: tuple[Reject, ...]
    watch_seconds: Decimal
    created_at_unread: int
    unknown_streaming_types: Counter[str]
