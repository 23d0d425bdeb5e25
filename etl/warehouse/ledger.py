"""The ledger: what is known of each slice, in the same database and the same transactions as the facts.

Every function works on the caller's transaction; none commits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from etl import __version__
from etl.domain.errors import DataRefused, SliceBusy, kinds_of
from etl.domain.pipeline_values import Origin
from etl.domain.slices import ReportType, Slice, State
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime

    from etl.domain.errors import WatchTimeError
    from etl.domain.pipeline_values import LoadedReport
    from etl.warehouse.transactions import Connection

# Errors about a report that had come.
_SEEN: Final = frozenset({DataRefused.code} | {kind.code for kind in kinds_of(DataRefused)})

# A load of an ordinary day is over by then; who waits longer does better to come back.
LOCK_TIMEOUT_S: Final = 60.0
_LOCK_POLL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class SliceRecord:
    """A slice's row of the ledger.

    Attributes:
        revision: the stored one; 0 when none was ever accepted.
        rows_stored, watch_seconds: of the stored revision.
        facts_version: raised by every transaction that changes the slice's rows in `watch_time`.
        read_as: how the stored revision's header was read; see `contract.header_mapping`.
        origin: of the stored revision; None where the download host gave it no strong ETag.
        held_sha256: of the report that is held; None in every other state.
    """

    slice: Slice
    state: State
    revision: int
    report_sha256: str | None
    read_as: str | None
    rows_stored: int
    watch_seconds: Decimal
    facts_version: int
    checked_at: datetime
    loaded_at: datetime | None
    reason: str | None
    error_code: str | None
    last_check: str | None
    held_sha256: str | None
    origin: Origin | None

    @property
    def has_answer(self) -> bool:
        """Whether the source has answered, in whatever way, and trouble in asking again takes nothing from that."""
        return self.report_seen or self.state is State.EMPTY

    @property
    def is_complete(self) -> bool:
        """Whether the slice's facts are there, or it is known that there are none."""
        return self.revision > 0 or self.state is State.EMPTY

    @property
    def is_presumed_empty(self) -> bool:
        """Whether the slice is empty by a 404 alone: no file ever said so, and a report may still come."""
        return self.state is State.EMPTY and self.revision == 0

    @property
    def report_seen(self) -> bool:
        """Whether the source has had a report of the slice, accepted or not."""
        return self.revision > 0 or self.error_code in _SEEN

    @property
    def stored_state(self) -> State:
        """The state that the stored revision alone would give."""
        return State.LOADED if self.rows_stored else State.EMPTY


def lock(connection: Connection, slice_: Slice, *, sleep: Callable[[float], None]) -> None:
    """Take the slice's lock, to the end of the transaction.

    Raises:
        SliceBusy: another run kept it for longer than `LOCK_TIMEOUT_S`.
    """
    query = statement("warehouse/try_lock_slice")
    for _ in range(round(LOCK_TIMEOUT_S / _LOCK_POLL_S)):
        if connection.execute(query, {"slice": str(slice_)}).fetchone() == (True,):
            return
        sleep(_LOCK_POLL_S)
    raise SliceBusy(
        f"another run has been loading this slice for {LOCK_TIMEOUT_S:.0f} s",
        next_step="nothing is lost: run again when the other run has ended",
    )


def read(connection: Connection, slice_: Slice) -> SliceRecord | None:
    """What is known of one slice; None when it was never tried."""
    return read_range(connection, slice_.report_date, slice_.report_date).get(slice_)


def read_range(connection: Connection, start: date, end: date) -> dict[Slice, SliceRecord]:
    """What is known of the slices from `start` to `end`, both included, oldest first."""
    found = fetch_rows(connection, statement("warehouse/read_slices"), {"start": start, "end": end})
    records = {}
    for row in found:
        slice_ = Slice(row.pop("report_date"), ReportType(row.pop("report_type")))
        source, etag = row.pop("report_source"), row.pop("report_etag")
        origin = Origin(source, etag) if source else None
        records[slice_] = SliceRecord(slice=slice_, state=State(row.pop("state")), origin=origin, **row)
    return records


def read_facts_versions(connection: Connection, start: date, end: date) -> dict[Slice, int]:
    """How often the facts of each slice from `start` to `end`, both included, have changed."""
    return {slice_: record.facts_version for slice_, record in read_range(connection, start, end).items()}


def read_oldest_date(connection: Connection) -> date | None:
    """The oldest date of which anything is known; None where nothing is."""
    oldest: date | None = fetch_rows(connection, statement("warehouse/read_oldest_date"))[0]["oldest"]
    return oldest


def read_evidence(connection: Connection, slice_: Slice) -> tuple[str, ...]:
    """What shows that the source is done with the slice's date, in words; nothing when nothing does."""
    found = fetch_rows(connection, statement("warehouse/read_evidence"), slice_.key())[0]
    evidence = []
    if found["other_type"]:
        what = "is empty" if found["other_state"] == State.EMPTY else "exists"
        evidence.append(f"{found['other_type']} of that date {what}")
    if found["published_later"]:
        evidence.append(f"{slice_.report_type} of {found['published_later']} exists")
    elif evidence:
        # Reports of one type may be behind for a week while those of the other come: who reads this may know.
        evidence.append(f"no later {slice_.report_type} does")
    return tuple(evidence)


def record_state(
    connection: Connection,
    slice_: Slice,
    state: State,
    *,
    reason: str | None,
    error: WatchTimeError | None = None,
    held_sha256: str | None = None,
) -> None:
    """Note a check that changed no facts; `held_sha256` of the report, where one is held."""
    connection.execute(
        statement("warehouse/record_state"),
        {
            **slice_.key(),
            "state": state.value,
            "reason": reason,
            "error_code": error.code if error else None,
            "held_sha256": held_sha256,
        },
    )


def record_revision(
    connection: Connection, slice_: Slice, known: SliceRecord | None, loaded: LoadedReport, *, reason: str | None
) -> int:
    """Note an accepted report: the slice's row, and one more revision. Gives the revision's number."""
    report, tally, change = loaded.file, loaded.tally, loaded.change
    revision = (known.revision if known else 0) + 1
    columns = {
        "revision": revision,
        "report_sha256": report.sha256,
        "report_bytes": report.size_bytes,
        "rows_read": tally.rows_read,
        "rows_rejected": tally.rows_rejected,
        **{f"rows_{what}": count for what, count in asdict(change).items()},
        "seconds_before": known.watch_seconds if known else Decimal(0),
        "seconds_after": tally.watch_seconds,
        "created_at_unread": tally.created_at_unread,
        "unknown_types": tally.unknown_types,
        "overruled": "; ".join(loaded.overridden) or None,
        "code_version": __version__,
        "loaded_at": None,
        "load_duration": loaded.duration,
    }
    record_stored(
        connection,
        slice_,
        columns,
        read_as=loaded.header_mapping,
        rows_stored=change.stored,
        reason=reason,
        origin=report.origin,
    )
    return revision


def record_stored(
    connection: Connection,
    slice_: Slice,
    revision: Mapping[str, object],
    *,
    read_as: str,
    rows_stored: int,
    reason: str | None,
    origin: Origin | None,
) -> None:
    """Note a revision, with the columns of its row, as the stored one; loaded now, unless `loaded_at` says when."""
    row = {**revision, **slice_.key()}
    connection.execute(statement("warehouse/record_revision"), row)
    state = State.LOADED if rows_stored else State.EMPTY
    row |= {"state": state.value, "read_as": read_as, "rows_stored": rows_stored, "reason": reason}
    row |= {"watch_seconds": revision["seconds_after"], **_place(origin)}
    connection.execute(statement("warehouse/record_loaded"), row)


def record_origin(connection: Connection, slice_: Slice, origin: Origin | None) -> None:
    """Note where the stored report lies."""
    connection.execute(statement("warehouse/record_origin"), slice_.key() | _place(origin))


def raise_facts_version(connection: Connection, slice_: Slice) -> None:
    """Note that the slice's rows were changed within a revision; a new revision notes it by itself."""
    connection.execute(statement("warehouse/raise_facts_version"), slice_.key())


def record_check(connection: Connection, slice_: Slice, result: str, message: str | None) -> None:
    """Note what a check met, whatever it changed."""
    connection.execute(statement("warehouse/record_check"), {**slice_.key(), "result": result, "message": message})


def record_last_check(connection: Connection, slice_: Slice, last_check: str) -> None:
    """Note a check that met trouble or nothing, and leaves state and reason as they are."""
    connection.execute(statement("warehouse/record_last_check"), {**slice_.key(), "last_check": last_check})


def _place(origin: Origin | None) -> dict[str, str | None]:
    return {"source": origin.source, "etag": origin.etag} if origin else {"source": None, "etag": None}
