"""Errors: the tree that is drawn is the tree that is there, and the gravest exit code wins."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from etl.domain import errors
from etl.domain.errors import ExitCode, WatchTimeError, worst
from etl.warehouse import driver_errors


def descendants(kind: type[WatchTimeError]) -> list[type[WatchTimeError]]:
    return [kind, *(below for child in kind.__subclasses__() for below in descendants(child))]


# A module's own distinctions are no part of what users meet.
KINDS = [kind for kind in descendants(WatchTimeError) if kind.__module__ == errors.__name__]


def drawn() -> dict[str, tuple[str | None, ExitCode]]:
    """Name of each class in the docstring's drawing, with its base and its code: its own, or else that of its base."""
    tree: dict[str, tuple[str | None, ExitCode]] = {}
    path: list[str] = []
    for lead, name, code in re.findall(r"^    ([│├└─ ]*)(\w+)(?: +(\d+))?", errors.__doc__ or "", re.MULTILINE):
        path[len(lead) // 4 :] = [name]
        base = path[-2] if len(path) > 1 else None
        tree[name] = (base, ExitCode(int(code)) if code else tree[base][1] if base else ExitCode.BUG)
    return tree


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == {
        kind.__name__: (kind.__base__.__name__ if kind is not WatchTimeError else None, kind.exit_code)
        for kind in KINDS
        if kind.__base__
    }


def test_no_other_module_makes_an_error_of_another_code() -> None:
    elsewhere = [kind for kind in descendants(WatchTimeError) if kind not in KINDS]
    assert driver_errors.TransientDatabaseError in elsewhere
    assert all(kind.exit_code == kind.__mro__[1].exit_code for kind in elsewhere)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", descendants(WatchTimeError))
def test_errors_cross_process_borders_whole(kind: type[WatchTimeError]) -> None:
    error = kind("what happened", next_step="what to do")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert type(twin) is kind
        assert (str(twin), twin.message, twin.next_step) == ("what happened", "what happened", "what to do")


@pytest.mark.parametrize(
    ("codes", "gravest"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 75], 75),
        ([75, 65, 0], 65),
        ([65, 77], 77),
        ([77, 78], 78),
        ([78, 70, 0, 75], 70),
        ([70, 143], 143),
    ],
)
def test_the_gravest_code_wins(codes: list[int], gravest: int) -> None:
    assert worst(map(ExitCode, codes)) == gravest
    assert worst(map(ExitCode, reversed(codes))) == gravest
