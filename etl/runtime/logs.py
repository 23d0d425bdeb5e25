"""Logs: one shape for everything that is said, and one formatter through which all of it passes.

Human on a terminal, JSON lines otherwise; always on stderr. Tokens, passwords, signed query strings and customer ids
never come out: known secrets are masked wherever they appear, URLs lose their query, and of what others say, in
exceptions, log records and warnings, only that is printed which cannot quote a value.
"""

from __future__ import annotations

import logging
import math
import os
import sys
import textwrap
import threading
import traceback
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from etl.domain.errors import WatchTimeError
from etl.runtime.redaction import MASK, redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor

_OURS: Final = "watch_time"
_PACKAGE: Final = f"{Path(__file__).parents[1]}{os.sep}"

_IN_TABLES: Final = frozenset({"slice_done"})

_WITHHELD: Final = "(message withheld: it may hold data)"
# The interpreter's own complaints about code; libraries raise the same kinds with the values that displease them.
_ABOUT_CODE: Final = (TypeError, AttributeError, NameError)
# Warnings about code or the system. A UserWarning or a RuntimeWarning may quote anything.
_ABOUT_USE: Final = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ResourceWarning, ImportWarning)


def configure(*, secrets: Iterable[str] = (), stream: TextIO | None = None) -> None:
    """Send everything that is logged, by us or by libraries, through one formatter to `stream` (default stderr).

    From now on `secrets` are masked wherever they appear.
    """
    redact.know(secrets)
    target = stream or sys.stderr
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if target is not None and target.isatty():
        shared.append(_without_what_the_table_says)
        renderer: Processor = structlog.dev.ConsoleRenderer(
            colors=True, exception_formatter=structlog.dev.plain_traceback
        )
    else:
        renderer = structlog.processors.JSONRenderer(ensure_ascii=False)
    handler = _Handler(stream)
    handler.setFormatter(_Formatter(shared, renderer))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def take_over_stderr() -> None:
    """Log what the interpreter would print by itself, messages in full: uncaught errors, and warnings."""
    sys.excepthook = lambda _kind, error, _trace: _log_error("uncaught", error)
    threading.excepthook = lambda thread: _log_error("uncaught", thread.exc_value)
    sys.unraisablehook = lambda ignored: _log_error("unraisable", ignored.exc_value)
    warnings.showwarning = _log_warning


def only_warnings() -> None:
    """Leave out what went well."""
    logging.getLogger(_OURS).setLevel(logging.WARNING)


def only_what_no_table_shows() -> None:
    """Leave out what went well, and what comes of slices: a bar and a table on the same screen show it."""
    only_warnings()
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_in_no_table)


def _is_in_no_table(record: logging.LogRecord) -> bool:
    return not (isinstance(record.msg, dict) and record.msg.get("event") in _IN_TABLES)


def told(error: BaseException) -> str:
    """A traceback without data: of every exception the frames, and the message only where it cannot quote a value.

    Causes come before what they led to; notes are left out.
    """
    sections: list[str] = []
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        sections.append(_section(link))
        link = link.__context__ if link.__cause__ is None and not link.__suppress_context__ else link.__cause__
    return "\nwhich led to:\n\n".join(reversed(sections))


def _section(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    parts = [f"Traceback (most recent call last):\n{frames}" if frames else "", _line(error), "\n"]
    if isinstance(error, BaseExceptionGroup):
        parts += [textwrap.indent(f"one of them:\n{told(member)}", "  | ") for member in error.exceptions]
    return "".join(parts)


def _line(error: BaseException) -> str:
    """Kind and message of an exception, as the last line of its traceback has them."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    message = str(error) if _cannot_quote(error) else _WITHHELD if error.args else ""
    return f"{name}: {message}" if message else name


def _cannot_quote(error: BaseException) -> bool:
    """Whether the message speaks of code or of the system: others quote what they stumbled over, customer ids too."""
    if isinstance(error, OSError):
        return error.errno is not None  # else the message is not the system's
    if type(error) in _ABOUT_CODE:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        return bool(frames) and frames[-1].f_code.co_filename.startswith(_PACKAGE)
    return isinstance(error, (WatchTimeError, ImportError, MemoryError))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the moment: a progress bar puts itself there, and lines are to appear above it."""

    def __init__(self, stream: TextIO | None) -> None:
        logging.Handler.__init__(self)
        self._given = stream
        # Whatever level a library gives to its loggers: below a warning it speaks of its work, with URLs and values.
        self.addFilter(lambda record: record.name == _OURS or record.levelno >= logging.WARNING)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # the base class has it as an attribute
        return self._given or sys.stderr

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Say nothing: stderr is gone, and the base class would print the record's arguments on it."""


class _Formatter(structlog.stdlib.ProcessorFormatter):
    """Takes values and secrets out of a record before it is rendered: afterwards they are quoted and escaped."""

    def __init__(self, shared: list[Processor], renderer: Processor) -> None:
        finishing: list[Processor] = [_with_told_exception, _redacted, renderer]
        super().__init__(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, _without_values],
            processors=[self.remove_processors_meta, *finishing],
            use_get_message=False,
            pass_foreign_args=True,
        )
        self._finishing = finishing

    def format(self, record: logging.LogRecord) -> str:
        try:
            return super().format(record)
        except Exception as error:  # noqa: BLE001 - logging must not be what a run fails for
            place = f"{record.pathname}:{record.lineno}"
            event: Any = {"event": "unloggable", "level": "error", "place": place, "exc_info": error}
            for process in self._finishing:
                event = process(None, "error", event)
            return str(event)


def _without_what_the_table_says(_logger: object, _method: str, event: EventDict) -> EventDict:
    """On a terminal the table of outcomes follows, with the long texts below it."""
    if event.get("event") == "slice_done":
        for name in ("message", "next_step", "warnings"):
            event.pop(name, None)
    return event


def _without_values(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A library's message as its author wrote it; of what is to be filled in only numbers, the rest may be data."""
    message, values = event["_record"].msg, event.pop("positional_args")
    if isinstance(values, Mapping):
        safe: Any = {name: _number_or_mask(value) for name, value in values.items()}
    else:
        safe = tuple(_number_or_mask(value) for value in values or ())
    if isinstance(message, BaseException):
        event["event"] = _line(message)
    elif safe:
        with suppress(TypeError, ValueError, KeyError):  # then it stays as it was written
            event["event"] = message % safe
    return event


def _number_or_mask(value: object) -> object:
    return value if isinstance(value, (int, float)) else MASK


def _with_told_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = told(error)
    return event


def _redacted(_logger: object, _method: str, event: EventDict) -> EventDict:
    return {name: _shown(value) for name, value in event.items()}


def _shown(value: object) -> object:
    """A field's value in plain types, redacted."""
    match value:
        case None | bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case BaseException():
            return redact(_line(value))
        case Mapping():
            return {redact(str(key)): _shown(item) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_shown(item) for item in value]
        case _:
            return redact(str(value))


def _log_error(event: str, error: BaseException | None) -> None:
    # A thread that ends itself is no error, to the interpreter neither.
    if not isinstance(error, SystemExit):
        structlog.get_logger(_OURS).critical(event, exc_info=error)


def _log_warning(  # noqa: PLR0917 - the signature is the interpreter's
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001
    line: str | None = None,  # noqa: ARG001
) -> None:
    about = str(message) if issubclass(category, _ABOUT_USE) else _WITHHELD
    structlog.get_logger(_OURS).warning(
        "python_warning", kind=category.__name__, about=about, place=f"{filename}:{lineno}"
    )
