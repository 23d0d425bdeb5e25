"""Which scripts the machine's fonts lack: the picture is drawn with them, and would show boxes."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Final

import vl_convert

from etl.display.page.theme import FONT

if TYPE_CHECKING:
    from collections.abc import Iterable

# Never assigned, so that no font has it: it is drawn as whatever is not there.
_NO_LETTER: Final = "\u0378"


def missing_scripts(titles: Iterable[str]) -> dict[str, str]:
    """The scripts of which the titles have a letter that no font has, each with one of those letters."""
    letters = {_script(letter): letter for title in titles for letter in title if _is_letter(letter)}
    nothing = _draw(_NO_LETTER) if letters else b""
    return {script: letter for script, letter in sorted(letters.items()) if _draw(letter) == nothing}


def _is_letter(char: str) -> bool:
    return not char.isascii() and unicodedata.category(char) in {"Lu", "Ll", "Lt", "Lo"}


def _script(letter: str) -> str:
    """The first word of its name: CJK, HANGUL, THAI and so on."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].removesuffix("-UNIFIED").upper()


def _draw(letter: str) -> bytes:
    return vl_convert.svg_to_png(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="48" height="48">'
        f'<text x="8" y="36" font-size="28" font-family="{FONT}">{letter}</text></svg>'
    )
