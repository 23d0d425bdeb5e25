"""The values that pass from stage to stage: a report's address, its file, its rows.

No behaviour beyond small sums; no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    import pandas as pd


# Python's decimals round to 28 digits unless told otherwise. A report's sum has 38 at most; rounding raises.
_EXACT: Final = Context(prec=60, traps=[Inexact])

# Rejects kept in memory, for a report that is refused because of them; an accepted report's are all in the database.
REJECTS_KEPT: Final = 1_000


@dataclass(frozen=True, slots=True)
class ReportNotFound:
    """The API returned a 404 of its own: not generated yet, or no viewing history; it does not say which."""

    asks: int
    message: str


@dataclass(frozen=True, slots=True)
class ReportAddress:
    """Where a report can be downloaded, for about an hour.

    The URL carries its own credentials in the query string: it is excluded from `repr`, and must not be logged.
    """

    url: str = field(repr=False)
    asks: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a report was downloaded from, and which version of the file.

    Attributes:
        source: which file, as `signed_url_identity` says it: the URL that sent it, without its signature.
        etag: the host's strong ETag, with its quotes; it changes if the bytes change.
    """

    source: str
    etag: str


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A complete, verified report on local disk, decompressed.

    Attributes:
        path: the CSV in the scratch folder of its slice.
        sha256: of the decompressed bytes, 64 hex digits: two files of equal hash are the same report.
        size_bytes: of the decompressed file.
        received_bytes: over the wire.
        origin: None where the host gave no strong ETag.
        elapsed_s: from its address to the verified file.
        resumed: how often the download was resumed.
    """

    path: Path
    sha256: str
    size_bytes: int
    received_bytes: int
    origin: Origin | None
    elapsed_s: float
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    r"""A line that is not loaded.

    Attributes:
        line_number: the physical line at which the record begins; the header is line 1.
        reason: in words, without the offending value.
        raw_text: the record as in the file; invalid UTF-8 and NUL as `\xNN`; truncated with a note if very long.
    """

    line_number: int
    reason: str
    raw_text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A bounded piece of a normalized report.

    Attributes:
        rows: a frame with the columns of `contract.FACTS`, Arrow-backed strings without nulls; `watch_seconds` is the
            exact decimal as text, as Postgres's numeric reads it.
        contents: a frame with the columns of `contract.CONTENT`, one row for each spelling of title and creation time
            that `rows` have for a content, in their order. Arrow-backed; `created_at` is timestamp[us, UTC] with nulls,
            the others are strings without.
        rejects: in file order.
        watch_seconds: exact sum over `rows`.
        created_at_unread: rows whose creation time is present but in an unknown format.
        unknown_types: rows with a streaming type that the documentation does not name (they are loaded).
    """

    rows: pd.DataFrame
    contents: pd.DataFrame
    rejects: tuple[Reject, ...]
    watch_seconds: Decimal
    created_at_unread: int
    unknown_types: int


@dataclass(frozen=True, slots=True)
class EncodedChunk:
    """A chunk as COPY text, ready to be sent.

    Attributes:
        facts: its rows, the columns of `contract.FACTS`.
        contents: content rows that no earlier chunk had; the columns of `contract.CONTENT`.
        rejects: its lines that are not loaded, the columns of `contract.REJECT`.
    """

    facts: memoryview
    contents: memoryview
    rejects: memoryview


def add_exactly(left: Decimal, right: Decimal) -> Decimal:
    """The exact sum, without trailing zeros."""
    return _EXACT.normalize(_EXACT.add(left, right))


def plain(number: Decimal) -> str:
    """A decimal as people and Postgres write it: all its digits, no exponent, no trailing zeros."""
    return f"{_EXACT.normalize(number):f}"


@dataclass(slots=True)
class Tally:
    """What a report holds, counted while it is staged.

    Attributes:
        rows_read: records, rejected ones included.
        watch_seconds: exact sum over the accepted records.
        first_rejects: the first `REJECTS_KEPT`.
    """

    rows_read: int = 0
    rows_rejected: int = 0
    watch_seconds: Decimal = Decimal(0)
    created_at_unread: int = 0
    unknown_types: int = 0
    first_rejects: list[Reject] = field(default_factory=list)

    @property
    def rows_accepted(self) -> int:
        """Records that are loaded, before lines with equal keys are merged."""
        return self.rows_read - self.rows_rejected

    def add(self, chunk: Chunk) -> None:
        """Add a chunk to the counts."""
        self.rows_read += len(chunk.rows) + len(chunk.rejects)
        self.rows_rejected += len(chunk.rejects)
        self.watch_seconds = add_exactly(self.watch_seconds, chunk.watch_seconds)
        self.created_at_unread += chunk.created_at_unread
        self.unknown_types += chunk.unknown_types
        self.first_rejects += chunk.rejects[: REJECTS_KEPT - len(self.first_rejects)]


@dataclass(frozen=True, slots=True)
class LoadedReport:
    """A report that was loaded into its slice: what the ledger records of it.

    Attributes:
        header_mapping: as `contract.header_mapping` has it.
        overridden: messages of guards that a person overrode.
        duration: from the report's address to here.
    """

    file: ReportFile
    tally: Tally
    change: Change
    header_mapping: str
    overridden: tuple[str, ...]
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Change:
    """What a load did to a slice, in rows of the fact table."""

    inserted: int
    updated: int
    deleted: int
    unchanged: int
    merged: int
    repeated: int

    @property
    def written(self) -> int:
        """Rows that were inserted, updated or deleted."""
        return self.inserted + self.updated + self.deleted

    @property
    def stored(self) -> int:
        """Rows that the slice has now."""
        return self.inserted + self.updated + self.unchanged
