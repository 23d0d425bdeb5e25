"""The contract with the source: the columns of a report, the header texts accepted for each, the spellings of values.

The vendor documents the columns in prose only, so the exact header text is assumed; a setting can extend the accepted
names. Source: BlendVision One, watch-time report. Pure: no I/O, no settings read.
"""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Final

from etl.errors import ContractBroken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CONTENT_ID: Final = "content_id"
CUSTOMER_ID: Final = "customer_id"
STREAMING_TYPE: Final = "streaming_type"
WATCH_SECONDS: Final = "watch_seconds"
TITLE: Final = "title"
CREATED_AT: Final = "created_at"

COLUMNS: Final = (CONTENT_ID, CUSTOMER_ID, STREAMING_TYPE, WATCH_SECONDS, TITLE, CREATED_AT)

# What an alias may name to say "this column is known, and not wanted".
IGNORE: Final = "ignore"

# As the vendor writes them in its documentation, and the few variants that mean the same without doubt.
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
    known = {fold_header(text): column for column, texts in _ACCEPTED.items() for text in texts}
    known |= {fold_header(text): column for text, column in aliases.items()}
    columns = [known.get(fold_header(text)) for text in found]
    unknown = [text for text, column in zip(found, columns, strict=True) if column is None]
    missing = [column for column in COLUMNS if column not in columns]
    doubled = [column for column in COLUMNS if columns.count(column) > 1]
    if not (unknown or missing or doubled):
        return tuple(column for column in columns if column is not None)

    problems = [
        *(f"no column for {column} (expected {_ACCEPTED[column][0]!r})" for column in missing),
        *(f"more than one column for {column}" for column in doubled),
        *(f"unknown column {_shown(text)}" for text in unknown),
    ]
    headers = ", ".join(_shown(text) for text in found) or "nothing"
    raise ContractBroken(
        f"the report's columns are not those of the contract: {'; '.join(problems)}. Found: {headers}",
        next_step=_next_step(missing, unknown, aliases),
    )


def _next_step(missing: Sequence[str], unknown: Sequence[str], aliases: Mapping[str, str]) -> str:
    if not unknown:
        return (
            "ask BlendVision what became of the column; if another one holds it now, say so with "
            f'{ALIASES_SETTING}=\'{{"<header text>": "<column>"}}\''
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
        "if that is what the columns mean now, add this line to the settings and run again: "
        f"{ALIASES_SETTING}='{json.dumps(proposed, ensure_ascii=False)}'"
    )


def _shown(header: str) -> str:
    """A header text for a message: quoted, control characters escaped, of bounded length."""
    return repr(header if len(header) <= 60 else header[:57] + "...")  # noqa: PLR2004 - a line of a terminal


_STREAMING_TYPE_SHAPE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*", re.ASCII)


def fold_streaming_type(text: str) -> str | None:
    """Bring a streaming type to its one spelling: upper case, words joined by one underscore.

    `Live-to-VOD`, `live to vod` and `LIVE_TO_VOD` are the same. Types that the documentation does not name are folded
    the same way. None when the text is empty or has another shape than words of ASCII letters and digits, 40 at most.
    """
    folded = re.sub(r"[\s_-]+", "_", text.strip().upper())
    if len(folded) > 40 or not _STREAMING_TYPE_SHAPE.fullmatch(folded):  # noqa: PLR2004 - the docstring's limit
        return None
    return folded
