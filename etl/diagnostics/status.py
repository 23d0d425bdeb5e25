"""The state of slices, for people and for programs: read from the ledger, and nothing else.

Starts fast: it imports neither pandas nor the stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from etl.domain.slices import Slice, State, dates_between, slices_of
from etl.warehouse import freshness, ledger, revisions, schema
from etl.warehouse.database import open_warehouse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from etl.config.settings import Settings
    from etl.warehouse.freshness import Overview

# What a slice without a row in the ledger is called where states are shown.
NEVER_TRIED = "never tried"
# An empty slice of which no file says so.
PRESUMED_EMPTY = "presumed empty"

# One sign per state, to be told apart without colour.
SIGNS: Final = {
    State.LOADED.value: "●",
    State.EMPTY.value: "○",
    PRESUMED_EMPTY: "~",
    State.UNAVAILABLE.value: "…",
    State.HELD.value: "!",
    State.FAILED.value: "x",
    NEVER_TRIED: "·",
}


@dataclass(frozen=True, slots=True)
class SliceStatus:
    """A slice as it is shown; a slice that was never tried has the state `never tried` and no times.

    Attributes:
        shown_as: the state in words for people, who are told apart what is empty and what is presumed so.
    """

    slice: Slice
    state: str
    revision: int
    rows: int
    watch_seconds: Decimal
    checked_at: datetime | None
    loaded_at: datetime | None
    reason: str | None
    error_code: str | None
    last_check: str | None
    shown_as: str

    def as_json(self) -> dict[str, object]:
        """For `--json`: dates in ISO 8601, seconds as an exact decimal text."""
        return {
            **self.slice.as_json(),
            "state": self.state,
            "presumed_empty": self.shown_as == PRESUMED_EMPTY,
            "revision": self.revision,
            "rows": self.rows,
            "watch_seconds": f"{self.watch_seconds:f}",
            "checked_at": self.checked_at and self.checked_at.isoformat(),
            "loaded_at": self.loaded_at and self.loaded_at.isoformat(),
            "reason": self.reason,
            "error_code": self.error_code,
            "last_check": self.last_check,
        }


@dataclass(frozen=True, slots=True)
class Status:
    """Slices one by one, and how fresh the whole is."""

    slices: list[SliceStatus]
    overview: Overview

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {**self.overview.as_json(), "slices": [slice_.as_json() for slice_ in self.slices]}


def read(settings: Settings, start: date, end: date, *, judged_from: date | None = None) -> Status:
    """Every slice from `start` to `end`, both included, oldest first; and how fresh the warehouse is.

    Gaps before `judged_from` do not count, nor any before the first known date.

    Raises:
        SchemaNotReady: there are no tables to read, or those of another version.
    """
    with open_warehouse(settings) as database, database.transaction(writable=False) as connection:
        schema.require_head(database, connection)
        return Status(
            merge(ledger.read_range(connection, start, end), slices_of(dates_between(start, end))),
            freshness.read(connection, settings, now=datetime.now(UTC), start=judged_from),
        )


def restatements(settings: Settings, start: date, end: date) -> tuple[list[revisions.Restatement], list[SliceStatus]]:
    """What changed after first publication from `start` to `end`, both included; and the held slices of the range."""
    with open_warehouse(settings) as database, database.transaction(writable=False) as connection:
        schema.require_head(database, connection)
        known = ledger.read_range(connection, start, end)
        held = [slice_ for slice_, record in known.items() if record.state is State.HELD]
        return revisions.read_restatements(connection, start, end), merge(known, held)


def merge(known: dict[Slice, ledger.SliceRecord], slices: Iterable[Slice]) -> list[SliceStatus]:
    """What is known of `slices`, those included of which nothing is."""
    return [_status(slice_, known.get(slice_)) for slice_ in slices]


def shown_as(record: ledger.SliceRecord | None) -> str:
    """A slice's state in words, for people."""
    if record is None:
        return NEVER_TRIED
    return PRESUMED_EMPTY if record.is_presumed_empty else record.state.value


def _status(slice_: Slice, record: ledger.SliceRecord | None) -> SliceStatus:
    if record is None:
        return SliceStatus(slice_, NEVER_TRIED, 0, 0, Decimal(0), None, None, None, None, None, NEVER_TRIED)
    return SliceStatus(
        slice=slice_,
        state=record.state.value,
        revision=record.revision,
        rows=record.rows_stored,
        watch_seconds=record.watch_seconds,
        checked_at=record.checked_at,
        loaded_at=record.loaded_at,
        reason=record.reason,
        error_code=record.error_code,
        last_check=record.last_check,
        shown_as=shown_as(record),
    )
