"""The contract: which headers are understood, and which forms of values."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from etl.domain import contract
from etl.domain.errors import ContractBroken

DOCUMENTED = ("Content Title", "Content ID", "Streaming Type", "Created At", "Customer ID", "Watch Time (sec.)")
AS_COLUMNS = ("title", "content_id", "streaming_type", "created_at", "customer_id", "watch_seconds")


def test_the_documented_header_is_understood() -> None:
    assert contract.match_header(DOCUMENTED, {}) == AS_COLUMNS


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(tuple(text.upper() for text in DOCUMENTED), id="case"),
        pytest.param(tuple(text.replace(" ", "_").strip(".") for text in DOCUMENTED), id="underscores"),
        pytest.param(tuple(f" {text} " for text in DOCUMENTED), id="spaces around"),
        pytest.param(("\ufeffContent Title", *DOCUMENTED[1:]), id="a byte-order mark"),
        pytest.param((*DOCUMENTED[:5], "Watch Time"), id="no unit"),
        pytest.param((*DOCUMENTED[:5], "Watch Time (seconds)"), id="another spelling of the unit"),
        pytest.param(("\uff23ontent Title", *DOCUMENTED[1:]), id="full-width letters"),
    ],
)
def test_headers_are_matched_without_regard_to_case_spaces_and_punctuation(header: tuple[str, ...]) -> None:
    assert contract.match_header(header, {}) == AS_COLUMNS


def test_columns_may_come_in_any_order() -> None:
    assert contract.match_header(DOCUMENTED[::-1], {}) == AS_COLUMNS[::-1]


def test_an_alias_names_a_column_or_ignores_one() -> None:
    header = ("Name", *DOCUMENTED[1:], "Country", "Device")

    columns = contract.match_header(header, {"name": "title", "COUNTRY": "ignore", "Device": "ignore"})

    assert columns == (*AS_COLUMNS, "ignore", "ignore")


def test_an_alias_wins_over_an_accepted_name() -> None:
    header = (*DOCUMENTED[:5], "Watch Time", "Watch Time (sec.)")

    assert contract.match_header(header, {"Watch Time": "ignore"}) == (*AS_COLUMNS[:5], "ignore", "watch_seconds")


@pytest.mark.parametrize(
    ("header", "told"),
    [
        pytest.param(DOCUMENTED[:5], "no column for watch_seconds (expected 'Watch Time (sec.)')", id="missing"),
        pytest.param((*DOCUMENTED, "content-id"), "more than one column for content_id", id="doubled"),
        pytest.param((*DOCUMENTED, "Country"), "unknown column 'Country'", id="unknown"),
        pytest.param((*DOCUMENTED, ""), "unknown column ''", id="without a name"),
        pytest.param((*DOCUMENTED, "\x1b[2J"), r"unknown column '\x1b[2J'", id="control characters are shown escaped"),
        pytest.param((*DOCUMENTED, "x" * 150), "unknown column '" + "x" * 57 + "...'", id="a long name is shortened"),
    ],
)
def test_other_columns_break_the_contract(header: tuple[str, ...], told: str) -> None:
    with pytest.raises(ContractBroken) as broken:
        contract.match_header(header, {})

    assert told in broken.value.message


def test_the_next_step_is_a_line_of_settings_that_mends_it() -> None:
    header = ("Content Title", "Content ID", "Stream Type", "Created At", "Customer ID", "Watched Time", "Country")
    with pytest.raises(ContractBroken) as broken:
        contract.match_header(header, {})

    line = re.search(r"WATCH_TIME_HEADER_ALIASES='(.*)'", broken.value.next_step)

    assert line is not None
    columns = contract.match_header(header, json.loads(line[1]))
    assert columns == (*AS_COLUMNS[:2], "streaming_type", *AS_COLUMNS[3:5], "watch_seconds", "ignore")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(["<!doctype html>" * 100_000], id="a page of HTML"),
        pytest.param([f'"{index}": {{}}' for index in range(50_000)], id="JSON on one line"),
    ],
)
def test_what_is_no_header_at_all_gets_a_short_message(fields: list[str]) -> None:
    with pytest.raises(ContractBroken, match=r"is not (a|the) header") as broken:
        contract.match_header(fields, {})

    assert len(broken.value.message + broken.value.next_step) < 300


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("VOD", "VOD"),
        ("vod", "VOD"),
        (" Live ", "LIVE"),
        ("Live-to-VOD", "LIVE_TO_VOD"),
        ("live to vod", "LIVE_TO_VOD"),
        ("LIVE_TO_VOD", "LIVE_TO_VOD"),
        ("live -_ to\tVOD", "LIVE_TO_VOD"),
        ("Simulive 2", "SIMULIVE_2"),
        ("a" * 40, "A" * 40),
    ],
)
def test_a_streaming_type_has_one_spelling(text: str, folded: str) -> None:
    assert contract.fold_streaming_type(text) == folded


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "-",
        "_VOD",
        "VOD_",
        "2D",
        "V.O.D",
        "VÖD",
        "l\u0131ve",
        "\ufb01lm",
        "\uff36\uff2f\uff24",
        "VOD\0",
        "a" * 41,
    ],
)
def test_a_streaming_type_of_another_shape_is_none(text: str) -> None:
    assert contract.fold_streaming_type(text) is None


def test_every_documented_streaming_type_is_its_own_spelling() -> None:
    assert {contract.fold_streaming_type(text) for text in contract.STREAMING_TYPES} == contract.STREAMING_TYPES


@pytest.mark.parametrize("text", ["0", "5", "007", "0.5", "1.50", "123456789012", "0.123456789012345678"])
def test_a_watch_time_is_a_plain_decimal(text: str) -> None:
    assert re.fullmatch(contract.WATCH_SECONDS_SHAPE, text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        (" ", "is blank, or has spaces around it"),
        (" 5 ", "is blank, or has spaces around it"),
        ("5\n", "is blank, or has spaces around it"),
        ("-5", "is negative"),
        ("-0", "is negative"),
        ("NaN", "is not a finite number"),
        ("inf", "is not a finite number"),
        ("-Infinity", "is not a finite number"),
        ("1234567890123", "has more than 12 digits before the point or more than 18 after it"),
        ("9" * 100_000, "has more than 12 digits before the point or more than 18 after it"),
        ("0.1234567890123456789", "has more than 12 digits before the point or more than 18 after it"),
        ("1e5", "is in scientific notation"),
        ("1.5E-3", "is in scientific notation"),
        ("+5", "has a sign"),
        ("1,234", "has a thousands separator or a decimal comma"),
        ("1.234,5", "has a thousands separator or a decimal comma"),
        ("1_000", "has a thousands separator or a decimal comma"),
        ("1 000", "has a thousands separator or a decimal comma"),
        ("1\u00a0000", "has a thousands separator or a decimal comma"),
        ("\uff15", "has digits other than 0 to 9, or a misplaced point"),
        ("٣", "has digits other than 0 to 9, or a misplaced point"),
        (".5", "has digits other than 0 to 9, or a misplaced point"),
        ("5.", "has digits other than 0 to 9, or a misplaced point"),
        ("0x1A", "is not a number"),
        ("(5)", "is not a number"),
        ("5%", "is not a number"),
        ("00:05:00", "is not a number"),
        ("True", "is not a number"),
        ("5\n6x", "is not a number"),
        ("1" * 100_000 + "x", "is not a number"),
    ],
)
def test_why_a_watch_time_is_none(text: str, fault: str) -> None:
    assert not re.fullmatch(contract.WATCH_SECONDS_SHAPE, text)
    assert contract.watch_seconds_fault(text) == f"the watch time {fault}"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05 UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026/01/02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04Z", datetime(2026, 1, 2, 3, 4, tzinfo=UTC)),
        ("2026-01-02", datetime(2026, 1, 2, tzinfo=UTC)),
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2026-01-02T03:04:05.1Z", datetime(2026, 1, 2, 3, 4, 5, 100_000, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02T03:04:05.999999999", datetime(2026, 1, 2, 3, 4, 5, 999_999, tzinfo=UTC)),
        ("2026-01-02T03:04:05+05:30", datetime(2026, 1, 1, 21, 34, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05-0800", datetime(2026, 1, 2, 11, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05+09", datetime(2026, 1, 1, 18, 4, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999Z", datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ],
)
def test_a_creation_time_is_read(text: str, moment: datetime) -> None:
    assert contract.parse_created_at(text) == moment


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "now", "today", "yesterday", "NaT", "null", "2026", "2026-01", "20260102", "20260102T030405Z"),
        *("02/01/2026", "2026/01-02", "2026-1-2", "26-01-02", "2 Jan 2026", "2026-W01-5", "2026-002"),
        *("1767322800", "1767322800000", "46024.5"),  # seconds, milliseconds, a spreadsheet's days: which, nobody says
        *("2026-02-30", "2026-13-01", "2026-00-10", "0000-01-01", "10000-01-01", "2025-02-29"),
        *("2026-01-02T24:00:00Z", "2026-01-02T23:59:60Z", "2026-01-02T03:60:00Z", "2026-01-02T03"),
        *("2026-01-02T03:04:05.", "2026-01-02T03:04:05.1234567890", "2026-01-02T03:04:05,5"),
        *("2026-01-02T03:04:05+15:00", "2026-01-02T03:04:05+05:60", "2026-01-02T03:04:05 CET", "2026-01-02Z"),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"),  # out of range once brought to UTC
        *(" 2026-01-02", "2026-01-02\n", "\uff12\uff10\uff12\uff16-01-02", "2026-01-02T03:04:05Z; DROP TABLE"),
    ],
)
def test_any_other_creation_time_is_not_guessed_at(text: str) -> None:
    assert contract.parse_created_at(text) is None
