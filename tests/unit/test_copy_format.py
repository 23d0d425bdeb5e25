r"""COPY text: what Postgres reads from it is what was in the columns, to the character; `\N` alone is null."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from etl.transform.copy_format import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NASTY = ["", " ", "\\", "\\\\", "\\N", "\\.", "\\t", "\t", "\n", "\r", "\r\n", "\b\f\v", "a\tb", "NULL", '"', "é", "🎬",
         "\u2028", "\ufeff", "\x01", "\x7f", "x" * 70_000, "\\\t\n\\N\n\\.\n"]  # fmt: skip
# What a text of Postgres can hold: any character but NUL; surrogates are no characters.
TEXTS = st.none() | st.sampled_from(NASTY) | st.text(st.characters(exclude_characters="\0", codec="utf-8"))
TIMES = st.none() | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))  # noqa: DTZ001

Row = tuple[str | None, str | None, datetime | None]


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET TimeZone = 'Asia/Taipei'")
        connection.execute("CREATE TEMPORARY TABLE copied (line serial, a text, b text, moment timestamptz)")
        yield connection


def table_of(rows: Sequence[Row], *, pieces: int = 1) -> pa.Table:
    """The rows as normalized reports come: large strings, in one piece or several."""
    types = {"a": pa.large_string(), "b": pa.string(), "moment": pa.timestamp("us", tz="UTC")}
    schema = pa.schema([pa.field(name, kind) for name, kind in types.items()])
    parts = [rows[start::pieces] for start in range(pieces)]
    columns: list[list[list[object]]] = [[list(column) for column in zip(*part, strict=True)] for part in parts]
    return pa.concat_tables([
        pa.table(part or [[], [], []], schema=schema) for part in columns  # type: ignore[arg-type]  # plain lists do
    ])  # fmt: skip


def through_postgres(connection: psycopg.Connection, table: pa.Table) -> list[Row]:
    connection.execute("TRUNCATE copied")
    with connection.cursor() as cursor, cursor.copy("COPY copied (b, a, moment) FROM STDIN") as copy:
        copy.write(encode(table, ("b", "a", "moment")))
    return connection.execute("SELECT a, b, moment FROM copied ORDER BY line").fetchall()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(TEXTS, TEXTS, TIMES), max_size=8), st.integers(1, 3), st.integers(0, 3))
def test_what_goes_in_comes_out(connection: psycopg.Connection, rows: list[Row], pieces: int, skipped: int) -> None:
    table = table_of(rows, pieces=pieces).slice(skipped)
    expected = list(zip(*(table.column(name).to_pylist() for name in table.column_names), strict=True))
    assert through_postgres(connection, table) == expected


def test_every_nasty_text_survives_beside_every_other(connection: psycopg.Connection) -> None:
    rows: list[Row] = [(left, right, None) for left in NASTY for right in [*NASTY, None]]
    assert through_postgres(connection, table_of(rows)) == rows


def test_the_text_is_what_the_manual_says() -> None:
    moment = datetime(2026, 11, 16, 1, 2, 3, 4, UTC)
    table = table_of([("a\tb", "c\\d", moment), (None, "\n\r", None), ("\\N", "", None)])
    assert bytes(encode(table, ("b", "a", "moment"))) == (
        b"c\\\\d\ta\\tb\t2026-11-16 01:02:03.000004Z\n\\n\\r\t\\N\t\\N\n\t\\\\N\t\\N\n"
    )


def test_only_the_columns_asked_for_are_sent() -> None:
    assert bytes(encode(table_of([("a", "b", None)]), ("b",))) == b"b\n"


def test_no_rows_are_no_text() -> None:
    assert bytes(encode(table_of([]), ("a", "b"))) == b""
    assert bytes(encode(table_of([("a", "b", None)]).slice(1), ("a", "b"))) == b""
