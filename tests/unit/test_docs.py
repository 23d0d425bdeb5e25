"""The README and the pages on what is claimed cannot rot: lengths, links, figures, and the tests that they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import compare
import doc_examples
import reference_pages
from etl import __version__
from etl.domain import contract
from etl.domain.slices import State
from etl.warehouse.table_definitions import metadata

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
VIEWS = (
    "watch_time_report",
    "watch_time_daily",
    "watch_time_customers",
    "watch_time_monthly",
    "watch_time_by_content",
    "watch_time_by_customer",
    "report_coverage",
)


def words(text: str) -> int:
    """As a reader counts them, without the marks of Markdown."""
    return sum(1 for word in text.split() if re.search(r"\w", word))


def prose(text: str) -> str:
    """Without the fenced blocks: code, and what the program prints."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def test_the_readme_is_one_screen() -> None:
    assert words(README) < 700


def test_what_users_read_is_short() -> None:
    """All but what the program writes itself, and what is for those who change it."""
    generated = {doc_examples.DOCS / name for name in (*reference_pages.PAGES, "data-dictionary.md")}
    internal = {file for folder in ("internals", "decisions") for file in (doc_examples.DOCS / folder).rglob("*.md")}
    read = {
        str(file.relative_to(doc_examples.DOCS)): words(prose(file.read_text(encoding="utf-8")))
        for file in {*doc_examples.DOCS.rglob("*.md")} - generated - internal
    }
    assert len(read) > 20
    assert sum(read.values()) < 12_000, sorted(read.items(), key=lambda page: -page[1])


def test_the_guarantees_stand_once() -> None:
    """They are linked from elsewhere, in words that may change."""
    page = doc_examples.DOCS / "guarantees.md"
    guarantees = re.findall(r"^## \d\. (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(guarantees) == 3
    for file in [REPOSITORY / "README.md", *doc_examples.DOCS.rglob("*.md")]:
        assert [said for said in guarantees if said in _plain(file) and file != page] == [], file


def _plain(file: Path) -> str:
    """In one line."""
    return " ".join(file.read_text(encoding="utf-8").split())


def test_every_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) > 20
    assert [link for link in links if not (REPOSITORY / link).is_file()] == []


def test_every_figure_of_the_readme_is_one_of_the_benchmarks() -> None:
    """Renewed figures are renewed here too."""
    measured = (REPOSITORY / "docs" / "performance.md").read_text(encoding="utf-8")
    figures = re.findall(r"\d+\.\d+(?= s| times)|\d+(?= MB of memory)", README)
    assert len(figures) == 9
    assert [figure for figure in figures if not re.search(rf"(?<![\d.]){figure}(?![\d.]*\d)", measured)] == []


def test_every_comparison_in_the_readme_can_be_run() -> None:
    commands = re.findall(r"benchmarks/compare\.py ([^`]+)`", README)
    assert len(commands) == 3
    for command in commands:
        compare._options(command.split())


def test_the_changelog_can_be_tagged() -> None:
    """Its newest section is for the next version, or that of this one, with its day."""
    changelog = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    newest, *_ = re.findall(r"^## (.+)$", changelog, re.MULTILINE)
    assert newest == "Unreleased" or re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", newest)


def test_the_readme_says_that_there_is_no_licence() -> None:
    assert "No licence has been chosen yet." in README
    assert not list(REPOSITORY.glob("LICEN[CS]E*"))


def test_states_and_columns_are_explained() -> None:
    states = re.findall(
        r"^\| `(\w+)` \|", (doc_examples.DOCS / "how-it-works.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert states == sorted(State, key=states.index)
    handled = (doc_examples.DOCS / "bad-input.md").read_text(encoding="utf-8")
    assert [name for name in contract.COLUMNS if f"`{name}`" not in handled] == []


@pytest.mark.parametrize("page", ["security-tests.md", "reliability.md"])
def test_every_claim_names_a_test_that_exists(page: str) -> None:
    text = (REPOSITORY / "docs" / "internals" / page).read_text(encoding="utf-8")
    named = re.findall(r"\[(test_\w+)\]\(\.\./\.\./(tests/[\w/]+\.py)\)", text)
    assert len(named) == text.count("[test_") > 30
    assert [file for file in re.findall(r"\]\(\.\./\.\./([^)]+)\)", text) if not (REPOSITORY / file).exists()] == []
    for name, file in named:
        assert f"def {name}(" in (REPOSITORY / file).read_text(encoding="utf-8"), (name, file)
    # Each line of the tables of claims, but for their heads, has one.
    claims = [line for line in text.partition("## Found by")[0].splitlines() if re.match(r"\| [A-Z]", line)]
    assert [line for line in claims if "](../../tests/" not in line] == []


def test_the_page_on_reliability_tells_every_mutant() -> None:
    text = (REPOSITORY / "docs" / "internals" / "reliability.md").read_text(encoding="utf-8")
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
