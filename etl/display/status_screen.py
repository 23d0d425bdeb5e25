"""The page of `status`: a calendar, how fresh the warehouse is, what is not loaded and why, and totals."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.text import Text

from etl.diagnostics.status import PRESUMED_EMPTY, SIGNS
from etl.display import number_format
from etl.display.date_ranges import WEEKDAYS, Note, listed, monday_of, ranges
from etl.display.message_layout import hint
from etl.display.run_tables import counted, reasons, slice_cells, state_text, style_of, told_of
from etl.display.table_layout import Prose, new_table
from etl.domain.plurals import plural
from etl.domain.slices import State, slices_of
from etl.warehouse.freshness import LAG_SAMPLE_AT_LEAST

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import date

    from rich.console import RenderableType

    from etl.diagnostics.status import SliceStatus, Status
    from etl.domain.slices import Slice
    from etl.warehouse.freshness import Overview

# So many ranges of late slices are named; `status --json` has them all.
_LISTED: Final = 6
_COMPLETE: Final = frozenset({State.LOADED.value, State.EMPTY.value, PRESUMED_EMPTY})


def status_page(status: Status, *, every_slice: bool = False) -> Group:
    """The calendar; how fresh the whole is; what is not loaded, as ranges; totals. `every_slice` lists each too."""
    missing = list(not_loaded(status.slices))
    notes = [Note((line.slice,), "last check", line.last_check) for line in status.slices if line.last_check]
    checks = list(told_of(notes))
    first, last = (edge(line.slice.report_date for line in status.slices) for edge in (min, max))
    return Group(
        calendar(status.slices),
        Text(),
        *freshness(status.overview),
        Text(),
        *([status_table(status.slices), Text()] if every_slice else []),
        *([*missing, Text()] if missing else []),
        *([*checks, Text()] if checks else []),
        totals(status.slices),
        *(
            []
            if every_slice
            else hint(f"`watch-time status --all --start {first} --end {last}`", label="to list every slice")
        ),
    )


def not_loaded(statuses: Sequence[SliceStatus]) -> Iterator[RenderableType]:
    """The slices that are neither loaded nor empty: which, and why."""
    lines = [
        (status.slice, f"{status.shown_as}: {status.reason}" if status.reason else status.shown_as)
        for status in statuses
        if status.shown_as not in _COMPLETE
    ]
    if lines:
        yield Text("not loaded", style="bold")
        yield from reasons(lines, indent=2)


def totals(statuses: Sequence[SliceStatus]) -> Prose:
    """How many slices are in which state, and what they hold."""
    rows = sum(status.rows for status in statuses)
    seconds = sum((status.watch_seconds for status in statuses), Decimal(0))
    states = [(state, sum(1 for status in statuses if status.shown_as == state)) for state in SIGNS]
    watched = number_format.WatchTime([seconds]).with_unit(seconds)
    days = [status.slice.report_date for status in statuses]
    dates = f"{min(days)} to {max(days)}, " if days else ""
    slices = f"{dates}{plural(len(statuses), 'slice')}: "
    return Prose(Text.assemble(slices, counted(states), f"; {plural(rows, 'row')}, {watched}"), rest=2)


def status_table(statuses: Sequence[SliceStatus]) -> RenderableType:
    """One line per slice: what the warehouse knows of it."""
    watch_time = number_format.WatchTime(status.watch_seconds for status in statuses)
    table = new_table(
        "date", "type", "state", ">revision", ">rows", f">watch time ({watch_time.unit})", "=loaded at (UTC)"
    )
    for status in statuses:
        table.add_row(
            *slice_cells(status.slice),
            state_text(status.shown_as),
            number_format.count(status.revision),
            number_format.count(status.rows),
            watch_time.show(status.watch_seconds) if status.rows else "",
            number_format.minute(status.loaded_at),
        )
    return table


def calendar(statuses: Sequence[SliceStatus]) -> Group:
    """A line per week, a cell per date with a sign for LIVE and one for VOD; then what the signs mean."""
    states = {status.slice: status.shown_as for status in statuses}
    days = sorted({slice_.report_date for slice_ in states})
    table = new_table("=week of", *(f"={day}" for day in WEEKDAYS))
    for monday in sorted(set(map(monday_of, days))):
        week = [monday + timedelta(days=offset) for offset in range(len(WEEKDAYS))]
        table.add_row(f"{monday:%Y-%m-%d}", *(_cell(day, states) for day in week))
    present = [state for state in SIGNS if state in states.values()]
    legend = Text("  ").join(Text.assemble((SIGNS[state], style_of(state)), f" {state}") for state in present)
    return Group(table, Text(), Prose(Text.assemble("each date: LIVE, then VOD  ", legend)))


def freshness(overview: Overview) -> Iterator[RenderableType]:
    """By report date: what is stored and complete, how long reports usually take; what is missing, and what is late."""
    # Of a small sample, the 99th percentile says nothing.
    has_p99 = any(fresh.lag and fresh.lag.dates >= LAG_SAMPLE_AT_LEAST for fresh in overview.freshness)
    p99_column = [">p99 lag"] if has_p99 else []
    table = new_table("type", "=newest loaded", "=complete up to", ">median lag", *p99_column, ">sample")
    for fresh in overview.freshness:
        lag = fresh.lag
        p99 = number_format.in_days(lag.p99) if lag and lag.dates >= LAG_SAMPLE_AT_LEAST else ""
        lags = (number_format.in_days(lag.median), *([p99] if has_p99 else []), f"{lag.dates:,}") if lag else ()
        dates = (f"{day}" if day else "none" for day in (fresh.newest_stored, fresh.complete_up_to))
        table.add_row(fresh.report_type.value, *dates, *lags)
    yield table
    if overview.late:
        first = overview.late[0]
        yield Text()
        yield Prose(Text.assemble(("late", "red"), f": {_listed(overview.late)}"), rest=2)
        yield from hint(f"`watch-time explain {first.report_date} --type {first.report_type}`", label="why")
        yield from hint(f"`{overview.fetch_late}`")
        if overview.leave_out_late:
            yield from hint(f"`{overview.leave_out_late}`", label="or set, if nothing before that date matters")
    elif overview.gaps:
        yield Text()
        yield Prose(Text(f"not loaded yet: {_listed(overview.gaps)}"), rest=2)
    if overview.presumed:
        yield Text()
        yield Prose(Text(f"presumed empty, since the API returns 404: {_listed(overview.presumed)}"), rest=2)
        yield from hint(f"`{overview.fetch_presumed}`", label="to check again")


def _listed(slices: Sequence[Slice]) -> str:
    return listed(ranges(slices), _LISTED)


def _cell(day: date, states: Mapping[Slice, str]) -> Text:
    known = [states.get(slice_) for slice_ in slices_of([day])]
    if not any(known):
        return Text()
    signs = [(SIGNS[state], style_of(state)) if state else (" ", "") for state in known]
    return Text.assemble(f"{day.day:>2} ", *signs)
