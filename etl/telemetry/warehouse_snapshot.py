"""Where the warehouse stands after a run: what metrics and notifications are made of, read in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from etl.domain.slices import Slice
from etl.warehouse import freshness, ledger, schema
from etl.warehouse.database import open_warehouse
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from etl.config.settings import Settings
    from etl.warehouse.freshness import Overview
    from etl.warehouse.ledger import SliceRecord

# A ledger of ten years has ten thousand lines. Who waits longer than that for them waits for a database in trouble.
_BRIEFLY = "SET LOCAL statement_timeout = '10s'"


@dataclass(frozen=True, slots=True)
class WarehouseSnapshot:
    """What the ledger knows.

    Attributes:
        overview: how fresh the reports are.
        known: every slice's row, those that are not due yet included.
        withdrawn: slices whose report was found gone by the last check that met anything, and what it met.
        told: the conditions that people were last told of.
    """

    overview: Overview
    known: Mapping[Slice, SliceRecord]
    withdrawn: Mapping[Slice, str]
    told: Mapping[Slice, str]


def read(settings: Settings) -> WarehouseSnapshot:
    """Where the warehouse stands now.

    Raises:
        WatchTimeError: it cannot be read, or belongs to another organization.
    """
    with open_warehouse(settings) as database, database.transaction(writable=False) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(_BRIEFLY)
        schema.require_head(database, connection)
        schema.require_owner(database, connection, settings.require("org_id"))
        overview = freshness.read(connection, settings, now=datetime.now(UTC))
        return WarehouseSnapshot(
            overview,
            known=ledger.read_range(connection, date.min, date.max),
            withdrawn={
                Slice.of_row(row): str(row["message"])
                for row in fetch_rows(connection, statement("telemetry/read_withdrawn"))
            },
            told={
                Slice.of_row(row): str(row["condition"])
                for row in fetch_rows(connection, statement("telemetry/read_notices"))
            },
        )


def record_told(settings: Settings, trouble: Mapping[Slice, str], fine: Iterable[Slice]) -> None:
    """Remember what people were told, in one transaction."""
    with open_warehouse(settings) as database, database.transaction() as connection:
        connection.execute(_BRIEFLY)
        for slice_, condition in trouble.items():
            connection.execute(statement("telemetry/record_notice"), {**slice_.key(), "condition": condition})
        for slice_ in fine:
            connection.execute(statement("telemetry/forget_notice"), slice_.key())
