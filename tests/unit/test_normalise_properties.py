"""What holds for every report: written ones come back as they were, and every record is a row or a reject.

Deterministic: the same cases in every run.
"""

from __future__ import annotations

import csv
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_reader import HEADER, read

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
