"""The site's pages cannot rot: commands, options, settings, exit codes and extras are those of the program."""

from __future__ import annotations

import re
import shlex
import tomllib
from typing import TYPE_CHECKING, cast

import pytest

import doc_examples
import reference_pages
from etl.cli import main
from etl.config.environment import PREFIX, variable_of
from etl.config.settings import Settings
from etl.domain.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from typer.core import TyperGroup

PROGRAM = cast("TyperGroup", main.PROGRAM)
PAGES = {
    str(file.relative_to(doc_examples.DOCS)): file.read_text(encoding="utf-8")
    for file in doc_examples.DOCS.rglob("*.md")
}
MADE = re.findall(r"^([a-z]+):", (doc_examples.REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
EXIT_CODES = PAGES["operations/exit-codes.md"]


@pytest.mark.parametrize("file", reference_pages.MADE, ids=lambda file: file.name)
def test_what_is_generated_is_what_the_program_says(file: Path) -> None:
    assert file.read_text(encoding="utf-8") == reference_pages.MADE[file](), "type: make reference"


@pytest.mark.parametrize("package", reference_pages.packages(), ids=lambda package: package.name)
def test_a_package_names_each_of_its_modules_once(package: Path) -> None:
    there = {file.stem for file in package.glob("*.py")} - {"__init__"}
    there |= {f"{file.parent.name}/" for file in package.glob("*/__init__.py")}
    assert sorted(reference_pages.named_modules(package)) == sorted(there)


def test_no_two_modules_have_the_same_name() -> None:
    names = [file.stem for package in reference_pages.packages() for file in package.glob("*.py")]
    assert {name for name in names if names.count(name) > 1} == {"__init__"}


def test_every_command_and_option_has_its_line() -> None:
    assert set(re.findall(r"^## `watch-time (\w+)`$", PAGES["commands.md"], re.MULTILINE)) == set(PROGRAM.commands)
    for name, command in PROGRAM.commands.items():
        section = PAGES["commands.md"].partition(f"## `watch-time {name}`\n")[2].partition("\n## ")[0]
        options = {parameter.opts[0] for parameter in command.params if parameter.param_type_name == "option"}
        assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == options


def test_every_setting_has_its_section() -> None:
    found = re.findall(rf"^## `({PREFIX}\w+)`$", PAGES["configuration.md"], re.MULTILINE)
    assert found == [variable_of(name) for name in Settings.model_fields]


def test_every_setting_that_is_named_exists() -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    known |= {f"{variable_of(name)}_FILE" for name in reference_pages.FILES}
    for page, text in PAGES.items():
        named = set(re.findall(rf"\b{PREFIX}[A-Z_]*[A-Z]\b", text))
        assert {name for name in named - known if not name.startswith(f"{PREFIX}TEST_")} == set(), page


def test_every_exit_code_has_its_section_and_its_remedy() -> None:
    codes = [str(int(code)) for code in ExitCode]
    assert re.findall(r"^## Exit (\d+)$", EXIT_CODES, re.MULTILINE) == codes
    assert re.findall(r"^\| \[(\d+)\]\(#exit-\d+\) \|", EXIT_CODES, re.MULTILINE) == codes
    for code in codes:
        section = EXIT_CODES.partition(f"## Exit {code}\n")[2].partition("\n## ")[0]
        assert "**What to do:**" in section, code
        assert "```text" in section, code
        parts = section.split("\n### ")[1:]
        assert ["**What to do:**" in part for part in parts] == [True] * len(parts), code


def test_every_extra_is_told_where_pip_is() -> None:
    project = tomllib.loads((doc_examples.REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = PAGES["install/index.md"].partition("<!-- extras -->")[2].partition("<!-- /extras -->")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(project["optional-dependencies"])


def test_every_command_that_is_typed_anywhere_exists_with_its_options() -> None:
    typed = doc_examples.commands()
    assert len(typed) > 60
    for where, line in typed:
        name = line.split()[1]
        if name in PROGRAM.commands:
            options = {option for parameter in PROGRAM.commands[name].params for option in parameter.opts}
            assert set(re.findall(r"(?<=\s)--[a-z-]+", line)) <= options | {"--help"}, (where, line)
        else:
            assert name in {"COMMAND", "--version", "--install-completion"}, (where, line)


NOT_RUN = [block for block in doc_examples.blocks() if block.why_not]


@pytest.mark.parametrize("block", NOT_RUN, ids=str)
def test_what_is_not_run_is_read(block: doc_examples.Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The program's own parser takes the lines; targets of make exist. Why they are not run is printed."""
    monkeypatch.chdir(tmp_path)
    print(f"{block} is not run: {block.why_not}")  # noqa: T201 - seen with -rP
    lines = re.sub(r"\\\n\s*", "", block.script).splitlines()
    for line in lines:
        if line.startswith("make "):
            assert line.split()[1] in MADE
        if line.startswith("watch-time "):
            _, name, *arguments = shlex.split(line, comments=True)
            context = PROGRAM.commands[name].make_context(name, arguments, parent=PROGRAM.context_class(PROGRAM))
            assert context.command_path.endswith(name)


def test_most_is_run() -> None:
    """A page that says "not run" of all it shows is found."""
    run = {block.page for block in doc_examples.blocks() if not block.why_not}
    assert {"quick-start.md", "install/index.md", "operations/exit-codes.md", "commands.md"} <= run
    assert all(len(block.why_not) > 10 for block in NOT_RUN)
