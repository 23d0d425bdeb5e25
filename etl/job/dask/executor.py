"""Runs the slices of a plan on a Dask cluster: `backfill --dask`.

The scheduler assigns slices, and reassigns those of a worker that died; the slice's lock and the ledger make that
safe. The command keeps the plan, the log, the progress bar and the summary.
"""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from etl import __version__
from etl.domain.errors import Misconfigured
from etl.job.dask import database_identity
from etl.job.dask.client import connected, started, trusted
from etl.job.dask.submitted_plan import SubmittedPlan
from etl.job.dask.task_settings import RunTerms, shareable_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from etl.config.settings import Settings
    from etl.domain.outcome import Outcome, Pause, PlannedSlice
    from etl.domain.slices import Slice
    from etl.job.run_context import RunContext

LOCAL: Final = "local"


class DaskExecutor:
    """The workers of a Dask scheduler, or local processes that exist only for one plan."""

    def __init__(
        self,
        address: str,
        settings: Settings,
        context: RunContext,
        *,
        requests_per_second: float | None = None,
        on_pause: Callable[[Slice, Pause], None] = lambda _slice, _pause: None,
    ) -> None:
        """Does not contact the cluster yet; `address` is `local`, or that of a scheduler.

        All workers together send at most `requests_per_second` to the report API; only with `local`. `on_pause` is
        called, in any thread, when a worker waits before a retry.

        Raises:
            WrongUsage: it is not an address.
            Misconfigured: its identity cannot be verified, so it must not be used.
        """
        self._address = None if address == LOCAL else trusted(address, without_tls=settings.dask_without_tls)
        self._settings = settings
        self._context = context
        self._requests_per_second = requests_per_second
        self._on_pause = on_pause
        if self._address and settings.archive_url and "://" not in settings.archive_url:
            raise Misconfigured(
                f"the archive {settings.archive_url} is a local folder, which the workers of {self._address} "
                "may not share",
                next_step="use an object store as WATCH_TIME_ARCHIVE_URL, or --dask local",
            )

    def __call__(self, plan: Sequence[PlannedSlice]) -> Generator[Outcome]:
        """Yield outcomes as slices finish. If closed early, it stops the others and lets them roll back."""
        if not plan:
            return
        with ExitStack() as stack:
            # The rate is divided among local workers; other clusters have no rate.
            workers, rate = min(self._settings.concurrency, len(plan)), self._requests_per_second
            client = stack.enter_context(connected(self._address) if self._address else started(workers))
            number = stack.enter_context(database_identity.hold(self._context.database))
            terms = RunTerms(
                secrets.token_hex(4), __version__, number, rate and rate / workers, shareable_settings(self._settings)
            )
            shown = self._address or "this machine"
            submitted = SubmittedPlan(client, shown, terms, plan, self._context, self._on_pause)
            try:
                yield from submitted.outcomes()
            except BaseException:
                submitted.give_up()
                raise
            submitted.end()
