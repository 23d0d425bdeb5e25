"""Secrets and customer ids come out nowhere: not in what is shown, logged, recorded, sent, or logged by the server.

Each secret is a canary, a text that occurs nowhere else. Every kind of run is made with the command itself, then each
place that anything comes out at is searched for them, in the spellings in which they may hide.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest
from psycopg import conninfo, sql

import postgres
from conftest import HEADER, Program
from etl.config.environment import PREFIX
from http_listeners import free_port, listening
from raw_server import SIGNATURE, TOKEN, RawServer, grpc_error, in_turn, raw_server, reply, url_answer
from tally import record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from http_listeners import Listener

PASSWORD, WRONG_PASSWORD = "p4ssword-canary-5e1f", "wr0ng-canary-91cc"
PING_KEY, CHAT_KEY = "ping-canary-3b1d", "chat-canary-77F0"
CUSTOMERS = ("viewer-canary-1", "viewer,canary-2", "viewer canary-é3")
TITLE = "title canary, unreleased"
SECRETS = (TOKEN, SIGNATURE, PASSWORD, WRONG_PASSWORD)
CANARIES = (*SECRETS, *CUSTOMERS, TITLE)
# What people ask for on stdout, and may see who can read the database: rejected lines, rows that differ, contents.
ALLOWED = {"explain: stdout": (TITLE, CUSTOMERS[2]), "verify: stdout": CUSTOMERS[2:], "the page": (TITLE,)}

DAY = datetime.now(UTC).date() - timedelta(days=3)
ONE_SLICE = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD", "--refresh")
TWICE = f'"{TITLE}",c1,VOD,,{CUSTOMERS[0]},5\n"{TITLE}",c1,VOD,,"{CUSTOMERS[1]}",1\n' * 2
GOOD = f'{HEADER}{TWICE}"{TITLE}",c2,VOD,,{CUSTOMERS[2]},7\n'
HELD = f'{GOOD}"{TITLE}",c3,VOD,,{CUSTOMERS[2]},-1\n'
ECHO = f"<Error><ArgumentValue>Bearer {TOKEN}</ArgumentValue>{SIGNATURE} {CUSTOMERS[0]}</Error>".encode()
SAYS = f"bad header Authorization: Bearer {TOKEN}"
# A bug: an error of ours that nobody foresaw, with data in its message.
BUG = """
import sys
from etl.load.load_steps import SliceLoad
viewer, token = sys.argv.pop(), sys.argv.pop()
def finish(self, tally):
    raise ValueError(f"{viewer} {token}") from KeyError(viewer)
SliceLoad.finish = finish
from etl.cli.main import main
main()
"""


@dataclass
class Place:
    """Where things come out: what came out there, and what must be among it if it was looked at for real."""

    text: str
    sign: str


@dataclass
class Runs:
    """The command, with every channel open, against a source that says what it is told to."""

    program: Program
    api: RawServer
    storage: RawServer
    url: str
    pings: Listener
    chat: Listener
    out: dict[str, str] = field(default_factory=dict)
    codes: dict[str, int] = field(default_factory=dict)

    def make(self, name: str, *arguments: str, **settings: str) -> None:
        """Run the command; what it wrote is kept under the name of the run."""
        done = self.program(*arguments, **settings)
        self.keep(name, done)

    def make_with_a_bug(self, name: str) -> None:
        done = subprocess.run(
            [sys.executable, "-c", BUG, *ONE_SLICE, TOKEN, CUSTOMERS[0]],
            cwd=self.program.folder,
            env=self.program.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.keep(name, done)

    def keep(self, name: str, done: subprocess.CompletedProcess[str]) -> None:
        self.codes[name] = done.returncode
        self.out[f"{name}: stdout"], self.out[f"{name}: stderr"] = done.stdout, done.stderr

    def source(self, *, api: bytes | None = None, storage: bytes | str = GOOD) -> None:
        self.api.answer = in_turn(api or url_answer(self.storage.report_url))
        self.storage.answer = in_turn(storage if isinstance(storage, bytes) else reply(200, storage.encode()))


def spellings(canary: str) -> set[str]:
    """A text as it is, and as JSON, Python, URLs, CSV and base64 write it."""
    return {
        canary,
        json.dumps(canary)[1:-1],
        repr(canary)[1:-1],
        quote(canary),
        quote(canary, safe=""),
        canary.replace("&", "&amp;"),
        base64.b64encode(canary.encode()).decode().rstrip("="),
        canary.encode().hex(),
    }


def found_in(text: str, canaries: tuple[str, ...] = CANARIES) -> list[str]:
    return [canary for canary in canaries for spelling in spellings(canary) if spelling in text]


@contextmanager
def _server_that_logs_all() -> Iterator[tuple[str, Path]]:
    """A server that wants a password and logs what fails with its parameters; a superuser's URL, and the log."""
    with postgres.running(f"wheel-{max(postgres.WHEEL_MAJORS)}") as server, server.database() as url:
        folder = Path(str(conninfo.conninfo_to_dict(url)["host"]))
        hba = folder / "pg_hba.conf"
        hba.write_text(f"local all canary scram-sha-256\n{hba.read_text()}")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE ROLE canary SUPERUSER LOGIN PASSWORD {}").format(PASSWORD))
            for setting, value in {"log_parameter_max_length_on_error": -1, "log_min_duration_statement": -1}.items():
                connection.execute(sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), value))
            connection.execute("SELECT pg_reload_conf()")
            yield url, folder / "log"
            connection.execute("ALTER SYSTEM RESET ALL")


@pytest.fixture
def runs(bare_program: Program) -> Iterator[tuple[Runs, Callable[[], Mapping[str, Place]]]]:
    """Nothing has run yet; the function gathers what came out."""
    with ExitStack() as stack:
        url, log = stack.enter_context(_server_that_logs_all())
        already_logged = len(log.read_text())
        api, storage = (stack.enter_context(raw_server()) for _ in range(2))
        pings, chat = (stack.enter_context(listening()) for _ in range(2))
        metrics = bare_program.folder / "watch_time.prom"
        settings = {
            "API_TOKEN": TOKEN,
            "ORG_ID": "org-1",
            "API_BASE_URL": api.url,
            "DATABASE_URL": url.replace("postgres@", f"canary:{PASSWORD}@").replace(
                "postgres:@", f"canary:{PASSWORD}@"
            ),
            "NOT_FOUND_WAIT_SECONDS": "0",
            "LOOKBACK_DAYS": "0",
            "METRICS_FILE": f"{metrics}",
            "PING_URL": f"{pings.url}/{PING_KEY}",
            "NOTIFY_URLS": f"{chat.url.replace('http', 'json')}/{CHAT_KEY}",
        }
        environment = {**bare_program.environment, **{f"{PREFIX}{name}": value for name, value in settings.items()}}
        assert PASSWORD in settings["DATABASE_URL"]
        made = Runs(Program(bare_program.folder, environment), api, storage, url, pings, chat)

        def gathered() -> Mapping[str, Place]:
            shown = {name: Place(text, "") for name, text in made.out.items()}
            return {
                **shown,
                "what was shown": Place(made.out["held: stdout"], "held"),
                "what was logged": Place(made.out["held: stderr"], "run_done"),
                "the ledger": Place(_recorded(url), "guard_refused"),
                "the server's log": Place(log.read_text()[already_logged:], "FATAL:"),
                "the metrics": Place(metrics.read_text(), "watch_time_"),
                "the pings": Place("\n".join(each.body for each in pings.received), "ended with"),
                "the notifications": Place("\n".join(each.body for each in chat.received), "is held"),
                "the page": Place((bare_program.folder / "page.html").read_text(), "<html"),
            }

        yield made, gathered


def _recorded(url: str) -> str:
    """All that is written down beside facts and contents, but for the text of rejected lines."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' "
            "AND tablename NOT IN ('content', 'report_reject') AND tablename !~ '^watch_time'"
        ).fetchall()
        assert {("report_slice",), ("report_revision",), ("report_check",)} <= set(tables)
        queries = [sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name)) for (name,) in tables]
        rejects = sql.SQL("SELECT (to_jsonb(t) - 'raw_text')::text FROM report_reject t").format()
        return "\n".join(str(row) for query in [*queries, rejects] for row in connection.execute(query))


def make_every_kind(runs: Runs) -> None:
    """Runs that end well and in every kind of trouble, and all that looks at them afterwards."""
    # It waits for a while; the others need not.
    nowhere = f"postgresql://canary:{PASSWORD}@127.0.0.1:{free_port()}/x"
    down = runs.program.start(*ONE_SLICE, DATABASE_URL=nowhere)
    runs.source()
    runs.make("first load", *ONE_SLICE)
    runs.source(storage=GOOD.replace(",7\n", ",8\n"))
    runs.make("restated", *ONE_SLICE, "--json")
    runs.source(storage=HELD)
    runs.make("held", *ONE_SLICE)
    runs.source(storage=GOOD.replace(f",{CUSTOMERS[2]},", f',x"{CUSTOMERS[2]},'))
    runs.make("malformed", *ONE_SLICE)
    runs.source(storage=GOOD.removeprefix(HEADER))
    runs.make("no header", *ONE_SLICE)
    runs.source(api=grpc_error(401, 16, SAYS))
    runs.make("401 that repeats the token", *ONE_SLICE)
    runs.source(api=grpc_error(404, 5, SAYS))
    runs.make("404 that repeats the token", *ONE_SLICE)
    runs.source(api=reply(302, headers={"Location": f"https://elsewhere.example/?{SIGNATURE}"}))
    runs.make("redirected API", *ONE_SLICE)
    for status in (400, 403):
        runs.source(storage=reply(status, ECHO))
        runs.make(f"storage {status} that repeats the token", *ONE_SLICE, "--json")
    runs.source(storage=reply(302, headers={"Location": f"https://10.0.0.1/r.csv?{SIGNATURE}"}))
    runs.make("storage leads inside", *ONE_SLICE)
    runs.source(storage=GOOD.replace(",7\n", ",9\n"))
    runs.make_with_a_bug("bug")
    host = str(conninfo.conninfo_to_dict(runs.url)["host"])
    runs.make("wrong password", *ONE_SLICE, DATABASE_URL=f"postgresql://canary:{WRONG_PASSWORD}@/x?host={host}")
    runs.make("password with an at sign", *ONE_SLICE, DATABASE_URL=f"postgresql://canary:a@{PASSWORD}@127.0.0.1:1/x")
    runs.source(storage=HELD)
    runs.make("daily run", "run")
    runs.make("status", "status")
    runs.make("status, as a document", "status", "--json")
    runs.make("doctor", "doctor")
    runs.make("explain", "explain", f"{DAY}")
    runs.source()
    runs.make("verify", "verify", "--start", f"{DAY}", "--end", f"{DAY}", "--type", "VOD")
    with down:
        out, err = down.communicate(timeout=120)
    runs.keep("database down", subprocess.CompletedProcess(ONE_SLICE, down.wait(), out, err))
    runs.make("report", "report", "--output", "page.html", "--start", f"{DAY}", "--end", f"{DAY}")


# What each kind must end with: a run that failed for another reason proves nothing.
CODES = {
    "first load": 0, "restated": 0, "held": 65, "malformed": 65, "no header": 65, "401 that repeats the token": 77,
    "redirected API": 78, "storage 403 that repeats the token": 75, "storage leads inside": 78, "bug": 70,
    "database down": 75, "wrong password": 77, "daily run": 65, "status": 0, "explain": 0,
    "verify": 65, "report": 0,
}  # fmt: skip


@pytest.mark.timeout(300)
def test_no_canary_comes_out_anywhere(runs: tuple[Runs, Callable[[], Mapping[str, Place]]]) -> None:
    made, gathered = runs
    make_every_kind(made)
    assert {name: made.codes[name] for name in CODES} == CODES, made.out
    places = gathered()
    leaks = [
        f"{canary!r} in {name}: {_around(place.text, canary)}"
        for name, place in places.items()
        for canary in found_in(place.text)
        if canary not in ALLOWED.get(name, ())
    ]
    assert not leaks, "\n".join(leaks)
    # Each place was looked at for real, and a canary in it would have been seen.
    assert [name for name, place in places.items() if place.sign not in place.text] == []
    _assert_each_place_is_searched(made, gathered)
    record("runs searched for canaries", len(made.codes))


def _around(text: str, canary: str) -> str:
    at = min((text.find(spelling) for spelling in spellings(canary) if spelling in text), default=0)
    return repr(text[max(0, at - 200) : at + 80])


def _assert_each_place_is_searched(made: Runs, gathered: Callable[[], Mapping[str, Place]]) -> None:
    """Canaries are let out everywhere, and found everywhere."""
    with psycopg.connect(made.url, autocommit=True) as connection:
        connection.execute("UPDATE report_slice SET reason = %s", [CUSTOMERS[1]])
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            connection.execute("SELECT %s::text::integer", [CUSTOMERS[0]])
    made.out |= {name: made.out[name] + TOKEN for name in ("held: stdout", "held: stderr")}
    for listener in (made.pings, made.chat):
        listener.received.append(listener.received[0]._replace(body=quote(CUSTOMERS[2])))
    for file in ("watch_time.prom", "page.html"):
        path = made.program.folder / file
        path.write_text(path.read_text() + SIGNATURE)
    until = time.monotonic() + 10
    while CUSTOMERS[0] not in gathered()["the server's log"].text and time.monotonic() < until:
        time.sleep(0.1)
    places = gathered()
    named = [name for name in places if not re.search(r": std(out|err)$", name)]
    assert [name for name in named if not found_in(places[name].text, CANARIES)] == []


@pytest.mark.parametrize("canary", CANARIES)
@pytest.mark.parametrize(
    "hidden",
    [
        str,
        json.dumps,
        repr,
        quote,
        lambda text: base64.b64encode(text.encode()).decode(),
        lambda text: text.encode().hex(),
    ],
)
def test_a_canary_is_found_in_any_spelling(canary: str, hidden: Callable[[str], str]) -> None:
    assert canary in found_in(f"...{hidden(canary)}...")
