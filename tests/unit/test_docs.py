"""The README cannot rot: settings, commands, exit codes, tables and states are those of the program."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from etl.cli import main, output
from etl.config.environment import variable_of
from etl.config.settings import Settings
from etl.domain import contract
from etl.domain.errors import ExitCode
from etl.domain.slices import State
from etl.warehouse.table_definitions import metadata

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
VIEWS = (
    "watch_time_report",
    "watch_time_daily",
    "watch_time_monthly",
    "watch_time_by_content",
    "watch_time_by_customer",
    "report_coverage",
)


def _between(mark: str) -> str:
    return README.partition(f"<!-- {mark} -->\n")[2].partition(f"<!-- /{mark} -->")[0]


def _default(name: str, value: object) -> str:
    if value is None:
        return "required" if name in output.NEEDS else "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if str(value) not in {"()", "{}"} else "none"


def _settings_table() -> str:
    lines = [
        f"| `{variable_of(name)}` | {_default(name, field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(["| variable | default | meaning |", "| --- | --- | --- |", *lines, ""])


def test_the_settings_table_is_that_of_the_program() -> None:
    assert _between("settings") == _settings_table()


def test_every_command_is_described_and_every_described_one_exists() -> None:
    commands = set(typer.main.get_command(main.app).commands)  # type: ignore[attr-defined]  # it is a group
    assert set(re.findall(r"^\| `watch-time (\w+)", README, re.MULTILINE)) == commands
    assert {name for name in re.findall(r"`?watch-time ([a-z]+)", README) if name in commands} == commands


@pytest.mark.parametrize(
    "command",
    ["run", "backfill", "status", "explain", "revisions", "verify", "archive", "report", "doctor", "sandbox", "demo"],
)
def test_every_option_that_is_shown_exists(command: str) -> None:
    group = typer.main.get_command(main.app)
    options = {name for option in group.commands[command].params for name in option.opts}  # type: ignore[attr-defined]
    row = next(line for line in README.splitlines() if line.startswith(f"| `watch-time {command}"))
    assert set(re.findall(r"--[a-z-]+", row)) <= options


def test_every_exit_code_is_described() -> None:
    table = README.partition("## Exit codes")[2].partition("## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == {int(code) for code in ExitCode}


@pytest.mark.parametrize("name", [*metadata.tables, *VIEWS])
def test_every_table_is_described(name: str) -> None:
    assert f"| `{name}` |" in README


def test_states_and_columns_are_named() -> None:
    for name in (*State, *contract.COLUMNS):
        assert f"`{name}`" in README


@pytest.mark.parametrize("page", ["security.md", "reliability.md"])
def test_every_claim_names_a_test_that_exists(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    named = re.findall(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)", text)
    assert len(named) == text.count("[test_") > 30
    assert [file for file in re.findall(r"\]\(\.\./([^)]+)\)", text) if not (REPOSITORY / file).exists()] == []
    for name, file in named:
        assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8"), (name, file)
    # Each line of the tables of claims, but for their heads, has one.
    claims = [line for line in text.partition("## Found by")[0].splitlines() if re.match(r"\| [A-Z]", line)]
    assert [line for line in claims if "](../tests/" not in line] == []


def test_the_page_on_reliability_tells_every_mutant() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text(encoding="utf-8")
    code = (REPOSITORY / "tests" / "faults" / "mutants.py").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z-]+)`:", text, re.MULTILINE) != []
    assert set(re.findall(r"^\| `([a-z-]+)`:", text, re.MULTILINE)) == set(
        re.findall(r'^    "([a-z-]+)": _', code, re.MULTILINE)
    )


@pytest.mark.parametrize("file", ["roles.sql", "rights.sql"])
def test_every_table_and_view_is_thought_of_in_the_roles(file: str) -> None:
    text = (REPOSITORY / "deploy" / "postgres" / file).read_text(encoding="utf-8")
    assert [name for name in (*metadata.tables, *VIEWS) if not re.search(rf"\b{name}\b", text)] == []
    if file == "rights.sql":
        reader = text.partition("those on its partitions.")[2]
        assert [name for name in (*metadata.tables, *VIEWS) if not re.search(rf"\b{name}\b", reader)] == []
