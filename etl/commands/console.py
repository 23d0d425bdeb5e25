"""What all commands share: settings loaded, documents or tables shown, errors told."""

from __future__ import annotations

import json
import os
import sys
from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog
import typer

from etl import logs
from etl.redact import redact
from etl.report import plain
from etl.slices import target_date

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import RenderableType

    from etl.errors import WatchTimeError
    from etl.settings import Need, Settings

# What a command that asks the source cannot do without.
NEEDS: Final[tuple[Need, ...]] = ("api_token", "org_id", "database_url")
# Two weeks unless told otherwise: what the daily job touches, and as much again.
_DAYS_SHOWN: Final = 14


def settings(*needs: Need) -> Settings:
    """The settings; from here on their secrets are masked in everything that is logged."""
    from etl.settings import Settings, open_secrets, unknown_variables

    loaded = Settings.load(needs)
    logs.configure(secrets=loaded.secrets())
    for name, nearest in unknown_variables().items():
        structlog.get_logger("watch_time").warning("unknown_setting", name=name, did_you_mean=nearest)
    for file, mode in open_secrets().items():
        structlog.get_logger("watch_time").warning(
            "secrets_open_to_others", file=file, mode=mode, next_step="chmod 600"
        )
    return loaded


def date_range(known: Settings, start: date | None, end: date | None, *, days: int = _DAYS_SHOWN) -> tuple[date, date]:
    """The dates from `start` to `end`; without them, `days` up to the target date."""
    last = end or target_date(known.today(), known.lag_days)
    first = start or last - timedelta(days=days - 1)
    if first > last:
        raise typer.BadParameter(f"--start {first} is after --end {last}")
    return first, last


def show(document: object, table: Callable[[], RenderableType], *, as_json: bool) -> None:
    """Data to stdout: the document, or the table."""
    from etl import screens

    if as_json:
        say(json.dumps(document, ensure_ascii=False, indent=2, default=_plain))
        return
    console = screens.stdout()
    with console.capture() as shown:
        console.print(table())
    say(shown.get().removesuffix("\n"))


def say(text: str) -> None:
    """A line, or more, to stdout. A reader that has gone is no trouble: the exit code still tells how it ended."""
    try:
        print(text, flush=True)  # noqa: T201 - rich and click end the process where nobody reads
    except BrokenPipeError:
        # As Python's documentation has it: or else what is in the buffer still meets the pipe when the process ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(error: WatchTimeError) -> None:
    """An error, for people: what happened, and what to type next."""
    typer.secho(redact(f"error: {error.message}"), err=True, fg=typer.colors.RED)
    typer.echo(redact(f"  next: {error.next_step}"), err=True)


def described(error: WatchTimeError) -> dict[str, object]:
    """An error, for programs."""
    return {
        "class": type(error).__name__,
        "message": redact(error.message),
        "next_step": redact(error.next_step),
        "exit_code": int(error.exit_code),
    }


def _plain(value: object) -> str:
    """What JSON has no type for: decimals with all their digits, moments in ISO 8601."""
    return plain(value) if isinstance(value, Decimal) else value.isoformat() if isinstance(value, date) else str(value)
