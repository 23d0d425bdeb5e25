"""What a content is called where people look: its title, without what would steer the layout around it."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from etl.diagnostics.page_data import Content

# Tabs and the ends of lines: a title is shown on one line, and its words stay apart.
_BREAKS: Final = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")
# Characters that steer how text is laid out: control characters, and overrides of direction, with which a title would
# turn its neighbours around. Joiners, of which emoji and some scripts are made, stay.
_UNSEEN: Final = dict.fromkeys([*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# Categories of what leaves no mark by itself (joiners, soft hyphens, spaces, variation selectors), and the few letters
# and symbols that are drawn as nothing: the Hangul fillers and the empty Braille pattern.
_MARKLESS: Final = frozenset({"Cc", "Cf", "Cs", "Mn", "Zl", "Zp", "Zs"})
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def label(content: Content) -> str:
    """What a content is called: its title, or its id where the reports give none that can be seen."""
    return _seen(content.title) or _seen(content.content_id) or ascii(content.content_id)


def _seen(text: str) -> str:
    """The text without what steers layout and without blanks around it; empty where nothing of it would be seen."""
    shown = " ".join(filter(None, (part.strip() for part in _BREAKS.split(text)))).translate(_UNSEEN)
    marks = [place for place, char in enumerate(shown) if not _is_blank(char)]
    return shown[marks[0] :].rstrip() if marks else ""


def _is_blank(char: str) -> bool:
    return unicodedata.category(char) in _MARKLESS or char in _FILLERS
