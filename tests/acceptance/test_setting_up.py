"""From nothing to the first loaded day: init, the embedded warehouse, sql, and the shell's completion."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from dotenv import dotenv_values

import terminals
from etl.config import env_file_writer, system_ca_file
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Answer
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
ONLY_THE_TARGET = {"LOOKBACK_DAYS": "0", "RECHECK_DAYS": "0"}


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=40, live_rows=20, quiet_one_day_in=0)


@pytest.fixture
def newcomer(bare_program: Program, base_url: str) -> Iterator[Program]:
    """In an empty folder, its path short enough for a socket; the API is the sandbox."""
    environment = {**bare_program.environment, "WATCH_TIME_API_BASE_URL": base_url}
    with tempfile.TemporaryDirectory(prefix="watch-time-") as folder:
        yield replace(bare_program, folder=Path(folder), environment=environment)


def _answering(program: Program, answers: list[tuple[str, str]], *arguments: str) -> tuple[int, str]:
    """Run the command on a terminal of 80 columns, and answer each question; its exit code and all that was shown."""
    shown = terminals.run(arguments, folder=program.folder, environment=program.environment, answers=answers)
    return shown.returncode, shown.text


def test_two_commands_load_the_first_day(newcomer: Program) -> None:
    """On a terminal, with answers that are wrong at first: each is tried at once."""
    answers = [
        ("API token", "wrong"),
        ("Organization id", "sandbox-org"),
        ("API token (in the console: Developers, API Tokens) [Enter keeps it]", "sandbox-token"),
        ("Organization id [sandbox-org]", ""),
        ("Postgres URL, or embedded:DIR [embedded:warehouse]", "mysql://x"),
        ("[mysql://x]", "embedded:warehouse"),
        ("Create the tables now?", "y"),
    ]
    code, shown = _answering(newcomer, answers, "init")
    assert code == 0, shown
    assert "error: the API refuses the token: " in shown
    assert "accepts the token and the organization" in shown
    assert "WATCH_TIME_DATABASE_URL: expected postgresql://" in shown
    assert shown.rstrip().endswith("next: load reports:\n    watch-time run")
    assert "sandbox-token" not in shown
    env = newcomer.folder / ".env"
    assert env.stat().st_mode & 0o777 == 0o600
    assert set(env.read_text().splitlines()) == {
        f"WATCH_TIME_API_BASE_URL={newcomer.environment['WATCH_TIME_API_BASE_URL']}",
        "WATCH_TIME_API_TOKEN=sandbox-token",
        "WATCH_TIME_ORG_ID=sandbox-org",
        "WATCH_TIME_DATABASE_URL=embedded:warehouse",
    }
    ran = newcomer("run", "--json", **ONLY_THE_TARGET)
    assert ran.returncode == 0, ran.stderr
    assert [slice_["result"] for slice_ in json.loads(ran.stdout)["slices"]] == ["loaded"] * 2


def test_the_same_without_questions(newcomer: Program) -> None:
    """The lines of an `.env` that is there stay."""
    (newcomer.folder / "token").write_text("sandbox-token\n")
    (newcomer.folder / ".env").write_text("# mine\nWATCH_TIME_LAG_DAYS=2\nexport WATCH_TIME_ORG_ID=old\n")
    options = ("--token-file", "token", "--org-id", "sandbox-org", "--database-url", "embedded:warehouse")
    done = newcomer("init", *options, "--yes")
    assert done.returncode == 0, done.stderr
    lines = (newcomer.folder / ".env").read_text().splitlines()
    assert lines[:2] == ["# mine", "WATCH_TIME_LAG_DAYS=2"]
    assert lines[-1] == "WATCH_TIME_DATABASE_URL=embedded:warehouse"
    assert "old" not in "".join(lines)
    assert newcomer("status", "--json").returncode == 0


@pytest.mark.parametrize("value", ["a b", "it's", "a\\b", "$HOME", "#x", 'say "x"', "p%40ss?a=b&c=d", "ü"])
def test_what_is_written_is_what_is_read(tmp_path: Path, value: str) -> None:
    env_file_writer.write(tmp_path / ".env", {"WATCH_TIME_ORG_ID": value})
    assert dotenv_values(tmp_path / ".env") == {"WATCH_TIME_ORG_ID": value}


def test_the_systems_authorities_are_found_and_written_into_the_url(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.touch()
    assert system_ca_file.system_file([str(tmp_path / "none"), str(file)]) is not None
    assert system_ca_file.is_unverified("postgresql://db.example.com/d")
    assert not system_ca_file.is_unverified("postgresql://localhost/d")
    assert not system_ca_file.is_unverified("postgresql://db.example.com/d?sslmode=require"), "somebody has decided"
    url = system_ca_file.verified("postgresql://db.example.com/d?application_name=x", file)
    assert url == f"postgresql://db.example.com/d?application_name=x&sslmode=verify-full&sslrootcert={file}"


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        pytest.param((), 2, "next: add --token-file", id="nothing"),
        pytest.param(("--token-file", "no-such"), 78, "no-such cannot be read", id="no file"),
        pytest.param(("--token-file", "wrong", "--org-id", "x"), 77, "the API refuses the token", id="refused"),
        pytest.param(("--token-file", "token", "--org-id", "sandbox-org"), 2, "add --database-url", id="no database"),
    ],
)
def test_without_a_terminal_what_is_missing_or_wrong_is_told_and_nothing_is_written(
    newcomer: Program, options: tuple[str, ...], code: int, says: str
) -> None:
    (newcomer.folder / "token").write_text("sandbox-token")
    (newcomer.folder / "wrong").write_text("wrong")
    done = newcomer("init", *options)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert not (newcomer.folder / ".env").exists()


def test_an_embedded_warehouse_creates_its_tables_itself(newcomer: Program) -> None:
    settings = {"API_TOKEN": "sandbox-token", "ORG_ID": "sandbox-org", "DATABASE_URL": "embedded:warehouse"}
    status = newcomer("status", "--json", **settings)
    assert status.returncode == 0, status.stderr
    counted = newcomer("sql", "SELECT count(*) AS rows FROM watch_time", "--json", **settings)
    assert json.loads(counted.stdout) == [{"rows": 0}]
    script = newcomer.folder / "names.sql"
    script.write_text("\\pset tuples_only on\nSELECT 'one';\nSELECT 'two';\n")
    done = newcomer("sql", "--file", str(script), **settings)
    assert (done.returncode, done.stdout.split()) == (0, ["one", "two"]), done.stderr


class TestSql:
    """One statement against the configured warehouse."""

    def test_a_result_is_a_table_or_a_document_with_exact_values(self, program: Program) -> None:
        assert program("run", **ONLY_THE_TARGET).returncode == 0
        query = (
            "SELECT report_type, sum(watch_seconds) AS seconds, '100 %' AS all FROM watch_time GROUP BY 1 ORDER BY 1"
        )
        table = program("sql", query)
        assert table.returncode == 0, table.stderr
        assert table.stdout.splitlines()[0].split() == ["report_type", "seconds", "all"]
        assert table.stdout.splitlines()[-1] == "2 rows"
        rows = json.loads(program("sql", query, "--json").stdout)
        assert [row["report_type"] for row in rows] == ["LIVE", "VOD"]
        assert all(isinstance(row["seconds"], str) for row in rows), "no digit is lost"

    def test_nothing_is_written_unless_asked(self, program: Program, newest_warehouse: Warehouse) -> None:
        assert program("run", **ONLY_THE_TARGET).returncode == 0
        before = newest_warehouse.stored()
        for writing in ("DELETE FROM watch_time", "COMMIT; DELETE FROM watch_time", "SELECT 1; DELETE FROM watch_time"):
            assert program("sql", writing).returncode == 2
        assert newest_warehouse.stored() == before
        refused = program("sql", "DELETE FROM watch_time")
        assert "error: the statement changes data, but the session is read-only\n" in refused.stderr
        assert program("sql", "--write", "UPDATE content SET title = 'x'").stdout.startswith("UPDATE ")
        assert newest_warehouse.query("SELECT DISTINCT title FROM content") == [("x",)]

    @pytest.mark.skipif(not shutil.which("psql"), reason="psql is not installed")
    def test_a_file_is_run_by_psql_up_to_its_first_error(self, program: Program, newest_warehouse: Warehouse) -> None:
        file = program.folder / "file.sql"
        file.write_text("SELECT 'first';\nDELETE FROM content;\nSELECT 'never';\n")
        done = program("sql", "--file", str(file))
        assert (done.returncode, "first" in done.stdout, "never" in done.stdout) == (2, True, False)
        assert "read-only transaction" in done.stderr
        file.write_text("CREATE TABLE mine (a int);\n")
        assert program("sql", "--write", "--file", str(file)).returncode == 0
        assert newest_warehouse.query("SELECT count(*) FROM mine") == [(0,)]

    def test_a_wrong_statement_is_told_as_the_server_says_it(self, program: Program) -> None:
        done = program("sql", "SELECT * FROM nowhere")
        assert done.returncode == 2
        assert 'relation "nowhere" does not exist' in done.stderr


def test_run_on_a_terminal_shows_what_it_waits_for_and_each_slice_once(
    program: Program, newest_warehouse: Warehouse
) -> None:
    not_there = Answer(404, '{"code": 5, "message": "not found", "details": []}')
    newest_warehouse.sandbox.script(Slice(TARGET, ReportType.VOD), api=[not_there])
    settings = {f"WATCH_TIME_{name}": value for name, value in ONLY_THE_TARGET.items()}
    environment = {**program.environment, **settings, "WATCH_TIME_NOT_FOUND_WAIT_SECONDS": "1"}
    code, shown = _answering(replace(program, environment=environment), [], "run")
    assert code == 0, shown
    assert f"{TARGET} VOD: not published (404), next check in 1 s" in " ".join(shown.split())
    assert "slice_done" not in shown, "no log lines"
    table = shown[shown.index("date        type  result") :].splitlines()
    assert [line.split()[:3] for line in table[1:3]] == [
        [f"{TARGET}", "LIVE", "loaded"],
        [f"{TARGET}", "VOD", "loaded"],
    ]


@pytest.mark.parametrize(
    ("shell", "typed", "position", "completed"),
    [
        pytest.param("bash", "watch-time st", 1, "status", id="bash, a command"),
        pytest.param("bash", "watch-time backfill --re", 2, "--refresh", id="bash, an option"),
        pytest.param("bash", "watch-time explain 2026-01-01 --type ", 4, "VOD", id="bash, a value"),
    ],
)
def test_shells_complete_commands_options_and_values(
    bare_program: Program, shell: str, typed: str, position: int, completed: str
) -> None:
    variables = {"_WATCH_TIME_COMPLETE": f"complete_{shell}", "COMP_WORDS": typed, "COMP_CWORD": f"{position}"}
    done = subprocess.run(
        [Path(sys.executable).with_name("watch-time")], env={**bare_program.environment, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert completed in done.stdout.split(), done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_a_shell_is_shown(bare_program: Program, shell: str) -> None:
    variables = {"_WATCH_TIME_COMPLETE": f"source_{shell}"}
    done = subprocess.run(
        [Path(sys.executable).with_name("watch-time")], env={**bare_program.environment, **variables},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "_WATCH_TIME_COMPLETE=complete_" in done.stdout
