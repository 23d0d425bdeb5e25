"""On a terminal no command is silent for long: it shows what it works on, and takes that away at its end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

import terminals
from etl.archive import layout
from etl.archive.layout import Key
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from conftest import Program

TARGET = datetime.now(UTC).date() - timedelta(days=2)
# In a month that no run asks about any more.
OLD = (TARGET - timedelta(days=90)).replace(day=15)
LIVE, VOD = (Slice(OLD, report_type) for report_type in (ReportType.LIVE, ReportType.VOD))
OLD_DATE = ("backfill", "--start", f"{OLD}", "--end", f"{OLD}")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=20, live_rows=10, quiet_one_day_in=0)


def _on_a_terminal(program: Program, *arguments: str, **settings: str) -> terminals.Shown:
    environment = program.with_settings(**settings).environment
    shown = terminals.run(arguments, folder=program.folder, environment=environment)
    assert shown.returncode == 0, shown.text
    return shown


def test_compact_shows_the_month_and_the_period_that_it_works_on(program: Program) -> None:
    program(*OLD_DATE)
    shown = _on_a_terminal(program, "compact")
    told = [
        f"{OLD:%Y-%m}: comparing with the ledger",
        f"{OLD:%Y-%m}: copying rows",
        f"{OLD:%Y-%m}: building the key",
        f"{OLD:%Y-%m}: replacing the slices' partitions",
        f"{OLD}: counting customers",
        f"{OLD:%Y-%m}: counting customers",
    ]
    assert [line for line in told if line not in shown.text] == [], shown.text
    at = [shown.text.index(line) for line in told]
    assert at == sorted(at), shown.text
    assert " 3/3 " in shown.text, "a month, and the customers of a day and of the month"
    assert shown.screen.splitlines() == [
        "month    partition          partitions before",
        f"{OLD:%Y-%m}  watch_time_{OLD:%Y%m}                  2",
        "",
        "customers counted for 2 periods (days and settled months)",
    ]


def test_run_shows_what_it_does_after_the_table(program: Program) -> None:
    known = {"LOOKBACK_DAYS": "0", "RECHECK_DAYS": "0"}
    shown = _on_a_terminal(program, "run", **known)
    assert f"{TARGET}: counting customers" in shown.text
    assert shown.screen.splitlines()[-1].startswith("2 slices: 2 loaded; ")
    quiet = _on_a_terminal(program, "run", "--date", f"{TARGET - timedelta(days=1)}", "--quiet", **known)
    assert quiet.text == ""


def test_archive_shows_the_slice_that_it_has_dealt_with(program: Program) -> None:
    program(*OLD_DATE, ARCHIVE_URL="lake")
    stray = program.folder / "lake" / Key(LIVE, 2, "0" * 64).raw
    stray.write_text("")
    (program.folder / "lake" / layout.published(VOD)).unlink()
    shown = _on_a_terminal(program, "archive", "--sweep", ARCHIVE_URL="lake")
    assert "listing lake" in shown.text
    assert " 6/6 " in shown.text, "both checked, one published, one cleaned up, both checked again"
    assert not stray.exists()
    assert "listing" not in shown.screen


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param(("migrate",), "creating or migrating the tables", id="migrate"),
        pytest.param(("report", "--output", "page.html"), "writing page.html", id="report"),
        pytest.param(("sql", "SELECT 1"), "running the statement", id="sql"),
        pytest.param(("doctor",), "checking the API and the download host", id="doctor"),
    ],
)
def test_other_commands_say_what_they_do(program: Program, arguments: tuple[str, ...], told: str) -> None:
    shown = _on_a_terminal(program, *arguments)
    assert told in shown.text
    assert told not in shown.screen
    redirected = program(*arguments)
    assert (redirected.returncode, redirected.stderr) == (0, "")
    assert told not in redirected.stdout
