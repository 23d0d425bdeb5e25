"""What a sandbox is like: whose it is, how much was watched, how its clock goes. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

from etl.domain.slices import ReportType

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """The settings of a sandbox. Equal settings give equal reports, to the byte, in any process on any day.

    Attributes:
        token: the one API token that is accepted.
        org_id: the organization that the token belongs to.
        seed: another seed, other viewers, titles and figures.
        first_day: no viewing before this date.
        vod_rows: lines of every VOD report, as first published.
        live_rows: lines of every LIVE report, as first published.
        titles: titles of the VOD catalogue on `first_day`; it grows by one a day. Live events are a sixth as many.
        customers: the population from which a day's viewers come.
        anonymous_line_per_view: whether each anonymous view has a line of its own, or all those of a content share one.
        quiet_one_day_in: about one day in so many is without viewing, for each report type on its own; 0: none is.
        publication_delay_days: a report is there from so many days after its date.
        url_lifetime_s: how long a signed URL is good for.
        latency_s: by which every answer is late.
        today: the date by which reports become due.
        now: the clock of the signed URLs, in UTC.
    """

    token: str = field(default="sandbox-token", repr=False)
    org_id: str = "sandbox-org"
    seed: int = 1
    first_day: date = date(2023, 7, 1)
    vod_rows: int = 2_000
    live_rows: int = 600
    titles: int = 3_000
    customers: int = 2_000_000
    anonymous_line_per_view: bool = False
    quiet_one_day_in: int = 30
    publication_delay_days: int = 2
    url_lifetime_s: int = 3_600
    latency_s: float = 0.0
    today: Callable[[], date] = lambda: datetime.now(UTC).date()
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def rows(self, report_type: ReportType) -> int:
        """Lines of a report of this type, as first published."""
        return self.vod_rows if report_type is ReportType.VOD else self.live_rows

    def is_published(self, report_date: date) -> bool:
        """Whether the reports of `report_date` are due by now."""
        return report_date <= self.today() - timedelta(days=self.publication_delay_days)
