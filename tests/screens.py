"""The screens in docs/screens: what each command shows on a terminal, captured from the program.

    make screens

lives through some days of a warehouse, with the sandbox, an embedded Postgres and a clock that stands: each time the
same, but for figures that measure something. Tests compare what they capture with the files.
"""

from __future__ import annotations

import re
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

import terminals
from etl.config.environment import PREFIX
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.warehouse import embedded_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

REPOSITORY: Final = Path(__file__).parents[1]
FOLDER: Final = REPOSITORY / "docs" / "screens"
TODAY: Final = datetime(2026, 11, 30, 9, 0, tzinfo=UTC)
TARGET: Final = TODAY.date() - timedelta(days=2)
HEADER: Final = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
COLUMNS: Final = 80
WIDE: Final = 120
# What stands for the folder and for the port of the sandbox: as long as they are, so that lines break alike.
_HOME: Final = "/home/ada/loader"
_PORT: Final = "48080"
# Nothing of the environment of whoever captures them.
_ENVIRONMENT: Final = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONPATH": str(REPOSITORY)}
_SHOWN_SETTINGS: Final = frozenset({"ARCHIVE_URL", "SCHEMA", "LAG_DAYS", "CONCURENCY"})
STOPPED: Final = 143
# What measures: how long something takes, and the size of a file that has the time in it.
_MEASURED: Final = re.compile(r"(?<![\d.,])\d+(?:\.\d)? (?:s|min)\b|(?<![\d.,])[\d,]+(?= bytes)|\d:\d\d:\d\d")


def masked(text: str) -> str:
    """A screen without what measures something: two captures are equal."""
    return re.sub(r" {2,}", "  ", _MEASURED.sub("#", text))


def captured() -> dict[str, str]:
    """Each screen, by the name of its file without the ending."""
    with _story() as story:
        _tell(story)
    return story.screens


@dataclass
class _Story:
    """A warehouse in a folder, and what happens to it.

    Attributes:
        screens: those captured so far.
    """

    folder: Path
    sandbox: Sandbox
    base_url: str
    url: str
    clock: _Clock
    screens: dict[str, str] = field(default_factory=dict)

    def type(
        self,
        *arguments: str,
        screen: str = "",
        columns: int = COLUMNS,
        expected: int = 0,
        answers: Sequence[tuple[str, str]] = (),
        until: str = "",
        **settings: str,
    ) -> None:
        """Type a command, and keep what stands on the screen at the end, or as soon as a text stands there.

        Args:
            arguments: of the command.
            screen: the name to keep it by; empty: it is not kept.
            columns: how wide the terminal is.
            expected: the exit code.
            answers: what is to be seen first, and what is typed then.
            until: the text; the command is stopped then.
            settings: by the names of their variables, without the prefix.
        """
        began = datetime.now(UTC)
        done = terminals.run(
            arguments,
            folder=self.folder,
            environment=_ENVIRONMENT | {f"{PREFIX}{name}": value for name, value in settings.items()},
            before=[("at_time", "stand_still", [f"{self.clock.now:%Y-%m-%dT%H:%M}", arguments[0]])],
            forked_with=_ENVIRONMENT,
            columns=columns,
            answers=answers,
            until=until,
        )
        assert done.returncode == expected, (arguments, done.returncode, done.text)
        self._set_back(began)
        # No two commands at the same time, so that what the ledger shows has an order.
        self.clock.now += timedelta(minutes=1)
        if screen:
            shown = [f"{PREFIX}{name}={value}" for name, value in settings.items() if name in _SHOWN_SETTINGS]
            typed = " ".join([*shown, "watch-time", *(f'"{word}"' if " " in word else word for word in arguments)])
            self.screens[screen] = f"$ {typed}\n{self._plain(done.screen)}\n"

    def _plain(self, text: str) -> str:
        text = re.sub(r"(?<=127\.0\.0\.1:)\d{5}", _PORT, text.replace(str(self.folder), _HOME))
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _set_back(self, began: datetime) -> None:
        """Give the moments that the database has noted since then the time that the command went by."""
        with psycopg.connect(self.url) as connection:
            columns = connection.execute("""
                SELECT table_schema, table_name, column_name
                FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
                WHERE table_schema IN ('public', 'rebuilt') AND data_type = 'timestamp with time zone'
                    AND table_type = 'BASE TABLE'
            """).fetchall()
            for schema, table, column in columns:
                query = sql.SQL("UPDATE {} SET {} = {} - (%(real)s - %(told)s) WHERE {} >= %(real)s")
                names = (sql.Identifier(schema, table), *[sql.Identifier(column)] * 3)
                connection.execute(query.format(*names), {"real": began, "told": self.clock.now})


@dataclass
class _Clock:
    """The time that the commands and the sandbox go by."""

    now: datetime

    def today(self) -> date:
        """Its date."""
        return self.now.date()


@contextmanager
def _story() -> Iterator[_Story]:
    clock = _Clock(TODAY)
    sandbox = Sandbox(SandboxConfig(titles=300, customers=900, quiet_one_day_in=0, today=clock.today))
    # Of a known length.
    with tempfile.TemporaryDirectory(prefix="wt-", dir="/tmp") as name, running(sandbox) as base_url:
        assert len(name) == len(_HOME)
        folder = Path(name)
        folder.chmod(0o755)
        with embedded_postgres.server(folder / "warehouse") as url:
            with psycopg.connect(url, autocommit=True) as connection:
                # On a busy machine it would keep the partitions that are to be compacted.
                connection.execute("ALTER SYSTEM SET autovacuum = off")
                connection.execute("SELECT pg_reload_conf()")
            yield _Story(folder, sandbox, base_url, url, clock)


def _tell(story: _Story) -> None:
    """The days, and what is typed on them."""
    story.clock.now = TODAY - timedelta(days=2)
    _set_up(story)
    story.clock.now = TODAY - timedelta(days=1)
    _wait(story)
    story.clock.now = TODAY
    _run(story)
    _refuse(story)
    _look(story)
    _fail(story)
    _archive(story)
    story.clock.now = TODAY + timedelta(days=2)
    story.type("compact", screen="compact")


def _vod(day: str) -> Slice:
    return Slice(date.fromisoformat(day), ReportType.VOD)


def _live(day: str) -> Slice:
    return Slice(date.fromisoformat(day), ReportType.LIVE)


def _one(slice_: Slice) -> tuple[str, ...]:
    return ("--start", f"{slice_.report_date}", "--end", f"{slice_.report_date}", "--type", slice_.report_type.value)


def _set_up(story: _Story) -> None:
    story.type("--help", screen="help")
    story.type(
        "init",
        screen="init",
        answers=[
            ("API Tokens): ", "sandbox-token"),
            ("Organization id: ", "sandbox-org"),
            ("[embedded:warehouse]: ", ""),
            ("[Y/n]: ", "y"),
        ],
        API_BASE_URL=story.base_url,
    )
    story.type("migrate", screen="migrate")
    story.type("backfill", "--start", "2026-11-12", "--end", "2026-11-14", screen="backfill")
    story.type("backfill", "--start", "2026-11-15", "--end", "2026-11-25")


def _wait(story: _Story) -> None:
    """For a report that is late."""
    not_there = Answer(404, '{"code": 5, "message": "not found", "details": []}')
    story.sandbox.script(_vod("2026-11-27"), api=[not_there])
    story.type("run", screen="run-waiting", until="(?s)1/2.*gives up at", expected=STOPPED)
    story.type("run")
    story.type("run", screen="run-again")


def _run(story: _Story) -> None:
    """The daily job meets a restated report."""
    story.sandbox.restate(_vod("2026-11-24"))
    story.type("run", screen="run")


def _refuse(story: _Story) -> None:
    """A report that lost most of its rows, and one with lines that cannot be read."""
    row = "A title,c1,VOD,2026-11-01T08:00:00Z,customer-{},{}\n"
    story.sandbox.override(_vod("2026-11-26"), Delivery(body=HEADER + row.format(1, 60)))
    lines = [row.format(number, -5 if number % 40 == 0 else 60) for number in range(1, 2_001)]
    story.sandbox.override(_vod("2026-11-27"), Delivery(body=HEADER + "".join(lines)))
    story.sandbox.withdraw(_live("2026-11-25"))
    story.type("backfill", "--start", "2026-11-25", "--end", "2026-11-27", "--refresh", screen="held", expected=65)


def _look(story: _Story) -> None:
    story.type("status", "--start", "2026-11-09", screen="status")
    for columns, ending in ((COLUMNS, ""), (WIDE, "-wide")):
        story.type("status", "--all", "--start", "2026-11-24", screen=f"status-all{ending}", columns=columns)
        story.type("revisions", screen=f"revisions{ending}", columns=columns)
        story.type("explain", "2026-11-27", "--type", "VOD", screen=f"explain{ending}", columns=columns)
    query = (
        "SELECT title, round(sum(watch_seconds) / 3600) AS hours FROM watch_time_by_content "
        "GROUP BY title ORDER BY hours DESC LIMIT 5"
    )
    story.type("sql", query, screen="sql")
    story.type("sql", "DELETE FROM watch_time", screen="sql-read-only", expected=2)
    story.type("verify", "--start", "2026-11-28", "--end", "2026-11-28", screen="verify")
    with psycopg.connect(story.url) as connection:
        connection.execute("""
            UPDATE watch_time SET watch_seconds = watch_seconds + 1
            WHERE ctid IN (SELECT ctid FROM watch_time WHERE report_date = '2026-11-28' AND report_type = 'LIVE'
                           ORDER BY customer_id DESC, content_id LIMIT 1)
                AND report_date = '2026-11-28' AND report_type = 'LIVE'
        """)
    for columns, ending in ((COLUMNS, ""), (WIDE, "-wide")):
        day = ("--start", "2026-11-28", "--end", "2026-11-28")
        story.type("verify", *day, screen=f"verify-differs{ending}", columns=columns, expected=65)
    story.type("backfill", *_one(_live("2026-11-28")), "--reload", screen="reload")
    story.type("report", "--output", "watch-time.html", screen="report")
    story.type("doctor", screen="doctor")
    story.type("backfill", "--start", "2026-10-01", "--end", "2026-10-31", "--dry-run", screen="dry-run")
    story.type("backfill", "--start", "2026-10-01", "--end", "2026-10-31", "--yes")
    story.type("sandbox", "--port", "0", screen="sandbox", until="/sandbox/", expected=STOPPED)


def _fail(story: _Story) -> None:
    """What is said of many slices is said once."""
    story.sandbox.override(None, Delivery(body=HEADER.replace("Customer ID", "Viewer")))
    story.type("backfill", "--start", "2026-11-06", "--end", "2026-11-11", screen="failed", expected=65)
    story.sandbox.override(None, Delivery())
    # One at a time: of two, either is refused first.
    story.type("run", screen="refused", expected=77, API_TOKEN="expired", CONCURRENCY="1")
    story.type("doctor", screen="doctor-problem", expected=77, API_TOKEN="expired")
    story.type("run", screen="settings", expected=78, LAG_DAYS="x", CONCURENCY="4")
    story.type("backfill", "--start", "2026-11-12", "--end", "2026-11-01", screen="usage", expected=2)


def _archive(story: _Story) -> None:
    story.type("backfill", "--start", "2026-11-20", "--end", "2026-11-24", "--refresh", ARCHIVE_URL="lake")
    story.type("archive", screen="archive", ARCHIVE_URL="lake")
    story.type("migrate", SCHEMA="rebuilt")
    story.type("backfill", "--from-archive", screen="from-archive", SCHEMA="rebuilt", ARCHIVE_URL="lake")


def main() -> None:
    """Capture them, and write those that have changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in captured().items():
        file = FOLDER / f"{name}.txt"
        if not file.exists() or masked(file.read_text(encoding="utf-8")) != masked(text):
            file.write_text(text, encoding="utf-8")
            sys.stderr.write(f"docs/screens/{file.name}\n")


if __name__ == "__main__":
    main()
