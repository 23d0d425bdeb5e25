"""The story of one slice, from the question to the API to the committed revision.

The only module that knows all stages. The network is finished before the transaction begins; everything from the
slice's lock to its ledger row is one transaction. `job` decides which slices there are.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import SecretStr

from etl import guards, ledger, normalise, schema, scratch
from etl.download import Downloader
from etl.errors import DatabaseUnavailable, DataRefused, GuardRefused, SliceBusy, WatchTimeError
from etl.http_clients import api_client, storage_client
from etl.load import Loading, has_partition, record_rejects
from etl.outcome import Ask, Outcome, Result, refusal, warnings_about
from etl.patience import Patience
from etl.report import NotThere, ReportFile, Tally
from etl.report_api import ReportApi
from etl.slices import State
from etl.stop import Stopped
from etl.url_policy import UrlPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import httpx

    from etl.db import Connection, Database
    from etl.ledger import SliceRecord
    from etl.report import Chunk
    from etl.settings import Settings
    from etl.slices import Slice
    from etl.stop import Stop

log = structlog.get_logger("watch_time")


# So often a slice's work begins anew because another run committed the slice meanwhile.
_OVERTAKEN_AT_MOST: Final = 3


class _Overtaken(Exception):
    """Another run committed the slice after this one had asked for it."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A slice, how to ask for it, and the revision that it had before it was asked for."""

    slice: Slice
    ask: Ask
    seen: int


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
        self._read_as = json.dumps(settings.header_aliases, sort_keys=True)
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
        for _ in range(_OVERTAKEN_AT_MOST):
            try:
                return self._bring_once(slice_, ask)
            except _Overtaken:
                continue
        raise SliceBusy(
            f"other runs loaded this slice {_OVERTAKEN_AT_MOST} times while this one asked for it",
            next_step="nothing is lost: see what runs at the same time",
        )

    def _bring_once(self, slice_: Slice, ask: Ask) -> Outcome:
        """Ask, download, load; what is asked from here on is at least as new as `seen`."""
        seen = self._database.run(lambda connection: _revision(ledger.read(connection, slice_)))
        work = _Work(slice_, ask, seen)
        with self.fetched(slice_, ask) as report:
            if isinstance(report, NotThere):
                return self._recorded(slice_, lambda connection: self._record_absence(connection, work, report))
            return self._load_or_hold(work, report)

    @contextmanager
    def fetched(self, slice_: Slice, ask: Ask = Ask()) -> Iterator[ReportFile | NotThere]:  # noqa: B008 - a value
        """Ask for the slice's report and download it, whole and verified; its file is there while this is open.

        Raises what asking and downloading raise.
        """
        api = ReportApi(
            self._api_client, patience=self._downloader.patience, strict_not_found=self._settings.strict_not_found
        )
        answer = api.await_report(slice_, ask.wait_s) if ask.wait_s else api.ask_once(slice_, confirm=ask.settled)
        if isinstance(answer, NotThere):
            yield answer
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as name:
            yield self._downloader.download(answer, renew=lambda: api.renew(slice_), folder=Path(name))

    def _load_or_hold(self, work: _Work, report: ReportFile) -> Outcome:
        """Load the report, or note that it was refused."""
        tries: list[Tally] = []

        def load(connection: Connection) -> Outcome:
            tries.append(Tally())
            return self._load(connection, work, report, tries[-1])

        try:
            return self._recorded(work.slice, load)
        except GuardRefused as error:
            return self._hold(work, report, tries[-1], error)

    def _load(self, connection: Connection, work: _Work, report: ReportFile, tally: Tally) -> Outcome:
        """From the lock to the ledger row: one transaction."""
        began_s = time.monotonic()
        slice_ = work.slice
        known = self._locked(connection, slice_)
        if known and self._is_stored(connection, known, report):
            return self._record_unchanged(connection, known, report)
        _require_not_overtaken(known, work)
        ledger.forget_rejects(connection, slice_, report_sha256=report.sha256)
        loading = Loading(connection, slice_, report.sha256)
        loading.stage(self._checked(normalise.chunks(report.path, aliases=self._settings.header_aliases)), tally)
        overruled = self._guard(work, lambda limits: guards.check_rejects(slice_, tally, limits))
        rows = loading.merge(tally)
        rows_before = known.rows_stored if known else 0
        seconds_before = known.watch_seconds if known else Decimal(0)
        overruled += self._guard(
            work,
            lambda limits: guards.check_shrinking(
                slice_, tally, limits, rows=rows, rows_stored=rows_before, seconds_stored=seconds_before
            ),
        )
        change = loading.apply(tally)
        revision = ledger.record_revision(
            connection,
            slice_,
            known=known,
            report=report,
            tally=tally,
            change=change,
            reason=_why_empty(rows),
            read_as=self._read_as,
            overruled="; ".join(overruled) or None,
            load_duration=timedelta(seconds=report.elapsed_s + time.monotonic() - began_s),
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
            warnings=(*warnings_about(tally, change), *(f"accepted by hand: {guard}" for guard in overruled)),
            report_bytes=report.size_bytes,
        )

    def _guard(self, work: _Work, check: Callable[[guards.Limits], None]) -> tuple[str, ...]:
        """Let a guard look; gives its refusal where a person has overruled it.

        Raises:
            GuardRefused: it refuses, and nobody has said otherwise, or nobody can.
        """
        try:
            check(self._limits)
        except GuardRefused as refused:
            if not work.ask.accept:
                raise
            check(guards.OPEN)
            return (refused.message,)
        return ()

    def _is_stored(self, connection: Connection, known: SliceRecord, report: ReportFile) -> bool:
        """Whether this very report, read in the same way, is what the facts come from; and whether they are there."""
        same = (known.report_sha256, known.read_as) == (report.sha256, self._read_as)
        return same and (known.rows_stored == 0 or has_partition(connection, known.slice))

    def _record_unchanged(self, connection: Connection, known: SliceRecord, report: ReportFile) -> Outcome:
        ledger.forget_rejects(connection, known.slice)
        ledger.record_state(connection, known.slice, known.stored_state, reason=_why_empty(known.rows_stored))
        return Outcome(
            known.slice,
            Result.UNCHANGED,
            revision=known.revision,
            rows=known.rows_stored,
            watch_seconds=known.watch_seconds,
            report_bytes=report.size_bytes,
        )

    def _record_absence(self, connection: Connection, work: _Work, answer: NotThere) -> Outcome:
        slice_ = work.slice
        known = self._locked(connection, slice_)
        _require_not_overtaken(known, work)
        times = "once" if answer.asks == 1 else f"{answer.asks} times"
        if known and known.revision:
            message = f"the source answered 404, asked {times}: it withdrew the report; what was loaded stays"
            ledger.record_last_check(connection, slice_, message)
            return _of_stored(Outcome(slice_, Result.WITHDRAWN, message=message), known)
        if work.ask.settled:
            result, state = Result.EMPTY, State.EMPTY
            reason = f"no viewing history: 404, asked {times}, and the date is past the settling window"
        else:
            result, state = Result.UNAVAILABLE, State.UNAVAILABLE
            reason = f"not published yet: 404, asked {times}"
        ledger.record_state(connection, slice_, state, reason=reason)
        self._claim(connection)
        return Outcome(slice_, result, message=reason)

    def _hold(self, work: _Work, report: ReportFile, tally: Tally, error: GuardRefused) -> Outcome:
        """Note a refused report; its load was rolled back, so its first rejects come from memory."""
        slice_ = work.slice

        def record(connection: Connection) -> Outcome:
            known = self._locked(connection, slice_)
            _require_not_overtaken(known, work)
            ledger.forget_rejects(connection, slice_, report_sha256=report.sha256)
            record_rejects(connection, slice_, report.sha256, tally.first_rejects)
            ledger.record_state(connection, slice_, State.HELD, reason=str(error), error=error)
            self._claim(connection)
            return _of_stored(refusal(slice_, Result.HELD, error), known)

        return self._recorded(slice_, record)

    def _failed(self, slice_: Slice, error: WatchTimeError) -> Outcome:
        """Note an error where that is possible: not when the database is the trouble, or another run has the slice."""
        outcome = refusal(slice_, Result.FAILED, error)
        if isinstance(error, (DatabaseUnavailable, SliceBusy)):
            return outcome

        def record(connection: Connection) -> Outcome:
            known = self._locked(connection, slice_)
            if known and known.is_answered and not isinstance(error, DataRefused):
                # Trouble on the way says nothing about facts, nor about a report that a person has to look at.
                ledger.record_last_check(connection, slice_, f"failed: {error}")
            else:
                ledger.record_state(connection, slice_, State.FAILED, reason=str(error), error=error)
            return _of_stored(outcome, known)

        try:
            return self._recorded(slice_, record)
        except WatchTimeError as second:
            log.warning("failure_not_recorded", slice=str(slice_), error=str(second))
            return outcome

    def _recorded(self, slice_: Slice, work: Callable[[Connection], Outcome]) -> Outcome:
        """Do `work` in a transaction that also notes what the check met."""

        def and_note(connection: Connection) -> Outcome:
            outcome = work(connection)
            ledger.record_check(connection, slice_, outcome.result.value, _without_request_id(outcome.message))
            return outcome

        return self._database.run(and_note)

    def _locked(self, connection: Connection, slice_: Slice) -> SliceRecord | None:
        """Take the slice's lock, and read what is known of it from then on."""
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


def _revision(known: SliceRecord | None) -> int:
    return known.revision if known else 0


def _require_not_overtaken(known: SliceRecord | None, work: _Work) -> None:
    """What was asked for before another run's commit may be older than what that run loaded: ask again."""
    if _revision(known) != work.seen:
        raise _Overtaken


def _of_stored(outcome: Outcome, known: SliceRecord | None) -> Outcome:
    """The outcome of a check that changed no facts, with what is stored."""
    if known is None:
        return outcome
    return replace(outcome, revision=known.revision, rows=known.rows_stored, watch_seconds=known.watch_seconds)


def _without_request_id(message: str | None) -> str | None:
    """The same answer of the API has another request id each time; the log keeps it."""
    return message and re.sub(r" \((x-[\w-]+|cf-ray): [^()]*\)", "", message)


def _why_empty(rows: int) -> str | None:
    return None if rows else "the report has a header and no rows"
