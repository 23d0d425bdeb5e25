"""Chooses how a slice is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.load import partition_bounds
from etl.load.difference_load import DifferenceLoad
from etl.load.new_partition_load import NewPartitionLoad

if TYPE_CHECKING:
    from etl.domain.slices import Slice
    from etl.load.load_steps import SliceLoad
    from etl.warehouse.transactions import Connection


def begin_load(connection: Connection, slice_: Slice, report_sha256: str) -> SliceLoad:
    """The load of a report into a slice. The transaction must hold the slice's lock."""
    way = DifferenceLoad if partition_bounds.is_covered(connection, slice_) else NewPartitionLoad
    return way(connection, slice_, report_sha256)
