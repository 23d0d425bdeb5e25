"""The blocks of shell that the docs show, and what the pages say of each: is it run by the tests, or why not?

A fenced block of `sh` is run. A comment before it, which no reader sees, may say otherwise:

    <!-- meanwhile -->              started, and left running while the rest of the page is run
    <!-- not run: the reason -->    needs what a test has not; its lines are read all the same
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from etl.display.message_layout import hint

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

REPOSITORY: Final = Path(__file__).parents[1]
DOCS: Final = REPOSITORY / "docs"

_BLOCK: Final = re.compile(
    r"(?:^<!-- (meanwhile|not run: [^\n]+) -->\n)?^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """A block of shell.

    Attributes:
        page: the file, from docs on.
        line: where the block begins.
        why_not: why it is not run; empty where it is.
    """

    page: str
    line: int
    script: str
    meanwhile: bool
    why_not: str

    def __str__(self) -> str:
        """Where it stands."""
        return f"docs/{self.page}:{self.line}"


def blocks() -> list[Block]:
    """Of all pages, in their order."""
    return [block for file in sorted(DOCS.rglob("*.md")) for block in _of(file)]


def _of(file: Path) -> list[Block]:
    text = file.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    # None is passed over because it is written in another way.
    assert len(found) == len(re.findall(r"^ *```(?:sh|console|bash|shell)", text, re.MULTILINE)), file
    return [
        Block(
            page=str(file.relative_to(DOCS)),
            line=text.count("\n", 0, block.start(2)) + 1,
            script=block[2],
            meanwhile=block[1] == "meanwhile",
            why_not=(block[1] or "").removeprefix("not run: ") if block[1] != "meanwhile" else "",
        )
        for block in found
    ]


def example(page: str, name: str, changes: Mapping[str, str] | None = None) -> str:
    """The Python of a page's example, which a comment with its name stands before.

    Args:
        page: the file, from docs on.
        name: of the example.
        changes: what only the tests have otherwise; the text of each occurs once.
    """
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"<!-- {name} -->\n```python\n")[2].partition("```")[0]
    assert text
    for shown, changed in (changes or {}).items():
        assert text.count(shown) == 1, shown
        text = text.replace(shown, changed)
    return text


def commands() -> list[tuple[str, str]]:
    """Each line that types the program, in blocks and between backticks: where, and the line.

    What stands in blocks of `text` is what a program said.
    """
    found = []
    for file in [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))]:
        text = re.sub(r"\\\n\s*", "", file.read_text(encoding="utf-8"))
        fenced = told = False
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("```"):
                fenced, told = not (fenced or told) and line != "```text", not (fenced or told) and line == "```text"
            spans = re.findall(r"`(watch-time [^`]*)`", line)
            if fenced or line.startswith("    "):
                # Elsewhere it is the name of a namespace or a user.
                spans = re.findall(r"(?<!-[nu] )\b(watch-time (?!watch-time)[a-z]+(?![\w\"])[^`|#;&>]*)", line)
            found += [(f"{file.relative_to(REPOSITORY)}:{number}", span) for span in spans]
    return found


def sentences_of(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command with --json says of trouble, as it says it to people on a terminal."""
    document = json.loads(done.stdout)
    told = [
        (f"{known['report_date']} {known['report_type']} {known['result']}: ", known)
        for known in document.get("slices", [])
        if known.get("message")
    ]
    if document.get("error"):
        told.append(("error: ", document["error"]))
    return ["\n".join([before + known["message"], *_next_step(known.get("next_step"))]) for before, known in told]


def _next_step(text: str | None) -> list[str]:
    console = Console(width=10_000)
    with console.capture() as captured:
        for line in hint(text) if text else ():
            console.print(line, soft_wrap=True)
    return captured.get().splitlines()
