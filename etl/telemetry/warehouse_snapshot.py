"""Where the warehouse stands after a run: what metrics and notices are made of, read in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from etl.domain.slices import ReportType, Slice
from etl.warehouse import freshness, ledger, schema
from etl.warehouse.connection import fetch_rows, open_database, statement

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
    url = settings.require("database_url")
    with (
        open_database(url, schema=settings.schema_name) as database,
        database.transaction(writable=False) as connection,
    ):
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(_BRIEFLY)
        schema.require_head(database, connection)
        schema.require_owner(database, connection, settings.require("org_id"))
        overview = freshness.read(connection, settings, now=datetime.now(UTC))
        return WarehouseSnapshot(
            overview,
            known=ledger.read_range(connection, date.min, date.max),
            withdrawn={
                _slice(row): str(row["message"])
                for row in fetch_rows(connection, statement("telemetry/read_withdrawn"))
            },
            told={
                _slice(row): str(row["condition"])
                for row in fetch_rows(connection, statement("telemetry/read_notices"))
            },
        )


def record_told(settings: Settings, trouble: Mapping[Slice, str], fine: Iterable[Slice]) -> None:
    """Remember what people were told, in one transaction."""
    url = settings.require("database_url")
    with open_database(url, schema=settings.schema_name) as database, database.transaction() as connection:
        connection.execute(_BRIEFLY)
        for slice_, condition in trouble.items():
            connection.execute(statement("telemetry/record_notice"), {**_key(slice_), "condition": condition})
        for slice_ in fine:
            connection.execute(statement("telemetry/forget_notice"), _key(slice_))


def _slice(row: Mapping[str, object]) -> Slice:
    day = row["report_date"]
    assert isinstance(day, date)  # noqa: S101 - by the column's type
    return Slice(day, ReportType(str(row["report_type"])))


def _key(slice_: Slice) -> dict[str, object]:
    return {"report_date": slice_.report_date, "report_type": slice_.report_type.value}
