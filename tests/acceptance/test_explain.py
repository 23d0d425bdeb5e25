"""`explain` tells the whole story of a slice, from the ledger alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from etl.config.settings import Settings
from etl.diagnostics.explain import what_is_next
from etl.domain.slices import ReportType, Slice, State
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import ledger

if TYPE_CHECKING:
    from datetime import date

    from conftest import Program, Warehouse

TODAY = datetime.now(UTC).date()
TARGET = TODAY - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
NOT_THERE = Answer(404, '{"code": 5, "message": "report not found", "details": []}')


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


def test_a_late_restated_held_and_withdrawn_slice_is_told_in_order(
    program: Program, newest_warehouse: Warehouse
) -> None:
    sandbox = newest_warehouse.sandbox
    again = ("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}", "--type", "VOD", "--refresh")
    sandbox.script(VOD, api=[NOT_THERE] * 3)
    codes = [program(*again).returncode for _ in range(5)]  # three times not there, loaded, unchanged
    sandbox.restate(VOD)
    codes.append(program(*again).returncode)
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    sandbox.override(VOD, Delivery(body=header + "t,c0,VOD,,u1,5\n" + "t,c1,VOD,,u1,-5\n" * 7))
    codes.append(program(*again).returncode)
    sandbox.withdraw(VOD)
    codes.append(program(*again).returncode)
    assert codes == [0] * 6 + [65, 0]

    done = program("explain", f"{TARGET}", "--type", "VOD", "--json")
    (story,) = json.loads(done.stdout)
    assert [(check["result"], check["times"]) for check in story["checks"]] == [
        ("unavailable", 3),
        ("loaded", 1),
        ("unchanged", 1),
        ("loaded", 1),
        ("held", 1),
        ("withdrawn", 1),
    ]
    assert story["state"] == "held"
    assert [revision["revision"] for revision in story["revisions"]] == [1, 2]
    assert story["revisions"][0]["seconds_after"] == story["revisions"][1]["seconds_before"]
    assert [reject["line_number"] for reject in story["rejects"]] == [3, 4, 5, 6, 7]
    assert {reject["count"] for reject in story["rejects"]} == {7}
    assert f"--start {TARGET} --end {TARGET} --type VOD --accept" in story["next"]

    told = program("explain", f"{TARGET}", "--type", "VOD", COLUMNS="160").stdout
    for part in (
        f"{VOD}  held",
        "stored: revision 2, ",
        "reason: invalid lines: 7 of 8",
        "3 unavailable not published yet (404, checked once)",
        "1 withdrawn the API returned 404",
        "Accepted revisions revision loaded at (UTC) watch time (s) rows changed merged rejected sha256 1 ",
        ": the first 5 of 7 line reason text 3 the watch time is negative t,c1,VOD,,u1,-5",
        "next: every run checks it until",
    ):
        assert " ".join(part.split()) in " ".join(told.split()), told


def test_a_report_that_nobody_can_accept_is_not_offered_for_accepting(
    program: Program, newest_warehouse: Warehouse
) -> None:
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    newest_warehouse.sandbox.override(VOD, Delivery(body=header + "t,c1,VOD,,u1,-5\n"))
    held = program("run", LOOKBACK_DAYS="0", RECHECK_DAYS="0")
    assert held.returncode == 65
    for told in (held, program("explain", f"{TARGET}", "--type", "VOD"), program("revisions")):
        assert "ask BlendVision for a new one" in told.stdout
        assert "--accept" not in told.stdout


def test_a_rejected_line_does_not_steer_the_terminal(program: Program, newest_warehouse: Warehouse) -> None:
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    newest_warehouse.sandbox.override(VOD, Delivery(body=f"{header}\x1b[2J\x1b]0;title\x07,c1,VOD,,u1,-5\n"))
    program("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}")
    told = program("explain", f"{TARGET}", "--type", "VOD", COLUMNS="160").stdout
    assert "\\x1b[2J" in told
    assert "\x1b" not in told


def test_a_date_that_was_never_tried_has_a_story_too(program: Program) -> None:
    done = program("explain", f"{TARGET}")
    assert done.returncode == 0
    assert done.stdout.count("never tried") == 2
    assert "every run checks it until" in done.stdout


DAY = datetime(2026, 11, 10, tzinfo=UTC).date()
SETTINGS = Settings.load()


@pytest.mark.parametrize(
    ("state", "today", "says"),
    [
        pytest.param(None, DAY + timedelta(days=1), "the daily run checks it from 2026-11-12 on", id="not due"),
        pytest.param(
            State.UNAVAILABLE,
            DAY + timedelta(days=4),
            "every run checks it until 2026-11-26; from 2026-11-16 on, a 404 means an empty day, if VOD of a later "
            "date or the date's other report exists; to load it now: "
            "`watch-time backfill --start 2026-11-10 --end 2026-11-10 --type VOD`",
            id="late",
        ),
        pytest.param(
            State.LOADED,
            DAY + timedelta(days=7),
            "every run checks it until 2026-11-17; to load it now: "
            "`watch-time backfill --start 2026-11-10 --end 2026-11-10 --type VOD --refresh`",
            id="the last day on which it is checked again",
        ),
        pytest.param(
            State.LOADED,
            DAY + timedelta(days=8),
            "the daily run no longer checks it; to load it now: "
            "`watch-time backfill --start 2026-11-10 --end 2026-11-10 --type VOD --refresh`",
            id="settled",
        ),
    ],
)
def test_what_happens_next_follows_the_windows(state: State | None, today: date, says: str) -> None:
    slice_ = Slice(DAY, ReportType.VOD)
    record = None
    if state:
        record = ledger.SliceRecord(
            slice_, state, 0, None, None, 0, Decimal(0), 0, datetime.now(UTC), None, None, None, None, None, None
        )
    assert what_is_next(slice_, record, SETTINGS, today=today) == says
