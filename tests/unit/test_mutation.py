"""Mutation testing covers the modules that it says it covers; which are there is not left to its list."""

from __future__ import annotations

from collections import Counter

import pytest

import mutation

LISTED = Counter(file for files in mutation.PARTS.values() for file in files)


@pytest.mark.parametrize("package", ["pipeline", "load", "archive"])
def test_every_module_of_these_packages_is_in_one_part(package: str) -> None:
    folder = mutation.ROOT / "etl" / package
    modules = {path.relative_to(mutation.ROOT).as_posix() for path in folder.glob("*.py")} - {
        f"etl/{package}/__init__.py"
    }

    assert {file: LISTED[file] for file in modules} == dict.fromkeys(modules, 1)


def test_a_listed_module_or_test_exists() -> None:
    by_command = (tests[0].partition("::")[0] for tests in mutation.BY_COMMAND.values())
    listed = [*LISTED, *mutation.TESTS, *mutation.BY_COMMAND, *by_command]

    assert [name for name in listed if not (mutation.ROOT / name).is_file()] == []


def test_every_listed_module_is_listed_once_and_has_mutants() -> None:
    for part, files in mutation.PARTS.items():
        assert any(True for file in files for _ in mutation.mutants(part, file)), part
    assert set(LISTED.values()) == {1}
