"""The options of the command line that need reading: dates, states, shards. Wrong ones end with exit code 2."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Final

import typer

from etl.domain.outcome import Trust
from etl.domain.slices import WHOLE, ReportType, Shard, State

DAY: Final = "YYYY-MM-DD"
# Dates that a person can mean.
_FIRST: Final = date(2000, 1, 1)
_LAST: Final = date(2999, 12, 31)
# The states of slices, as --only names them.
WANTED: Final[dict[str, State | None]] = {"missing": None, **{state.value: state for state in State}}
Verbose = Annotated[bool, typer.Option("--verbose", help="Log lines on a terminal too, in place of the progress bar.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing unless something needs attention; for cron.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout instead of a table.")]


def day(text: str) -> date:
    """A report date. Before the year 2000 nobody streamed, and far from it calendars end."""
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = date.min
    if not _FIRST <= found <= _LAST:
        raise typer.BadParameter(f"{text!r} is no date of a report; write it like 2026-11-20")
    return found


def wanted(only: str | None, *, refresh: bool) -> frozenset[State | None]:
    """The states of slices that a backfill works on."""
    if only and refresh:
        raise typer.BadParameter("--refresh, --reload and --only exclude each other; name loaded in --only")
    if only is None:
        return frozenset({None, *State}) - (frozenset() if refresh else {State.LOADED})
    names = [name.strip() for name in only.lower().split(",")]
    unknown = [name for name in names if name not in WANTED]
    if unknown:
        raise typer.BadParameter(f"--only {', '.join(unknown)}: no such state; there are {', '.join(WANTED)}")
    return frozenset(WANTED[name] for name in names)


def trust(*, refresh: bool, reload: bool) -> Trust:
    """What it takes to leave a loaded slice as it is."""
    if refresh and reload:
        raise typer.BadParameter("--reload does all that --refresh does: leave one of them out")
    return Trust.NOTHING if reload else Trust.COUNTS if refresh else Trust.LEDGER


def shard(text: str | None) -> Shard:
    """Which of how many parts."""
    if text is None:
        return WHOLE
    numbers = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    index, count = map(int, numbers.groups()) if numbers else (0, 0)
    if index >= count:
        raise typer.BadParameter(f"--shard {text!r} is no part; of 4 parts the first is 0/4 and the last 3/4")
    return Shard(index, count)


def require_dask_alone(dask: str, *, concurrency: int | None, rate: float | None, dry_run: bool) -> None:
    """Refuse what the workers of a cluster could not keep to."""
    if dry_run:
        raise typer.BadParameter("--dry-run asks nobody: leave --dask out")
    if dask == "local":
        return
    if concurrency:
        raise typer.BadParameter("--concurrency goes with --dask local; another cluster does as many as it has threads")
    if rate:
        raise typer.BadParameter("--rate goes with --dask local; of another cluster each worker would keep its own")


Yes = Annotated[bool, typer.Option("--yes", help="The dates are meant, though they lie far before all others.")]
Type = Annotated[
    ReportType | None,
    typer.Option("--type", case_sensitive=False, metavar="live|vod", help="One report only; default: both."),
]
Start = Annotated[date | None, typer.Option(parser=day, metavar=DAY, help="First date; default: two weeks before.")]
End = Annotated[date | None, typer.Option(parser=day, metavar=DAY, help="Last date; default: the target date.")]
