"""What a plan will cost, going by what the latest loads of each type took."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from etl.domain.slices import ReportType
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from etl.domain.slices import Slice
    from etl.warehouse.transactions import Connection

# Reports grow over the years; a month or two of both types tells what they are now.
_LOADS: Final = 60


@dataclass(frozen=True, slots=True)
class Estimate:
    """The cost of a plan.

    Attributes:
        slices: to be asked for, one request each; two where a 404 has to be confirmed.
        report_bytes, duration: of the downloads, and of all; None when there is nothing to go by.
        loads: of how many earlier loads these are the medians.
        unknown: types of which no load was ever timed here.
    """

    slices: int
    report_bytes: int | None
    duration: timedelta | None
    loads: int
    unknown: tuple[ReportType, ...]

    def as_json(self) -> dict[str, object]:
        """For `--json`: the duration in seconds."""
        return {
            "slices": self.slices,
            "report_bytes": self.report_bytes,
            "seconds": self.duration and round(self.duration.total_seconds(), 1),
            "loads": self.loads,
            "unknown": [report_type.value for report_type in self.unknown],
        }


def estimate(
    connection: Connection, slices: Iterable[Slice], *, concurrency: int, requests_per_second: float | None
) -> Estimate:
    """What bringing `slices` will cost, so many at a time and with no more requests a second."""
    wanted = Counter(slice_.report_type for slice_ in slices)
    pace = {
        ReportType(row.pop("report_type")): row
        for row in fetch_rows(connection, statement("diagnostics/read_pace"), {"most": _LOADS})
    }
    unknown = tuple(report_type for report_type in wanted if report_type not in pace)
    known = {report_type: pace[report_type] for report_type in wanted if report_type in pace}
    if not known:
        return Estimate(wanted.total(), None, None, 0, unknown)
    work = sum((wanted[kind] * row["duration"] for kind, row in known.items()), timedelta())
    asking = timedelta(seconds=wanted.total() / requests_per_second) if requests_per_second else timedelta()
    return Estimate(
        wanted.total(),
        report_bytes=sum(wanted[kind] * row["report_bytes"] for kind, row in known.items()),
        duration=max(work / min(concurrency, wanted.total()), asking),
        loads=sum(row["loads"] for row in known.values()),
        unknown=unknown,
    )
