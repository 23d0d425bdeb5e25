"""What takes long to start is started by one of pytest's workers only."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import WORKER_GROUPS, GroupsByFile

REPOSITORY = Path(__file__).parents[2]


def _piece(test: str) -> str:
    # Without the processes that a scheduler gives work to.
    return GroupsByFile.__new__(GroupsByFile)._split_scope(test)


@pytest.mark.parametrize(("file", "group"), WORKER_GROUPS.items())
def test_all_tests_of_a_file_are_one_piece_of_work(file: str, group: str) -> None:
    assert (REPOSITORY / file).exists()
    assert {_piece(f"{file}::{test}") for test in ("test_one", "test_two[a@b]")} == {group}


def test_any_other_test_is_a_piece_of_its_own() -> None:
    name = "tests/unit/test_slices.py::test_one"
    assert _piece(name) == name
