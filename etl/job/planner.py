"""Plans: which slices a command syncs, in what order, and how each is requested."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from etl.diagnostics import backfill_estimate
from etl.domain.errors import WrongUsage
from etl.domain.outcome import FetchOptions, PlannedSlice, Trust
from etl.domain.slices import (
    WHOLE,
    ReportType,
    Shard,
    State,
    dates_between,
    is_settled,
    newest_full_day,
    slices_of,
    target_date,
)
from etl.warehouse import ledger

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import date

    from etl.config.settings import Settings
    from etl.diagnostics.backfill_estimate import Estimate
    from etl.warehouse.database import Database
    from etl.warehouse.ledger import SliceRecord

# The states of a slice that a plan may want; None is "never tried".
LOADED_ONLY: Final = frozenset({State.LOADED})
NOT_LOADED: Final = frozenset({None, *State}) - LOADED_ONLY

# A date this many days before all known dates is treated as a typo.
FAR_DAYS: Final = 31


@dataclass
class Planner:
    """Plans slices from the ledger and the date in the configured zone. Changes nothing.

    Attributes:
        now: in the configured zone.
    """

    settings: Settings
    database: Database
    now: datetime
    requests_per_second: float | None = None

    @property
    def today(self) -> date:
        """The date in the configured zone."""
        return self.now.date()

    def target(self, target: date | None = None, *, accept: bool = False) -> list[PlannedSlice]:
        """The two slices of `target`, or of today minus the lag; waits for them while their date is not settled."""
        day = self._date(target)
        self._require_past(day)
        settled = self._is_settled(day)
        ask = FetchOptions(
            wait_s=0.0 if settled else self.settings.not_found_wait_seconds, settled=settled, accept=accept
        )
        return [PlannedSlice(slice_, "the target date", ask) for slice_ in slices_of([day])]

    def lookback(self, target: date | None = None) -> list[PlannedSlice]:
        """The other slices of a daily run, oldest first.

        The slices of the look-back window that are not loaded; and the loaded ones of the re-check window, since
        reports may be restated.
        """
        day = self._date(target)
        newest = day - timedelta(days=1)
        missing = self.backfill(day - timedelta(days=self.settings.lookback_days), newest)
        loaded = self.backfill(day - timedelta(days=self.settings.recheck_days), newest, wanted=LOADED_ONLY)
        return sorted([*missing, *loaded], key=lambda planned: planned.slice)

    def backfill(
        self,
        start: date,
        end: date,
        *,
        report_types: Iterable[ReportType] = tuple(ReportType),
        wanted: Collection[State | None] = NOT_LOADED,
        shard: Shard = WHOLE,
        accept: bool = False,
        trust: Trust = Trust.LEDGER,
    ) -> list[PlannedSlice]:
        """The slices from `start` to `end` in one of the `wanted` states, oldest first; None is "never tried".

        A `shard` is a part of the range's dates, regardless of their states: it must not depend on what other machines
        have already loaded.
        """
        if start > end:
            return []
        self._require_past(end)
        known = self.database.run(lambda connection: ledger.read_range(connection, start, end))
        return [
            PlannedSlice(
                slice_,
                _reason(known.get(slice_)),
                FetchOptions(settled=self._is_settled(slice_.report_date), accept=accept, trust=trust),
            )
            for slice_ in slices_of(shard.of(dates_between(start, end)), report_types)
            if (known[slice_].state if slice_ in known else None) in wanted
        ]

    def require_near(self, plan: Iterable[PlannedSlice], *, is_meant: bool, is_history: bool = False) -> None:
        """Refuse a plan that begins far before the warehouse's first date: every date between would count as missing.

        Skipped if the user confirmed it, or for a range of history while the warehouse is empty.

        Raises:
            WrongUsage: it begins more than `FAR_DAYS` days before WATCH_TIME_FIRST_DATE; without that, before the
                oldest known date; where nothing is known, before the newest one due.
        """
        start = None if is_meant else min((planned.slice.report_date for planned in plan), default=None)
        begins = self.settings.first_date or self.database.run(ledger.read_oldest_date)
        if begins is None and not is_history:
            begins = self._date(None)
        if start and begins and (days := (begins - start).days) > FAR_DAYS:
            raise WrongUsage(
                f"{start} is {days:,} days before {begins}, the oldest date in the warehouse: all dates in between "
                "would count as missing",
                next_step="correct the date, or confirm it by adding --yes to the command",
            )

    def estimate(self, plan: Iterable[PlannedSlice]) -> Estimate:
        """What running the plan will cost."""
        return self.database.run(
            lambda connection: backfill_estimate.estimate(
                connection,
                [planned.slice for planned in plan],
                concurrency=self.settings.concurrency,
                requests_per_second=self.requests_per_second,
            )
        )

    def _date(self, target: date | None) -> date:
        return target or target_date(self.now, self.settings.lag_days)

    def _is_settled(self, day: date) -> bool:
        return is_settled(day, today=self.today, lag_days=self.settings.lag_days)

    def _require_past(self, day: date) -> None:
        newest = newest_full_day(self.now)
        if day > newest:
            local, utc = f"{self.now:%Y-%m-%d %H:%M}", f"{self.now.astimezone(UTC):%Y-%m-%d %H:%M}"
            raise WrongUsage(
                f"{day} is not over yet: it is {local} in {self.settings.time_zone}, {utc} in UTC, and reports "
                "cover UTC days",
                next_step=f"give {newest} or an earlier date",
            )


def _reason(known: SliceRecord | None) -> str:
    """Why a slice is in the plan."""
    if known is None:
        return "never tried"
    if known.state is State.LOADED:
        return f"loaded {known.loaded_at:%Y-%m-%d}, checked again"
    when = f"{known.state}, last checked {known.checked_at:%Y-%m-%d %H:%M}"
    return f"{when}: {known.reason}" if known.reason else when
