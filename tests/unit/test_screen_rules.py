"""Rules that hold for every screen, those of later commands included.

No line is wider than the terminal but for commands, which are whole, on lines of their own; dates and numbers are never
broken. A page that nobody shows here, a hint whose command is not marked, and help that is too wide, fail.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner

from etl.archive.audit import Audit
from etl.archive.layout import Key
from etl.cli import main
from etl.diagnostics.backfill_estimate import Estimate
from etl.diagnostics.check_result import Check, Verdict
from etl.diagnostics.explain import Story
from etl.diagnostics.sql_runner import Result as Rows
from etl.diagnostics.status import SliceStatus, Status
from etl.diagnostics.verify_against_source import Verdict as Comparison
from etl.display import (
    archive_screen,
    explain_screen,
    message_layout,
    query_table,
    revisions_screen,
    run_tables,
    status_screen,
    verify_screen,
)
from etl.domain.errors import ExitCode
from etl.domain.outcome import Outcome, Result
from etl.domain.pipeline_values import Change
from etl.domain.slices import ReportType, Slice, State, dates_between, slices_of
from etl.load.compaction import Compacted
from etl.load.partition_bounds import Partition
from etl.pipeline import guards
from etl.warehouse.freshness import Freshness, Lag, Overview
from etl.warehouse.revisions import Restatement

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.core import TyperGroup

PROGRAM = cast("TyperGroup", main.PROGRAM)
WIDTHS = (60, 80, 120)
ETL = Path(main.__file__).parents[1]
COMMAND = re.compile(rf"watch-time (?:{'|'.join(PROGRAM.commands)})\b")
AT = datetime(2026, 11, 18, 14, 5, tzinfo=UTC)
SECONDS = Decimal("3822127837.121")
DAYS = [*dates_between(date(2026, 10, 1), date(2026, 10, 9)), date(2026, 11, 2)]
SLICES = slices_of(DAYS)
SLICE = SLICES[0]
LONG = "the API returned 503 (x-request-id: 7f3a9c) with a reason that is long enough for two lines of a wide terminal"
CHANGE = Change(inserted=2_012_345, updated=12_345, deleted=1_234, unchanged=0, merged=0, repeated=0)
MONTH = Partition("watch_time_202610", SLICE, SLICE)
ROW: dict[str, Any] = {
    "first_at": AT, "last_at": AT, "times": 7, "result": "unavailable", "message": LONG, "revision": 12,
    "loaded_at": AT, "seconds_before": Decimal(0), "seconds_after": SECONDS, "rows_inserted": 2_012_345,
    "rows_deleted": 12_345, "rows_updated": 1_234, "rows_merged": 3, "rows_rejected": 4, "report_sha256": "a1" * 32,
    "overruled": LONG, "line_number": 2_000_000, "count": 1_000, "reason": LONG, "raw_text": "x," * 100,
}  # fmt: skip


def _outcome(slice_: Slice, result: Result) -> Outcome:
    held = guards.accept_command(slice_)
    return Outcome(
        slice_, result, ExitCode.DATA_REFUSED, LONG, f"ask; then: `{held}`", revision=2, rows=2_012_345,
        watch_seconds=SECONDS, change=CHANGE, warnings=(LONG,), report_bytes=9_000_000,
    )  # fmt: skip


def _status(slice_: Slice, state: str) -> SliceStatus:
    return SliceStatus(slice_, state, 12, 2_012_345, SECONDS, AT, AT, LONG, "held", LONG, state)


def _overview() -> Overview:
    lag = Lag(timedelta(days=1.9), timedelta(days=2.4), 100)
    fresh = tuple(Freshness(report_type, DAYS[0], DAYS[0], lag) for report_type in ReportType)
    gaps = tuple(slices_of(dates_between(date(2026, 1, 1), date(2026, 3, 1))))
    return Overview(DAYS[0], DAYS[-1], fresh, gaps, gaps, tuple(SLICES))


STATUSES = [_status(slice_, state.value) for slice_, state in zip(SLICES * 2, [*State, *State], strict=False)]
RESTATED = Restatement(SLICE, 2, Decimal(1), SECONDS, 2_012_345, 12_345, 1_234, AT, LONG)
DIFFERENCE = {
    "content_id": "c-20260702-a", "customer_id": "u" * 30, "streaming_type": "LIVE_TO_VOD",
    "report_seconds": SECONDS, "table_seconds": None,
}  # fmt: skip
VERDICTS = [
    Comparison(
        slice_, compared=True, rows=2_012_345, missing=12_345, surplus=1_234, changed=99, first=(DIFFERENCE,),
        next_step=f"load it: `watch-time backfill --start {slice_.report_date} --end {slice_.report_date} --reload`",
        exit_code=ExitCode.DATA_REFUSED,
    )
    for slice_ in SLICES
]  # fmt: skip
STORY = Story(SLICE, None, [ROW], [ROW, ROW], [ROW], next_step=f"{LONG}: `{guards.accept_command(SLICE)}`")
KEY = Key(SLICE, 12, "a1" * 32)
CHECKS = [Check("download host", Verdict.PROBLEM, LONG, f"{LONG}: `watch-time migrate`") for _ in range(2)]
AUDIT = Audit(
    url="s3://a-bucket/with/a/prefix", revisions=1_234, whole=1_000, damaged=((KEY, "a-file.parquet"),) * 9,
    unknown=(KEY,), unfinished=(SLICE,), unarchived=(KEY,), superseded=(KEY,), unreferenced=(), foreign=("a", "b"),
)  # fmt: skip
PAGES: dict[str, Callable[[], RenderableType]] = {
    "outcomes_page": lambda: run_tables.outcomes_page(
        [_outcome(slice_, result) for slice_ in SLICES for result in Result], not_tried=1_234
    ),
    "plan_page": lambda: run_tables.plan_page(
        [(slice_, LONG) for slice_ in SLICES], Estimate(20, 9_000_000, timedelta(hours=3), 60, (ReportType.LIVE,))
    ),
    "checks_page": lambda: run_tables.checks_page(CHECKS),
    "compacted_page": lambda: run_tables.compacted_page([Compacted(MONTH, 1_234)], 31),
    "status_page": lambda: status_screen.status_page(Status(STATUSES, _overview()), every_slice=True),
    "status_table": lambda: status_screen.status_table(STATUSES),
    "restatements_page": lambda: revisions_screen.restatements_page([RESTATED], STATUSES),
    "verdicts_page": lambda: verify_screen.verdicts_page(VERDICTS, not_tried=3),
    "stories_page": lambda: explain_screen.stories_page([STORY]),
    "story_page": lambda: explain_screen.story_page(STORY),
    "audit_page": lambda: archive_screen.audit_page(AUDIT, ["a-file"]),
    "result_page": lambda: query_table.result_page(
        Rows(("report_date", "title", "sum"), [(DAYS[0], LONG, SECONDS), (DAYS[0], None, None)], "SELECT 2")
    ),
    "an error": lambda: message_layout.problem(
        f"{LONG}\n  {LONG}", f"{LONG}: `{guards.accept_command(SLICE)}` and {LONG}"
    ),
}


def _shown(page: RenderableType, width: int) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False).print(page, crop=False)
    return stream.getvalue()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_and_breaks_neither_commands_nor_dates_nor_numbers(name: str, width: int) -> None:
    page = PAGES[name]
    narrow, wide = _shown(page(), width), _shown(page(), 400)
    commands = [line for line in narrow.splitlines() if line.startswith("    watch-time ")]
    for line in narrow.splitlines():
        assert len(line) <= width or line in commands, line
        if COMMAND.search(line):
            assert line in commands, "a command that cannot be pasted"
    assert commands == [line for line in wide.splitlines() if line.startswith("    watch-time ")], "broken"
    whole = re.compile(r"\d{4}-\d\d-\d\d|\d[\d,]*\.\d+|\d{1,3}(?:,\d{3})+")
    assert {*whole.findall(wide)} <= {*whole.findall(narrow)}


def test_every_page_is_looked_at() -> None:
    pages = {
        name
        for module in (
            run_tables,
            status_screen,
            explain_screen,
            revisions_screen,
            verify_screen,
            archive_screen,
            query_table,
        )
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if name.endswith(("_page", "_table")) and not name.startswith(("_", "new_"))
    }
    assert pages <= PAGES.keys()


def _texts(node: ast.AST) -> str:
    """The text of a literal; what is filled in is left out."""
    return "".join(
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    )


def test_the_commands_of_next_steps_are_marked() -> None:
    """Between backticks, by which the terminal gives them a line of their own."""
    for file in ETL.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "next_step":
                outside = "".join(_texts(node.value).split("`")[::2])
                assert not COMMAND.search(outside), f"{file}:{node.value.lineno}"


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_help_fits(name: str) -> None:
    for width in WIDTHS:
        done = CliRunner().invoke(main.app, [name, "--help"], terminal_width=width, env={"COLUMNS": f"{width}"})
        assert done.exit_code == 0
        for line in done.output.splitlines():
            assert len(line) <= width or line.startswith("    watch-time "), line


def test_help_and_messages_say_it_as_the_field_does() -> None:
    """Phrases of which readers said that they sound translated."""
    odd = re.compile(
        r"\b(is amiss|mend|gravest|is no [a-z]+ (of|URL)|be happy|to be had|lets? us in|in our words|anew"
        r"|type: watch-time|looks at)\b"
    )
    texts = {
        f"{file.relative_to(ETL)}:{node.lineno}": text
        for file in ETL.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for text in [_texts(node)]
        if odd.search(text)
    }
    assert texts == {}


def test_one_spelling_of_report_types() -> None:
    told = "\n".join(_shown(page(), 120) for page in PAGES.values())
    told += "\n".join(CliRunner().invoke(main.app, [name, "--help"]).output for name in PROGRAM.commands)
    assert set(re.findall(r"--type (\S+)", told)) - {"restore", "and", "to"} <= {"LIVE", "VOD", "LIVE|VOD"}
