"""The page of `revisions`: what was restated, and what is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from etl.display import number_format
from etl.display.date_ranges import Note
from etl.display.run_tables import rows_changed, slice_cells, told_of
from etl.display.table_layout import new_table
from etl.pipeline.guards import remedy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from etl.diagnostics.status import SliceStatus
    from etl.warehouse.revisions import Restatement


def restatements_page(restatements: Sequence[Restatement], held: Sequence[SliceStatus]) -> Group:
    """A line for every change after first publication; then the slices that are held, and what accepts them."""
    parts: list[RenderableType] = []
    if restatements:
        watch_time = number_format.WatchTime(
            seconds for change in restatements for seconds in (change.seconds_before, change.seconds_after)
        )
        unit = watch_time.unit
        table = new_table(
            "date", "type", ">revision", f">before ({unit})", f">after ({unit})", "rows changed", "=loaded at (UTC)"
        )
        for change in restatements:
            table.add_row(
                *slice_cells(change.slice),
                f"{change.revision:,}",
                watch_time.show(change.seconds_before),
                watch_time.show(change.seconds_after),
                rows_changed(change.rows_inserted, change.rows_deleted, change.rows_updated),
                number_format.minute(change.loaded_at),
            )
        parts.append(table)
    notes = [
        Note((status.slice,), status.state, status.reason or "", remedy(status.slice, status.error_code))
        for status in held
    ]
    if notes:
        parts += [*([Text()] if parts else []), *told_of(notes)]
    return Group(*(parts or [Text("nothing was restated, and nothing is held")]))
