"""What there is to watch, and who watches: the catalogue of a day, and the customers."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.domain.slices import ReportType
from etl.sandbox.deterministic_random import mix, seed_of, uuids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from etl.sandbox.sandbox_config import SandboxConfig

# The first titles of every catalogue: what spreadsheets and parsers like to spoil.
_ODD_TITLES = (
    "NA", "null", "1e5", "007", " Two spaces before,  two within ", '""', "=1+1", "Line one\nLine two", "\\N",
)  # fmt: skip
_FIRST_WORDS = (
    "Silent", "Last", "Über", "Nuit d'été:", "夜の", "La niña y el", "Голос", "소리 없는", "Ünlü", "🎬", "صوت",
)  # fmt: skip
_SECOND_WORDS = ("River", "Harbour, Part 1", 'So-called "Truth"', "海", "corazón", "Zürich", "город", "바다", "Æther")
_ENDINGS = ("", "", "", " (Director's cut)", ", the sequel", "\nwith commentary", ' "uncut"', " · 第12集")

# Ids as customers' own systems hand them out; they are text, whatever they look like. `, ` and `"` are CSV's business.
ODD_CUSTOMERS = (
    "007", "NA", "null", "1e5", "None", "nan", "N/A", "TRUE", "0", "-1", "1.0", "9007199254740993", "2023-07-03",
    "Jane Doe 42", "van der  Berg, T.", 'O"Neill', "ユーザー 7", "user+tag@example.com", "#REF!", "\\N",
)  # fmt: skip


# Contents are made so many at a time, and kept: a report of ten lines would take as long as one of 100,000.
_SIZE_STEP = 1_024


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The contents that can be watched on a day: ids, titles and creation times, and a weight for each."""

    content_ids: tuple[str, ...]
    titles: tuple[str, ...]
    created_at: tuple[str, ...]
    weights: NDArray[np.int64]


def catalogue(config: SandboxConfig, report_type: ReportType, day: date) -> Catalogue:
    """The catalogue of `day`: that of the first day and one new content for each day since."""
    first_size = config.titles if report_type is ReportType.VOD else -(-config.titles // 6)
    size = first_size + max(0, (day - config.first_day).days)
    key = seed_of(config.seed, report_type, "content")
    # Zipf's law in whole numbers: half as popular at twice the rank, give or take what the day brings.
    rank = np.argsort(np.argsort(mix(np.arange(size), key)))
    of_the_day = (mix(np.arange(size), seed_of(key, day)) % np.uint64(16) + np.uint64(8)).astype(np.int64)
    ids, titles, created_at = _contents(key, first_size, config.first_day, -(-size // _SIZE_STEP) * _SIZE_STEP)
    return Catalogue(ids[:size], titles[:size], created_at[:size], weights=1_000_000 // (rank + 3) * of_the_day)


@lru_cache(maxsize=8)
def _contents(key: int, first_size: int, first_day: date, size: int) -> tuple[tuple[str, ...], ...]:
    """Ids, titles and creation times of the first `size` contents, which are the same on every day."""
    numbers = np.arange(size)
    chances = mix(numbers, key).tolist()
    return (
        tuple(bytes(row).decode() for row in uuids(numbers, seed_of(key, "id"))),
        tuple(_title(number, chance) for number, chance in enumerate(chances)),
        tuple(_created_at(number - first_size, chance, first_day) for number, chance in enumerate(chances)),
    )


def _title(number: int, chance: int) -> str:
    if number < len(_ODD_TITLES):
        return _ODD_TITLES[number]
    words = []
    for choice in (_FIRST_WORDS, _SECOND_WORDS, _ENDINGS):
        chance, picked = divmod(chance, len(choice))
        words.append(choice[picked])
    first, second, ending = words
    return f"{first} {second} {number}{ending}"


def _created_at(days_after_first: int, chance: int, first_day: date) -> str:
    """The contents of the first catalogue are up to three years old by then, the others as old as the day they came."""
    days = days_after_first if days_after_first >= 0 else -1 - chance % 1_095
    moment = datetime.combine(first_day, time(), UTC) + timedelta(days=days, seconds=chance % 86_400)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def quoted(*fields: str) -> str:
    """The fields as CSV, with quotes where they are needed, and without the end of the line."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return line.getvalue().removesuffix("\n")


# One for an anonymous viewer, then the odd ones; with the comma that follows.
_SPECIAL_FIELDS = pa.array([",", *(quoted(text, "") for text in ODD_CUSTOMERS)])


def customer_fields(numbers: NDArray[np.int64], seed: int) -> pa.StringArray:
    """The customer ids as CSV fields, each with the comma that follows; a negative number is an anonymous viewer."""
    width = 37
    text = np.full((len(numbers), width), ord(","), np.uint8)
    text[:, :36] = uuids(numbers, seed_of(seed, "customer"))
    offsets = np.arange(0, width * (len(numbers) + 1), width, dtype=np.int32)
    fields = pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets.data), pa.py_buffer(text.data))
    special = numbers < len(ODD_CUSTOMERS)
    replacement = _SPECIAL_FIELDS.take(np.maximum(numbers[special], -1) + 1)
    replaced: pa.StringArray = pc.replace_with_mask(fields, pa.array(special), replacement)
    return replaced
