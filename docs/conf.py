"""How docs/ becomes a site: `make docs`.

The pages are plain Markdown, whose links also work where the repository is read as files. What only the site needs, the
tree of its navigation, stands here and is added to pages as they are read.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[1]

project = "watch-time"
version = release = re.findall(r'^__version__ = "([^"]+)"$', (ROOT / "etl/__init__.py").read_text(), re.MULTILINE)[0]
copyright = ""  # noqa: A001 - the name that Sphinx gives it

extensions = ["myst_parser", "sphinx_copybutton"]
myst_enable_extensions = ["deflist"]
exclude_patterns = ["images"]
# Level 4 covers every heading there is: a link to any of them is checked.
myst_heading_anchors = 4
highlight_language = "none"

html_theme = "furo"
html_title = f"watch-time {version}"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# Sections of the navigation, and what stands in them. A page that is in none of them fails the build.
NAVIGATION: Final = {
    "Tutorial": ["quick-start"],
    "How-to guides": [
        "install/index", "operations/exit-codes", "operations/*", "queries", "archive", "scaling", "workers", "citus",
    ],
    "Reference": ["commands", "configuration", "data-dictionary", "log-events", "metrics", "bad-input", "glossary"],
    "Explanation": ["how-it-works", "guarantees", "security", "performance"],
    "Internals": ["internals/index", "internals/*", "decisions/README"],
}  # fmt: skip
BELOW: Final = {
    "install/index": ["cron", "container", "kubernetes", "orchestrators", "postgres"],
    "decisions/README": ["0*"],
}
# Those who use the program do not search these.
NOT_SEARCHED: Final = ("internals/", "decisions/")


# A line with nothing but a link to a screen: the site shows the screen in its place.
SCREEN: Final = re.compile(r"^\[([^\]\n]+)\]\(((?:\.\./)?screens/[\w-]+\.txt)\)$", re.MULTILINE)


def _tree(pages: list[str], caption: str = "") -> str:
    options = [":hidden:", ":glob:", *([f":caption: {caption}"] if caption else [])]
    return "\n".join(["", "```{toctree}", *options, "", *pages, "```", ""])


def _add_navigation(_app: Sphinx, page: str, source: list[str]) -> None:
    if page == "index":
        source[0] += "".join(_tree(pages, caption) for caption, pages in NAVIGATION.items())
    elif page in BELOW:
        source[0] += _tree(BELOW[page])


def _include_screens(_app: Sphinx, _page: str, source: list[str]) -> None:
    source[0] = SCREEN.sub(r"```{literalinclude} \2\n:caption: \1\n```", source[0])


def _leave_out_of_search(app: Sphinx, _doctree: object) -> None:
    page = app.env.docname
    if page.startswith(NOT_SEARCHED):
        app.env.metadata[page]["nosearch"] = True


def setup(app: Sphinx) -> dict[str, Any]:
    """Sphinx calls this."""
    app.connect("source-read", _add_navigation)
    app.connect("source-read", _include_screens)
    # After Sphinx' own, which collects the metadata.
    app.connect("doctree-read", _leave_out_of_search, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
