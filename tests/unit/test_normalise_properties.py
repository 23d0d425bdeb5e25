"""What holds for every report: written ones come back as they were, mutated ones are read as by the standard library.

Deterministic: the same cases in every run.
"""

from __future__ import annotations

import csv
import io
import random
import re
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import HEADER, read

from etl import contract
from etl.errors import ContractBroken, DataRefused

if TYPE_CHECKING:
    from pathlib import Path

deterministic = settings(derandomize=True, deadline=None, database=None, max_examples=150)

# Postgres's text and UTF-8 leave these two out. The marks of CSV come often.
any_text = st.text(
    st.one_of(
        st.sampled_from('",\r\n\t x0é\ufeff\u200b'), st.characters(exclude_characters="\0", exclude_categories=["Cs"])
    ),
    max_size=12,
)
watch_times = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,18})?", fullmatch=True, alphabet="0123456789.")
rows = st.tuples(
    any_text.filter(bool),
    any_text,
    st.sampled_from(["VOD", "LIVE", "LIVE_TO_VOD", "SIMULIVE"]),
    watch_times,
    any_text,
    st.just(""),
)
# Values that are accepted and values that are not, in lines of any width.
junk = st.one_of(
    any_text, watch_times, st.sampled_from(["VOD", "c", "-1", "1e5", "\0", "x" * 1001, "2026-01-02", "now"])
)
lines_of_junk = st.one_of(
    st.lists(junk, min_size=6, max_size=6), st.lists(junk, min_size=2, max_size=8), rows.map(list), rows.map(list)
)

# Not QUOTE_MINIMAL with LF: the writer would leave a lone carriage return unquoted.
dialects = st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n")])
sizes = st.integers(min_value=1, max_value=200)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports") / "report.csv"


def write(path: Path, lines: list[Any], dialect: tuple[Any, str]) -> None:
    quoting, line_end = dialect
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=quoting, lineterminator=line_end).writerows([HEADER.split(","), *lines])


@deterministic
@given(lines=st.lists(rows, max_size=20), dialect=dialects, block_bytes=sizes)
def test_a_report_comes_back_as_it_was_written(
    path: Path, lines: list[tuple[str, ...]], dialect: tuple[Any, str], block_bytes: int
) -> None:
    write(path, lines, dialect)

    result = read(path, block_bytes=block_bytes)

    assert result.rejects == []
    assert result.rows == [line[:4] for line in lines]
    assert set(result.contents) == {(line[0], line[4], None) for line in lines}


@deterministic
@given(lines=st.lists(lines_of_junk, max_size=20), dialect=dialects, block_bytes=sizes)
def test_every_record_is_a_row_or_a_reject_and_blocks_do_not_matter(
    path: Path, lines: list[list[str]], dialect: tuple[Any, str], block_bytes: int
) -> None:
    write(path, lines, dialect)

    result = read(path, block_bytes=block_bytes)

    assert len(result.rows) + len(result.rejects) == len(lines)
    whole = read(path)
    assert set(result.contents) == set(whole.contents)
    assert replace(result, contents=whole.contents) == whole


# Against the standard library

CASES_PER_SEED = 100
NASTY_BYTES = b'",\r\n\0\xff\xc3\xa9\xef\xbb\xbf -+.e5x'


@dataclass(frozen=True)
class Expected:
    rows: list[tuple[Any, ...]]
    contents: set[tuple[Any, ...]]
    reject_lines: list[int]


def by_the_standard_library(data: bytes) -> Expected | None:
    """What csv's strict reader and a plain loop over cells make of a report; None when they refuse it as a whole."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode(errors="surrogateescape")
    reader = csv.reader(io.StringIO(text, newline="\n"), strict=True)
    records, line_number = [], 1
    try:
        for record in reader:
            if record:
                records.append((line_number, record))
            line_number = reader.line_num + 1
        header = records[0][1]
        "".join(header).encode()
        if any("\0" in name for name in header):
            return None
        columns = contract.match_header(header, {})
    except (csv.Error, IndexError, UnicodeEncodeError, ContractBroken):
        return None
    rows = [
        (line_number, plain_row(dict(zip(columns, record, strict=False)), len(record)))
        for line_number, record in records[1:]
    ]
    return Expected(
        rows=[row[:4] for _, row in rows if row is not None],
        contents={(row[0], *row[4:]) for _, row in rows if row is not None},
        reject_lines=[line_number for line_number, row in rows if row is None],
    )


def plain_row(cells: dict[str, str], width: int) -> tuple[Any, ...] | None:
    try:
        ids = [cells[name].encode() for name in (contract.CONTENT_ID, contract.CUSTOMER_ID)]
        "".join(cells.values()).encode()
    except (KeyError, UnicodeEncodeError):
        return None
    streaming_type = contract.fold_streaming_type(cells.get(contract.STREAMING_TYPE, ""))
    watch_time = re.fullmatch(r"\d{1,12}(\.\d{1,18})?", cells.get(contract.WATCH_SECONDS, ""), re.ASCII)
    fine = (
        width == len(contract.COLUMNS)
        and "\0" not in "".join(cells.values())
        and ids[0]
        and max(map(len, ids)) <= 1_000
        and streaming_type
        and watch_time
    )
    if not fine:
        return None
    read_values = {
        contract.STREAMING_TYPE: streaming_type,
        contract.CREATED_AT: contract.parse_created_at(cells[contract.CREATED_AT]),
    }
    return tuple((cells | read_values)[name] for name in contract.COLUMNS)


def a_report(chance: random.Random) -> bytes:
    titles = ["plain", "", 'with "quotes"', "a, comma", "two\nlines", "two\r\nlines", "é \u200b 🎬", " spaces "]
    lines = [
        [
            chance.choice(["c1", "007", "NA", '"', "x" * 1_000]),
            chance.choice(["", "u", " ", "u,v"]),
            chance.choice(["VOD", "Live-to-VOD", "new"]),
            chance.choice(["0", "5", "12.5", "123456789012"]),
            chance.choice(titles),
            chance.choice(["", "2026-01-02T03:04:05Z", "2026-01-02", "soon"]),
        ]
        for _ in range(chance.randint(0, 8))
    ]
    text = io.StringIO()
    quoting: Any
    quoting, line_end = chance.choice([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_MINIMAL, "\n"), (csv.QUOTE_ALL, "\n")])
    csv.writer(text, quoting=quoting, lineterminator=line_end).writerows([HEADER.split(","), *lines])
    return chance.choice([b"", b"\xef\xbb\xbf"]) + text.getvalue().encode()


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The report with up to three bytes replaced, put in, taken out or doubled, or its end cut off."""
    # Mostly behind the header: a broken header ends the case before it is interesting.
    low = chance.choice([0, *[min(len(HEADER) + 2, len(data))] * 9])
    for _ in range(chance.randint(1, 3)):
        at, nasty = chance.randint(low, max(low, len(data))), bytes([chance.choice(NASTY_BYTES)])
        data = chance.choice(
            [
                data[:at] + nasty + data[at + 1 :],
                data[:at] + nasty + data[at:],
                data[:at] + data[at + 1 :],
                data[:at] + data[at : at + 9] + data[at:],
                data[:at],
            ]
        )
    return data


def by_us(path: Path, block_bytes: int) -> Expected | str:
    """What we make of it; the message when we refuse it as a whole."""
    try:
        result = read(path, block_bytes=block_bytes)
    except DataRefused as refused:
        return refused.message
    return Expected(result.rows, set(result.contents), [reject.line_number for reject in result.rejects])


# What csv's strict reader lets pass and RFC 4180 does not: quotes within an unquoted field, and half a line end at the
# end of the file.
STRICTER = re.compile("a quote inside an unquoted field|a carriage return that is no part of a CRLF line end")


@pytest.mark.parametrize("seed", range(20))
def test_mutated_reports_are_read_as_the_standard_library_reads_them(path: Path, seed: int) -> None:
    """Never another value, row or line number; never a file that csv refuses; refused beyond that only as listed."""
    chance = random.Random(seed)  # noqa: S311 - reproducible cases, no secrets
    outcomes: Counter[str] = Counter()
    for case in range(CASES_PER_SEED):
        data = mutated(a_report(chance), chance)
        path.write_bytes(data)
        expected, actual = by_the_standard_library(data), by_us(path, chance.choice([100, 10_000, 10_000]))
        if isinstance(actual, Expected):
            assert actual == expected, (case, data)
            outcomes["both accept, with rejects" if actual.reject_lines else "both accept"] += 1
        else:
            assert expected is None or STRICTER.search(actual), (case, data, actual)
            outcomes["both refuse" if expected is None else "we are stricter"] += 1

    # The cases must be worth something: each of the outcomes occurs, and not just once.
    assert len(outcomes) == 4
    assert min(outcomes.values()) >= 3
