"""The site of docs builds without a warning; each page is reached from its navigation, and a broken link fails it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY: Final = Path(__file__).parents[2]
DOCS: Final = REPOSITORY / "docs"
# Pages that Sphinx makes of itself.
OWN: Final = {"genindex", "search"}


class _Page(HTMLParser):
    """What a page links to, loads, and can be linked to by."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.navigation: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self._in_navigation = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.anchors |= {known[name] for name in ("id", "name") if name in known}
        self._in_navigation += tag == "div" and ("sidebar-tree" in known.get("class", "") or self._in_navigation > 0)
        if tag == "a" and "href" in known:
            self.links.append(known["href"])
            if self._in_navigation:
                self.navigation.append(known["href"])
        loads = {"script": "src", "img": "src", "iframe": "src", "link": "href"}
        if tag in loads and loads[tag] in known:
            self.loaded.append(known[loads[tag]])

    def handle_endtag(self, tag: str) -> None:
        self._in_navigation -= tag == "div" and self._in_navigation > 0


def _command() -> list[str]:
    """As `make docs` builds it."""
    (line,) = (line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "-m sphinx" in line)
    return [sys.executable, *line.split()[1:-2]]


def _build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_command(), source, target], capture_output=True, text=True, check=False, timeout=150)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "docs"
    done = _build(DOCS, folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Page]:
    return {file: _Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html")}


def test_each_page_of_docs_is_in_the_navigation(site: Path, pages: dict[Path, _Page]) -> None:
    home = site / "index.html"
    reached = {(site / unquote(urlsplit(link).path)).resolve() for link in pages[home].navigation} | {home.resolve()}
    written = {(site / file.relative_to(DOCS)).with_suffix(".html").resolve() for file in DOCS.rglob("*.md")}
    assert len(written) > 30
    assert written - reached == set()
    assert {str(file.relative_to(site)) for file in pages if file.resolve() not in written} == {
        f"{name}.html" for name in OWN
    }


def test_no_link_and_no_anchor_leads_nowhere(pages: dict[Path, _Page]) -> None:
    """Read from the pages as they are, which is more than the generator looks at."""
    looked_at, broken = 0, []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            looked_at += 1
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            anchor = unquote(parts.fragment)
            known = target.exists() and (not anchor or target not in pages or anchor in pages[target].anchors)
            broken += [] if known else [f"{file.name}: {link}"]
    assert looked_at > 1_000
    assert broken == []


def test_titles_and_navigation_agree(site: Path, pages: dict[Path, _Page]) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    named = dict(re.findall(r'<a class="reference internal" href="([^"#]+\.html)">([^<]+)</a></li>', home))
    named |= dict(re.findall(r'<a class="reference internal" href="([^"#]+\.html)">([^<]+)</a><input', home))
    assert len(named) > 20
    for link, label in named.items():
        title = re.findall(r"<h1>(.*?)<a ", (site / link).read_text(encoding="utf-8"))[0]
        assert re.sub(r"<[^>]+>", "", title) == label, link


def test_what_is_internal_is_not_searched(site: Path) -> None:
    index = json.loads((site / "searchindex.js").read_text(encoding="utf-8")[len("Search.setIndex(") : -1])
    internal = {n for n, name in enumerate(index["docnames"]) if name.startswith(("internals/", "decisions/"))}
    assert len(internal) > 30
    for kind in ("terms", "titleterms"):
        found = {n for pages in index[kind].values() for n in (pages if isinstance(pages, list) else [pages])}
        assert len(found) > 20
        assert found & internal == set()
    assert [title for title, places in index["alltitles"].items() if {n for n, _ in places} & internal] == []


def test_code_can_be_copied(pages: dict[Path, _Page]) -> None:
    for file, page in pages.items():
        assert [link for link in page.loaded if "copybutton.js" in link], file


def test_it_needs_no_network(site: Path, pages: dict[Path, _Page]) -> None:
    loaded = {link for page in pages.values() for link in page.loaded}
    assert loaded
    assert [link for link in loaded if urlsplit(link).netloc] == []
    sheets = list((site / "_static").rglob("*.css"))
    assert sheets
    for sheet in sheets:
        asked = re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//[^)'\"]+", sheet.read_text(encoding="utf-8"))
        assert asked == [], sheet


# What is wrong, by what the warning on it names.
BROKEN: Final = {
    "nowhere.md": ("guarantees.md", "\n[a page that is not there](nowhere.md)\n"),
    "no-such-title-there": ("guarantees.md", "\n[an anchor of another page](security.md#no-such-title-there)\n"),
    "no-such-title-here": ("guarantees.md", "\n[an anchor of its own](#no-such-title-here)\n"),
    "nothing.png": ("guarantees.md", "\n![a picture](images/nothing.png)\n"),
    "nothing.py": ("guarantees.md", "\n[a file of the repository](../tests/nothing.py)\n"),
    "stray.md": ("stray.md", "# A page in no section\n"),
}


def test_what_is_broken_fails_the_build(tmp_path: Path) -> None:
    """On a small site with the same settings: each thing that is wrong is a warning that names it."""
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs, ignore=shutil.ignore_patterns("images", "decisions"))
    (tmp_path / "etl").mkdir()
    shutil.copy(REPOSITORY / "etl" / "__init__.py", tmp_path / "etl")
    for file in docs.rglob("*.md"):
        file.write_text(f"# {file.stem}\n", encoding="utf-8")
    (docs / "decisions").mkdir()
    (docs / "decisions" / "README.md").write_text("# Decisions\n")
    (docs / "decisions" / "0001-first.md").write_text("# First\n")
    done = _build(docs, tmp_path / "good")
    assert (done.returncode, done.stderr) == (0, "")
    for page, text in BROKEN.values():
        with (docs / page).open("a", encoding="utf-8") as opened:
            opened.write(text)
    done = _build(docs, tmp_path / "bad")
    assert done.returncode == 1
    warnings = [line for line in done.stderr.splitlines() if "WARNING: " in line]
    assert {told: sum(told in warning for warning in warnings) for told in BROKEN} == dict.fromkeys(BROKEN, 1)
