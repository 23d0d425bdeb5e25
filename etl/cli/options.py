"""Parses command-line options: dates, states, shards. Invalid values exit with code 2."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Final

import typer

from etl.domain.outcome import Trust
from etl.domain.slices import WHOLE, ReportType, Shard, State

DAY: Final = "YYYY-MM-DD"
# Dates that a person can mean.
_FIRST: Final = date(2000, 1, 1)
_LAST: Final = date(2999, 12, 31)
# The states of slices, as --only names them.
WANTED: Final[dict[str, State | None]] = {"missing": None, **{state.value: state for state in State}}
Verbose = Annotated[bool, typer.Option("--verbose", help="On a terminal, show log lines instead of the progress bar.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing unless something needs attention; for cron.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")]


def day(text: str) -> date:
    """Parse a report date. Dates before 2000 or far in the future are typos."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if not _FIRST <= found <= _LAST:
        raise typer.BadParameter(f"{text!r} is not a valid date (YYYY-MM-DD, from 2000 on)")
    return found


def date_option(text: str) -> Any:
    """An option that takes a report date."""
    return typer.Option(parser=day, metavar=DAY, help=text)


def wanted(only: str | None, *, refresh: bool) -> frozenset[State | None]:
    """The slice states that a backfill selects."""
    if only and refresh:
        raise typer.BadParameter("--only cannot be combined with --refresh or --reload; add loaded to --only instead")
    if only is None:
        return frozenset({None, *State}) - (frozenset() if refresh else {State.LOADED})
    names = [name.strip() for name in only.lower().split(",")]
    unknown = [name for name in names if name not in WANTED]
    if unknown:
        raise typer.BadParameter(f"--only {', '.join(unknown)}: not a state; the states are {', '.join(WANTED)}")
    return frozenset(WANTED[name] for name in names)


def trust(*, refresh: bool, reload: bool) -> Trust:
    """How thoroughly to check a loaded slice before skipping it."""
    if refresh and reload:
        raise typer.BadParameter("--reload includes --refresh: leave --refresh out")
    return Trust.NOTHING if reload else Trust.COUNTS if refresh else Trust.LEDGER


def shard(text: str | None) -> Shard:
    """Parse I/N: which of how many parts."""
    if text is None:
        return WHOLE
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    index, count = map(int, numbers.groups()) if numbers else (0, 0)
    if index >= count:
        raise typer.BadParameter(f"--shard {text!r} is not valid: expected I/N, such as 0/4 to 3/4 for four parts")
    return Shard(index, count)


def require_dask_alone(dask: str, *, concurrency: int | None, rate: float | None, dry_run: bool) -> None:
    """Refuse options that the workers of a cluster cannot enforce."""
    if dry_run:
        raise typer.BadParameter("--dry-run requests nothing, so leave --dask out")
    if dask == "local":
        return
    if concurrency:
        raise typer.BadParameter(
            "--concurrency can be combined with --dask local only; another cluster uses all its threads"
        )
    if rate:
        raise typer.BadParameter(
            "--rate can be combined with --dask local only; elsewhere each worker would have a limit of its own"
        )


Yes = Annotated[bool, typer.Option("--yes", help="Allow dates far earlier than any in the warehouse.")]
Type = Annotated[
    ReportType | None,
    typer.Option("--type", case_sensitive=False, metavar="LIVE|VOD", help="One report type only; default: both."),
]
Start = Annotated[date | None, date_option("First date; default: two weeks before --end.")]
End = Annotated[date | None, date_option("Last date; default: the target date.")]
