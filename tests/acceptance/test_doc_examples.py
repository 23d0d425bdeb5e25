"""What the docs tell people to type is typed, in the order of the page, and ends well."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest
import sqlalchemy

import doc_examples
import prefork
from doc_examples import sentences_of
from etl.config.environment import PREFIX
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import postgres
    from conftest import Program, Warehouse

RUN: Final = {
    page: list(of) for page, of in groupby((b for b in doc_examples.blocks() if not b.why_not), lambda b: b.page)
}
TARGET: Final = datetime.now(UTC).date() - timedelta(days=2)
VOD: Final = Slice(TARGET, ReportType.VOD)
# Where a page loads months, a few days will do: each of them is one more like those before.
FEWER_DAYS: Final = {
    "2026-01-01 --end 2026-03-31 --yes": "2026-01-14 --end 2026-01-16 --yes",
    "2025-01-01 --end 2025-12-31": "2025-01-01 --end 2025-01-08",
    "2026-04-01 --end 2026-04-07": "2026-04-01 --end 2026-04-03",
}


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=40, live_rows=20, quiet_one_day_in=0)


def _typed(script: str, program: Program, environment: dict[str, str]) -> subprocess.Popen[str]:
    """In a shell of its own."""
    return subprocess.Popen(
        ["/bin/sh", "-euc", script], cwd=program.folder, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def environment(program: Program) -> Iterator[dict[str, str]]:
    """With `watch-time` where a shell finds it, and an archive: some examples want one, and none minds it."""
    with tempfile.TemporaryDirectory(prefix="watch-time-") as folder, prefork.typed_in_shells(Path(folder)) as path:
        settings = {f"{PREFIX}ARCHIVE_URL": str(program.folder / "lake"), f"{PREFIX}LOOKBACK_DAYS": "3"}
        yield {**program.environment, **settings, "PATH": path}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError(f"nothing answers on port {port}")


@pytest.fixture
def empty_folder(bare_program: Program) -> Iterator[Program]:
    """The command in a folder whose path root's server, another user, can walk, and short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="watch-time-") as folder:
        (Path(folder) / "work").mkdir()
        yield replace(bare_program, folder=Path(folder) / "work")


def _install(folder: Path) -> None:
    """What the page's first block leaves in the folder: a virtual environment with the program, and nothing else."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (packages,) = (folder / ".venv" / "lib").glob("python*/site-packages")
    (packages / "as-installed.pth").write_text("\n".join([str(doc_examples.REPOSITORY), sysconfig.get_path("purelib")]))
    script = folder / ".venv" / "bin" / "watch-time"
    script.write_text(f"#!{folder}/.venv/bin/python\nfrom etl.__main__ import main\nmain()\n")
    script.chmod(0o755)


def test_the_quick_start_works_as_printed_each_block_in_a_fresh_shell(empty_folder: Program) -> None:
    """In two terminals that know nothing of each other, without any setting but those that the page writes down."""
    _install(empty_folder.folder)
    environment = {"PATH": os.defpath, "HOME": str(empty_folder.folder), "LANG": "C.UTF-8"}
    assert shutil.which("watch-time", path=os.defpath) is None
    port = _free_port()
    running: list[subprocess.Popen[str]] = []
    printed = ""
    try:
        for block in RUN["quick-start.md"]:
            script = block.script.replace("8080", f"{port}")
            process = _typed(script, empty_folder, environment)
            if block.meanwhile:
                running.append(process)
                _wait_for(port)
                continue
            printed, _ = process.communicate(timeout=150)
            assert process.returncode == 0, (str(block), printed)
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGTERM)
            process.communicate(timeout=30)
    assert len(running) == 1
    # A title may have lines of its own; the hours stand at the end of the last one.
    hours = [int(found) for found in re.findall(r"(\d+) *$", printed, re.MULTILINE)]
    assert len(hours) == 5, "the last block prints the five most watched"
    assert hours == sorted(hours, reverse=True)


@pytest.fixture
def reports_at_hand(program: Program, newest_warehouse: Warehouse) -> None:
    """The file that an example of `verify` compares with."""
    report = newest_warehouse.sandbox.report(Slice(datetime(2026, 1, 15, tzinfo=UTC).date(), ReportType.VOD))
    shutil.copy(report.path, program.folder / "report.csv")


def test_what_is_typed_for_fewer_days_is_on_a_page() -> None:
    for many in FEWER_DAYS:
        assert any(many in block.script for blocks in RUN.values() for block in blocks), many


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", [page for page in RUN if page != "quick-start.md"])
def test_each_line_ends_well(program: Program, environment: dict[str, str], page: str, reports_at_hand: None) -> None:
    for block in RUN[page]:
        assert not block.meanwhile
        script = block.script.replace("\\\n", "")
        for many, few in FEWER_DAYS.items():
            script = script.replace(many, few)
        for line in script.splitlines():
            process = _typed(line, program, environment)
            printed, _ = process.communicate(timeout=150)
            # A warehouse with gaps is late: that is the answer to this question.
            assert process.returncode in ({0, 75} if "--check" in line else {0}), (str(block), line, printed)


def test_the_page_on_exit_codes_shows_what_the_program_says(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server
) -> None:
    """The date, the addresses and the port are those of the day that the page was written."""
    page = (doc_examples.DOCS / "operations" / "exit-codes.md").read_text(encoding="utf-8")
    sandbox = newest_warehouse.sandbox
    # The pauses between two tries are not what it shows.
    program = replace(program, limits={"extract.retry._BACKOFF_S": 0.05, "warehouse.database._LONGEST_PAUSE_S": 0.05})
    one = ("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}", "--type", "VOD", "--refresh", "--json")
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"

    as_shown = {f"{TARGET}": "2026-11-20", f"{TARGET + timedelta(days=1)}": "2026-11-21"}

    def said(expected: int, *command: str, **settings: str) -> None:
        done = program(*command, **settings)
        assert done.returncode == expected, done.stderr
        sentences = sentences_of(done)
        assert sentences
        for sentence in sentences:
            fixed = sentence.replace(newest_warehouse.base_url, "http://127.0.0.1:43013")
            # In one go: the page's dates are some day's own.
            fixed = re.sub("|".join(as_shown), lambda found: as_shown[found[0]], fixed)
            fixed = re.sub(r"schema public of \S+", "schema public of db.example.com/warehouse", fixed)
            # Why it lets nobody in, is each server's own: here there is no such user, elsewhere the password is wrong.
            fixed = re.sub(
                r"\S+ (refused the connection: connection failed: connection to server) .+ failed: FATAL: .+",
                r'127.0.0.1/warehouse \1 at "127.0.0.1", port 5432 failed: FATAL:  role "stranger" does not exist',
                fixed,
            )
            # How much is stored is this test's own.
            fixed = re.sub(r"report has \d{2,} rows and [\d.,]+ s", "report has 200 rows and 1,391,172.272 s", fixed)
            assert fixed in page

    assert program(*one).returncode == 0
    sandbox.override(VOD, Delivery(body=header + "t,c0,VOD,,u1,5\n"))
    said(65, *one)
    sandbox.override(VOD, Delivery(body=header + "t,c0,VOD,,u1,5\nt,c1,VOD,,u1,-5\n" * 200))
    said(65, *one)
    sandbox.override(VOD, Delivery(body=header.replace("Customer ID", "Viewer") + "t,c0,VOD,,u1,5\n"))
    said(65, *one)
    sandbox.override(VOD, Delivery(body=header + 't,"c0,VOD,,u1,5\n'))
    said(65, *one)
    sandbox.reset()
    said(77, *one, API_TOKEN="wrong-token")
    sandbox.script(VOD, api=[Answer(404, "<html>nothing</html>")] * 3)
    said(78, *one)
    sandbox.reset()
    sandbox.script(VOD, api=[Answer(503, headers={"Retry-After": "0"})] * 40)
    said(75, *one)
    sandbox.reset()
    said(0, *("backfill", "--start", f"{TARGET + timedelta(days=1)}", "--end", f"{TARGET + timedelta(days=1)}"),
         "--type", "VOD", "--json")  # fmt: skip
    sandbox.withdraw(VOD)
    said(0, *one)
    said(75, *one, DATABASE_URL="postgresql://loader@127.0.0.1:1/warehouse")
    stranger = sqlalchemy.make_url(newest_warehouse.url).set(username="stranger")
    said(77, *one, DATABASE_URL=stranger.render_as_string(hide_password=False))
    said(78, *one, ORG_ID="another-org")
    said(78, *one, API_TOKEN="", CONCURRENCY="many")
    said(78, *one, DATABASE_URL="postgresql://loader@db.example.com/warehouse", WEAKEST_SSLMODE="")
    for version in ("004", "099"):
        with psycopg.connect(newest_warehouse.url) as connection:
            connection.execute("UPDATE watch_time_version SET version_num = %s", [version])
        said(78, *one)
