"""The partitions of `watch_time`: one per slice at first, one per month later. Their names and bounds.

A partition holds the slices from `start` up to, not including, `end`; LIVE comes before VOD on a date.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg import sql

from etl.domain.slices import ReportType, Slice
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from datetime import date
    from decimal import Decimal

    from etl.warehouse.citus import Dialect
    from etl.warehouse.transactions import Connection

_DAYS_OF_ANY_MONTH = 31


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition's name, its first slice, and the first slice after it."""

    name: str
    start: Slice
    end: Slice

    @property
    def month(self) -> str:
        """The month of a month's partition, as people write it."""
        return f"{self.start.report_date:%Y-%m}"

    def render(self, statement_name: str, dialect: Dialect, **more: sql.Composable) -> sql.Composed:
        """The named statement, rendered for this partition."""
        filled_in = {"distribute": dialect.distribute(self.name)} | more
        return dialect.statement(statement_name).format(
            partition=sql.Identifier(self.name),
            partition_name=sql.Literal(self.name),
            bound=sql.Identifier(f"{self.name}_bound"),
            model=sql.Identifier(f"{self.name}_model"),
            start_date=sql.Literal(self.start.report_date),
            start_type=sql.Literal(self.start.report_type.value),
            end_date=sql.Literal(self.end.report_date),
            end_type=sql.Literal(self.end.report_type.value),
            **filled_in,
        )


def of_slice(slice_: Slice) -> Partition:
    """The slice's own partition."""
    day = slice_.report_date
    following = (
        Slice(day, ReportType.VOD)
        if slice_.report_type is ReportType.LIVE
        else Slice(day + timedelta(days=1), ReportType.LIVE)
    )
    return Partition(f"watch_time_{day:%Y%m%d}_{slice_.report_type.lower()}", slice_, following)


def of_month(day: date) -> Partition:
    """The partition of the whole month that `day` is in."""
    first = day.replace(day=1)
    following = (first + timedelta(days=_DAYS_OF_ANY_MONTH)).replace(day=1)
    return Partition(f"watch_time_{first:%Y%m}", Slice(first, ReportType.LIVE), Slice(following, ReportType.LIVE))


def holds(connection: Connection, slice_: Slice, rows: int, watch_seconds: Decimal) -> bool:
    """Whether facts and rollup have the expected rows and seconds of a slice."""
    measured = connection.execute(statement("load/measure_slice"), slice_.key()).fetchall()
    return all(found == (rows, watch_seconds) for found in measured)


def is_covered(connection: Connection, slice_: Slice) -> bool:
    """Whether a partition for the slice's facts exists: its own or its month's."""
    names = [of_slice(slice_).name, of_month(slice_.report_date).name]
    row = connection.execute(statement("load/has_partition"), {"names": names}).fetchone()
    return row == (True,)
