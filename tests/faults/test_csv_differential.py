"""Damaged reports are read as a second, plain reader reads them: the same rows and rejects, or refused by both.

A file on which the two disagree is made as small as it can be and written into the corpus; what it was is then told
in the corpus's README, and the file is read again in every run.
"""

from __future__ import annotations

import csv
import hashlib
import io
import random
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pytest

import strict_csv
from effort import SEED, effort
from etl.domain import contract
from etl.domain.errors import DataRefused
from etl.transform import normalise, record_splitter
from strict_csv import Reading, Refused
from tally import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd

CORPUS = Path(__file__).parent / "corpus"
HEADER = ["Content Title", "Content ID", "Streaming Type", "Created At", "Customer ID", "Watch Time (sec.)"]
# Divided, so that several workers have something to do, and none for too long.
PARTS = effort(3)
FILES_PER_PART = 300
BLOCK_SIZES = (1, 7, 64, 300, 10_000, record_splitter.BLOCK_BYTES)
KINDS = {"fields$": "fields", "a NUL character": "NUL", "not UTF-8$": "UTF-8"}

SPLITTING = "cannot be split into records"

NASTY = (
    b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf",
    b"\xf0\x9f\x8e", b" ", b"\t", b"\x0b", b"\x1a", b"\\.", b"\\N", b"-", b"+", b".", b"e5", b"\xc2\xa0",
    b"\xe2\x80\xa8", b"\x85", b"\x00\xfe",
)  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("reports") / "report.csv"


def a_report(chance: random.Random) -> bytes:
    titles = ["plain", "", 'with "quotes"', "a, comma", "two\nlines", "two\r\nlines", "é \u200b 🎬", " spaces ", "\\."]
    moments = [
        "",
        "2026-01-02T03:04:05Z",
        "2026-01-02",
        "2026/01/02 03:04",
        "2026-01-02T03:04:05.123456789+05:30",
        "soon",
    ]
    lines = [
        [
            chance.choice(titles),
            chance.choice(["c1", "007", "NA", '"', "1e5", "x" * 1_000, "é" * 501]),
            chance.choice(["VOD", "Live-to-VOD", "LIVE", "a new one", "2nd"]),
            chance.choice(moments),
            chance.choice(["", "u", " ", "u,v", "null"]),
            chance.choice(["0", "5", "12.5", "123456789012", "0.000000000000000001", "1,5"]),
        ]
        for _ in range(chance.choice([0, 1, 2, 4, 8]))
    ]
    text, header = io.StringIO(), chance.choice([HEADER, HEADER, chance.sample(HEADER, len(HEADER))])
    quoting: Any
    quoting, end = chance.choice([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_MINIMAL, "\n"), (csv.QUOTE_ALL, "\n")])
    order = [HEADER.index(name) for name in header]
    csv.writer(text, quoting=quoting, lineterminator=end).writerows(
        [header, *([line[index] for index in order] for line in lines)]
    )
    return chance.choice([b"", b"\xef\xbb\xbf"]) + text.getvalue().encode()


def _swapped(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    one, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def _flipped(data: bytes, at: int, chance: random.Random) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :] if at < len(data) else data


MUTATIONS: tuple[Callable[[bytes, int, random.Random], bytes], ...] = (
    _flipped,
    lambda data, at, chance: data[:at] + chance.choice(NASTY) + data[at:],
    lambda data, at, chance: data[:at] + chance.choice(NASTY) + data[at + 1 :],
    lambda data, at, chance: data[:at] + data[at + chance.randint(1, 5) :],
    lambda data, at, chance: data[:at] + data[at : at + chance.randint(1, 40)] + data[at:],
    lambda data, at, chance: data[:at] + bytes(chance.randrange(256) for _ in range(3)) + data[at:],
    lambda data, at, _: data[:at],
    lambda data, _, chance: _swapped(data, chance),
)


def mutated(data: bytes, chance: random.Random) -> bytes:
    # Mostly behind the header: a broken header ends the case before it is interesting.
    low = chance.choice([0, *[min(len(",".join(HEADER)) + 2, len(data))] * 9])
    for _ in range(chance.randint(1, 3)):
        data = chance.choice(MUTATIONS)(data, chance.randint(low, max(low, len(data))), chance)
    return data


class Told(NamedTuple):
    """What a report says, in the program's terms: each line's facts, and each spelling of a content once."""

    facts: list[tuple[Any, ...]]
    contents: set[tuple[Any, ...]]
    rejects: list[tuple[int, str, str]]


def in_our_terms(reading: Reading) -> Told:
    rows = reading.rows
    return Told([row[:4] for row in rows], {(row[0], *row[4:]) for row in rows}, reading.rejects)


def by_us(path: Path, data: bytes, block_bytes: int) -> Told | str:
    """What the program makes of it; the message when it refuses it as a whole."""
    path.write_bytes(data)
    reading = Told([], set(), [])
    try:
        for chunk in normalise.chunks(path, aliases={}, block_bytes=block_bytes):
            reading.facts.extend(_rows(chunk.rows, contract.FACTS))
            reading.contents.update(_rows(chunk.contents, contract.CONTENT))
            reading.rejects.extend((each.line_number, _kind(each.reason), each.raw_text) for each in chunk.rejects)
    except DataRefused as refused:
        return refused.message
    return reading


def _rows(frame: pd.DataFrame, columns: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    return zip(*(pa.array(frame[name]).to_pylist() for name in columns), strict=True)


def _kind(reason: str) -> str:
    return next((kind for shape, kind in KINDS.items() if re.search(shape, reason)), "value")


def plainly(data: bytes) -> Reading | str:
    """What the second reader makes of it."""
    try:
        return strict_csv.read(data)
    except Refused as refused:
        return str(refused)


def disagreement(path: Path, data: bytes, block_sizes: tuple[int, ...]) -> str | None:
    """In words, or None: each size of blocks gives the same as the second reader, and all find the same first fault.

    But for the header's: it is read as soon as its block is, and a fault behind it may stand in the same block.
    """
    read, messages = plainly(data), set[str]()
    expected = read if isinstance(read, str) else in_our_terms(read)
    for size in block_sizes:
        actual = by_us(path, data, size)
        if isinstance(expected, str) and isinstance(actual, str):
            messages |= {actual} if SPLITTING in actual else set()
        elif actual != expected:
            return f"in blocks of {size}: {actual!r}; the second reader: {expected!r}"
    return f"messages differ with the size of blocks: {messages}" if len(messages) > 1 else None


def shrunk(data: bytes, is_bad: Callable[[bytes], bool]) -> bytes:
    """The file without whatever can be left out of it with the disagreement still there."""
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data):
            less = data[:at] + data[at + size :]
            data, at = (less, at) if is_bad(less) else (data, at + size)
        size //= 2
    return data


def kept_in_corpus(data: bytes, path: Path, block_sizes: tuple[int, ...]) -> str:
    """Shrink a file on which the readers disagree and write it into the corpus; gives its name."""
    small = shrunk(data, lambda less: disagreement(path, less, block_sizes) is not None)
    file = CORPUS / f"found-{hashlib.sha256(small).hexdigest()[:12]}.csv"
    file.write_bytes(small)
    return f"{file.name} ({small!r}); say in the corpus's README what it is"


@pytest.mark.parametrize("part", range(PARTS))
def test_damaged_reports_are_read_as_a_plain_reader_reads_them(path: Path, part: int) -> None:
    chance = random.Random(f"{SEED}-{part}")  # noqa: S311 - reproducible cases, no secrets
    outcomes: Counter[str] = Counter()
    for case in range(FILES_PER_PART):
        data = mutated(a_report(chance), chance)
        # Small blocks are ten times the work: each is a table of its own.
        sizes = chance.choice([*[(10_000,)] * 3, (record_splitter.BLOCK_BYTES, chance.choice(BLOCK_SIZES))])
        if what := disagreement(path, data, sizes):
            name = kept_in_corpus(data, path, sizes)
            pytest.fail(f"seed {SEED}, part {part}, case {case}, kept as {name}: {what}")
        expected = plainly(data)
        outcomes["refused" if isinstance(expected, str) else "rejects" if expected.rejects else "accepted"] += 1
        outcomes["rows"] += 0 if isinstance(expected, str) else len(expected.rows)
    # The cases must be worth something: each of the outcomes is common.
    assert min(outcomes["refused"], outcomes["rejects"], outcomes["accepted"]) > FILES_PER_PART // 20, outcomes
    record("reports damaged", FILES_PER_PART)


def _told() -> dict[str, str]:
    """What the corpus's README says comes of each file."""
    told = (CORPUS / "README.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(.+?\.csv)` \| (.+?) \|", told, re.MULTILINE))


@pytest.mark.parametrize("file", sorted(CORPUS.glob("*.csv")), ids=lambda file: file.stem)
def test_a_file_of_the_corpus_is_read_as_told_there(path: Path, file: Path) -> None:
    data = file.read_bytes()
    assert disagreement(path, data, BLOCK_SIZES) is None
    reading = plainly(data)
    outcome = "refused" if isinstance(reading, str) else f"{len(reading.rows)} rows, {len(reading.rejects)} rejects"
    assert outcome == _told().get(file.name)


def test_the_readme_of_the_corpus_names_files_that_are_there() -> None:
    assert set(_told()) == {file.name for file in CORPUS.glob("*.csv")}


def test_a_disagreement_is_noticed_and_the_file_made_small(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = (",".join(HEADER) + "\nt,c1,VOD,,u1,1\nt,four,VOD,,u1,1\n").encode()
    assert disagreement(path, data, BLOCK_SIZES) is None
    monkeypatch.setattr(strict_csv, "KEY_BYTES", 3)
    assert "in blocks of 1:" in (disagreement(path, data, BLOCK_SIZES) or "")
    small = shrunk(data, lambda less: disagreement(path, less, BLOCK_SIZES[-1:]) is not None)
    assert len(small) < len(data) - len("t,c1,VOD,,u1,1")
    assert b"c1" not in small
