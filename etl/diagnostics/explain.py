"""The whole story of a slice: what was asked and answered, what was accepted and rejected, and what happens next.

Read from the ledger alone, so it agrees with every other view.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from etl.domain.slices import SETTLING_DAYS, Slice, State
from etl.pipeline.guards import remedy
from etl.warehouse import ledger, schema
from etl.warehouse.database import open_warehouse
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import Connection, fetch_rows

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from etl.config.settings import Settings

# Of each report so many rejected lines are shown; the table report_reject has the rest.
_REJECTS_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class Story:
    """What is known of one slice.

    Attributes:
        record: its row of the ledger; None when it was never tried.
        checks, revisions, rejects: rows of the ledger's tables by column name, oldest first; of the rejects the first
            few of each report, with the `count` of all.
        next_step: what happens next, and when.
    """

    slice: Slice
    record: ledger.SliceRecord | None
    checks: list[dict[str, Any]]
    revisions: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    next_step: str

    def as_json(self) -> dict[str, object]:
        """For `--json`; what JSON has no type for is text."""
        record = self.record
        return {
            **self.slice.as_json(),
            "state": record and record.state.value,
            "presumed_empty": bool(record and record.is_presumed_empty),
            "reason": record and record.reason,
            "last_check": record and record.last_check,
            "checks": self.checks,
            "revisions": self.revisions,
            "rejects": self.rejects,
            "next": self.next_step,
        }


def read(settings: Settings, slices: Iterable[Slice]) -> list[Story]:
    """The stories of `slices`.

    Raises:
        SchemaNotReady: there are no tables to read, or those of another version.
    """
    with open_warehouse(settings) as database, database.transaction(writable=False) as connection:
        schema.require_head(database, connection)
        return [_story(connection, slice_, settings) for slice_ in slices]


def _story(connection: Connection, slice_: Slice, settings: Settings) -> Story:
    record = ledger.read(connection, slice_)
    key = slice_.key()
    return Story(
        slice_,
        record,
        checks=fetch_rows(connection, statement("diagnostics/read_checks"), key),
        revisions=fetch_rows(connection, statement("diagnostics/read_slice_revisions"), key),
        rejects=fetch_rows(connection, statement("diagnostics/read_slice_rejects"), {**key, "most": _REJECTS_SHOWN}),
        next_step=what_is_next(slice_, record, settings, today=settings.today()),
    )


def what_is_next(slice_: Slice, record: ledger.SliceRecord | None, settings: Settings, *, today: date) -> str:
    """What happens to the slice next, and when, if nobody does anything; and what a person can do."""
    state = record.state if record else None
    due = slice_.report_date + timedelta(days=settings.lag_days)
    if today < due:
        return f"the daily run checks it from {due} on"
    window = settings.recheck_days if state is State.LOADED else settings.lookback_days
    last = due + timedelta(days=window)
    if record and state is State.HELD:
        by_hand = remedy(slice_, record.error_code)
    else:
        by_hand = f"to load it now: `watch-time backfill {slice_.as_options()}"
        by_hand += " --refresh`" if state is State.LOADED else "`"
    if today > last:
        return f"the daily run no longer checks it; {by_hand}"
    settled = due + timedelta(days=SETTLING_DAYS + 1)
    meaning = (
        f"; from {settled} on, a 404 means an empty day, if {slice_.report_type} of a later date or the date's other "
        "report exists"
        if state is State.UNAVAILABLE and settled <= last
        else ""
    )
    return f"every run checks it until {last}{meaning}; {by_hand}"
