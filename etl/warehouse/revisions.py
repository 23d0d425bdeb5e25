"""Accepted revisions as values: what each holds and changed, to write it down elsewhere and to bring it back.

Every function works on the caller's transaction; none commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta  # noqa: TC003 - pydantic reads them
from decimal import Decimal  # noqa: TC003 - as above
from typing import TYPE_CHECKING

from etl.domain.pipeline_values import Origin
from etl.domain.slices import ReportType, Slice
from etl.warehouse import ledger
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from etl.warehouse.transactions import Connection


@dataclass(frozen=True, slots=True)
class Accepted:
    """A row of `report_revision`, column by column, and what else of the slice's row came with the revision.

    Attributes:
        report_source, report_etag: of the stored revision only, where the download host gave a strong ETag.
    """

    report_date: date
    report_type: ReportType
    revision: int
    report_sha256: str
    report_bytes: int
    rows_read: int
    rows_merged: int
    rows_repeated: int
    rows_rejected: int
    rows_inserted: int
    rows_updated: int
    rows_deleted: int
    rows_unchanged: int
    seconds_before: Decimal
    seconds_after: Decimal
    created_at_unread: int
    unknown_types: int
    overruled: str | None
    code_version: str
    loaded_at: datetime
    load_duration: timedelta | None
    report_source: str | None
    report_etag: str | None

    @property
    def slice(self) -> Slice:
        """Whose revision it is."""
        return Slice(self.report_date, self.report_type)

    @property
    def rows_stored(self) -> int:
        """Rows that the slice has with it."""
        return self.rows_inserted + self.rows_updated + self.rows_unchanged

    @property
    def origin(self) -> Origin | None:
        """Where it was downloaded from."""
        if self.report_source is None or self.report_etag is None:
            return None
        return Origin(self.report_source, self.report_etag)


@dataclass(frozen=True, slots=True)
class Restatement:
    """A revision that came after a slice's first one: what it changed, in rows and in seconds."""

    slice: Slice
    revision: int
    seconds_before: Decimal
    seconds_after: Decimal
    rows_inserted: int
    rows_deleted: int
    rows_updated: int
    loaded_at: datetime
    overruled: str | None

    def as_json(self) -> dict[str, object]:
        """For `--json`: seconds as exact decimal texts."""
        return {
            **self.slice.as_json(),
            "revision": self.revision,
            "seconds_before": f"{self.seconds_before:f}",
            "seconds_after": f"{self.seconds_after:f}",
            "rows_inserted": self.rows_inserted,
            "rows_deleted": self.rows_deleted,
            "rows_updated": self.rows_updated,
            "loaded_at": self.loaded_at.isoformat(),
            "overruled": self.overruled,
        }


def read(connection: Connection, slice_: Slice) -> list[Accepted]:
    """The accepted revisions of a slice, oldest first."""
    found = fetch_rows(connection, statement("warehouse/read_accepted"), slice_.key())
    return [Accepted(**{**row, "report_type": ReportType(row["report_type"])}) for row in found]


def listed(connection: Connection) -> list[tuple[Slice, int, str]]:
    """Slice, revision and hash of all that was ever accepted, oldest slice first."""
    return [
        (Slice.of_row(row), row["revision"], row["report_sha256"])
        for row in fetch_rows(connection, statement("warehouse/list_revisions"))
    ]


def accepted_rejects(connection: Connection, slice_: Slice, report_sha256: str) -> int | None:
    """How many lines of a report were rejected when it was accepted; None: it never was."""
    row = connection.execute(
        statement("warehouse/read_accepted_rejects"), {**slice_.key(), "report_sha256": report_sha256}
    ).fetchone()
    return row[0] if row else None


def read_restatements(connection: Connection, start: date, end: date) -> list[Restatement]:
    """What changed after first publication in the slices from `start` to `end`, both included, oldest slice first."""
    found = fetch_rows(connection, statement("warehouse/read_revisions"), {"start": start, "end": end})
    return [
        Restatement(slice=Slice(row.pop("report_date"), ReportType(row.pop("report_type"))), **row) for row in found
    ]


def restore(connection: Connection, accepted: Accepted, *, read_as: str, reason: str | None) -> None:
    """Write down a revision as it was when it was accepted; it is the slice's stored one then.

    `read_as` says how its columns were named by settings, `reason` why it stores nothing, where it does not.
    """
    columns = {name: getattr(accepted, name) for name in Accepted.__slots__}
    ledger.record_stored(
        connection,
        accepted.slice,
        columns,
        read_as=read_as,
        rows_stored=accepted.rows_stored,
        reason=reason,
        origin=accepted.origin,
    )
