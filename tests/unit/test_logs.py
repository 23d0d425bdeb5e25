"""Logs: no way of saying something lets a secret or a customer's id out, and what helps stays in."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import operator
import sys
import threading
import traceback
import warnings
from datetime import date
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

import httpx
import pandas as pd
import psycopg
import pyarrow as pa
import pytest
import structlog
from hypothesis import example, given
from hypothesis import strategies as st

from etl.config.settings import Settings
from etl.domain import slices
from etl.domain.errors import Misconfigured
from etl.runtime import logs
from etl.runtime.logs import told
from etl.runtime.redaction import Redactor, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CUSTOMER = "customer-canary-4711"
TOKEN = 'tok\\en"canary'
PASSWORD = "pa55@canary"
DATABASE_URL = f"postgresql://loader:{quote(PASSWORD)}@db.example.com/warehouse?sslmode=verify-full"
SIGNED_URL = "https://files.example.com/2026/vod.csv?X-Amz-Credential=canary1&X-Amz-Signature=canary2#canary3"
SECRETS = Settings.model_validate({"api_token": TOKEN, "database_url": DATABASE_URL}).secrets()

log = structlog.get_logger("watch_time")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[io.StringIO, Terminal], ids=["json", "console"])
def stream(request: pytest.FixtureRequest) -> io.StringIO:
    """Where everything logged goes, in both forms."""
    stream: io.StringIO = request.param()
    logs.configure(secrets=SECRETS, stream=stream)
    return stream


@pytest.fixture
def lines() -> Callable[[], list[dict[str, Any]]]:
    """What was logged, as JSON lines."""
    stream = io.StringIO()
    logs.configure(secrets=SECRETS, stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.fixture
def hooks() -> Iterator[None]:
    """The interpreter's own ways to stderr, ours for the test."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    logs.take_over_stderr()
    yield
    sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = before


def raised(provoke: Callable[[], object]) -> BaseException:
    try:
        provoke()
    except BaseException as error:  # noqa: BLE001 - of any kind
        return error
    raise AssertionError("nothing was raised")


def throw(error: BaseException, cause: BaseException | None = None) -> BaseException:
    def provoke() -> None:
        raise error from cause

    return raised(provoke)


def with_notes(error: BaseException, note: str) -> BaseException:
    error.add_note(note)
    return throw(error)


def while_handling(first: BaseException, second: BaseException) -> BaseException:
    def provoke() -> None:
        try:
            raise first
        finally:
            raise second

    return raised(provoke)


LEAKING: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: raised(lambda: int(CUSTOMER)),
    "KeyError": lambda: raised(lambda: dict[str, str]()[CUSTOMER]),
    "UnicodeError": lambda: raised(lambda: f"{CUSTOMER}é".encode("ascii")),
    "of several lines": lambda: throw(RuntimeError(f"a\n{CUSTOMER}\n\nb")),
    "of one letter": lambda: throw(KeyError("e"), throw(ValueError(CUSTOMER))),
    "SyntaxError": lambda: raised(lambda: compile(f"{CUSTOMER} = = 1", "rows", "exec")),
    "SystemExit": lambda: throw(SystemExit(CUSTOMER)),
    "psycopg": lambda: throw(psycopg.errors.UniqueViolation(f"Key (customer_id)=({CUSTOMER}) already exists.")),
    "psycopg client": lambda: throw(psycopg.DataError(f"can't parse {CUSTOMER}")),
    "pyarrow": lambda: raised(lambda: pa.array([CUSTOMER]).cast(pa.int64())),
    "pandas TypeError": lambda: raised(lambda: operator.setitem(cast("Any", pd.Series([1])), 0, CUSTOMER)),
    "TypeError of elsewhere": lambda: throw(TypeError(f"cannot add {CUSTOMER}")),
    "OSError of a library": lambda: throw(OSError(f"no such blob: {CUSTOMER}")),
    "httpx": lambda: raised(lambda: httpx.Response(
        403, request=httpx.Request("GET", SIGNED_URL)).raise_for_status()),
    "cause": lambda: throw(RuntimeError("outer"), throw(KeyError(CUSTOMER))),
    "context": lambda: while_handling(KeyError(CUSTOMER), Misconfigured("ours", next_step="")),
    "our own from a cause": lambda: throw(Misconfigured("ours", next_step=""), throw(ValueError(CUSTOMER))),
    "group": lambda: throw(ExceptionGroup(CUSTOMER, [ValueError(CUSTOMER), ExceptionGroup("", [KeyError(CUSTOMER)])])),
    "note": lambda: with_notes(Misconfigured("ours", next_step=""), CUSTOMER),
    "file name with a query": lambda: raised(lambda: open(SIGNED_URL)),  # noqa: PTH123, SIM115 - never opened
    "our message with secrets": lambda: throw(
        Misconfigured(f"{TOKEN} {PASSWORD} {SIGNED_URL} Authorization: Bearer abcdef-canary", next_step="")),
}  # fmt: skip


@pytest.mark.parametrize("provoke", [pytest.param(provoke, id=name) for name, provoke in LEAKING.items()])
@pytest.mark.usefixtures("hooks")
def test_no_exception_lets_data_out(stream: io.StringIO, provoke: Callable[[], BaseException]) -> None:
    error = provoke()
    library = logging.getLogger("some.library")
    threads = threading.Thread(target=lambda: (_ for _ in ()).throw(error))
    said: list[Callable[[], object]] = [
        lambda: log.error("bug", exc_info=error),
        lambda: log.error("bug", exc_info=(type(error), error, error.__traceback__)),
        lambda: log.error("bug", error=error, errors=[error], details={"error": error}),
        lambda: library.error("failed: %s, %r", error, error, exc_info=error, stack_info=True),
        lambda: library.error(error),
        lambda: sys.excepthook(type(error), error, error.__traceback__),
        lambda: sys.unraisablehook(_Unraisable(error)),  # type: ignore[arg-type]  # as the interpreter hands it over
    ]
    if not isinstance(error, SystemExit):
        said += [threads.start, threads.join]
    with contextlib.suppress(BaseException):
        try:
            raise error  # noqa: TRY301 - to be logged while it is handled
        except BaseException:
            log.exception("bug")
            library.exception("bug")
            raise
    for say in said:
        say()
    assert stream.getvalue().count("bug") >= 4
    assert "canary" not in stream.getvalue()


class _Unraisable:
    err_msg, object = None, None

    def __init__(self, error: BaseException) -> None:
        self.exc_type, self.exc_value, self.exc_traceback = type(error), error, error.__traceback__


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(TOKEN, id="token"),
        pytest.param(repr(TOKEN), id="token as Python writes it"),
        pytest.param(json.dumps({"a": TOKEN}), id="token as JSON writes it"),
        pytest.param(quote(TOKEN, safe=""), id="token as URLs write it"),
        pytest.param(DATABASE_URL, id="database url"),
        pytest.param(PASSWORD, id="password"),
        pytest.param(quote(PASSWORD), id="password as the url has it"),
        pytest.param("postgresql://u:other-canary@h/d", id="another database url"),
        pytest.param("https://proxy:pw:of-canary@proxy.example.com:3128", id="proxy"),
        pytest.param(f"GET {SIGNED_URL} 403", id="signed url"),
        pytest.param(f"<Message>{SIGNED_URL}</Message>", id="signed url in XML"),
        pytest.param("/vod.csv?Expires=1&Signature=canary&Key-Pair-Id=k", id="signed path"),
        pytest.param("sv=2024&sig=canary%2B", id="signed query of Azure"),
        pytest.param("X-Amz-Security-Token=canary", id="session token"),
        pytest.param("Authorization: Bearer abcdef.canary", id="header"),
        pytest.param("authorization: Basic Y2FuYXJ5-canary", id="header of another scheme"),
        pytest.param("{'authorization': 'Bearer abcdef.canary'}", id="headers as a dict"),
        pytest.param("[(b'authorization', b'Bearer abcdef.canary')]", id="headers as bytes"),
        pytest.param('{"Authorization":"abcdef.canary"}', id="headers as JSON"),
    ],
)
def test_no_way_of_writing_it_lets_a_secret_out(stream: io.StringIO, text: str) -> None:
    assert "canary" in text
    library = logging.getLogger("some.library")
    log.info(text, text=text, nested={"k": [text, (text,)], text: 1}, parsed=_Shown(text))
    library.warning(text)
    library.warning("%s and %s", text, httpx.Headers({"x": "1"}))
    library.warning("%(text)s", {"text": text})
    assert stream.getvalue().count("***") >= 5
    assert "canary" not in stream.getvalue()
    assert "canary" not in redact(text)


class _Shown:
    """Something that is logged as its own text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


@pytest.mark.parametrize("name", ["httpx", "httpcore.http11", "alembic", "sqlalchemy.engine", "psycopg"])
def test_libraries_are_heard_from_a_warning_on_whatever_their_level(stream: io.StringIO, name: str) -> None:
    logger = logging.getLogger(name)
    before = logger.level
    try:
        logger.setLevel(logging.DEBUG)
        logger.debug("response headers: %s", CUSTOMER)
        logger.info('HTTP Request: %s "%s"', SIGNED_URL, CUSTOMER)
        assert stream.getvalue() == ""
        logger.warning("trouble")
        assert "trouble" in stream.getvalue()
    finally:
        logger.setLevel(before)


@pytest.mark.usefixtures("hooks")
def test_warnings_pass_through_the_formatter(lines: Callable[[], list[dict[str, Any]]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        # Entering the block has put the interpreter's own way back.
        warnings.showwarning = logs._log_warning
        warnings.warn(CUSTOMER, UserWarning, stacklevel=1)
        warnings.warn(CUSTOMER, RuntimeWarning, stacklevel=1)
        warnings.warn("old_name() is deprecated", DeprecationWarning, stacklevel=1)
    assert [(line["kind"], line["about"]) for line in lines()] == [
        ("UserWarning", "(message withheld: it may hold data)"),
        ("RuntimeWarning", "(message withheld: it may hold data)"),
        ("DeprecationWarning", "old_name() is deprecated"),
    ]
    assert all("test_logs.py:" in line["place"] for line in lines())


def test_of_a_librarys_message_numbers_are_filled_in_and_the_rest_is_not(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    library = logging.getLogger("some.library")
    library.warning("could not parse statement starting at line %s", 3)
    library.warning("%(count)d of %(who)s", {"count": 2, "who": CUSTOMER})
    library.warning("100% of it")
    assert [(line["event"], line["logger"]) for line in lines()] == [
        ("could not parse statement starting at line 3", "some.library"),
        ("2 of ***", "some.library"),
        ("100% of it", "some.library"),
    ]


def test_what_helps_stays(lines: Callable[[], list[dict[str, Any]]]) -> None:
    ours = throw(Misconfigured("schema x has no tables", next_step=""), throw(ValueError(CUSTOMER)))
    mistake = raised(lambda: list(slices.dates_between(date(2026, 11, 22), "a")))  # type: ignore[arg-type]  # that is the mistake
    system = raised(lambda: open("/no/such/file"))  # noqa: PTH123, SIM115 - never opened
    for error in (ours, mistake, system, throw(ImportError("No module named 'x'")), throw(KeyboardInterrupt())):
        log.error("bug", exc_info=error)
    shown = [line["exception"] for line in lines()]
    ends = [text.splitlines()[-1] for text in shown]
    assert ends[0] == "etl.domain.errors.Misconfigured: schema x has no tables"
    assert ends[1].startswith("TypeError: unsupported operand type(s) for -: 'str' and")
    assert ends[2:] == [
        "FileNotFoundError: [Errno 2] No such file or directory: '/no/such/file'",
        "ImportError: No module named 'x'",
        "KeyboardInterrupt",
    ]
    assert 'etl/domain/slices.py", line' in shown[1]
    assert "for offset in range((end - start).days + 1):" in shown[1]
    first, second = shown[0].split("\nwhich led to:\n\n")
    assert first.endswith("ValueError: (message withheld: it may hold data)\n")
    assert "in provoke\n    raise error from cause\n" in first
    assert "in provoke\n    raise error from cause\n" in second


def test_a_group_is_told_member_by_member() -> None:
    text = told(ExceptionGroup("two", [Misconfigured("first", next_step=""), KeyError(CUSTOMER)]))
    assert "  | etl.domain.errors.Misconfigured: first\n" in text
    assert "  | KeyError: (message withheld: it may hold data)\n" in text


def test_frames_are_those_of_the_interpreter() -> None:
    def deep(levels: int) -> None:
        if levels:
            deep(levels - 1)
        raise KeyError("e")

    error = raised(lambda: deep(50))
    expected = "".join(traceback.format_exception(error)).removesuffix("KeyError: 'e'\n")
    assert told(error) == f"{expected}KeyError: (message withheld: it may hold data)\n"
    assert "[Previous line repeated 47 more times]" in expected


def test_a_chain_may_be_long_or_bite_its_tail() -> None:
    error: BaseException = ValueError()
    for _ in range(5_000):
        error = _led_to(error, KeyError())
    assert told(error).count("which led to") == 5_000
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert told(first) == "KeyError\n\nwhich led to:\n\nValueError\n"


def _led_to(first: BaseException, second: BaseException) -> BaseException:
    second.__context__ = first
    return second


def test_a_suppressed_context_is_left_out() -> None:
    error = _led_to(ValueError(), KeyError())
    error.__suppress_context__ = True
    assert told(error) == "KeyError\n"


class _Unwritable:
    def __str__(self) -> str:
        raise ValueError(CUSTOMER)


@pytest.mark.parametrize(
    ("say", "event"),
    [
        pytest.param(lambda: log.info("x", field=_Unwritable()), "unloggable", id="field"),
        pytest.param(lambda: logging.getLogger("some.library").error(_Unwritable()), "unloggable", id="message"),
        pytest.param(lambda: logging.getLogger("some.library").error("%d rows", CUSTOMER), "%d rows", id="arguments"),
    ],
)
def test_a_record_that_cannot_be_rendered_is_neither_lost_nor_printed(
    say: Callable[[], object], event: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)  # here: pytest's own handlers go with it
    say()
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"]) == (event, "error")
    assert "canary" not in stream.getvalue()
    assert capsys.readouterr() == ("", "")


def test_a_stream_that_is_gone_is_no_reason_to_fail_or_to_print(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    stream.close()
    logging.getLogger("some.library").warning("gone %s", CUSTOMER)
    assert capsys.readouterr() == ("", "")


def test_a_process_without_stderr_can_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    logs.configure()
    log.info("nobody_hears")


def test_stderr_is_looked_up_at_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure()
    later = io.StringIO()
    monkeypatch.setattr(sys, "stderr", later)
    log.info("above_the_progress_bar")
    assert json.loads(later.getvalue())["event"] == "above_the_progress_bar"


def test_a_line_has_time_level_and_fields_in_their_types(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log.warning("slice_done", rows=3, ok=True, none=None, share=0.5, odd=float("nan"), of=["a", 1], path=_Shown("p"))
    (line,) = lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "slice_done", "level": "warning", "rows": 3, "ok": True, "none": None, "share": 0.5, "odd": "nan",
        "of": ["a", 1], "path": "p",
    }  # fmt: skip


TEXTS = st.text(st.characters(exclude_categories=[])) | st.sampled_from(
    ['sig=abc\\"def', '"x://u:p"@', "a\nb", "\u2028", "\x00\x1b[31m", '://:@?#"', "authorization:\\\\\\"]
)


@example([], "0000000\ud800")
@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=5), TEXTS.filter(bool))
def test_every_event_is_one_line_of_json_whatever_is_in_it(fields: list[tuple[str, str]], secret: str) -> None:
    stream = io.StringIO()
    logs.configure(secrets=[secret], stream=stream)
    for key, value in fields:
        log.info(value, value=value, nested={key: value})
    text = stream.getvalue()
    assert text.count("\n") == len(fields)
    assert all(json.loads(line).keys() >= {"event", "level", "timestamp"} for line in text.split("\n")[:-1])


def test_with_quiet_only_warnings_are_left(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logs.only_warnings()
    log.info("slice_done")
    log.warning("slice_done", result="held")
    assert [line.get("result") for line in lines()] == ["held"]


def test_beside_a_progress_bar_nothing_is_said_that_the_table_says(
    lines: Callable[[], list[dict[str, Any]]],
) -> None:
    logs.only_what_no_table_shows()
    log.info("run_started")
    log.error("slice_done", result="failed")
    log.warning("token_expires")
    assert [line["event"] for line in lines()] == ["token_expires"]


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-16 VOD: invalid lines: 1 of 10",
        "check the user in WATCH_TIME_DATABASE_URL",
        "https://files.example.com/2026/vod.csv returned 403",
        "the API refused the bearer token",
        "set WATCH_TIME_ORG_ID=org-1",
    ],
)
def test_words_without_secrets_stay_as_they_are(text: str) -> None:
    assert Redactor(["t0k3n"])(text) == text


def test_a_longer_secret_is_masked_whole() -> None:
    assert Redactor(["abcd-123", "abcd-12345", ""])("<abcd-12345>") == "<***>"
