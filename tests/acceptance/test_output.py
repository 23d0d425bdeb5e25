"""What the command writes, and where it cannot: gone readers, full disks, other encodings, secrets that are words."""

from __future__ import annotations

import json
import subprocess
import sys
import zoneinfo
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
HEADER = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
NOBODY = "postgresql://u@127.0.0.1:1/x"
HELD = f"{HEADER}Été \U0001f600 中,c1,VOD,,u1,-5\n"
FULL = Path("/dev/full")
ONLY_THE_TARGET = {"LOOKBACK_DAYS": "0", "RECHECK_DAYS": "0"}

needs_a_full_device = pytest.mark.skipif(not FULL.exists(), reason="only Linux has /dev/full")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


def _run(
    program: Program, *arguments: str, variables: dict[str, str] | None = None, redirect: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """Run the command in a shell, with these variables and redirections."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -m etl "$@" {redirect}', sys.executable, *arguments],
        cwd=program.folder,
        env={**program.environment, **(variables or {})},
        capture_output=True,
        timeout=60,
        check=False,
    )


# What each command ends with that has something to say on stderr.
TELLING = [
    pytest.param(("status",), {"DATABASE_URL": NOBODY}, 75, id="an error"),
    pytest.param(("status", "--json"), {"DATABASE_URL": NOBODY}, 75, id="an error as document"),
    pytest.param(("status",), {"TIME_ZONE": "Nowhere"}, 78, id="a setting"),
    pytest.param(("status", "--nonsense"), {}, 2, id="an option that is none"),
    pytest.param(("backfill", "--start", "2026-01-02", "--end", "2026-01-01"), {}, 2, id="a wrong range"),
    pytest.param(("status",), {"LAG_DAY": "2"}, 0, id="a warning"),
    pytest.param(("run",), ONLY_THE_TARGET, 0, id="log lines"),
]


@pytest.mark.parametrize(("arguments", "settings", "expected"), TELLING)
def test_a_reader_of_stderr_that_has_gone_changes_no_exit_code(
    program: Program, arguments: tuple[str, ...], settings: dict[str, str], expected: int
) -> None:
    with program.start(*arguments, **settings) as process:
        process.stderr.close()
        process.stdout.read()
        assert process.wait(timeout=60) == expected


@pytest.mark.parametrize(("arguments", "settings", "expected"), TELLING)
def test_readers_of_both_that_have_gone_change_no_exit_code(
    program: Program, arguments: tuple[str, ...], settings: dict[str, str], expected: int
) -> None:
    with program.start(*arguments, **settings) as process:
        process.stderr.close()
        process.stdout.close()
        assert process.wait(timeout=60) == expected


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_streams_that_were_never_open_change_no_exit_code(program: Program, closed: str) -> None:
    done = _run(program, "status", redirect=closed)
    assert (done.returncode, done.stderr) == (0, b"")


@needs_a_full_device
@pytest.mark.parametrize(
    "arguments", [("status",), ("status", "--json"), ("status", "--check"), ("--version",), ("--help",), ("doctor",)]
)
def test_a_full_disk_under_stdout_is_told_and_worth_another_try(program: Program, arguments: tuple[str, ...]) -> None:
    done = _run(program, *arguments, redirect=f">{FULL}")
    told = done.stderr.decode()
    assert done.returncode == 75, told
    assert "error: cannot write to stdout: No space left on device\n" in told
    assert "  next: free space where stdout is written to, then run again" in told
    assert "Traceback" not in told
    assert "Exception ignored" not in told


@needs_a_full_device
def test_a_full_disk_under_stdout_hides_no_held_slice(program: Program, newest_warehouse: Warehouse) -> None:
    """What needs a person is worse than what passes; and everything was loaded by then."""
    newest_warehouse.sandbox.override(VOD, Delivery(body=HELD))
    variables = {f"WATCH_TIME_{name}": value for name, value in ONLY_THE_TARGET.items()}
    done = _run(program, "run", variables=variables, redirect=f">{FULL}")
    assert done.returncode == 65, done.stderr
    assert b"cannot write to stdout" in done.stderr
    assert newest_warehouse.query("SELECT report_type, state FROM report_slice ORDER BY 1") == [
        ("LIVE", "loaded"),
        ("VOD", "held"),
    ]


@needs_a_full_device
@pytest.mark.parametrize(("arguments", "settings", "expected"), TELLING)
def test_a_full_disk_under_stderr_changes_no_exit_code(
    program: Program, arguments: tuple[str, ...], settings: dict[str, str], expected: int
) -> None:
    variables = {f"WATCH_TIME_{name}": value for name, value in settings.items()}
    assert _run(program, *arguments, variables=variables, redirect=f"2>{FULL}").returncode == expected


ENCODINGS = [
    pytest.param({"PYTHONIOENCODING": "ascii"}, id="ascii"),
    pytest.param({"PYTHONIOENCODING": "latin-1"}, id="latin-1"),
    pytest.param({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="locale C"),
]


@pytest.mark.parametrize("variables", ENCODINGS)
def test_an_encoding_without_our_signs_ends_nothing(
    program: Program, newest_warehouse: Warehouse, variables: dict[str, str]
) -> None:
    """What cannot be encoded is written as JSON escapes it, so that documents stay documents."""
    newest_warehouse.sandbox.override(VOD, Delivery(body=HELD))
    assert program("run", **ONLY_THE_TARGET).returncode == 65
    encoding = variables.get("PYTHONIOENCODING", "ascii")
    for command in (("status",), ("explain", f"{TARGET}")):
        table = _run(program, *command, variables=variables)
        assert (table.returncode, table.stderr) == (0, b"")
        assert "VOD" in table.stdout.decode(encoding)
        document = _run(program, *command, "--json", variables=variables)
        assert document.returncode == 0, document.stderr
        assert json.loads(document.stdout.decode(encoding)) == json.loads(program(*command, "--json").stdout)
        assert ("\\u4e2d" in document.stdout.decode(encoding)) == ("explain" in command)


@pytest.mark.parametrize("variables", ENCODINGS)
def test_log_lines_are_documents_in_any_encoding(
    program: Program, newest_warehouse: Warehouse, variables: dict[str, str]
) -> None:
    newest_warehouse.sandbox.override(VOD, Delivery(body=HELD.replace("Customer ID", "Zuschauer é\U0001f600")))
    settings = {f"WATCH_TIME_{name}": value for name, value in ONLY_THE_TARGET.items()}
    done = _run(program, "run", variables=settings | variables)
    assert done.returncode == 65, done.stderr
    events = [json.loads(line) for line in done.stderr.decode(variables.get("PYTHONIOENCODING", "ascii")).splitlines()]
    assert any("Zuschauer é\U0001f600" in str(event.get("message")) for event in events)


@pytest.mark.parametrize("zone", ["localtime", "posix/Asia/Taipei", "right/Asia/Taipei", "posixrules", "Factory"])
def test_a_zone_without_an_iana_name_is_a_wrong_setting(program: Program, zone: str) -> None:
    done = program("status", TIME_ZONE=zone)
    assert done.returncode == 78, done.stderr
    assert f"WATCH_TIME_TIME_ZONE={zone}: expected an IANA time zone, such as Asia/Taipei" in done.stderr


def test_a_zone_that_the_server_does_not_know_ends_nothing(program: Program, tmp_path: Path) -> None:
    """Python and Postgres have a list of zones each, of which either may be the older."""
    (tmp_path / "Mars").mkdir()
    (tmp_path / "Mars" / "Olympus").write_bytes(_zone_file("Asia/Taipei"))
    variables = {"PYTHONTZPATH": f"{tmp_path}", "WATCH_TIME_TIME_ZONE": "Mars/Olympus"}
    done = _run(program, "status", variables=variables)
    assert (done.returncode, done.stderr) == (0, b"")


def _zone_file(name: str) -> bytes:
    file = next((path for folder in zoneinfo.TZPATH if (path := Path(folder, name)).exists()), None)
    return (file or Path(str(resources.files("tzdata.zoneinfo")), name)).read_bytes()


@pytest.mark.parametrize("word", ["watch", "connection", "a"])
def test_a_password_that_is_a_word_of_ours_is_not_told_by_its_mask(program: Program, word: str) -> None:
    url = f"postgresql://u:{word}@127.0.0.1:1/x"
    done = program("status", DATABASE_URL=url)
    assert done.returncode == 75
    assert "next: try again later; to check the connection:\n    watch-time doctor\n" in done.stderr
    assert "***" not in done.stderr


def test_a_password_that_is_the_databases_name_too_leaves_that_legible(program: Program) -> None:
    for name in ("postgres", "warehouse_2026"):
        done = program("status", DATABASE_URL=f"postgresql://{name}:{name}@127.0.0.1:1/{name}")
        assert f"error: 127.0.0.1/{name} cannot be reached" in done.stderr


@pytest.mark.parametrize("password", ["sesame@1", "sesame/1@", "s@sesame", "s/sesame", "1/sesame"])
def test_a_password_that_ends_too_early_in_its_url_is_not_shown_as_a_host(program: Program, password: str) -> None:
    done = program("status", DATABASE_URL=f"postgresql://u:{password}@127.0.0.1:1/x")
    assert done.returncode == 78, done.stderr
    assert "expected @ : / in user and password to be written as %40 %3A %2F" in done.stderr
    assert "sesame" not in done.stderr
