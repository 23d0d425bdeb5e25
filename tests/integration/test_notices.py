"""Notifications: one message when the state of slices changes, with the reason and next step, until it is accepted."""

from __future__ import annotations

import email
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.policy import default
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from aiosmtpd.controller import Controller

from etl.domain.slices import ReportType, Slice, dates_between, slices_of
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.telemetry import notices, warehouse_snapshot
from etl.telemetry.notices import Changes
from http_listeners import free_port, listening, notices_within, silent_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program, Warehouse
    from http_listeners import Listener

TODAY = datetime.now(UTC).date()
TARGET = TODAY - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
HEADER = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
BAD = Delivery(body=HEADER + "t,c1,VOD,,customer-canary,-5\nt,c1,VOD,,u2,5\n")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


@pytest.fixture
def chat() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def chat_url(listener: Listener) -> str:
    return f"{listener.url.replace('http', 'json')}/hooks/T0ken-Canary"


def messages(listener: Listener) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in listener.received]


def run(program: Program, *urls: str, code: int = 0, lookback: int = 0) -> str:
    """A daily run; what it logged."""
    done = program("run", NOTIFY_URLS=" ".join(urls), LOOKBACK_DAYS=f"{lookback}", RECHECK_DAYS="0")
    assert done.returncode == code, done.stderr
    assert "canary" not in (done.stdout + done.stderr).lower()
    return done.stderr


def told(warehouse: Warehouse) -> list[tuple[Any, ...]]:
    return warehouse.query("SELECT report_date, report_type, condition FROM report_notice ORDER BY 1, 2")


def test_a_held_slice_is_told_once_and_told_again_when_it_is_fine(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    run(program, chat_url(chat), code=65)
    (message,) = messages(chat)
    assert message["title"].startswith("watch-time: 1 problem (")
    assert message["type"] == "warning"
    assert f"{VOD} is held: invalid lines: 1 of 2; the first is line 2: " in message["message"]
    accept = ("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}", "--type", "VOD", "--accept")
    assert f"watch-time {' '.join(accept)}" in message["message"]
    assert f"watch-time explain {TARGET} --type VOD" in message["message"]
    assert "customer-canary" not in json.dumps(message)
    assert told(newest_warehouse) == [(TARGET, "VOD", "held")]

    assert "notice_sent" not in run(program, chat_url(chat), code=65)
    assert len(chat.received) == 1, "nothing changed"

    assert program(*accept, NOTIFY_URLS=chat_url(chat)).returncode == 0
    message = messages(chat)[-1]
    assert (len(chat.received), message["type"]) == (2, "success")
    assert message["message"] == f"{VOD} has recovered (was held)"
    assert told(newest_warehouse) == []
    run(program, chat_url(chat))
    assert len(chat.received) == 2


def test_what_could_not_be_sent_is_told_by_the_next_run(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    chat.statuses = [503]
    assert '"event": "notice_failed"' in run(program, chat_url(chat), code=65)
    assert told(newest_warehouse) == []
    assert '"event": "notice_sent"' in run(program, chat_url(chat), code=65)
    assert [message["title"] for message in messages(chat)] == [messages(chat)[0]["title"]] * 2


def test_a_broken_channel_does_not_make_the_good_one_repeat_itself(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    urls = (f"json://127.0.0.1:{free_port()}/hooks/T0ken-Canary", chat_url(chat), "xyz://canary")
    assert run(program, *urls, code=65).count('"event": "notice_failed"') == 2
    log = run(program, *urls, code=65)
    assert len(chat.received) == 1
    assert "notice_failed" not in log, "nothing was to be told"


@pytest.mark.parametrize("url", ["json://127.0.0.1:{port}/T0ken-Canary", "nonsense", "xyz://Canary", "mailto://"])
def test_a_channel_that_cannot_be_used_is_a_warning(program: Program, newest_warehouse: Warehouse, url: str) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    assert '"event": "notice_failed"' in run(program, url.format(port=free_port()), code=65)
    assert told(newest_warehouse) == []


def test_a_channel_that_hangs_keeps_the_run_for_a_bounded_time(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    """Longer than the good one takes to be reached; how long it is else, docs/operations/monitoring.md says."""
    newest_warehouse.sandbox.override(VOD, BAD)
    with silent_host() as address:
        began = time.monotonic()
        log = run(
            replace(program, limits=notices_within(6)),
            f"json://{address}/?cto=300&rto=300",
            f"mailto://u:pw-canary@{address}/?to=a@b.example",
            chat_url(chat),
            code=65,
        )
    assert time.monotonic() - began < 120
    assert log.count('"event": "notice_failed"') == 2
    assert told(newest_warehouse) == [(TARGET, "VOD", "held")], "one channel accepted it"


def test_without_apprise_a_warning_says_how_to_get_it(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    (program.folder / "apprise.py").write_text("raise ImportError\n")  # the working folder comes first with -m
    newest_warehouse.sandbox.override(VOD, BAD)
    log = run(program, chat_url(chat), code=65)
    assert "pip install 'watch-time[notify]'" in log
    assert told(newest_warehouse) == []


def test_mail_is_sent_with_the_whole_text(program: Program, newest_warehouse: Warehouse) -> None:
    arrived: list[bytes] = []

    class Mailbox:
        async def handle_DATA(self, _server: object, _session: object, envelope: Any) -> str:  # noqa: N802 - its name
            arrived.append(envelope.content)
            return "250 taken"

    newest_warehouse.sandbox.override(VOD, BAD)
    server = Controller(Mailbox(), hostname="127.0.0.1", port=free_port())
    server.start()
    try:
        run(program, f"mailto://127.0.0.1:{server.port}/?from=job@example.com&to=ops@example.com", code=65)
    finally:
        server.stop()
    (mail,) = (email.message_from_bytes(content, policy=default) for content in arrived)
    assert str(mail["Subject"]).startswith("watch-time: 1 problem")
    body = mail.get_body(("html", "plain"))
    assert body is not None
    assert f"{VOD} is held" in body.get_content()
    assert "--accept" in body.get_content()


def test_failed_late_and_withdrawn_slices_are_told(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    run(program, chat_url(chat))
    assert (chat.received, told(newest_warehouse)) == ([], []), "all is well: nothing to say"
    newest_warehouse.sandbox.withdraw(VOD)
    failing = Slice(TARGET - timedelta(days=1), ReportType.LIVE)
    newest_warehouse.sandbox.override(failing, Delivery(body="no report\n"))
    late = Slice(TARGET - timedelta(days=1), ReportType.VOD)
    newest_warehouse.sandbox.withdraw(late)
    run(program, chat_url(chat), code=65, lookback=1)
    (message,) = messages(chat)
    assert message["title"].startswith("watch-time: 3 problems (")
    assert f"{failing} failed: line 1 is not the header" in message["message"]
    assert f"{VOD} was withdrawn by the source: the API returned 404" in message["message"]
    assert f"{late} is late: not published yet" in message["message"]
    assert told(newest_warehouse) == [
        (failing.report_date, "LIVE", "failed"),
        (late.report_date, "VOD", "late"),
        (TARGET, "VOD", "withdrawn"),
    ]


def test_a_withdrawn_slice_is_not_fine_again_because_asking_for_it_failed(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    run(program)
    newest_warehouse.sandbox.withdraw(VOD)
    chat.statuses = [503]
    run(program, chat_url(chat))
    newest_warehouse.sandbox.script(VOD, api=[Answer(401), Answer(401)])
    run(program, chat_url(chat), code=77)  # what was withdrawn could not be told until now
    message = messages(chat)[-1]["message"]
    assert f"{VOD} was withdrawn by the source: the API returned 404" in message, "and not what failed since then"
    assert told(newest_warehouse) == [(TARGET, "VOD", "withdrawn")]
    run(program, chat_url(chat), code=77)
    run(program, chat_url(chat))
    assert len(chat.received) == 2, "nothing changed"
    newest_warehouse.sandbox._withdrawn.clear()
    run(program, chat_url(chat))
    assert messages(chat)[-1]["message"] == f"{VOD} has recovered (was withdrawn)"
    assert told(newest_warehouse) == []


def test_a_failed_slice_is_not_fine_again_because_it_is_not_published(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    newest_warehouse.sandbox.script(VOD, api=[Answer(401)])
    run(program, chat_url(chat), code=77)
    assert f"{VOD} failed: " in messages(chat)[0]["message"]
    newest_warehouse.sandbox.withdraw(VOD)
    run(program, chat_url(chat))
    assert newest_warehouse.query("SELECT state FROM report_slice WHERE report_type = 'VOD'") == [("unavailable",)]
    assert (len(chat.received), told(newest_warehouse)) == (1, [(TARGET, "VOD", "failed")])
    newest_warehouse.sandbox._withdrawn.clear()
    run(program, chat_url(chat))
    assert messages(chat)[-1]["message"] == f"{VOD} has recovered (was failed)"
    assert told(newest_warehouse) == []


def test_a_slice_that_is_not_due_yet_is_told_of_too(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    program("run", "--date", f"{TARGET}", NOTIFY_URLS=chat_url(chat), LOOKBACK_DAYS="0", LAG_DAYS="3")
    assert f"{VOD} is held" in messages(chat)[0]["message"]


def test_nothing_is_told_of_another_organization_s_slices(
    program: Program, newest_warehouse: Warehouse, chat: Listener
) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    run(program, code=65)
    done = program("run", NOTIFY_URLS=chat_url(chat), ORG_ID="another")
    assert (done.returncode, chat.received) == (78, [])
    assert '"event": "warehouse_snapshot_failed"' in done.stderr


def test_nothing_configured_nothing_recorded(program: Program, newest_warehouse: Warehouse) -> None:
    newest_warehouse.sandbox.override(VOD, BAD)
    run(program, code=65)
    assert told(newest_warehouse) == []


def test_a_message_names_twenty_slices_and_how_many_more(newest_warehouse: Warehouse) -> None:
    now = warehouse_snapshot.read(newest_warehouse.configured())
    many = slices_of(dates_between(TARGET - timedelta(days=49), TARGET))
    title, text = notices.message(Changes(dict.fromkeys(many, "late"), {}), now, warehouse="an organization")
    assert title == "watch-time: 100 problems (an organization)"
    assert text.count(" is late: never tried\n") == 20
    _, more, fetch = text.rsplit("\n\n", 2)
    assert more == "and 80 more: watch-time status"
    assert fetch == f"to load everything that is late: {now.overview.fetch_late}"
    assert len(text) < 10_000


def _record(warehouse: Warehouse, slice_: Slice, state: str, reason: str) -> None:
    with psycopg.connect(warehouse.url) as connection:
        connection.execute(
            "INSERT INTO report_slice (report_date, report_type, state, revision, rows_stored, watch_seconds, "
            "checked_at, reason) VALUES (%s, %s, %s, 0, 0, 0, now(), %s)",
            [slice_.report_date, slice_.report_type.value, state, reason],
        )


def test_a_late_slice_that_is_presumed_empty_now_is_not_called_fine(newest_warehouse: Warehouse) -> None:
    _record(newest_warehouse, VOD, "empty", "no report: 404, asked 2 times")
    now = warehouse_snapshot.read(newest_warehouse.configured())
    _, text = notices.message(Changes({}, {VOD: "late"}), now, warehouse="an organization")
    assert text == f"{VOD} is presumed empty (was late): no report: 404, asked 2 times"


def test_of_dates_before_the_first_one_that_matters_nothing_is_told(newest_warehouse: Warehouse) -> None:
    for slice_ in slices_of([TARGET - timedelta(days=900)]):
        _record(newest_warehouse, slice_, "failed", "the API returned 503")
    _record(newest_warehouse, VOD, "failed", "the API returned 503")
    judged = warehouse_snapshot.read(newest_warehouse.configured(first_date=TARGET))
    assert notices.conditions(judged) == {VOD: "failed"}
    assert len(notices.conditions(warehouse_snapshot.read(newest_warehouse.configured()))) == 1_801
