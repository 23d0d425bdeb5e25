"""The screens that the docs show are those of this version, and each is shown."""

from __future__ import annotations

import re

import pytest

import screens
import terminals
from doc_examples import DOCS

STORED = {file.stem: file.read_text(encoding="utf-8") for file in screens.FOLDER.glob("*.txt")}
# What is longer is to be pasted, and not broken: it is a command, or has a statement in it.
PASTED = re.compile(r"^(\$ |    )")


@pytest.mark.timeout(400)
def test_they_are_what_the_program_shows_now() -> None:
    """But for figures that measure something. `make screens` renews them."""
    captured = screens.captured()
    assert captured.keys() == STORED.keys()
    for name, text in captured.items():
        assert screens.masked(text) == screens.masked(STORED[name]), f"{name} has changed: make screens"


def test_each_is_shown_on_a_page_in_a_line_of_its_own() -> None:
    pages = "\n".join(file.read_text(encoding="utf-8") for file in DOCS.rglob("*.md"))
    shown = re.findall(r"^\[[^\]\n]+\]\((?:\.\./)?screens/([\w-]+)\.txt\)$", pages, re.MULTILINE)
    assert sorted(set(shown)) == sorted(STORED)
    assert pages.count("screens/") == len(shown)


@pytest.mark.parametrize("name", sorted(STORED))
def test_none_is_wider_than_its_terminal(name: str) -> None:
    columns = screens.WIDE if name.endswith("-wide") else screens.COLUMNS
    assert [line for line in STORED[name].splitlines() if len(line) > columns and not PASTED.match(line)] == []


def test_a_measure_is_no_difference_and_everything_else_is_one() -> None:
    assert screens.masked("about 10.6 MB in 6 s, from") == screens.masked("about 10.6 MB in 12 min, from")
    assert screens.masked("10.6 MB in 6 s") != screens.masked("10.7 MB in 6 s")
    assert screens.masked("195,929 bytes") == screens.masked("96,130 bytes")
    assert screens.masked("16,183,459.589 s stored") != screens.masked("16,183,459.588 s stored")


def test_a_control_sequence_may_come_in_two_pieces() -> None:
    screen = terminals.Screen()
    for piece in ("one\r\n\x1b", "[1mtwo\x1b[", "0m\r\x1b[2Kthree\r\nfour\x1b[1", "A\rThree"):
        screen.feed(piece)
    assert str(screen) == "one\nThree\nfour"
