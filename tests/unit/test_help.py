"""What `--help` shows: every command in a line that is whole, and examples that the program takes."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from typer.testing import CliRunner

from etl.cli import main

if TYPE_CHECKING:
    from typer.core import TyperGroup

PROGRAM = cast("TyperGroup", main.PROGRAM)
EXAMPLES = [
    (name, line.strip())
    for name, command in PROGRAM.commands.items()
    for line in (command.epilog or "").splitlines()
    if line.startswith("  ")
]


def _help(*command: str) -> str:
    done = CliRunner().invoke(main.app, [*command, "--help"], terminal_width=100)
    assert done.exit_code == 0
    return done.output


def test_the_list_of_commands_cuts_nothing_off() -> None:
    shown = _help()
    assert "..." not in shown.partition("Commands:")[2]
    for name, command in PROGRAM.commands.items():
        assert f"  {name.ljust(9)}  {command.short_help}\n" in shown


@pytest.mark.parametrize("name", PROGRAM.commands)
def test_each_command_shows_examples_line_by_line(name: str) -> None:
    shown = _help(name)
    examples = [line for command, line in EXAMPLES if command == name]
    assert examples
    for line in examples:
        assert f"\n    {line}\n" in shown


@pytest.mark.parametrize(("name", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_an_example_is_taken(name: str, line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    Path("report.csv").touch()
    program, command, *arguments = shlex.split(line)
    assert (program, command) == ("watch-time", name)
    context = PROGRAM.commands[name].make_context(name, arguments, parent=PROGRAM.context_class(PROGRAM))
    assert context.command_path.endswith(name)
