"""Reports and answers that are not what they should be: the message, the exit code, and stored data untouched."""

from __future__ import annotations

import gzip
import re
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from conftest import DAY, HEADER, VOD, Warehouse
from etl.domain.errors import CredentialsRefused, DatabaseUnavailable, Misconfigured
from etl.domain.outcome import Result
from etl.domain.slices import ReportType
from etl.pipeline import replay
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from etl.domain.outcome import Outcome

GOOD = HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,2\n"


def _line(*, content: str = "c9", customer: str = "u9", seconds: str = "1", title: str = "t") -> str:
    return f"{GOOD}{title},{content},VOD,,{customer},{seconds}\n"


def _assert_refused(warehouse: Warehouse, deliver: Delivery, result: Result, message: str, exit_code: int) -> Outcome:
    """With a stored slice, and on an empty one, the same refusal; and what was stored stays as it was."""
    warehouse.sandbox.override(VOD, deliver)
    first = warehouse.sync()
    assert warehouse.facts() == []
    assert (first.result, int(first.exit_code)) == (result, exit_code), first.message
    warehouse.sync(GOOD)
    before = warehouse.stored()
    warehouse.sandbox.override(VOD, deliver)
    outcome = warehouse.sync()
    assert (outcome.result, int(outcome.exit_code)) == (result, exit_code), outcome.message
    assert message in (outcome.message or "")
    assert outcome.next_step
    assert warehouse.stored() == before
    assert len(before["facts"]) == 2
    return outcome


REFUSED_FILES: Mapping[str, tuple[str | bytes, Result, str]] = {
    "missing-column": (GOOD.replace(",Watch Time (sec.)", "", 1), Result.FAILED, "no column for watch_seconds"),
    "extra-column": (
        "".join(f"{line},x\n" for line in GOOD.splitlines()).replace(",x", ",Device", 1),
        Result.FAILED,
        "unknown column 'Device'",
    ),
    "renamed-column": (GOOD.replace("Customer ID", "Viewer"), Result.FAILED, "no column for customer_id"),
    "doubled-column": (
        GOOD.replace("Content Title", "Content ID"),
        Result.FAILED,
        "more than one column for content_id",
    ),
    "short-row": (GOOD + "t,c3,VOD\n", Result.HELD, "invalid lines: 1 of 3; the first is line 4"),
    "long-row": (GOOD + "t,c3,VOD,,u3,1,2\n", Result.HELD, "invalid lines: 1 of 3; the first is line 4"),
    "unterminated-quote": (GOOD + '"t,c3,VOD,,u3,1\n', Result.FAILED, "line 4"),
    "text-after-quote": (GOOD + '"t"x,c3,VOD,,u3,1\n', Result.FAILED, "line 4"),
    "quote-inside-field": (GOOD + 't 5" y,c3,VOD,,u3,1\n', Result.FAILED, "line 4"),
    "nul": (_line(title="a\0b"), Result.HELD, "NUL"),
    "bad-utf-8": (_line(title="@").encode().replace(b"@", b"\xff\xfe"), Result.HELD, "UTF-8"),
    "utf-16": (GOOD.encode("utf-16"), Result.FAILED, "UTF-16"),
    "lone-cr": (GOOD.replace("\n", "\r"), Result.FAILED, "carriage return"),
    "html": ("<!DOCTYPE html><html><body>Log in</body></html>", Result.FAILED, "web page"),
    "no-bytes": ("", Result.FAILED, "empty"),
    "seconds-with-comma": (_line(seconds='"1,234"'), Result.HELD, "line 4: the watch time has a thousands separator"),
    "seconds-negative": (_line(seconds="-5"), Result.HELD, "line 4: the watch time is negative"),
    "seconds-nan": (_line(seconds="NaN"), Result.HELD, "line 4: the watch time is not a finite number"),
    "seconds-empty": (_line(seconds=""), Result.HELD, "line 4: the watch time is empty"),
    "seconds-huge": (_line(seconds="1e400"), Result.HELD, "line 4: the watch time is in scientific notation"),
    "seconds-too-long": (_line(seconds="9" * 13), Result.HELD, "line 4: the watch time has more than 12 digits"),
    "seconds-padded": (_line(seconds=" 5"), Result.HELD, "line 4: the watch time is blank, or has spaces around it"),
    "id-too-long": (_line(content="x" * 10_000), Result.HELD, "1,000 bytes"),
    "customer-id-too-long": (_line(customer="é" * 501), Result.HELD, "1,000 bytes"),
    "id-empty": (_line(content=""), Result.HELD, "line 4: the content id is empty"),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_a_report_that_cannot_be_trusted_is_refused_whole(warehouse: Warehouse, name: str) -> None:
    body, result, message = REFUSED_FILES[name]
    outcome = _assert_refused(warehouse, Delivery(body=body), result, message, 65)
    state, revision, error_code = warehouse.query("SELECT state, revision, error_code FROM report_slice")[0]
    assert (state, revision) == (result.value, 1)
    assert error_code in {"guard_refused", "contract_broken", "malformed_report"}
    assert "u9" not in (outcome.message or "")


def test_rejected_lines_are_kept_with_number_reason_and_text(warehouse: Warehouse) -> None:
    warehouse.sync(GOOD + "t,c3,VOD\n" + "t,c4,VOD,,u4,-1\n")
    rejects = warehouse.query("SELECT line_number, reason, raw_text FROM report_reject ORDER BY 1")
    assert [(number, raw) for number, _, raw in rejects] == [(4, "t,c3,VOD"), (5, "t,c4,VOD,,u4,-1")]
    assert all(reason for _, reason, _ in rejects)


def test_rejects_within_the_limit_are_left_out_and_named(warehouse: Warehouse) -> None:
    outcome = warehouse.sync(GOOD + "t,c3,VOD,,u3,-1\n", max_reject_ratio="0.4")
    assert (outcome.result, outcome.rows, outcome.rejected) == (Result.LOADED, 2, 1)
    assert outcome.warnings == ("1 line rejected, within the limit; see the table report_reject",)
    assert warehouse.query("SELECT rows_read, rows_rejected FROM report_revision") == [(3, 1)]
    assert warehouse.query("SELECT line_number FROM report_reject") == [(4,)]
    warehouse.sync(GOOD)
    assert warehouse.query("SELECT line_number FROM report_reject") == [(4,)], "an accepted revision keeps its rejects"


def test_a_report_of_rejects_only_is_held_whatever_the_limit(warehouse: Warehouse) -> None:
    outcome = warehouse.sync(HEADER + "t,c3,VOD,,u3,-1\n", max_reject_ratio="1")
    assert (outcome.result, outcome.exit_code) == (Result.HELD, 65)


def test_a_renamed_column_is_read_with_the_line_that_the_error_gave(warehouse: Warehouse) -> None:
    body = GOOD.replace("Customer ID", "Viewer")
    refused = warehouse.sync(body)
    assert """WATCH_TIME_HEADER_ALIASES='{"Viewer": "customer_id"}'""" in (refused.next_step or "")
    assert warehouse.sync(body, header_aliases='{"Viewer": "customer_id"}').result is Result.LOADED


def test_an_extra_column_is_left_out_when_the_setting_says_so(warehouse: Warehouse) -> None:
    body = "".join(f"{line},x\n" for line in GOOD.splitlines()).replace(",x", ",Device", 1)
    refused = warehouse.sync(body)
    assert """WATCH_TIME_HEADER_ALIASES='{"Device": "ignore"}'""" in (refused.next_step or "")
    assert warehouse.sync(body, header_aliases='{"Device": "ignore"}').rows == 2


ACCEPTED_FILES: Mapping[str, str | bytes] = {
    "bom": "\ufeff" + GOOD,
    "crlf": GOOD.replace("\n", "\r\n"),
    "no-last-line-end": GOOD.rstrip("\n"),
    "blank-lines": GOOD.replace("\n", "\n\n"),
    "all-quoted": "".join('"' + line.replace(",", '","') + '"\n' for line in GOOD.splitlines()),
    "gzip": gzip.compress(GOOD.encode()),
    "two-member-gzip": gzip.compress(GOOD[:100].encode()) + gzip.compress(GOOD[100:].encode()),
}


@pytest.mark.parametrize("name", ACCEPTED_FILES)
def test_a_variation_that_means_the_same_is_read(warehouse: Warehouse, name: str) -> None:
    outcome = warehouse.sync(ACCEPTED_FILES[name])
    assert outcome.result is Result.LOADED, outcome.message
    assert warehouse.facts() == [("c1", "u1", "VOD", 1), ("c2", "u2", "VOD", 2)]


@pytest.mark.parametrize(
    ("id_", "seconds"),
    [("007", "0"), ("NA", "0.5"), ("null", "007"), ("1e5", "1.10"), (" x ", "86401"), ("y" * 1000, "9" * 12)],
    ids=["leading-zeros", "na", "null", "scientific", "spaces", "1000-bytes"],
)
def test_an_odd_id_or_number_is_stored_as_it_is(warehouse: Warehouse, id_: str, seconds: str) -> None:
    outcome = warehouse.sync(f"{HEADER}t,{id_},VOD,,{id_},{seconds}\n")
    assert outcome.result is Result.LOADED, outcome.message
    assert warehouse.query("SELECT content_id, customer_id, watch_seconds = %s::numeric FROM watch_time", seconds) == [
        (id_, id_, True)
    ]


def test_a_truncated_gzip_is_refused(warehouse: Warehouse) -> None:
    cut = gzip.compress(GOOD.encode())[:-12]
    _assert_refused(warehouse, Delivery(body=cut), Result.FAILED, "gzip", 65)


def test_a_header_only_report_is_an_empty_day_and_replaces_no_good_one(warehouse: Warehouse) -> None:
    empty = warehouse.sync(HEADER)
    assert (empty.result, empty.exit_code, empty.revision) == (Result.EMPTY, 0, 1)
    assert warehouse.sync().result is Result.UNCHANGED
    warehouse.sync(GOOD)
    before = warehouse.stored()
    held = warehouse.sync(HEADER)
    assert (held.result, held.exit_code) == (Result.HELD, 65)
    assert "a header and no rows; the stored report has 2 rows" in (held.message or "")
    assert warehouse.stored() == before


@pytest.mark.parametrize(
    ("lines", "result"),
    [
        pytest.param("A,c1,VOD,,u1,1\n", Result.LOADED, id="half-the-rows"),
        pytest.param("A,c1,VOD,,u1,0.5\n", Result.HELD, id="less-than-half-the-seconds"),
    ],
)
def test_a_much_smaller_report_is_held(warehouse: Warehouse, lines: str, result: Result) -> None:
    warehouse.sync(HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,1\n")
    outcome = warehouse.sync(HEADER + lines)
    assert outcome.result is result
    assert len(warehouse.facts()) == (1 if result is Result.LOADED else 2)


def test_a_shrunken_report_is_taken_when_the_setting_allows_it(warehouse: Warehouse) -> None:
    warehouse.sync(HEADER + "".join(f"t,c{number},VOD,,u,1\n" for number in range(9)))
    held = warehouse.sync(GOOD)
    assert "watch-time backfill --start 2026-11-16" in (held.next_step or "")
    assert warehouse.sync(GOOD, shrink_limit="0").rows == 2


API_ANSWERS: Mapping[str, tuple[Answer, int, str]] = {
    "html-404": (Answer(404, "<html>no such page</html>", media_type="text/html"), 78, "WATCH_TIME_API_BASE_URL"),
    "forbidden-scheme": (Answer(200, '{"url": "ftp://host.example/report.csv"}'), 78, "ftp://host.example"),
    "plain-http": (Answer(200, '{"url": "http://host.example/report.csv"}'), 78, "http://host.example"),
    "forbidden-host": (
        Answer(200, '{"url": "https://169.254.169.254/report.csv?X-Amz-Signature=s"}'),
        78,
        "169.254.169.254",
    ),
    "bad-request": (Answer(400, '{"code": 3, "message": "bad time", "details": []}'), 70, "bad time"),
    "html-200": (Answer(200, "<html>Log in</html>", media_type="text/html"), 75, "returned 200"),
    "forbidden": (Answer(403, '{"code": 7, "message": "not yours", "details": []}'), 77, "not yours"),
}


@pytest.mark.parametrize("name", API_ANSWERS)
def test_an_answer_of_the_api_that_is_no_report_changes_nothing_stored(warehouse: Warehouse, name: str) -> None:
    answer, exit_code, message = API_ANSWERS[name]
    warehouse.sync(GOOD)
    before = warehouse.stored()
    warehouse.sandbox.script(None, api=[answer] * 8)
    outcome = warehouse.sync()
    assert (outcome.result, int(outcome.exit_code)) == (Result.FAILED, exit_code), outcome.message
    assert message in f"{outcome.message} {outcome.next_step}"
    assert "Signature" not in f"{outcome.message} {outcome.next_step}"
    assert warehouse.stored() == before
    # Trouble on the way says nothing about the facts: the slice stays loaded, with the reason beside it.
    state, reason, last_check = warehouse.query("SELECT state, reason, last_check FROM report_slice")[0]
    assert (state, reason, last_check.partition(":")[0]) == ("loaded", None, "failed")


def test_a_wrong_token_is_refused_at_once(warehouse: Warehouse) -> None:
    outcome = warehouse.sync(api_token="wrong-token-xyz")
    assert int(outcome.exit_code) == 77
    assert "wrong-token-xyz" not in f"{outcome.message} {outcome.next_step}"
    assert warehouse.sandbox.statuses("api") == {401: 1}
    assert warehouse.query("SELECT state, error_code FROM report_slice") == [("failed", "credentials_refused")]
    assert warehouse.query("SELECT * FROM warehouse") == []


def test_an_expired_url_is_answered_by_asking_for_a_new_one(warehouse: Warehouse) -> None:
    warehouse.sandbox.script(VOD, storage=[Delivery(expired=True)])
    assert warehouse.sync().result is Result.LOADED
    assert warehouse.sandbox.statuses() == {200: 3, 403: 1}


def test_a_cut_download_is_resumed(warehouse: Warehouse) -> None:
    warehouse.sandbox.script(VOD, storage=[Delivery(cut_after_bytes=5_000)])
    outcome = warehouse.sync()
    report = warehouse.sandbox.report(VOD)
    assert (outcome.rows, outcome.watch_seconds, outcome.retries) == (report.rows, report.watch_seconds, 1)
    assert warehouse.sandbox.statuses("storage") == {200: 1, 206: 1}


def test_a_download_that_is_cut_for_ever_is_tried_later(warehouse: Warehouse) -> None:
    warehouse.sandbox.override(VOD, Delivery(cut_after_bytes=0, headers={"etag": None}))
    with warehouse.job() as opened:
        # The pauses between the tries are not what is tested.
        object.__setattr__(opened.context.pipeline._source.downloader.retry_policy, "sleep", lambda _: None)
        outcome = opened.run(opened.planner.backfill(DAY, DAY, report_types=[VOD.report_type]))[0]
    assert int(outcome.exit_code) == 75
    assert re.search(r"the download host 127\.0\.0\.1:\d+/\w+", outcome.message or ""), "host and path, no query"
    assert warehouse.facts() == []


@pytest.fixture
def locked_out(newest_warehouse: Warehouse) -> Iterator[Callable[[], None]]:
    """The warehouse is used by a role of the test's own; a function that takes its right to log in away."""
    role = f"loader_{uuid.uuid4().hex}"
    parts, as_we_are = urlsplit(newest_warehouse.url), newest_warehouse.url
    with psycopg.connect(as_we_are, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} SUPERUSER LOGIN PASSWORD 'p'".encode())
        newest_warehouse.url = urlunsplit(parts._replace(netloc=f"{role}:p@{parts.netloc.rpartition('@')[2]}"))

        def lock_out() -> None:
            connection.execute(f"ALTER ROLE {role} NOLOGIN".encode())
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", [role]
            )

        yield lock_out
        newest_warehouse.url = as_we_are
        connection.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER".encode())
        connection.execute(f"DROP ROLE {role}".encode())


class TestDatabaseTrouble:
    """What is wrong with the database is said in its own words, with the code that fits."""

    @pytest.mark.parametrize(
        ("url", "kind"),
        [
            pytest.param("postgresql://u@127.0.0.1:1/x", DatabaseUnavailable, id="down"),
            pytest.param("nonsense", Misconfigured, id="no-url"),
        ],
    )
    def test_no_database_there(self, url: str, kind: type[Exception]) -> None:
        with pytest.raises(kind), Database(url, schema="public").transaction():
            pass

    def test_a_missing_database_is_named(self, warehouse: Warehouse) -> None:
        url = warehouse.url.replace("/test_", "/no_such_")
        with pytest.raises(Misconfigured, match="does not exist"), Database(url, schema="public").transaction():
            pass

    def test_a_missing_role_is_a_matter_of_credentials(self, warehouse: Warehouse) -> None:
        url = warehouse.url.replace("postgres@", "nobody_of_that_name@")
        with pytest.raises(CredentialsRefused), Database(url, schema="public").transaction():
            pass

    def test_a_database_that_lets_us_in_no_more_ends_the_run(
        self, newest_warehouse: Warehouse, locked_out: Callable[[], None], tmp_path: Path
    ) -> None:
        days = (DAY - timedelta(days=3), DAY)
        newest_warehouse.settings["archive_url"] = f"{tmp_path}"
        with newest_warehouse.job() as opened:
            plan = opened.planner.backfill(*days)
            opened.run(plan[:4])
        with newest_warehouse.job() as opened:
            locked_out()
            refused = opened.run(plan)
        assert [int(outcome.exit_code) for outcome in refused] == [77]
        assert "is not permitted to log in" in (refused[0].message or "")
        assert (opened.is_refused, opened.not_tried) == (True, 7)

    def test_a_rebuilding_ends_when_the_database_lets_us_in_no_more(
        self, newest_warehouse: Warehouse, locked_out: Callable[[], None], tmp_path: Path
    ) -> None:
        newest_warehouse.settings["archive_url"] = f"{tmp_path}"
        with newest_warehouse.job() as opened:
            opened.run(opened.planner.backfill(DAY - timedelta(days=1), DAY))
        with replay.open_replay(newest_warehouse.configured()) as opened_replay:
            plan = opened_replay.plan(None, None, tuple(ReportType))
            locked_out()
            refused = opened_replay.work(plan)
        assert (len(plan), [int(outcome.exit_code) for outcome in refused]) == (4, [77])

    def test_a_read_only_database_is_tried_later(self, warehouse: Warehouse) -> None:
        name = warehouse.query("SELECT current_database()")[0][0]
        with Database(warehouse.url, schema="public").transaction() as connection:
            connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'.encode())
        with (
            pytest.raises(DatabaseUnavailable, match="read-only"),
            Database(warehouse.url, schema="public").transaction(),
        ):
            pass


@pytest.mark.parametrize("sandbox_config", [SandboxConfig(vod_rows=50, anonymous_line_per_view=True)])
def test_anonymous_viewers_may_come_one_line_each(warehouse: Warehouse, sandbox_config: SandboxConfig) -> None:
    outcome = warehouse.sync()
    assert outcome.change
    assert outcome.watch_seconds == warehouse.sandbox.report(VOD).watch_seconds
    assert outcome.rows == warehouse.sandbox.report(VOD).rows - outcome.change.merged
