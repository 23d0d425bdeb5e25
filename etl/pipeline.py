"""The story of one slice, from the question to the API to the committed revision.

The only module that knows all stages. The network is finished before the transaction begins; everything from the
slice's lock to its ledger row is one transaction. `job` decides which slices there are.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from pydantic import SecretStr

from etl import guards, ledger, normalise, schema, scratch
from etl.download import Downloader
from etl.errors import DatabaseUnavailable, DataRefused, GuardRefused, SliceBusy, WatchTimeError
from etl.http_clients import api_client, storage_client
from etl.load import Loading, record_rejects
from etl.outcome import Ask, Outcome, Result
from etl.patience import Patience
from etl.report import Change, NotThere, ReportFile, Tally
from etl.report_api import ReportApi
from etl.slices import State
from etl.stop import Stopped
from etl.url_policy import UrlPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx

    from etl.db import Connection, Database
    from etl.ledger import SliceRecord
    from etl.report import Chunk
    from etl.settings import Settings
    from etl.slices import Slice
    from etl.stop import Stop

log = structlog.get_logger("watch_time")


class Pipeline:
    """The stages, wired together for one organization and one schema. Safe to use from several threads."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        *,
        api_client: httpx.Client,
        downloader: Downloader,
        folder: Path,
        stop: Stop,
    ) -> None:
        self._settings = settings
        self._database = database
        self._api_client = api_client
        self._downloader = downloader
        self._folder = folder
        self._stop = stop
        self._limits = guards.Limits(settings.max_reject_ratio, settings.shrink_limit)

    def bring(self, slice_: Slice, ask: Ask) -> Outcome:
        """Make the slice equal to the newest report, or say why not. Never raises but `Stopped`."""
        began = time.monotonic()
        try:
            outcome = self._bring(slice_, ask)
        except Stopped:
            raise
        except WatchTimeError as error:
            outcome = self._failed(slice_, error)
        except Exception as error:
            log.exception("bug", slice=str(slice_))
            bug = WatchTimeError(
                f"{slice_}: {type(error).__name__} in watch-time itself",
                next_step="the log has the traceback; nothing was committed; please report it",
            )
            outcome = self._failed(slice_, bug)
        return replace(outcome, elapsed_s=time.monotonic() - began)

    def _bring(self, slice_: Slice, ask: Ask) -> Outcome:
        api = ReportApi(
            self._api_client, patience=self._downloader.patience, strict_not_found=self._settings.strict_not_found
        )
        answer = api.await_report(slice_, ask.wait_s) if ask.wait_s else api.ask_once(slice_, confirm=ask.settled)
        if isinstance(answer, NotThere):
            return self._database.run(lambda connection: self._record_absence(connection, slice_, answer, ask))
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            report = self._downloader.download(answer, renew=lambda: api.renew(slice_), folder=Path(name))
            return self._accept(slice_, report)

    def _accept(self, slice_: Slice, report: ReportFile) -> Outcome:
        """Load the report, or note that it was refused."""
        tries: list[Tally] = []

        def load(connection: Connection) -> Outcome:
            tries.append(Tally())
            return self._load(connection, slice_, report, tries[-1])

        try:
            return self._database.run(load)
        except GuardRefused as error:
            return self._hold(slice_, report, tries[-1], error)

    def _load(self, connection: Connection, slice_: Slice, report: ReportFile, tally: Tally) -> Outcome:
        """From the lock to the ledger row: one transaction."""
        known = self._known(connection, slice_)
        ledger.forget_refused_rejects(connection, slice_)
        if known and known.report_sha256 == report.sha256:
            ledger.record_state(connection, slice_, known.stored_state, reason=_why_empty(known.rows_stored))
            return Outcome(
                slice_,
                Result.UNCHANGED,
                revision=known.revision,
                rows=known.rows_stored,
                watch_seconds=known.watch_seconds,
                report_bytes=report.size_bytes,
            )
        loading = Loading(connection, slice_, report.sha256)
        loading.stage(self._checked(normalise.chunks(report.path, aliases=self._settings.header_aliases)), tally)
        guards.check_rejects(slice_, tally, self._limits)
        rows = loading.merge(tally)
        seconds_before = known.watch_seconds if known else Decimal(0)
        guards.check_shrinking(
            slice_,
            tally,
            self._limits,
            rows=rows,
            rows_stored=known.rows_stored if known else 0,
            seconds_stored=seconds_before,
        )
        change = loading.apply(tally)
        revision = ledger.record_revision(
            connection, slice_, known=known, report=report, tally=tally, change=change, reason=_why_empty(rows)
        )
        self._claim(connection)
        return Outcome(
            slice_,
            Result.LOADED if rows else Result.EMPTY,
            message=_why_empty(rows),
            revision=revision,
            rows=rows,
            watch_seconds=tally.watch_seconds,
            rejected=tally.rows_rejected,
            change=change,
            seconds_before=seconds_before,
            warnings=_warnings(tally, change),
            report_bytes=report.size_bytes,
        )

    def _record_absence(self, connection: Connection, slice_: Slice, answer: NotThere, ask: Ask) -> Outcome:
        known = self._known(connection, slice_)
        times = "once" if answer.asks == 1 else f"{answer.asks} times"
        if known and known.revision:
            result, state = Result.WITHDRAWN, known.stored_state
            reason = f"the source answered 404, asked {times}: it withdrew the report; what was loaded stays"
        elif ask.settled:
            result, state = Result.EMPTY, State.EMPTY
            reason = f"no viewing history: 404, asked {times}, and the date is past the settling window"
        else:
            result, state = Result.UNAVAILABLE, State.UNAVAILABLE
            reason = f"not published yet: 404, asked {times}"
        ledger.record_state(connection, slice_, state, reason=reason)
        self._claim(connection)
        return Outcome(slice_, result, message=reason, revision=known.revision if known else 0)

    def _hold(self, slice_: Slice, report: ReportFile, tally: Tally, error: GuardRefused) -> Outcome:
        """Note a refused report; its load was rolled back, so its first rejects come from memory."""

        def record(connection: Connection) -> SliceRecord | None:
            known = self._known(connection, slice_)
            ledger.forget_refused_rejects(connection, slice_)
            record_rejects(connection, slice_, report.sha256, tally.first_rejects)
            ledger.record_state(connection, slice_, State.HELD, reason=str(error), error=error)
            return known

        known = self._database.run(record)
        return _refusal(slice_, Result.HELD, error, known)

    def _failed(self, slice_: Slice, error: WatchTimeError) -> Outcome:
        """Note an error where that is possible: not when the database is the trouble, or another run has the slice."""
        if isinstance(error, (DatabaseUnavailable, SliceBusy)):
            return _refusal(slice_, Result.FAILED, error, None)

        def record(connection: Connection) -> SliceRecord | None:
            known = self._known(connection, slice_)
            # Trouble on the way says nothing about facts that are stored; a report that cannot be read does.
            keeps_state = known is not None and known.revision and not isinstance(error, DataRefused)
            state = known.stored_state if known and keeps_state else State.FAILED
            reason = f"the last check failed: {error}" if keeps_state else str(error)
            ledger.record_state(connection, slice_, state, reason=reason, error=error)
            return known

        try:
            known = self._database.run(record)
        except WatchTimeError as second:
            log.warning("failure_not_recorded", slice=str(slice_), error=str(second))
            known = None
        return _refusal(slice_, Result.FAILED, error, known)

    def _known(self, connection: Connection, slice_: Slice) -> SliceRecord | None:
        ledger.lock(connection, slice_, sleep=self._stop.sleep)
        return ledger.read(connection, slice_)

    def _claim(self, connection: Connection) -> None:
        """Last in the transaction: who claims first makes the others wait for its commit."""
        org_id = self._settings.require("org_id")
        ledger.claim(connection, org_id)
        schema.require_owner(self._database, connection, org_id)

    def _checked(self, chunks: Iterable[Chunk]) -> Iterator[Chunk]:
        for chunk in chunks:
            self._stop.check()
            yield chunk


@contextmanager
def opened(settings: Settings, database: Database, stop: Stop) -> Iterator[Pipeline]:
    """A pipeline with its clients and its scratch folder; `settings` must have token and organization.

    Raises:
        Misconfigured: the base URL or a proxy cannot be used.
    """
    token, org_id = SecretStr(settings.require("api_token")), settings.require("org_id")
    policy = UrlPolicy.beside(settings.api_base_url, settings.download_hosts)
    with (
        api_client(settings.api_base_url, token=token, org_id=org_id) as api,
        storage_client(policy) as storage,
        scratch.folder() as folder,
    ):
        downloader = Downloader(storage, policy, Patience(sleep=stop.sleep), stop)
        yield Pipeline(settings, database, api_client=api, downloader=downloader, folder=folder, stop=stop)


def _refusal(slice_: Slice, result: Result, error: WatchTimeError, known: SliceRecord | None) -> Outcome:
    return Outcome(
        slice_,
        result,
        exit_code=error.exit_code,
        message=error.message,
        next_step=error.next_step,
        revision=known.revision if known else 0,
        rows=known.rows_stored if known else 0,
        watch_seconds=known.watch_seconds if known else Decimal(0),
    )


def _why_empty(rows: int) -> str | None:
    return None if rows else "the report has a header and no rows"


def _warnings(tally: Tally, change: Change) -> tuple[str, ...]:
    """What a person should know about a report that was accepted; counts only."""
    told = {
        "lines rejected, within the limit; see report_reject": tally.rows_rejected,
        "lines repeat another line of a named customer whole; they were summed": change.repeated,
        "rows have a creation time in no known format; stored without it": tally.created_at_unread,
        "rows have a streaming type that is not documented; loaded as they are": tally.unknown_types.total(),
    }
    return tuple(f"{count} {text}" for text, count in told.items() if count)
