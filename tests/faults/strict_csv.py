"""A second reader of reports, slow and plain: RFC 4180 octet by octet, and the contract's rules cell by cell.

It shares no code with `etl`, so that the two can disagree. Where it accepts a file, the standard library's strict
reader must split it into the same cells; the other way round it need not: that one takes quotes within an unquoted
field, and half a line end.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

HEADERS = {
    "contentid": "content_id", "customerid": "customer_id", "streamingtype": "streaming_type",
    "watchtimesec": "watch_seconds", "watchtimeseconds": "watch_seconds", "watchtimes": "watch_seconds",
    "watchtime": "watch_seconds", "contenttitle": "title", "title": "title", "createdat": "created_at",
    "createdtime": "created_at",
}  # fmt: skip
COLUMNS = ("content_id", "customer_id", "streaming_type", "watch_seconds", "title", "created_at")
RAW_CHARACTERS = 2_000
KEY_BYTES = 1_000
RECORD_BYTES = 1 << 20


class Refused(Exception):
    """The file as a whole cannot be read for certain."""


@dataclass(frozen=True)
class Record:
    line: int
    raw: bytes
    cells: list[bytes]


@dataclass
class Reading:
    """Rows in the order of `COLUMNS`, and what was rejected: line, kind of fault, text."""

    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[tuple[int, str, str]] = field(default_factory=list)


def read(data: bytes) -> Reading:
    """The rows and rejects of a report; `Refused` when it cannot be read for certain."""
    records = split(data)
    _assert_the_standard_library_agrees(data, records)
    if not records:
        raise Refused("no header")
    columns = _columns(records[0])
    reading = Reading()
    for record in records[1:]:
        row = _row(record, columns)
        if isinstance(row, str):
            reading.rejects.append((record.line, row, _raw(record.raw)))
        else:
            reading.rows.append(row)
    return reading


def split(data: bytes) -> list[Record]:
    """The records of a file. Blank lines are none, and each LF ends a physical line."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
        raise Refused("not UTF-8")
    data = data.removeprefix(b"\xef\xbb\xbf")
    records, line, at = [], 1, 0
    while at < len(data):
        cells, end, after = _record(data, at)
        if end - at > RECORD_BYTES:
            raise Refused("a record that long")
        if end > at:
            records.append(Record(line, data[at:end], cells))
        line += data.count(b"\n", at, after)
        at = after
    return records


def _record(data: bytes, at: int) -> tuple[list[bytes], int, int]:
    """The cells of the record that begins at `at`, where it ends, and where the next one begins."""
    cells = []
    while True:
        cell, at = _quoted(data, at + 1) if data[at : at + 1] == b'"' else _plain(data, at)
        cells.append(cell)
        if at == len(data):
            return cells, at, at
        if data[at : at + 1] == b"\n":
            return cells, at, at + 1
        if data[at : at + 2] == b"\r\n":
            return cells, at, at + 2
        if data[at : at + 1] != b",":
            raise Refused("text after a closing quote, or a lone carriage return")
        at += 1


def _quoted(data: bytes, at: int) -> tuple[bytes, int]:
    cell = b""
    while True:
        quote = data.find(b'"', at)
        if quote < 0:
            raise Refused("a quoted field without end")
        cell += data[at:quote]
        if data[quote + 1 : quote + 2] != b'"':
            return cell, quote + 1
        cell, at = cell + b'"', quote + 2


def _plain(data: bytes, at: int) -> tuple[bytes, int]:
    end = at
    while end < len(data) and data[end] not in b",\r\n":
        if data[end] == ord('"'):
            raise Refused("a quote inside an unquoted field")
        end += 1
    return data[at:end], end


def _columns(header: Record) -> list[str]:
    try:
        texts = [cell.decode() for cell in header.cells]
    except UnicodeDecodeError:
        raise Refused("a header that is not UTF-8") from None
    folded = ["".join(c for c in unicodedata.normalize("NFKC", text).casefold() if c.isalnum()) for text in texts]
    columns = [HEADERS.get(text, "") for text in folded]
    if "\0" in "".join(texts) or sorted(columns) != sorted(COLUMNS):
        raise Refused("another header")
    return columns


def _row(record: Record, columns: list[str]) -> tuple[Any, ...] | str:
    """The row, or the kind of fault."""
    if len(record.cells) != len(columns):
        return "fields"
    if b"\0" in record.raw:
        return "NUL"
    try:
        cells = dict(zip(columns, (cell.decode() for cell in record.cells), strict=True))
    except UnicodeDecodeError:
        return "UTF-8"
    ids = [cells["content_id"], cells["customer_id"]]
    streaming_type = _streaming_type(cells["streaming_type"])
    if (
        not ids[0]
        or any(len(id_.encode()) > KEY_BYTES for id_ in ids)
        or streaming_type is None
        or not re.fullmatch(r"[0-9]{1,12}([.][0-9]{1,18})?", cells["watch_seconds"])
    ):
        return "value"
    return (*ids, streaming_type, cells["watch_seconds"], cells["title"], moment(cells["created_at"]))


def _streaming_type(text: str) -> str | None:
    words = re.split(r"[\s_-]+", text.strip())
    fine = all(re.fullmatch(r"[A-Za-z0-9]+", word) for word in words) and words[0][0] not in "0123456789"
    return "_".join(words).upper() if fine and len("_".join(words)) <= 40 else None


_MOMENT = re.compile(
    r"([0-9]{4})([-/])([0-9]{2})\2([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.]([0-9]{1,9}))?)?(Z| UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)


def moment(text: str) -> datetime | None:
    """A creation time in UTC; None for what is in no known format."""
    found = _MOMENT.fullmatch(text)
    if not found:
        return None
    year, _, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        return datetime(
            int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
            int(f"{fraction or 0:0<6}"[:6]), _zone(zone or "Z"),
        ).astimezone(UTC)  # fmt: skip
    except (ValueError, OverflowError):
        return None


def _zone(text: str) -> timezone:
    if text in {"Z", " UTC"}:
        return UTC
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    if hours > 14 or minutes > 59:
        raise ValueError(text)
    return timezone(timedelta(hours=hours, minutes=minutes) * (-1 if text[0] == "-" else 1))


def _raw(record: bytes) -> str:
    text = record.decode(errors="backslashreplace").replace("\0", "\\x00")
    if len(text) <= RAW_CHARACTERS:
        return text
    return f"{text[:RAW_CHARACTERS]}... (the first {RAW_CHARACTERS:,} of {len(text):,} characters)"


def _assert_the_standard_library_agrees(data: bytes, records: list[Record]) -> None:
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    cells = [record for record in csv.reader(io.StringIO(text, newline="\n"), strict=True) if record]
    assert cells == [[cell.decode(errors="surrogateescape") for cell in record.cells] for record in records], data
