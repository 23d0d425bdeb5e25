"""Chooses how a slice is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from etl.load import partitions
from etl.load.difference import DifferenceLoad
from etl.load.new_partition import NewPartitionLoad

if TYPE_CHECKING:
    from etl.domain.slices import Slice
    from etl.load.slice_load import SliceLoad
    from etl.warehouse.connection import Connection


def begin_load(connection: Connection, slice_: Slice, report_sha256: str) -> SliceLoad:
    """The load of a report into a slice. The transaction must hold the slice's lock."""
    way = DifferenceLoad if partitions.is_covered(connection, slice_) else NewPartitionLoad
    return way(connection, slice_, report_sha256)
