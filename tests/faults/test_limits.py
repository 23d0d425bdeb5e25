"""Whatever is sent, and however slowly: memory stays bounded, the run ends, and says what to do.

The command runs as a process of its own, with its limits brought down; its peak memory is the kernel's
figure. The limits themselves are constants of the program, each with its reason; here it is tried that they hold.
"""

from __future__ import annotations

import gzip
import time
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from conftest import DAY, HEADER
from effort import effort
from raw_server import CSV, Answer, RawServer, in_turn, raw_server, reply, url_answer
from tally import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Program, Warehouse

# What design.md promises for reports of any size.
MOST_BYTES = 400 << 20
# The longest that a case may take on a machine that is busy with other tests.
DEADLINE_S = 60.0
ONE_SLICE = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD", "--refresh")
BEGINNING = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
MEBIBYTE = 1 << 20
CHANGED = CSV.replace(b",0.5\n", b",1.5\n")
# A gibibyte at five times the effort; a line is refused long before its end either way.
LONG_LINE_MIB = min(1024, effort(200))
# As Python objects so many lines take 90 MB, and so many values 75. The program takes 265 MB for lines that it rejects,
# and 238 MB for others, however many there are. On a busy machine they take minutes.
MANY_LINES = 700_000
MOST_BYTES_OF_REJECTED = 310 << 20
MOST_BYTES_OF_ACCEPTED = 270 << 20
MANY_LINES_S = 600.0
many_lines = pytest.mark.timeout(MANY_LINES_S + 60)


# The product has no settings for most of them.
SHORT_LIMITS = {
    "extract.retry._BACKOFF_S": 0.05,
    "extract.retry._PACE_WINDOW_S": 0.5,
    "extract.http_clients.STORAGE_TIMEOUT": 0.5,
    "extract.http_clients.API_TIMEOUT": 0.5,
    "warehouse.database._LONGEST_PAUSE_S": 0.05,
}


@dataclass
class Ended:
    """How a run ended."""

    code: int
    said: str
    peak_bytes: int


@dataclass
class Tried:
    """The command against a source that says what it is told to, and a warehouse."""

    program: Program
    warehouse: Warehouse
    api: RawServer
    storage: RawServer

    def __call__(self, deadline_s: float = DEADLINE_S, **limits: Any) -> Ended:
        named = {name.replace("__", "."): value for name, value in limits.items()}
        process = replace(self.program, limits=SHORT_LIMITS | named).start(*ONE_SLICE, API_BASE_URL=self.api.url)
        done = process.result(deadline_s)
        record("limits tried", 1)
        return Ended(done.returncode, done.stdout + done.stderr, process.peak_bytes)

    def fetching(self, answer: Answer, **limits: Any) -> Ended:
        self.api.answer, self.storage.answer = in_turn(url_answer(self.storage.report_url)), answer
        return self(**limits)

    def fetching_many(self, line: str) -> Ended:
        """A report of a line that is accepted and of many others; `#` in them stands for the number of the line."""
        # Made beforehand: it is not to be given up for its pace.
        numbers = (range(first, first + 100_000) for first in range(0, MANY_LINES, 100_000))
        pieces = [f"{HEADER}t,c,VOD,,u,1\n".encode()]
        pieces += ["".join(line.replace("#", f"{number}") for number in some).encode() for some in numbers]
        return self.fetching(
            lambda _: chunks(iter(pieces)), deadline_s=MANY_LINES_S, extract__retry___PACE_WINDOW_S=MANY_LINES_S
        )

    def rejects(self) -> int:
        ((count,),) = self.warehouse.query("SELECT count(*) FROM report_reject")
        return int(count)

    def assert_stored_is_untouched(self) -> None:
        assert len(self.warehouse.facts()) == 10

    def assert_heals(self) -> None:
        assert self.warehouse.sync(CHANGED).rows == 10


@pytest.fixture
def tried(program: Program, newest_warehouse: Warehouse) -> Iterator[Tried]:
    """With a report loaded, which trouble must leave as it is."""
    assert newest_warehouse.sync(CSV).rows == 10
    with raw_server() as api, raw_server() as storage:
        yield Tried(program, newest_warehouse, api, storage)


def chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """An answer in chunks, made while it is sent."""
    yield BEGINNING
    for piece in pieces:
        yield b"%x\r\n%s\r\n" % (len(piece), piece)
    yield b"0\r\n\r\n"


def bomb() -> Iterator[bytes]:
    """A gibibyte of nothing, squeezed to a megabyte."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    for _ in range(1024):
        yield squeeze.compress(bytes(MEBIBYTE)) or squeeze.flush(zlib.Z_SYNC_FLUSH)
    yield squeeze.flush()


def bomb_in_a_bomb() -> Iterator[bytes]:
    """A quarter of a gibibyte, squeezed to a few thousand bytes in two layers."""
    yield gzip.compress(gzip.compress(bytes(256 * MEBIBYTE), 9), 9)


def line_of(mebibytes: int) -> Iterator[bytes]:
    yield HEADER.encode()
    for _ in range(mebibytes):
        yield b"x" * MEBIBYTE


def drip() -> Iterator[bytes]:
    for octet in HEADER.encode() * 100:
        yield bytes([octet])
        time.sleep(0.02)


def silence() -> Iterator[bytes]:
    yield HEADER.encode()
    time.sleep(3)  # well beyond the half second that the client waits


def endless() -> Iterator[bytes]:
    """Good lines without end, 20 MB a second."""
    yield HEADER.encode()
    while True:
        yield b"".join(b"t,c%d,VOD,,u%d,1\n" % (n, n) for n in range(10_000))
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        pytest.param(bomb, "decompresses from", id="one layer"),
        pytest.param(bomb_in_a_bomb, "gzip in gzip", id="two layers"),
    ],
)
def test_a_gzip_bomb_is_refused_in_bounded_memory(tried: Tried, made: Callable[[], Iterator[bytes]], says: str) -> None:
    # Making it takes longer than reading it: it is not to be given up for its pace.
    pieces = list(made()) if made is bomb_in_a_bomb else None
    ended = tried.fetching(lambda _: chunks(iter(pieces) if pieces else made()), extract__retry___PACE_WINDOW_S=60.0)
    assert (ended.code, ended.peak_bytes < MOST_BYTES) == (65, True), ended
    assert says in ended.said
    tried.assert_stored_is_untouched()


def test_a_line_of_a_gibibyte_is_refused_in_bounded_memory(tried: Tried) -> None:
    """Made while it is sent; the program keeps it on disk, and never in memory."""
    ended = tried.fetching(lambda _: chunks(line_of(LONG_LINE_MIB)))
    assert (ended.code, ended.peak_bytes < MOST_BYTES) == (65, True), ended
    assert "a record longer than 1,048,576 bytes on line 2" in ended.said
    tried.assert_stored_is_untouched()


@many_lines
def test_a_report_of_very_many_rejected_lines_is_held_in_bounded_memory(tried: Tried) -> None:
    ended = tried.fetching_many("x\n")
    assert (ended.code, ended.peak_bytes < MOST_BYTES_OF_REJECTED) == (65, True), ended
    assert f"invalid lines: {MANY_LINES:,} of {MANY_LINES + 1:,}" in ended.said
    assert tried.rejects() == 1_000
    tried.assert_stored_is_untouched()


@many_lines
def test_very_many_rejected_lines_of_an_accepted_report_are_all_stored_in_bounded_memory(tried: Tried) -> None:
    tried.program = tried.program.with_settings(MAX_REJECT_RATIO="1", SHRINK_LIMIT="0")
    ended = tried.fetching_many("x\n")
    assert (ended.code, ended.peak_bytes < MOST_BYTES_OF_REJECTED) == (0, True), ended
    assert tried.rejects() == MANY_LINES


@many_lines
def test_a_report_with_a_streaming_type_of_its_own_on_each_line_is_loaded_in_bounded_memory(tried: Tried) -> None:
    ended = tried.fetching_many("t,c,A#,,u,1\n")
    assert (ended.code, ended.peak_bytes < MOST_BYTES_OF_ACCEPTED) == (0, True), ended
    assert tried.warehouse.query("SELECT count(*) FROM watch_time") == [(MANY_LINES + 1,)]


def test_a_body_without_end_is_given_up_for_its_size(tried: Tried) -> None:
    ended = tried.fetching(lambda _: chunks(endless()), extract__download_writer___MAX_PLAIN_BYTES=8 << 20)
    assert (ended.code, ended.peak_bytes < MOST_BYTES) == (65, True), ended
    assert "far more than a report would" in ended.said, ended.said
    tried.assert_stored_is_untouched()


def test_a_body_without_end_is_given_up_when_the_time_is_up(tried: Tried) -> None:
    ended = tried.fetching(lambda _: chunks(endless()), extract__download___TOTAL_S=2.0)
    assert (ended.code, ended.peak_bytes < MOST_BYTES) == (75, True), ended
    assert "run again later" in ended.said
    tried.assert_stored_is_untouched()


def test_a_drip_is_given_up_for_its_pace(tried: Tried) -> None:
    ended = tried.fetching(lambda _: chunks(drip()))
    assert ended.code == 75, ended
    assert "too slow" in ended.said
    assert len(tried.storage.requests) == 5
    tried.assert_stored_is_untouched()


def test_a_silence_in_the_middle_is_given_up(tried: Tried) -> None:
    ended = tried.fetching(lambda _: chunks(silence()))
    assert ended.code == 75, ended
    assert "could not be reached or stopped responding" in ended.said, ended.said
    tried.assert_stored_is_untouched()


def test_an_answer_of_the_api_without_end_is_not_read(tried: Tried) -> None:
    def endless_answer() -> Iterator[bytes]:
        yield b'{"url": "'
        while True:
            yield b"x" * MEBIBYTE

    tried.api.answer = lambda _: chunks(endless_answer())
    ended = tried()
    assert (ended.code, ended.peak_bytes < MOST_BYTES) == (75, True), ended
    assert len(tried.api.requests) == 2
    tried.assert_stored_is_untouched()


def test_a_lock_that_somebody_keeps_is_not_waited_for_for_ever(tried: Tried) -> None:
    with psycopg.connect(tried.warehouse.url) as connection:
        connection.execute("LOCK TABLE report_revision IN EXCLUSIVE MODE")
        ended = tried.fetching(
            in_turn(reply(200, CHANGED)), warehouse__transactions___TRANSACTION_SETTINGS={"lock_timeout": "200ms"}
        )
    assert ended.code == 75, ended
    assert "55P03" in ended.said
    tried.assert_stored_is_untouched()
    tried.assert_heals()


def test_a_database_that_takes_too_long_is_given_up(tried: Tried) -> None:
    slow = (
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(60); RETURN NEW; END'",
        "CREATE TRIGGER slow BEFORE INSERT ON report_revision FOR EACH ROW EXECUTE FUNCTION slow()",
    )
    with psycopg.connect(tried.warehouse.url, autocommit=True) as connection:
        for each in slow:
            connection.execute(each)
        limits = {"statement_timeout": "500ms"}
        ended = tried.fetching(in_turn(reply(200, CHANGED)), warehouse__transactions___TRANSACTION_SETTINGS=limits)
        assert ended.code == 75, ended
        assert "check what else the server is doing" in ended.said, ended.said
        tried.assert_stored_is_untouched()
        connection.execute("DROP FUNCTION slow CASCADE")
    tried.assert_heals()


def test_a_full_disk_says_where_to_make_room_and_leaves_nothing(tried: Tried, small_disk: Path) -> None:
    tried.program = replace(tried.program, environment={**tried.program.environment, "TMPDIR": str(small_disk)})
    ended = tried.fetching(lambda _: chunks(line_of(3)))
    assert ended.code == 75, ended
    assert "no space left" in ended.said
    assert "point TMPDIR to a larger disk" in ended.said
    assert list(small_disk.iterdir()) == []
    tried.assert_stored_is_untouched()
    tried.assert_heals()
