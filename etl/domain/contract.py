"""The contract with the source: the columns of a report, the header texts accepted for each, the forms of values.

The vendor documents the columns in prose only, so the exact header text is assumed; a setting can extend the accepted
names. Source: BlendVision One, watch-time report. Pure: no I/O, no settings read.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from etl.domain.errors import ContractBroken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTENT_ID: Final = "content_id"
CUSTOMER_ID: Final = "customer_id"
STREAMING_TYPE: Final = "streaming_type"
WATCH_SECONDS: Final = "watch_seconds"
TITLE: Final = "title"
CREATED_AT: Final = "created_at"

# The columns that identify a row within a slice, in the order of the fact table's key.
ROW_KEY: Final = (CUSTOMER_ID, CONTENT_ID, STREAMING_TYPE)
# What a line says of a customer, and what it says of the content, over and over.
FACTS: Final = (CONTENT_ID, CUSTOMER_ID, STREAMING_TYPE, WATCH_SECONDS)
CONTENT: Final = (CONTENT_ID, TITLE, CREATED_AT)
# What differs from one rejected line of a report to the next.
REJECT: Final = ("line_number", "reason", "raw_text")

COLUMNS: Final = (*FACTS, TITLE, CREATED_AT)

# The alias target for a known column that is not loaded.
IGNORE: Final = "ignore"

# As the vendor writes them in its documentation, and the few variants that certainly mean the same.
_ACCEPTED: Final[Mapping[str, tuple[str, ...]]] = {
    TITLE: ("Content Title", "Title"),
    CONTENT_ID: ("Content ID",),
    STREAMING_TYPE: ("Streaming Type",),
    CREATED_AT: ("Created At", "Created Time"),
    CUSTOMER_ID: ("Customer ID",),
    WATCH_SECONDS: ("Watch Time (sec.)", "Watch Time (seconds)", "Watch Time (s)", "Watch Time"),
}

# The documented streaming types, in the one spelling that is stored.
STREAMING_TYPES: Final = frozenset({"VOD", "LIVE", "LIVE_TO_VOD"})

# A b-tree entry of Postgres holds some 2,700 bytes, and the key of `watch_time` has two ids in it.
KEY_BYTES: Final = 1_000

# A longer header is not a header, but HTML or JSON on one line. The limit keeps messages and proposals readable.
_MOST_COLUMNS: Final = 100
_LONGEST_HEADER: Final = 200

# A line with fewer known column names than this is not treated as a header.
_SIGNS_OF_A_HEADER: Final = 2

ALIASES_SETTING: Final = "WATCH_TIME_HEADER_ALIASES"


def fold_header(header: str) -> str:
    """Reduce a header to what is compared: letters and digits, without case; a byte-order mark is neither."""
    return "".join(char for char in unicodedata.normalize("NFKC", header).casefold() if char.isalnum())


def match_header(found: Sequence[str], aliases: Mapping[str, str]) -> tuple[str, ...]:
    """Give each found header its column name, or `IGNORE`.

    Args:
        found: the header texts of the file, in order.
        aliases: header text to column name or `IGNORE`; wins over the accepted names.

    Raises:
        ContractBroken: a column is missing, doubled or unknown; the message names what was expected and found, and
            the line to add to the settings.
    """
    _require_header_like(found)
    known = {fold_header(text): column for column, texts in _ACCEPTED.items() for text in texts}
    known |= {fold_header(text): column for text, column in aliases.items()}
    columns = [known.get(fold_header(text)) for text in found]
    unknown = [text for text, column in zip(found, columns, strict=True) if column is None]
    missing = [column for column in COLUMNS if column not in columns]
    doubled = [column for column in COLUMNS if columns.count(column) > 1]
    if not (unknown or missing or doubled):
        return tuple(column for column in columns if column is not None)
    if len(columns) - len(unknown) < _SIGNS_OF_A_HEADER:
        # It may then be a line of data, which must not be quoted.
        raise ContractBroken(
            f"line 1 is not the header of a watch-time report: only {len(columns) - len(unknown)} of its {len(found)} "
            "fields name a known column",
            next_step="check the file that the API's URL leads to, and ask BlendVision",
        )

    problems = [
        *(f"no column for {column} (expected {_ACCEPTED[column][0]!r})" for column in missing),
        *(f"more than one column for {column}" for column in doubled),
        *(f"unknown column {_shown(text)}" for text in unknown),
    ]
    headers = ", ".join(_shown(text) for text in found) or "nothing"
    raise ContractBroken(
        f"the report has unexpected columns: {'; '.join(problems)}. Found: {headers}",
        next_step=_next_step(missing, unknown, aliases),
    )


def _require_header_like(found: Sequence[str]) -> None:
    longest = max(map(len, found), default=0)
    if len(found) > _MOST_COLUMNS or longest > _LONGEST_HEADER:
        raise ContractBroken(
            f"line 1 of the report is not a header: {len(found):,} fields, the longest of {longest:,} characters",
            next_step="run again; the file is probably an error page sent in place of the report",
        )


def header_mapping(found: Sequence[str], columns: Sequence[str]) -> str:
    """How a header was read, for the ledger: a JSON object, header text to column or `IGNORE`."""
    return json.dumps(dict(zip(found, columns, strict=True)), ensure_ascii=False)


def is_read_alike(mapping: str | None, aliases: Mapping[str, str]) -> bool:
    """Whether a header that was once read as `mapping` says would be read the same way with these aliases."""
    then: dict[str, str] = json.loads(mapping or "{}")
    try:
        return match_header(list(then), aliases) == tuple(then.values())
    except ContractBroken:
        return False


def _next_step(missing: Sequence[str], unknown: Sequence[str], aliases: Mapping[str, str]) -> str:
    if not unknown:
        return (
            "ask BlendVision about the column; if another one replaces it, set "
            f'`{ALIASES_SETTING}=\'{{"<header text>": "<column>"}}\'`'
        )
    proposed = dict(aliases)
    left = list(unknown)
    for column in missing:
        close = difflib.get_close_matches(column, [fold_header(text) for text in left], n=1, cutoff=0.0)
        if close:
            text = next(text for text in left if fold_header(text) == close[0])
            proposed[text] = column
            left.remove(text)
    proposed |= dict.fromkeys(left, IGNORE)
    return (
        "if this mapping is correct, add it to the settings and run again: "
        f"`{ALIASES_SETTING}='{json.dumps(proposed, ensure_ascii=False)}'`"
    )


def _shown(header: str) -> str:
    """A header text for a message: quoted, control characters escaped, of bounded length."""
    return repr(header if len(header) <= 60 else header[:57] + "...")  # noqa: PLR2004 - a line of a terminal


_STREAMING_TYPE_SHAPE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")


def fold_streaming_type(text: str) -> str | None:
    """Bring a streaming type to its one spelling: upper case, words joined by one underscore.

    `Live-to-VOD`, `live to vod` and `LIVE_TO_VOD` are the same. Types that the documentation does not name are folded
    the same way. None when the text is empty or has another shape than words of ASCII letters and digits, 40 at most.
    """
    folded = re.sub(r"[\s_-]+", "_", text.strip())
    # Before the upper case, which makes ASCII letters of some others: of a dotless i, for one.
    if len(folded) > 40 or not folded.isascii():  # noqa: PLR2004 - the docstring's limit
        return None
    folded = folded.upper()
    return folded if _STREAMING_TYPE_SHAPE.fullmatch(folded) else None


# Seconds as Postgres's numeric reads them, at most 31,000 years. For RE2 and for `re` alike: \d means ASCII digits to
# the one, and digits of every script to the other.
WATCH_SECONDS_DIGITS: Final = 12
WATCH_SECONDS_SHAPE: Final = rf"[0-9]{{1,{WATCH_SECONDS_DIGITS}}}(\.[0-9]{{1,18}})?"

_WATCH_SECONDS_FAULTS: Final = tuple(
    (re.compile(shape, re.IGNORECASE | re.DOTALL), fault)
    for shape, fault in (
        (r"", "is empty"),
        (r"\s.*|.*\s", "is blank, or has spaces around it"),
        (r"-[0-9.,]+", "is negative"),
        (r"[+-]?(nan|inf|infinity)", "is not a finite number"),
        (r"[0-9]+(\.[0-9]+)?", "has more than 12 digits before the point or more than 18 after it"),
        (r"[+-]?[0-9.]+e[+-]?[0-9]+", "is in scientific notation"),
        (r"\+[0-9.]+", "has a sign"),
        (r"[0-9]+([,.'_\s][0-9]+)+", "has a thousands separator or a decimal comma"),
        (r"[\d.]+", "has digits other than 0 to 9, or a misplaced point"),
        (r".*", "is not a number"),
    )
)


def watch_seconds_fault(text: str) -> str:
    """Why a text that does not match `WATCH_SECONDS_SHAPE` is not a valid watch time, without quoting it."""
    return next(f"the watch time {fault}" for shape, fault in _WATCH_SECONDS_FAULTS if shape.fullmatch(text))


# The year comes first, so that day and month cannot be mixed up. Digits alone are not read: 20260102 may be a date or
# a count of seconds.
_CREATED_AT_SHAPE: Final = re.compile(
    r"\d{4}([-/])\d{2}\1\d{2}"
    r"([T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?"
    r"(Z| UTC|[+-](0\d|1[0-4])(:?[0-5]\d)?)?)?",
    re.ASCII,
)
# Longer than any text of that shape.
_LONGEST_CREATED_AT: Final = 40


def parse_created_at(text: str) -> datetime | None:
    """Read a creation time: ISO 8601, year first, dashes or slashes in the date, a `T` or a space before the time.

    The vendor documents neither format nor zone: `Z`, ` UTC` and offsets up to 14 hours are accepted; without one it
    is UTC. The time may be missing (midnight), or its seconds, or their fraction (cut to microseconds). None for
    anything else, and for what lies outside the years 1 to 9999; words such as `now` are never read.
    """
    return _moment(text) if len(text) <= _LONGEST_CREATED_AT else None


# A report names a few thousand contents over and over.
@functools.lru_cache(maxsize=16_384)
def _moment(text: str) -> datetime | None:
    if not _CREATED_AT_SHAPE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.replace("/", "-").replace(" UTC", "Z"))
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        return None  # no such day, or out of range once brought to UTC
