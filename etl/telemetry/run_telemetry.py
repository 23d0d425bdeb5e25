"""Telling others of a run: metrics, a dead man's switch, notices. None of it can fail the run, or keep it for long.

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
from etl.telemetry.bounded import within

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
_STOPPED_FROM: Final = 128


@contextmanager
def over(command: str, *, silent: bool = False) -> Iterator[Watched]:
    """Watch over a run: tell of its beginning and of its end, whichever way it ends.

    Args:
        command: `run` or `backfill`.
        silent: tell nobody anything.

    Yields:
        Where the run puts its outcomes.
    """
    watched = Watched(None if silent else _Watch(command))
    try:
        yield watched
    except BaseException as error:
        watched.tell(_exit_code(error))
        raise
    watched.tell(int(ExitCode.OK))


class Watched:
    """A run that is watched over.

    Attributes:
        outcomes: what came of its slices so far.
        not_tried: how many slices were not tried, since credentials were refused.
    """

    def __init__(self, watch: _Watch | None) -> None:
        self.outcomes: list[Outcome] = []
        self.not_tried = 0
        self._watch = watch

    def tell(self, exit_code: int) -> None:
        """Tell how it ended: once. Earlier than at its end for a run that has done its work, and tidies up."""
        if self._watch:
            self._watch.finish(exit_code, self.outcomes, self.not_tried)
            self._watch = None


class _Watch:
    """What is told of one run; no method raises an `Exception`."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._began = time.monotonic()
        self._channels = _quietly("channels_unread", _channels) or TelemetrySettings()
        self._ping: Ping | None = None
        if self._channels.ping_url:
            self._ping = _quietly("ping_failed", self._pinged)

    def finish(self, exit_code: int, outcomes: list[Outcome], not_tried: int) -> None:
        """Tell of the end. Of a run that was stopped only the ping tells: there is no time for more."""
        duration_s = time.monotonic() - self._began
        if self._ping:
            self._ping.finish(exit_code, _summary(self._command, exit_code, outcomes, not_tried))
        channels = self._channels
        if exit_code >= _STOPPED_FROM or not (
            channels.metrics_file or channels.pushgateway_url or channels.notify_urls
        ):
            return
        standing = _quietly("ledger_unread", lambda: within(_LEDGER_S, _standing))
        if channels.metrics_file or channels.pushgateway_url:
            self._tell_prometheus(exit_code, duration_s, outcomes, standing)
        if channels.notify_urls and standing:
            _quietly("notice_failed", lambda: self._tell_people(standing))

    def _pinged(self) -> Ping:
        from etl.telemetry.ping import Ping  # noqa: PLC0415 - only where it is configured

        ping = Ping(self._channels.ping_url)
        ping.start(f"{self._command} begins, version {__version__}")
        return ping

    def _tell_prometheus(
        self, exit_code: int, duration_s: float, outcomes: list[Outcome], standing: WarehouseSnapshot | None
    ) -> None:
        from etl.telemetry import metrics, pushgateway, textfile  # noqa: PLC0415 - only where they are configured

        run = metrics.Run(self._command, exit_code, duration_s, datetime.now(UTC), outcomes)
        file, gateway = self._channels.metrics_file, self._channels.pushgateway_url
        if file:
            _quietly("metrics_file_failed", lambda: within(_FILE_S, lambda: textfile.write(Path(file), run, standing)))
        if gateway:
            _quietly("push_failed", lambda: within(_PUSH_S, lambda: pushgateway.push(gateway, run, standing)))

    def _tell_people(self, standing: WarehouseSnapshot) -> None:
        from etl.telemetry import notices, notifier  # noqa: PLC0415 - only where they are configured
        from etl.telemetry.warehouse_snapshot import record_told  # noqa: PLC0415 - as above

        changes = notices.changes(standing)
        if not changes:
            return
        settings = Settings.load(("org_id", "database_url"))
        title, text = notices.message(changes, standing, warehouse=settings.require("org_id"))
        if notifier.send(self._channels.notify_urls, title, text, is_trouble=bool(changes.trouble)):
            within(_NOTE_S, lambda: record_told(settings, changes.trouble, list(changes.fine)))
            log.info("notice_sent", trouble=len(changes.trouble), fine_again=len(changes.fine))


def _channels() -> TelemetrySettings:
    """Where to tell of the run; from here on their secrets are masked in everything that is logged."""
    channels = TelemetrySettings.load()
    logs.configure(secrets=channels.secrets())
    for variable, problem in unread_telemetry().items():
        log.warning("channel_unread", variable=variable, problem=problem)
    return channels


def _standing() -> WarehouseSnapshot:
    from etl.telemetry.warehouse_snapshot import read  # noqa: PLC0415 - only where it is needed

    return read(Settings.load(("org_id", "database_url")))


def _quietly(event: str, work: Callable[[], T]) -> T | None:
    """What `work` gives; where it fails, a warning, and None."""
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
    return f"{command} ended with {exit_code}: {', '.join(counts)}"
