"""The displayed name of a content item: its title, without characters that would affect the layout around it."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from etl.diagnostics.page_data import Content

# Tabs and line breaks: a title is shown on one line, and its words stay separate.
_BREAKS: Final = re.compile(r"[\t-\r\x1c-\x1f\x85\u2028\u2029]")
# Characters that steer how text is laid out: control characters, and overrides of direction, with which a title would
# turn its neighbours around. Joiners, of which emoji and some scripts are made, stay.
_UNSEEN: Final = dict.fromkeys([*range(32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)])
# Categories of what leaves no mark by itself (joiners, soft hyphens, spaces, variation selectors), and the few letters
# and symbols that are drawn as nothing: the Hangul fillers and the empty Braille pattern.
_MARKLESS: Final = frozenset({"Cc", "Cf", "Cs", "Mn", "Zl", "Zp", "Zs"})
_FILLERS: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def label(content: Content) -> str:
    """The displayed name of a content item: its title, or its id if the title has no visible characters."""
    return _seen(content.title) or _seen(content.content_id) or ascii(content.content_id)


def _seen(text: str) -> str:
    """The text without layout control characters and surrounding blanks; empty if nothing of it is visible."""
    shown = " ".join(filter(None, (part.strip() for part in _BREAKS.split(text)))).translate(_UNSEEN)
    marks = [place for place, char in enumerate(shown) if not _is_blank(char)]
    return shown[marks[0] :].rstrip() if marks else ""


def _is_blank(char: str) -> bool:
    return unicodedata.category(char) in _MARKLESS or char in _FILLERS
