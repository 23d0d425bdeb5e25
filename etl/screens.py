"""What people see on a terminal: tables of outcomes and states, and the progress of long work.

Data goes to stdout; everything that only accompanies it goes to stderr.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from etl.doctor import Verdict
from etl.outcome import Result
from etl.slices import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from decimal import Decimal

    from etl.doctor import Check
    from etl.outcome import Outcome
    from etl.status import SliceStatus

# What rich takes where there is neither a terminal nor COLUMNS.
_WIDTH_WHERE_UNKNOWN: Final = 80

_STYLES: Final = {
    State.LOADED.value: "green",
    Result.UNCHANGED.value: "green",
    State.EMPTY.value: "dim",
    State.UNAVAILABLE.value: "yellow",
    Result.WITHDRAWN.value: "yellow",
    State.HELD.value: "magenta",
    State.FAILED.value: "red",
    Verdict.OK.value: "green",
    Verdict.WARNING.value: "yellow",
    Verdict.PROBLEM.value: "red",
}


def stdout() -> Console:
    """The console for data: as wide as the terminal or COLUMNS says, else wide enough for a reason in one line."""
    console = Console(highlight=False)
    unknown = not console.is_terminal and console.width == _WIDTH_WHERE_UNKNOWN
    return Console(highlight=False, width=160) if unknown else console


def stderr() -> Console:
    """The console for what accompanies the data."""
    return Console(stderr=True, highlight=False)


def outcomes_table(outcomes: Iterable[Outcome]) -> Table:
    """One line per slice: what came of it, and what changed."""
    table = _table("date", "type", "result", ">rows", ">watch time (s)", "changed", "why")
    for outcome in outcomes:
        table.add_row(
            f"{outcome.slice.report_date:%Y-%m-%d}",
            outcome.slice.report_type.value,
            _state(outcome.result.value),
            _count(outcome.rows),
            _seconds(outcome.watch_seconds, outcome.rows),
            _change(outcome),
            Text("; ".join([outcome.message or "", *outcome.warnings]).strip("; ")),
        )
    return table


def status_table(statuses: Iterable[SliceStatus]) -> Table:
    """One line per slice: what the warehouse knows of it."""
    table = _table("date", "type", "state", ">revision", ">rows", ">watch time (s)", "loaded at (UTC)", "why")
    for status in statuses:
        table.add_row(
            f"{status.slice.report_date:%Y-%m-%d}",
            status.slice.report_type.value,
            _state(status.state),
            _count(status.revision),
            _count(status.rows),
            _seconds(status.watch_seconds, status.rows),
            f"{status.loaded_at:%Y-%m-%d %H:%M}" if status.loaded_at else "",
            Text(status.reason or ""),
        )
    return table


def checks_table(checks: Iterable[Check]) -> Table:
    """One line per check, and what to do about it."""
    table = _table("check", "verdict", "why")
    for check in checks:
        why = Text(check.detail)
        if check.next_step:
            why.append(f"\nnext: {check.next_step}", style="bold")
        table.add_row(check.name, _state(check.verdict.value), why)
    return table


def plan_table(plan: Iterable[tuple[str, str, str]]) -> Table:
    """One line per slice that would be worked on: date, type, why."""
    table = _table("date", "type", "why")
    for date, report_type, why in plan:
        table.add_row(date, report_type, Text(why))
    return table


@contextmanager
def progress(total: int, console: Console) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar on a terminal, nothing elsewhere (there the log has a line per slice); call it per outcome."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("slices", total=total)

        def advance(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=f"{outcome.slice} {outcome.result}")

        yield advance


def _table(*columns: str) -> Table:
    """Columns that begin with `>` are aligned to the right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.startswith(">")
        wraps = column == "why"
        table.add_column(
            column.removeprefix(">"), justify="right" if right else "left", no_wrap=not wraps, overflow="fold"
        )
    return table


def _state(state: str) -> Text:
    return Text(state, style=_STYLES.get(state, "cyan"))


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _seconds(seconds: Decimal, rows: int) -> str:
    return f"{seconds:,f}" if rows else ""


def _change(outcome: Outcome) -> str:
    if outcome.change is None:
        return ""
    change = outcome.change
    if outcome.revision == 1:
        return "first load"
    return f"+{change.inserted:,} -{change.deleted:,} ~{change.updated:,}"
