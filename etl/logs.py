"""Logs: one shape for everything that is said, and one redacting formatter through which all of it passes.

Human on a terminal, JSON lines otherwise; always on stderr. Tokens, passwords, signed query strings and customer ids
never come out: known secrets are masked wherever they appear, URLs lose their query, and of a traceback's messages
only those are printed whose kind cannot carry data.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from typing import TYPE_CHECKING, Any, Final, TextIO

import structlog

from etl.errors import WatchTimeError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from structlog.typing import EventDict, Processor

_MASK: Final = "***"
_URL_QUERY: Final = re.compile(r"""(\b[a-z][a-z0-9+.-]*://[^\s?#"'<>]*)[?#][^\s"'<>]*""", re.IGNORECASE)
_URL_PASSWORD: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:@/]*:)[^\s/]*@", re.IGNORECASE)
_AUTHORIZATION: Final = re.compile(
    r"(\b(?:authorization|bearer)\b[\"']?\s*[:=]?\s*(?:bearer\s+)?)[^\s\"',]{6,}", re.IGNORECASE
)
_SIGNATURE: Final = re.compile(r"((?:signature|credential|token|sig)=)[^\s&\"'<>]+", re.IGNORECASE)

# Exceptions whose message speaks of code or of the system. Others (psycopg's, pyarrow's, ValueError, KeyError, ...)
# quote the values they stumbled over, which may be customer ids.
_SPEAKING: Final = (WatchTimeError, TypeError, AttributeError, NameError, ImportError, OSError, MemoryError)


class Redactor:
    """Takes secrets out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # Longest first: one secret may contain another.
        known = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        if self._known:
            text = self._known.sub(_MASK, text)
        text = _URL_PASSWORD.sub(rf"\1{_MASK}@", text)
        text = _URL_QUERY.sub(rf"\1?{_MASK}", text)
        text = _AUTHORIZATION.sub(rf"\1{_MASK}", text)
        return _SIGNATURE.sub(rf"\1{_MASK}", text)


def configure(*, secrets: Iterable[str] = (), stream: TextIO | None = None) -> Redactor:
    """Send everything that is logged, by us or by libraries, through one formatter to `stream` (default stderr).

    Args:
        secrets: values that must never be shown.
        stream: where to; a terminal gets text, anything else JSON lines.

    Returns:
        The redactor, for text that reaches people on other ways.
    """
    target = sys.stderr if stream is None else stream
    redact = Redactor(secrets)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _told_exception,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
        if target.isatty()
        else structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    )
    handler = logging.StreamHandler(target) if stream else _StderrHandler()
    handler.setFormatter(_RedactingFormatter(redact, shared, renderer))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("watch_time").setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    # Nothing is to reach stderr by another way: tracebacks of the interpreter's own carry every message in full.
    sys.excepthook = lambda _kind, error, _trace: _log_uncaught(error)
    threading.excepthook = lambda args: _log_uncaught(args.exc_value)
    return redact


def only_warnings() -> None:
    """Leave out what went well: something else on the screen shows it."""
    logging.getLogger("watch_time").setLevel(logging.WARNING)


class _StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the moment: a progress bar puts itself there, and lines are to appear above it."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]  # the base class has it as an attribute
        return sys.stderr


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Formats, then redacts the whole line: message, fields, exception and stack alike."""

    def __init__(self, redact: Redactor, shared: list[Processor], renderer: Processor) -> None:
        super().__init__(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        return self._redact(super().format(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        return told(ei[1]) if ei[1] is not None else ""


def told(error: BaseException) -> str:
    """A traceback whose messages cannot carry data: frames in full, and the text only of kinds known to be safe."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=False)
    causes: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in causes:
        causes.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    text = "".join(shown.format())
    for cause in causes:
        message = str(cause)
        if message and not isinstance(cause, _SPEAKING):
            text = text.replace(message, "(message withheld: it may hold data)")
    return text


def _told_exception(_logger: object, _method: str, event: EventDict) -> EventDict:
    info = event.pop("exc_info", None)
    error = sys.exc_info()[1] if info is True else info[1] if isinstance(info, tuple) else info
    if isinstance(error, BaseException):
        event["exception"] = told(error)
    return event


def _log_uncaught(error: BaseException | None) -> None:
    structlog.get_logger("watch_time").critical("uncaught", exc_info=error)
