"""Normalising: what is loaded is character for character what the file says, and what is not is named."""

from __future__ import annotations

import codecs
import csv
import io
from datetime import UTC, datetime
from decimal import Decimal
from itertools import permutations
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pytest
from report_reader import HEADER, Read, read

from etl.domain import contract
from etl.domain.errors import ContractBroken, MalformedReport, ReconciliationFailed
from etl.domain.pipeline_values import Reject
from etl.transform import normalise, record_splitter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Write a report: the usual header and the given lines."""

    def write(lines: bytes, header: bytes = HEADER.encode()) -> Path:
        path = tmp_path / "report.csv"
        path.write_bytes(header + b"\n" + lines)
        return path

    return write


@pytest.fixture
def read_lines(file: Callable[[bytes], Path]) -> Callable[[bytes], Read]:
    return lambda lines: read(file(lines))


def line(**values: str) -> bytes:
    """A line of a report that is fine but for the given values."""
    fine = {
        "content_id": "c",
        "customer_id": "u",
        "streaming_type": "VOD",
        "watch_seconds": "5",
        "title": "t",
        "created_at": "",
    }
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow((fine | values).values())
    return text.getvalue().encode()


# What is loaded


OPAQUE = [
    *("007", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A", "-", "TRUE", "inf"),
    *("1e5", "1.0", "1.", "+1", "1,000", "9007199254740993", "1.23E+15", "0x1A", "2026-01-02"),
    *(" x", "x ", " ", "\t", "x\n", "\r\n", "\n\n", "\r", "x\ry"),
    *('"', '""', 'a"b', '",', "a,b", ",", "'", "\\", "\\N", "\\.", "=1+1", "@x"),
    *(
        "é",
        "e\u0301",
        "\u200b",
        "\ufeffx",
        "\u00a0",
        "日本語",
        "🎬",
        "\U0010ffff",
        "\ufffe",
        "\x01",
        "\x1a",
        "\x7f",
        "\x85",
        "\u2028",
    ),
]


@pytest.mark.parametrize("text", OPAQUE)
@pytest.mark.parametrize("column", ["content_id", "customer_id", "title"])
def test_ids_and_titles_survive_character_for_character(
    read_lines: Callable[[bytes], Read], column: str, text: str
) -> None:
    result = read_lines(line(**{column: text}))

    assert result.rejects == []
    assert dict(zip(contract.COLUMNS, (*result.rows[0], *result.contents[0][1:]), strict=True))[column] == text
    assert result.contents[0][0] == result.rows[0][0]


def test_values_are_the_same_quoted_or_not(read_lines: Callable[[bytes], Read]) -> None:
    plain = "NA, u ,VOD,5,null,\n,x,VOD,5,,\n1e5,,VOD,007,None,\n"
    quoted = '"NA"," u ","VOD","5","null",""\n"","x","VOD","5","",""\n"1e5","","VOD","007","None",""\n'

    one, other = read_lines(plain.encode()), read_lines(quoted.encode())

    assert one.rows == other.rows == [("NA", " u ", "VOD", "5"), ("1e5", "", "VOD", "007")]
    assert one.contents == other.contents == [("NA", "null", None), ("1e5", "None", None)]
    assert [reject.reason for reject in one.rejects] == [reject.reason for reject in other.rejects]


def test_a_byte_order_mark_that_begins_a_later_block_is_data(file: Callable[[bytes], Path]) -> None:
    path = file(b"".join(line(content_id=f"\ufeff{index}").replace(b'"', b"") for index in range(20)))

    rows = read(path, block_bytes=1).rows

    assert [row[0] for row in rows] == [f"\ufeff{index}" for index in range(20)]


def test_an_anonymous_viewer_is_an_empty_text_and_spaces_are_an_id(read_lines: Callable[[bytes], Read]) -> None:
    assert [row[1] for row in read_lines(line(customer_id="") + line(customer_id="  ")).rows] == ["", "  "]


@pytest.mark.parametrize("order", list(permutations(range(6)))[:: 720 // 10])
def test_columns_come_in_any_order(tmp_path: Path, order: tuple[int, ...]) -> None:
    lines = [HEADER.split(","), ["c", "u", "VOD", "1.5", "t", "2026-01-02"]]
    path = tmp_path / "report.csv"
    path.write_text("".join(",".join(values[place] for place in order) + "\n" for values in lines))

    assert read(path).rows == [("c", "u", "VOD", "1.5")]
    assert read(path).contents == [("c", "t", datetime(2026, 1, 2, tzinfo=UTC))]


def test_columns_that_the_settings_ignore_are_dropped(file: Callable[..., Path]) -> None:
    path = file(b"x,c,u,VOD,5,t,,y\n", header=b"Country," + HEADER.encode() + b",Device")

    result = read(path, aliases={"Country": "ignore", "device": "ignore"})

    assert (result.rows, result.contents, result.rejects) == ([("c", "u", "VOD", "5")], [("c", "t", None)], [])


def test_streaming_types_are_folded_and_unknown_ones_counted(read_lines: Callable[[bytes], Read]) -> None:
    types = ["VOD", "vod", "Live", "Live-to-VOD", "Simulive", "simulive", "FAST channel", "!"]

    result = read_lines(b"".join(line(streaming_type=text) for text in types))

    folded = ["VOD", "VOD", "LIVE", "LIVE_TO_VOD", "SIMULIVE", "SIMULIVE", "FAST_CHANNEL"]
    assert [row[2] for row in result.rows] == folded
    assert result.unknown_types == 3


def test_only_rows_that_are_loaded_are_counted_and_summed(read_lines: Callable[[bytes], Read]) -> None:
    bad = line(content_id="", streaming_type="Simulive", created_at="soon", watch_seconds="7")

    result = read_lines(bad + line(watch_seconds="2.5"))

    assert (len(result.rows), len(result.rejects)) == (1, 1)
    assert (result.watch_seconds, result.created_at_unread) == (Decimal("2.5"), 0)
    assert result.unknown_types == 0


def test_creation_times_that_cannot_be_read_are_null_and_counted(read_lines: Callable[[bytes], Read]) -> None:
    times = ["2026-01-02T03:04:05.123456789+01:00", "", "now", "02/01/2026", "0001-01-01", "10000-01-01", " "]

    result = read_lines(b"".join(line(created_at=text) for text in times))

    moments = [moment for _, _, moment in result.contents]
    assert moments[0] == datetime(2026, 1, 2, 2, 4, 5, 123456, tzinfo=UTC)
    assert moments[1:] == [None, None, None, datetime(1, 1, 1, tzinfo=UTC), None, None]
    assert result.created_at_unread == 4


def test_each_spelling_of_a_content_is_kept_once_a_chunk_and_its_rows_are_counted(
    read_lines: Callable[[bytes], Read],
) -> None:
    told = [("a", "one", "soon"), ("b", "one", ""), ("a", "two", ""), ("a", "one", "soon"), ("a", "one", "")]

    result = read_lines(b"".join(line(content_id=a, title=b, created_at=c, customer_id="u") for a, b, c in told))

    assert result.contents == [("a", "one", None), ("b", "one", None), ("a", "two", None), ("a", "one", None)]
    assert (len(result.rows), result.created_at_unread) == (5, 2)


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-02T03:04:05Z",
        "2026-01-02 03:04:05Z",
        "2026/01/02T03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T23:59:60Z",
        "2026-01-02t03:04:05Z",
        "0001-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "-026-01-02T03:04:05Z",
        "2026-01-02T03:04:5 Z",
        "2026-01-02T03:04.05Z",
        "20260102T0304050000Z",
        "2026-01-02T03:04UTCZ",
        "2026-01-02T03:04\u2009Z",
    ],
)
def test_the_short_way_of_reading_creation_times_reads_them_like_the_long_one(
    read_lines: Callable[[bytes], Read], text: str
) -> None:
    """Texts of 20 bytes that end in Z go it, if all of a chunk are such."""
    assert len(text.encode()) == 20

    result = read_lines(line(created_at=text) + line(created_at="2026-01-02T03:04:05Z", content_id="d"))

    assert result.contents[0][2] == contract.parse_created_at(text)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["1", "2", "007"], "10", id="whole"),
        pytest.param(["0.1"] * 10, "1", id="tenths are not binary fractions"),
        pytest.param(["9007199254740993", "0"], "0", id="the first one is too long"),
        pytest.param(["999999999999"] * 50_001, "50000999999949999", id="beyond 2 to the 53rd"),
        pytest.param(["999999999999", "0.000000000000000001"], "999999999999.000000000000000001", id="30 digits"),
        pytest.param(
            ["999999999999.999999999999999999"] * 50_000, "49999999999999999.999999999999950000", id="35 digits"
        ),
        pytest.param(["x"], "0", id="none that counts"),
    ],
)
def test_the_sum_of_watch_time_is_exact(file: Callable[[bytes], Path], texts: list[str], expected: str) -> None:
    path = file(b"".join(b"c,u,VOD,%s,t,\n" % text.encode() for text in texts))

    (chunk,) = normalise.chunks(path, aliases={}, block_bytes=8 * record_splitter.BLOCK_BYTES)  # all in the first one

    assert isinstance(chunk.watch_seconds, Decimal)
    assert chunk.watch_seconds == Decimal(expected)


def test_watch_times_keep_their_digits(read_lines: Callable[[bytes], Read]) -> None:
    texts = ["0", "007", "1.50", "123456789012.123456789012345678"]

    assert [row[3] for row in read_lines(b"".join(line(watch_seconds=text) for text in texts)).rows] == texts


# The shape of a chunk


def test_a_chunk_holds_the_columns_of_the_contract_on_arrow(file: Callable[[bytes], Path]) -> None:
    text, moment = pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
    contents = dict.fromkeys(contract.CONTENT, text) | {"created_at": moment}

    for lines in (line(), line(content_id=""), b"ragged\n", b"ragged\n" + line(watch_seconds="") + line()):
        (chunk,) = normalise.chunks(file(lines), aliases={})
        assert chunk.rows.dtypes.to_dict() == dict.fromkeys(contract.FACTS, text)
        assert chunk.contents.dtypes.to_dict() == contents
        for frame in (chunk.rows, chunk.contents):
            assert frame.index.tolist() == list(range(len(frame)))
            assert not frame.drop(columns="created_at", errors="ignore").isna().any(axis=None)


def test_chunks_are_bounded_by_the_size_of_blocks(file: Callable[[bytes], Path]) -> None:
    path = file(line() * 1_000)

    sizes = [len(chunk.rows) for chunk in normalise.chunks(path, aliases={}, block_bytes=10 * len(line()))]

    assert sum(sizes) == 1_000
    assert max(sizes) <= 11


def test_a_report_can_be_read_again(file: Callable[[bytes], Path]) -> None:
    path = file(line() + line(content_id=""))

    assert read(path) == read(path)


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n\n"])
def test_a_header_alone_gives_no_chunk(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(HEADER.encode() + end)

    assert list(normalise.chunks(path, aliases={})) == []


# What is rejected


@pytest.mark.parametrize(
    ("bad", "reason", "raw_text"),
    [
        pytest.param(b"c,u,VOD,5,t", "5 instead of 6 fields", "c,u,VOD,5,t", id="too few"),
        pytest.param(b"c,u,VOD,5,t,,", "7 instead of 6 fields", "c,u,VOD,5,t,,", id="too many"),
        pytest.param(b'""', "1 instead of 6 fields", '""', id="one quoted nothing"),
        pytest.param(b" ", "1 instead of 6 fields", " ", id="a space alone"),
        pytest.param(b'"c,u",VOD,5,t,', "5 instead of 6 fields", '"c,u",VOD,5,t,', id="a comma in quotes"),
        pytest.param(b"c,\xff,VOD,5,t,", "not UTF-8", r"c,\xff,VOD,5,t,", id="not UTF-8"),
        pytest.param(b"c,u,VOD,5,\xe9,", "not UTF-8", r"c,u,VOD,5,\xe9,", id="Latin-1"),
        pytest.param(b"c,u,VOD,5,\xc3,\xa9", "not UTF-8", r"c,u,VOD,5,\xc3,\xa9", id="cut by a comma"),
        pytest.param(b"c,\xed\xa0\x80,VOD,5,t,", "not UTF-8", r"c,\xed\xa0\x80,VOD,5,t,", id="a surrogate"),
        pytest.param(b"c,\xc0\x80,VOD,5,t,", "not UTF-8", r"c,\xc0\x80,VOD,5,t,", id="overlong"),
        pytest.param(b"c,u,VOD,5,t\0,", "a NUL character, which Postgres cannot store", r"c,u,VOD,5,t\x00,", id="NUL"),
        pytest.param(b",u,VOD,5,t,", "the content id is empty", ",u,VOD,5,t,", id="no content id"),
        pytest.param(b"c,u,,5,t,", "the streaming type is empty", "c,u,,5,t,", id="no streaming type"),
        pytest.param(
            b"c,u,V.O.D,5,t,",
            "the streaming type is invalid (expected the form of LIVE_TO_VOD)",
            "c,u,V.O.D,5,t,",
            id="a strange streaming type",
        ),
        pytest.param(
            b'c,u,VOD,"1,234",t,',
            "the watch time has a thousands separator or a decimal comma",
            'c,u,VOD,"1,234",t,',
            id="a separator",
        ),
        pytest.param(
            "c,u,VOD,\uff15,t,".encode(),
            "the watch time has digits other than 0 to 9, or a misplaced point",
            "c,u,VOD,\uff15,t,",
            id="full-width digits",
        ),
        pytest.param(b"c,u,VOD,,t,", "the watch time is empty", "c,u,VOD,,t,", id="no watch time"),
        pytest.param(b"c,u,VOD,nan,t,", "the watch time is not a finite number", "c,u,VOD,nan,t,", id="NaN"),
        pytest.param(
            b'c,u,VOD,"5\n",t,',
            "the watch time is blank, or has spaces around it",
            'c,u,VOD,"5\n",t,',
            id="a line end in a number",
        ),
        pytest.param(
            b",u,?,-5,t,",
            "the content id is empty; the streaming type is invalid (expected the form of LIVE_TO_VOD); "
            "the watch time is negative",
            ",u,?,-5,t,",
            id="all reasons are told",
        ),
    ],
)
def test_a_bad_line_is_rejected_with_line_number_reason_and_raw_text(
    read_lines: Callable[[bytes], Read], bad: bytes, reason: str, raw_text: str
) -> None:
    result = read_lines(line(title="two\nlines") + b"\r\n" + bad + b"\r\n" + line(content_id="next"))

    assert [row[0] for row in result.rows] == ["c", "next"]
    assert result.rejects == [Reject(5, reason, raw_text)]


@pytest.mark.parametrize("column", ["content_id", "customer_id"])
def test_an_id_is_as_long_as_a_key_can_hold_and_no_longer(read_lines: Callable[[bytes], Read], column: str) -> None:
    lengths = ["x" * 1_000, "é" * 500, "x" * 1_001, "é" * 500 + "x"]

    result = read_lines(b"".join(line(**{column: text}) for text in lengths))

    assert [row[contract.COLUMNS.index(column)] for row in result.rows] == lengths[:2]
    reason = f"the {column.replace('_', ' ')} is longer than 1,000 bytes"
    assert [reject.reason for reject in result.rejects] == [reason] * 2


@pytest.mark.parametrize("others", [b"", b"ragged\n", b"c,\0,VOD,5,t,,\n"])
@pytest.mark.parametrize("bad", [b"\xff", b"\0"])
def test_bad_bytes_count_in_ignored_columns_too_whatever_else_the_block_holds(
    file: Callable[..., Path], bad: bytes, others: bytes
) -> None:
    path = file(b"c,u,VOD,5,t,," + bad + b"\n" + others, header=HEADER.encode() + b",Country")

    assert read(path, aliases={"Country": "ignore"}).rejects[0].line_number == 2


def test_the_raw_text_of_a_very_long_line_is_shortened_with_a_note(read_lines: Callable[[bytes], Read]) -> None:
    fits, too_long = line(content_id="", title="é" * 1_970), line(content_id="", title="é" * 500_000)

    short, shortened = read_lines(fits + too_long).rejects

    assert short.raw_text == fits.decode().rstrip()
    note = f"... (the first 2,000 of {len(too_long.decode().rstrip()):,} characters)"
    assert shortened.raw_text == too_long.decode()[:2_000] + note


def test_reasons_do_not_contain_values(read_lines: Callable[[bytes], Read]) -> None:
    secret = "17,291"
    lines = line(watch_seconds=secret) + line(streaming_type=secret) + line(customer_id=secret * 200) + b"17291\n"

    assert not any("17" in reject.reason for reject in read_lines(lines).rejects)


def test_rejects_stand_in_the_order_of_the_file(read_lines: Callable[[bytes], Read]) -> None:
    bad = [line(watch_seconds=""), b"ragged\n", line(content_id=""), b"\xff,,,,,\n", line(streaming_type="")]

    rejects = read_lines(b"".join(text + line() for text in bad)).rejects

    assert [reject.line_number for reject in rejects] == [2, 4, 6, 8, 10]


# What is refused as a whole


@pytest.mark.parametrize("data", [b"", b"\n\r\n", codecs.BOM_UTF8])
def test_a_file_without_a_header_is_empty_and_malformed(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(data)

    with pytest.raises(MalformedReport, match="the report is empty") as refused:
        read(path)
    assert "download it again" in refused.value.next_step


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("Content ID é".encode("latin-1"), id="Latin-1"),
        pytest.param(HEADER.encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(b"\x1f\x8b\x08\x00\x00\x00\x00\x00", id="gzip"),
    ],
)
def test_a_header_that_is_no_text_is_malformed(file: Callable[..., Path], header: bytes) -> None:
    with pytest.raises(MalformedReport, match="the report's header, on line 1, is invalid UTF-8"):
        read(file(b"", header=header))


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(HEADER.replace("Customer ID", "Content ID"), id="doubled"),
        pytest.param(HEADER.replace("Customer ID,", ""), id="missing"),
        pytest.param(HEADER + ",Country", id="unknown"),
        pytest.param(HEADER + ",", id="nameless"),
        pytest.param("<!doctype html>", id="HTML"),
        pytest.param("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", id="XML"),
        pytest.param("{}", id="JSON"),
    ],
)
def test_another_header_breaks_the_contract_before_any_chunk(file: Callable[..., Path], header: str) -> None:
    with pytest.raises(ContractBroken):
        next(normalise.chunks(file(line(), header=header.encode()), aliases={}))


def test_a_header_is_read_by_the_rules_of_quoting(file: Callable[..., Path]) -> None:
    header = '"Content\nID","Customer ID","Streaming ""Type""","Watch Time (sec.)","Content, Title",Created At'

    result = read(file(line() + b"ragged", header=codecs.BOM_UTF8 + header.encode()))

    assert result.rows == [("c", "u", "VOD", "5")]
    assert [reject.line_number for reject in result.rejects] == [4]


def test_a_fault_far_down_comes_after_chunks(file: Callable[[bytes], Path]) -> None:
    chunks = normalise.chunks(file(line() * 100 + b'"never ends'), aliases={}, block_bytes=1_000)

    assert len(next(chunks).rows) > 0
    with pytest.raises(MalformedReport, match="an unterminated quoted field begins on line 102"):
        list(chunks)


def test_records_that_are_not_parsed_one_to_one_are_a_bug_and_not_a_loss(
    file: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No input is known that does this: the reader is made to lose a row."""
    whole = pyarrow.csv.read_csv
    monkeypatch.setattr(pyarrow.csv, "read_csv", lambda *args, **options: whole(*args, **options).slice(1))

    with pytest.raises(ReconciliationFailed, match="3 records from line 2 on returned another number of rows"):
        read(file(line() * 3))
