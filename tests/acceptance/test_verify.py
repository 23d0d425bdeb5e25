"""`verify` finds every row in which the table and the source's report differ, and changes none."""

from __future__ import annotations

import json
import re
import shutil
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest

import terminals
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
ONE_DATE = ("--start", f"{TARGET}", "--end", f"{TARGET}")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


@pytest.fixture(autouse=True)
def loaded(program: Program) -> None:
    assert program("backfill", *ONE_DATE).returncode == 0


def test_what_was_just_loaded_equals_its_reports(program: Program) -> None:
    done = program("verify")
    assert done.returncode == 0
    assert f"{TARGET}  VOD   equal    200 " in done.stdout
    assert "2 of 2 stored slices match their reports" in done.stdout


@pytest.mark.single_server("rows cannot be tampered with by their place there")
def test_tampered_rows_are_found_and_left_as_they_are(program: Program, newest_warehouse: Warehouse) -> None:
    with psycopg.connect(newest_warehouse.url) as connection:
        connection.execute("UPDATE watch_time SET watch_seconds = watch_seconds + 0.001 WHERE ctid IN "
                           "(SELECT ctid FROM watch_time_" + f"{TARGET:%Y%m%d}" + "_vod LIMIT 1)")  # fmt: skip
        connection.execute("DELETE FROM watch_time WHERE content_id IN (SELECT min(content_id) FROM watch_time)")
        connection.execute("INSERT INTO watch_time VALUES ('extra', 'nobody', 'VOD', %s, 'VOD', 5)", [TARGET])
    before = newest_warehouse.stored()
    done = program("verify", *ONE_DATE, "--type", "VOD", "--json")
    assert done.returncode == 65
    (verdict,) = json.loads(done.stdout)
    assert (verdict["verdict"], verdict["surplus"], verdict["changed"]) == ("differs", 1, 1)
    stored = newest_warehouse.query("SELECT count(*) FROM watch_time WHERE report_type = 'VOD'")[0][0]
    assert verdict["missing"] == 200 - (stored - 1)
    told = program("verify", *ONE_DATE, "--type", "VOD").stdout
    assert re.search(rf"^{TARGET} +VOD +(nobody +extra|extra +nobody) +VOD +none +5$", told, re.MULTILINE)
    assert newest_warehouse.stored() == before


def test_facts_that_were_changed_by_hand_are_corrected_by_what_it_says(
    program: Program, newest_warehouse: Warehouse
) -> None:
    """It named no next step, `--refresh` found everything unchanged, and nothing else loaded the slice."""
    before = newest_warehouse.stored()
    with psycopg.connect(newest_warehouse.url) as connection:
        connection.execute(
            "DELETE FROM watch_time WHERE report_type = 'VOD' AND customer_id IN "
            "(SELECT customer_id FROM watch_time WHERE report_type = 'VOD' ORDER BY 1 LIMIT 5)"
        )
    told = program("verify", *ONE_DATE)
    assert told.returncode == 65
    what, command = told.stdout.split("next: ")[1].splitlines()[:2]
    command = command.removeprefix("    watch-time ")
    assert what == "the rows were changed after they were loaded; to correct them:"
    assert command == f"backfill --start {TARGET} --end {TARGET} --type VOD --reload"
    done = program(*command.split())
    assert done.returncode == 0
    assert "corrected stored rows that did not match the report:" in done.stdout
    assert program("verify", *ONE_DATE).returncode == 0
    assert newest_warehouse.stored() == before


def test_a_restated_report_differs_until_it_is_loaded(program: Program, newest_warehouse: Warehouse) -> None:
    restated = newest_warehouse.sandbox.restate(VOD)
    (verdict,) = json.loads(program("verify", *ONE_DATE, "--type", "VOD", "--json").stdout)
    assert (verdict["missing"], verdict["surplus"], verdict["changed"]) == (
        restated.rows_added,
        restated.rows_vanished,
        restated.rows_changed,
    )
    told = program("verify", *ONE_DATE, "--type", "VOD").stdout
    assert f"\n    watch-time backfill --start {TARGET} --end {TARGET} --type VOD --refresh\n" in told
    program("backfill", *ONE_DATE, "--refresh")
    assert program("verify", *ONE_DATE).returncode == 0


def test_a_file_will_do_in_place_of_the_source(program: Program, newest_warehouse: Warehouse, tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    shutil.copy(newest_warehouse.sandbox.report(VOD).path, file)
    newest_warehouse.sandbox.withdraw(VOD)
    one_slice = (*ONE_DATE, "--type", "VOD")
    assert "not compared: the API has no report (404)" in program("verify", *one_slice).stdout
    assert program("verify", *one_slice, "--file", str(file)).returncode == 0
    file.write_text(file.read_text().replace("VOD", "Live", 1))
    assert program("verify", *one_slice, "--file", str(file)).returncode == 65
    assert program("verify", *ONE_DATE, "--file", str(file)).returncode == 2


def test_nothing_to_compare_is_not_taken_for_equal(program: Program, tmp_path: Path) -> None:
    earlier = f"{TARGET - timedelta(days=9)}"
    file = tmp_path / "report.csv"
    file.write_text("Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n")
    for more in ((), ("--type", "VOD", "--file", str(file))):
        done = program("verify", "--start", earlier, "--end", earlier, *more)
        assert done.returncode == 2
        assert "there is nothing to verify" in done.stderr


def test_where_nothing_could_be_compared_nothing_is_proven(program: Program, newest_warehouse: Warehouse) -> None:
    live = Slice(TARGET, ReportType.LIVE)
    newest_warehouse.sandbox.withdraw(VOD)
    partly = program("verify", *ONE_DATE)
    assert (partly.returncode, partly.stdout.splitlines()[-1]) == (
        0,
        "1 of 2 stored slices matches its report",
    )
    newest_warehouse.sandbox.withdraw(live)
    done = program("verify", *ONE_DATE)
    assert done.returncode == 75
    assert done.stdout.splitlines()[-1] == (
        "nothing verified: 0 of 2 stored slices could be compared with the report; try again later"
    )
    wrong = program("verify", *ONE_DATE, API_TOKEN="wrong")
    assert wrong.returncode == 77
    assert wrong.stdout.splitlines()[-1].endswith("could be compared with the report; 1 not tried"), "not later"


def test_trouble_with_the_source_is_told_with_what_to_do(program: Program) -> None:
    done = program("verify", *ONE_DATE, API_TOKEN="wrong")
    assert done.returncode == 77
    assert "not compared" in done.stdout
    assert "next: check WATCH_TIME_API_TOKEN" in done.stdout


def test_on_a_terminal_it_shows_how_far_it_is(program: Program, newest_warehouse: Warehouse) -> None:
    shown = terminals.run(["verify", *ONE_DATE], folder=program.folder, environment=program.environment)
    assert shown.returncode == 0, shown.text
    assert re.search(rf"{TARGET} (LIVE|VOD) equal .* [12]/2 ", shown.text), shown.text
    assert "left" not in shown.screen
    assert shown.screen.splitlines()[-1] == "2 of 2 stored slices match their reports"
