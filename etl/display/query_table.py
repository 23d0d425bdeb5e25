"""The result of a statement, as a table."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from etl.display.table_layout import new_table
from etl.domain.plurals import plural

if TYPE_CHECKING:
    from rich.console import RenderableType

    from etl.diagnostics.sql_runner import Result


def result_page(result: Result) -> RenderableType:
    """A line per row, numbers on the right with all their digits; then how many rows there are."""
    if result.columns is None:
        return Text(result.status)
    columns = list(zip(*result.rows, strict=True)) or [()] * len(result.columns)
    signs = [">" if values and all(_is_number(value) for value in values) else "" for values in columns]
    table = new_table(*(f"{sign}{name}" for sign, name in zip(signs, result.columns, strict=True)))
    for row in result.rows:
        table.add_row(*(_cell(value) for value in row))
    return Group(table, Text(), Text(plural(len(result.rows), "row")))


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, (int, float, Decimal)) and not isinstance(value, bool))


def _cell(value: Any) -> Text:
    """A value in one line, without what would steer the terminal."""
    if value is None:
        return Text("NULL", style="dim")
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    return Text("".join(char if char.isprintable() else " " for char in text))
