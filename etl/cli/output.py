"""What all commands share: settings loaded, documents or tables shown, errors told, and the streams for that."""

from __future__ import annotations

import codecs
import errno
import io
import json
import sys
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog
import typer

from etl.domain.errors import TryLater
from etl.domain.pipeline_values import plain
from etl.domain.slices import target_date
from etl.runtime import logs
from etl.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer
    from rich.console import RenderableType

    from etl.config.settings import Need, Settings
    from etl.display.progress import LiveProgress
    from etl.domain.errors import WatchTimeError

# What a command that asks the source cannot do without.
NEEDS: Final[tuple[Need, ...]] = ("api_token", "org_id", "database_url")
# Two weeks unless told otherwise: what the daily job touches, and as much again.
_DAYS_SHOWN: Final = 14
_ESCAPES: Final = "escapes of JSON"


class _Outlet(io.FileIO):
    """The bytes of stdout or stderr. What cannot be written is dropped, and the reason kept.

    An exception would end the work that it is output of, and whatever is left in a buffer would change the exit code
    when the interpreter writes it at its end.
    """

    trouble: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data)
        except OSError as error:
            self.trouble = self.trouble or error
            return memoryview(data).nbytes


def open_streams() -> None:
    """Have stdout and stderr fail no command, wherever they lead and whatever they cannot encode.

    Signs that an encoding lacks are written as JSON escapes them, so that documents and log lines stay JSON.
    """
    codecs.register_error(_ESCAPES, _escaped)
    for name in ("stdout", "stderr"):
        if stream := getattr(sys, name):  # None: it was closed before we began
            outlet = _Outlet(stream.fileno(), "wb", closefd=False)
            text = io.TextIOWrapper(
                io.BufferedWriter(outlet),
                encoding=stream.encoding,
                errors=_ESCAPES,
                line_buffering=name == "stderr" or stream.isatty(),
            )
            setattr(sys, name, text)


def lost_output() -> TryLater | None:
    """What kept data from stdout; None where nothing did. A reader that has gone wants no more: that is no trouble."""
    if sys.stdout is None:
        return None
    sys.stdout.flush()
    outlet = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    trouble = outlet.trouble if isinstance(outlet, _Outlet) else None
    if trouble is None or trouble.errno == errno.EPIPE:
        return None
    return TryLater(
        f"cannot write to stdout: {trouble.strerror}",
        next_step="free space where stdout is written to, then run again; what was loaded stays loaded",
    )


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


def settings(*needs: Need) -> Settings:
    """The settings; from here on their secrets are masked in everything that is logged."""
    from etl.config.settings import Settings, open_secrets, unknown_variable, unknown_variables

    loaded = Settings.load(needs)
    logs.configure(secrets=loaded.secrets())
    for name, nearest in unknown_variables().items():
        warn(unknown_variable(name, nearest), "unknown_setting", name=name, did_you_mean=nearest)
    for file, mode in open_secrets().items():
        said = f"{file} holds secrets and has mode {mode}: other users can read or change it; type: chmod 600 {file}"
        warn(said, "secrets_open_to_others", file=file, mode=mode, next_step="chmod 600")
    return loaded


def warn(sentence: str, event: str, **fields: object) -> None:
    """A warning: a sentence on a terminal, an event elsewhere."""
    if sys.stderr is not None and sys.stderr.isatty():
        from etl.display import message_layout, terminal

        terminal.stderr().print(message_layout.warning(redact(sentence)), crop=False)
    else:
        structlog.get_logger("watch_time").warning(event, **fields)


def date_range(known: Settings, start: date | None, end: date | None, *, days: int = _DAYS_SHOWN) -> tuple[date, date]:
    """The dates from `start` to `end`; without them, `days` up to the target date."""
    last = end or target_date(known.now(), known.lag_days)
    first = start or last - timedelta(days=days - 1)
    if first > last:
        raise typer.BadParameter(f"--start {first} is after --end {last}")
    return first, last


def live_progress(*, verbose: bool = False, quiet: bool = False) -> LiveProgress:
    """The live lines of long work, on a terminal; elsewhere, and with `verbose`, the log has a line for each step.

    Called after `settings`, which sets up the log.
    """
    from etl.display import progress, terminal

    if verbose and quiet:
        raise typer.BadParameter("--verbose and --quiet cannot be combined")
    console = terminal.stderr()
    is_shown = console.is_terminal and not verbose and not quiet
    if is_shown:
        logs.only_what_no_table_shows()
    elif quiet:
        logs.only_warnings()
    return progress.LiveProgress(console, is_shown=is_shown)


def show(document: object, table: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Data to stdout: the document, or the table."""
    if as_json:
        say(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))
        return
    from etl.display import terminal

    console = terminal.stdout()
    with console.capture() as shown:
        console.print(table(), crop=False)
    say(shown.get().removesuffix("\n"))


def say(text: str) -> None:
    """A line, or more, to stdout."""
    print(text, flush=True)  # noqa: T201 - this is where data goes out


def tell(error: WatchTimeError) -> None:
    """An error, for people: what happened, and what to type next."""
    from etl.display import message_layout

    _accompany(message_layout.problem(redact(f"error: {error}"), redact(error.next_step)))


def advise(next_step: str) -> None:
    """What to type next, for people, after something went well."""
    from rich.console import Group

    from etl.display import message_layout

    _accompany(Group(*message_layout.hint(next_step)))


def _accompany(said: RenderableType) -> None:
    """What accompanies the data, to stderr, if there is one."""
    if sys.stderr is not None:
        from etl.display import terminal

        console = terminal.stderr()
        # Only a terminal's lines are broken: what a file or a pipe gets may be searched.
        console.print(said, soft_wrap=not console.is_terminal, crop=False)


def described(error: WatchTimeError) -> dict[str, object]:
    """An error, for programs."""
    return {
        "class": type(error).__name__,
        "message": redact(str(error)),
        "next_step": redact(error.next_step),
        "exit_code": int(error.exit_code),
    }


def _plain(value: object) -> str:
    """What JSON has no type for: decimals with all their digits, moments in ISO 8601."""
    return plain(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else str(value)
