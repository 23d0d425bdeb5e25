"""Splitting bytes into records: strict, in bounded memory, and the same for every size of blocks."""

from __future__ import annotations

import codecs
import csv
import io
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from etl.domain.errors import MalformedReport
from etl.transform import record_splitter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SIZES = pytest.mark.parametrize("block_bytes", [1, 7, 64, record_splitter.BLOCK_BYTES])


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "report.csv"
        path.write_bytes(data)
        return path

    return write


def split(path: Path, block_bytes: int = record_splitter.BLOCK_BYTES) -> list[tuple[int, bytes]]:
    """Line number and bytes of every record."""
    return [
        (line_number, block.record(index))
        for block in record_splitter.blocks(path, block_bytes=block_bytes)
        for index, line_number in enumerate(block.line_numbers(range(len(block))))
    ]


@SIZES
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(b"", [], id="an empty file"),
        pytest.param(b"\n\r\n\n", [], id="blank lines alone"),
        pytest.param(codecs.BOM_UTF8, [], id="a byte-order mark alone"),
        pytest.param(b"a", [(1, b"a")], id="one byte"),
        pytest.param(b"a,b\nc,d\n", [(1, b"a,b"), (2, b"c,d")], id="LF"),
        pytest.param(b"a,b\r\nc,d\r\n", [(1, b"a,b"), (2, b"c,d")], id="CRLF"),
        pytest.param(b"a,b\r\nc,d\ne,f", [(1, b"a,b"), (2, b"c,d"), (3, b"e,f")], id="both, and none at the end"),
        pytest.param(b"\na\n\n\r\nb\n\n", [(2, b"a"), (5, b"b")], id="blank lines are passed over and counted"),
        pytest.param(codecs.BOM_UTF8 + b'"a"\nb\n', [(1, b'"a"'), (2, b"b")], id="a byte-order mark"),
        pytest.param(
            b"a\n" + codecs.BOM_UTF8 + b"b\n",
            [(1, b"a"), (2, codecs.BOM_UTF8 + b"b")],
            id="a byte-order mark further on is data",
        ),
        pytest.param(
            b'a,"b\nc\r\nd",e\n"f"\n', [(1, b'a,"b\nc\r\nd",e'), (4, b'"f"')], id="line ends within quotes are data"
        ),
        pytest.param(b'"a\rb"\nc\n', [(1, b'"a\rb"'), (2, b"c")], id="a carriage return within quotes is data"),
        pytest.param(
            b'"","""",""""""\n"a""b","""c"""\n',
            [(1, b'"","""",""""""'), (2, b'"a""b","""c"""')],
            id="doubled quotes",
        ),
        pytest.param(b'""\n""\n', [(1, b'""'), (2, b'""')], id="a quoted nothing is a record"),
        pytest.param(b'a\n"b\n""\n"\nc', [(1, b"a"), (2, b'"b\n""\n"'), (5, b"c")], id="a doubled quote on a line"),
    ],
)
def test_records_and_the_lines_they_begin_on(
    file: Callable[[bytes], Path], data: bytes, expected: list[tuple[int, bytes]], block_bytes: int
) -> None:
    assert split(file(data), block_bytes) == expected


QUOTE_INSIDE = "a quote inside an unquoted field on line"
TEXT_AFTER = "text after a closing quote on line"
RETURN_ALONE = "a carriage return without a line feed on line"
NEVER_ENDS = "an unterminated quoted field begins on line"


@SIZES
@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b'a\nb"c\n', f"{QUOTE_INSIDE} 2", id="a quote inside"),
        pytest.param(b'a\nb"c"d\n', f"{QUOTE_INSIDE} 2", id="quotes inside"),
        pytest.param(b'a\nb"', f"{QUOTE_INSIDE} 2", id="a quote at the end of a field and of the file"),
        pytest.param(b'a\nb""\n', f"{QUOTE_INSIDE} 2", id="a doubled quote in an unquoted field"),
        pytest.param(b'a, "b"\n', f"{QUOTE_INSIDE} 1", id="a space before the opening quote"),
        pytest.param(codecs.BOM_UTF8 * 2 + b'"a"\n', f"{QUOTE_INSIDE} 1", id="a second byte-order mark"),
        pytest.param(b'a\n"b" ,c\n', f"{TEXT_AFTER} 2", id="a space after the closing quote"),
        pytest.param(b'a\n"b\n"c\n', f"{TEXT_AFTER} 3", id="text after a field of two lines"),
        pytest.param(b'"a""b"c""\n', f"{TEXT_AFTER} 1", id="text after a doubled quote"),
        pytest.param(b'""a\n', f"{TEXT_AFTER} 1", id="text after nothing"),
        pytest.param(b'a\n"b\nc\n"d"\n', f"{TEXT_AFTER} 4", id="an unclosed field meets the next quote"),
        pytest.param(b"a\rb\r", f"{RETURN_ALONE} 1", id="line ends of CR alone"),
        pytest.param(b"a\nb\rc\n", f"{RETURN_ALONE} 2", id="a carriage return inside"),
        pytest.param(b"a\nb\r\r\n", f"{RETURN_ALONE} 2", id="one carriage return too many"),
        pytest.param(b'a\n"b"\rc\n', f"{RETURN_ALONE} 2", id="a carriage return after a quote"),
        pytest.param(b"a\nb\r", f"{RETURN_ALONE} 2", id="half a line end at the end"),
        pytest.param(b'a\n"b\nc"\r', f"{RETURN_ALONE} 3", id="half a line end after a field of two lines"),
        pytest.param(b'a\nb,"c\nd\n', f"{NEVER_ENDS} 2", id="an unclosed field"),
        pytest.param(b'a\nb,"c\nd\r', f"{NEVER_ENDS} 2", id="an unclosed field that ends in a carriage return"),
        pytest.param(b'a\n"b"",\n""', f"{NEVER_ENDS} 2", id="an unclosed field with doubled quotes"),
        pytest.param(b'a\n"b\n",""",\n\n', f"{NEVER_ENDS} 3", id="an unclosed field that begins with a doubled quote"),
        pytest.param(b'a\nb,"', f"{NEVER_ENDS} 2", id="a quote as the last byte"),
        pytest.param(b'"', f"{NEVER_ENDS} 1", id="a quote alone"),
        pytest.param(b'a\nb"c\nd\re\n"f"g\n', f"{QUOTE_INSIDE} 2", id="of several faults the first: a quote"),
        pytest.param(b'a\nd\re\nb"c\n"f"g\n', f"{RETURN_ALONE} 2", id="of several faults the first: a return"),
    ],
)
def test_the_first_broken_rule_makes_the_file_malformed(
    file: Callable[[bytes], Path], data: bytes, message: str, block_bytes: int
) -> None:
    with pytest.raises(MalformedReport) as refused:
        split(file(data), block_bytes)

    assert refused.value.message == f"the report cannot be split into records: {message}"
    assert "RFC 4180" in refused.value.next_step


@pytest.mark.parametrize(
    ("encoding", "name"),
    [("utf-16", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32"), ("utf-32-be", "UTF-32")],
)
def test_a_wide_byte_order_mark_is_named(file: Callable[[bytes], Path], encoding: str, name: str) -> None:
    with pytest.raises(MalformedReport, match=f"encoded in {name}, not in UTF-8"):
        split(file("\ufeffContent ID\n".encode(encoding.replace("-be", "_be"))))


def test_a_fault_is_told_without_showing_data(file: Callable[[bytes], Path]) -> None:
    for data in (b'secret"secret\n', b'"secret"secret\n', b"secret\rsecret\n", b'a,"secret', b"secret" * 300_000):
        with pytest.raises(MalformedReport) as refused:
            split(file(data))
        assert "secret" not in refused.value.message + refused.value.next_step


@pytest.mark.parametrize("block_bytes", [100_000, record_splitter.BLOCK_BYTES])
@pytest.mark.parametrize("line_end", [b"\n", b""])
def test_a_record_has_a_limit_and_reaches_it(file: Callable[[bytes], Path], line_end: bytes, block_bytes: int) -> None:
    longest = b'"\n' + b"x" * (record_splitter.RECORD_LIMIT_BYTES - 3) + b'"'
    assert split(file(b"a\n" + longest + line_end), block_bytes) == [(1, b"a"), (2, longest)]

    with pytest.raises(MalformedReport, match="a record longer than 1,048,576 bytes on line 2"):
        split(file(b"a\n" + longest[:-1] + b'x"' + line_end), block_bytes)


@pytest.mark.parametrize(
    "before", [0, 1, record_splitter.RECORD_LIMIT_BYTES // 2, record_splitter.RECORD_LIMIT_BYTES, 3_000_001]
)
def test_the_limit_holds_anywhere_in_a_block(file: Callable[[bytes], Path], before: int) -> None:
    longest = b"x" * record_splitter.RECORD_LIMIT_BYTES
    short = b"a\n" * (before // 2)
    assert split(file(short + longest + b"\n" + short))[before // 2] == (before // 2 + 1, longest)

    with pytest.raises(MalformedReport, match=f"a record longer than 1,048,576 bytes on line {before // 2 + 1}$"):
        split(file(short + longest + b"x\n" + short))


@pytest.mark.parametrize("block_bytes", [100_000, record_splitter.BLOCK_BYTES])
def test_a_fault_within_a_record_that_is_too_long_is_the_one_that_is_told(
    file: Callable[[bytes], Path], block_bytes: int
) -> None:
    """The lost quote is what makes the record long: it is the line to look at."""
    with pytest.raises(MalformedReport, match=f"{QUOTE_INSIDE} 2"):
        split(file(b'a\nb"c\n' + b"x\n" * record_splitter.RECORD_LIMIT_BYTES), block_bytes)


def test_a_line_of_a_gibibyte_is_refused_in_a_few_blocks_of_memory(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedReport, match="a record longer than"):
            split(path)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 12 * record_splitter.BLOCK_BYTES


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"\n", id="blank lines"),
        pytest.param(b"x\n", id="records of one character"),
        pytest.param(b'"",' * 1_000 + b"\n", id="quotes"),
        pytest.param(b"," * 1_000 + b"\n", id="commas"),
        pytest.param(b'"' * 1_000 + b"\n", id="quotes in quotes"),
    ],
)
def test_a_report_of_nothing_but_marks_is_split_in_a_few_blocks_of_memory(
    file: Callable[[bytes], Path], line: bytes
) -> None:
    path = file(b"a\n" + line * (3 * record_splitter.BLOCK_BYTES // len(line)))
    tracemalloc.start()
    try:
        for block in record_splitter.blocks(path):
            block.field_counts()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10 * record_splitter.BLOCK_BYTES


def test_a_block_has_a_limited_number_of_records(file: Callable[[bytes], Path]) -> None:
    blocks = list(record_splitter.blocks(file(b"a\n\n" * (record_splitter.BLOCK_RECORDS + 1))))

    assert [len(block) for block in blocks] == [record_splitter.BLOCK_RECORDS, 1]
    assert [block.line_number for block in blocks] == [1, 2 * record_splitter.BLOCK_RECORDS + 1]


def test_fields_are_those_of_the_standard_library(file: Callable[[bytes], Path]) -> None:
    data = b'a,,"b,c"\n"""","d""e",\n"f\n,g",h,\xc3\xa9\ni\n,\n'
    (block,) = record_splitter.blocks(file(data))

    fields = [block.fields(index) for index in range(len(block))]

    expected = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    assert [[field.decode() for field in record] for record in fields] == expected
    assert block.field_counts().tolist() == [len(record) for record in expected]


def test_a_part_of_a_block_is_the_same_records(file: Callable[[bytes], Path]) -> None:
    (block,) = record_splitter.blocks(file(b'a\n\n"b\n"\nc\n'))

    part = block.part(1)

    assert [part.record(index) for index in range(len(part))] == [b'"b\n"', b"c"]
    assert part.line_numbers([0, 1]) == [3, 5]
    assert part.lines([1]) == b"c\n"
    assert len(block.part(3)) == 0
