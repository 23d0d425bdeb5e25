"""Reports on a run: metrics, a dead man's switch, notifications. None of it can fail the run, or delay it for long.

Whatever goes wrong here is one warning in the log. In all a run is kept for about a minute where everything hangs; a
run that is stopped, for a second.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import structlog

from etl import __version__
from etl.config.settings import Settings
from etl.config.telemetry_settings import TelemetrySettings, unread_telemetry
from etl.domain.errors import ExitCode, WatchTimeError
from etl.runtime import logs
from etl.runtime.call_timeout import within
from etl.runtime.cancellation import SIGNALLED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.domain.outcome import Outcome
    from etl.telemetry.ping import Ping
    from etl.telemetry.warehouse_snapshot import WarehouseSnapshot

T = TypeVar("T")
log = structlog.get_logger("watch_time")

# Connecting may take ten seconds, and an embedded server starts within a few.
_LEDGER_S: Final = 15.0
_FILE_S: Final = 5.0
_PUSH_S: Final = 5.0
_NOTE_S: Final = 10.0


@contextmanager
def over(command: str, *, silent: bool = False) -> Iterator[ObservedRun]:
    """Watch over a run, or tell nobody anything if `silent`: of its beginning and of its end, whichever way it ends.

    Yields:
        Where the run puts its outcomes.
    """
    watched = ObservedRun(command, silent=silent)
    try:
        yield watched
    except BaseException as error:
        watched.tell(_exit_code(error))
        raise
    watched.tell(int(ExitCode.OK))


class ObservedRun:
    """A run that is watched over; no method raises an `Exception`.

    Attributes:
        outcomes: what came of its slices so far.
        not_tried: how many slices were not tried, since credentials were refused.
    """

    def __init__(self, command: str, *, silent: bool) -> None:
        self.outcomes: list[Outcome] = []
        self.not_tried = 0
        self._command = command
        self._began = time.monotonic()
        self._is_told = silent
        self._settings = TelemetrySettings()
        self._ping: Ping | None = None
        if not silent:
            self._settings = _quietly("telemetry_settings_unreadable", _telemetry_settings) or TelemetrySettings()
        if self._settings.ping_url:
            self._ping = _quietly("ping_failed", self._start_ping)

    def tell(self, exit_code: int) -> None:
        """Tell how it ended: once. Earlier than at its end for a run that has done its work, and tidies up."""
        if not self._is_told:
            self._tell(exit_code, time.monotonic() - self._began)
            self._is_told = True

    def _tell(self, exit_code: int, duration_s: float) -> None:
        """Tell of the end. Of a run that was stopped only the ping tells: there is no time for more."""
        if self._ping:
            self._ping.finish(exit_code, _summary(self._command, exit_code, self.outcomes, self.not_tried))
        settings = self._settings
        if exit_code >= SIGNALLED or not (settings.metrics_file or settings.pushgateway_url or settings.notify_urls):
            return
        snapshot = _quietly("warehouse_snapshot_failed", lambda: within(_LEDGER_S, _snapshot))
        if settings.metrics_file or settings.pushgateway_url:
            self._write_metrics(exit_code, duration_s, snapshot)
        if settings.notify_urls and snapshot:
            _quietly("notice_failed", lambda: self._send_notice(snapshot))

    def _start_ping(self) -> Ping:
        from etl.telemetry.ping import Ping  # noqa: PLC0415 - only where it is configured

        ping = Ping(self._settings.ping_url)
        ping.start(f"{self._command} started, version {__version__}")
        return ping

    def _write_metrics(self, exit_code: int, duration_s: float, snapshot: WarehouseSnapshot | None) -> None:
        from etl.telemetry import metrics, pushgateway, textfile  # noqa: PLC0415 - only where they are configured

        run = metrics.Run(self._command, exit_code, duration_s, datetime.now(UTC), self.outcomes)
        file, gateway = self._settings.metrics_file, self._settings.pushgateway_url
        if file:
            _quietly("metrics_file_failed", lambda: within(_FILE_S, lambda: textfile.write(Path(file), run, snapshot)))
        if gateway:
            _quietly("push_failed", lambda: within(_PUSH_S, lambda: pushgateway.push(gateway, run, snapshot)))

    def _send_notice(self, snapshot: WarehouseSnapshot) -> None:
        from etl.telemetry import notices, notifier  # noqa: PLC0415 - only where they are configured
        from etl.telemetry.warehouse_snapshot import record_told  # noqa: PLC0415 - as above

        changes = notices.changes(snapshot)
        if not changes:
            return
        settings = Settings.load(("org_id", "database_url"))
        title, text = notices.message(changes, snapshot, warehouse=settings.require("org_id"))
        if notifier.send(self._settings.notify_urls, title, text, is_trouble=bool(changes.trouble)):
            within(_NOTE_S, lambda: record_told(settings, changes.trouble, list(changes.fine)))
            log.info("notice_sent", problems=len(changes.trouble), resolved=len(changes.fine))


def _telemetry_settings() -> TelemetrySettings:
    """Where to tell of the run; from here on their secrets are masked in everything that is logged."""
    settings = TelemetrySettings.load()
    logs.configure(secrets=settings.secrets())
    for variable, problem in unread_telemetry().items():
        log.warning("telemetry_setting_ignored", variable=variable, problem=problem)
    return settings


def _snapshot() -> WarehouseSnapshot:
    from etl.telemetry.warehouse_snapshot import read  # noqa: PLC0415 - only where it is needed

    return read(Settings.load(("org_id", "database_url")))


def _quietly(event: str, work: Callable[[], T]) -> T | None:
    """What `work` returns; where it fails, a warning, and None."""
    try:
        return work()
    except WatchTimeError as error:
        log.warning(event, error=error, next_step=error.next_step)
    except Exception as error:  # noqa: BLE001 - telling of a run must not fail it
        log.warning(event, error=error)
    return None


def _exit_code(error: BaseException) -> int:
    """The code with which the process ends because of `error`: our errors and typer's `Exit` carry it."""
    code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", None)
    return code if isinstance(code, int) else int(ExitCode.BUG)


def _summary(command: str, exit_code: int, outcomes: list[Outcome], not_tried: int) -> str:
    """A line for the ping: counts alone."""
    results = Counter(outcome.result.value for outcome in outcomes)
    counts = [f"{count} {result}" for result, count in sorted(results.items())] or ["no slice"]
    counts += [f"{not_tried} not tried"] if not_tried else []
    return f"{command} ended with exit code {exit_code}: {', '.join(counts)}"
