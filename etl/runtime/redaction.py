"""Taking secrets out of text: known ones wherever they appear, and what stands where secrets do.

A known secret that could be a word, a name, a number or a date is masked only where secrets stand. Masked everywhere,
it would make our own sentences unreadable, and whoever reads `***-time doctor` can tell what the password is.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK: Final = "***"
# Characters. Shorter than the first, a secret is found in unrelated text by chance. From the second on no word or name
# is taken for a secret; in between only what is made of one kind of character may be one.
_NEVER_BY_CHANCE: Final = 8
_NEVER_A_WORD: Final = 12
_A_WORD_OR_A_NUMBER: Final = re.compile(r"[a-z _.-]*|[\d :.-]*", re.IGNORECASE)

_URL_QUERY: Final = re.compile(r"""(\b[a-z][a-z0-9+.-]*://[^\s?#"'<>]*)[?#][^\s"'<>]*""", re.IGNORECASE)
_URL_PASSWORD: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:@/]*:)[^\s/]*@", re.IGNORECASE)
_AUTHORIZATION: Final = re.compile(
    r"""(\bauthorization(?:["']\s*,|["']?\s*[:=])\s*b?["']?(?:[a-z]+\s+)?)[^\s"',]+|(\bbearer\s+)[^\s"',]{6,}""",
    re.IGNORECASE,
)
# As libpq, URLs and variables write it: a value in quotes may hold anything, another one ends with a space.
_ASSIGNED: Final = re.compile(
    r"""((?:signature|credential|token|sig|passwd|password|pwd|secret)\s*=\s*)"""
    r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&"'<>]+)""",
    re.IGNORECASE,
)
# As JSON and Python write it.
_MAPPED: Final = re.compile(
    r"""((?:token|passwd|password|pwd|secret)["']\s*[:,]\s*b?)(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.IGNORECASE
)


class Redactor:
    """Takes secrets out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """From now on mask these, in place of those known before: everywhere, those that cannot be anything else."""
        # Longest first: one secret may contain another.
        forms = {form for secret in secrets if _is_unmistakable(secret) for form in _forms(secret)}
        known = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        if self._known:
            text = self._known.sub(MASK, text)
        text = _URL_PASSWORD.sub(rf"\1{MASK}@", text)
        text = _URL_QUERY.sub(rf"\1?{MASK}", text)
        text = _AUTHORIZATION.sub(rf"\1\2{MASK}", text)
        text = _MAPPED.sub(rf"\1{MASK}", text)
        return _ASSIGNED.sub(rf"\1{MASK}", text)


def _is_unmistakable(secret: str) -> bool:
    """Whether a secret, wherever it appears in a text, is that secret and no word, number or date."""
    return len(secret) >= _NEVER_A_WORD or (
        len(secret) >= _NEVER_BY_CHANCE and not _A_WORD_OR_A_NUMBER.fullmatch(secret)
    )


def _forms(secret: str) -> set[str]:
    """A secret as it is, and as Python, JSON and URLs write it."""
    # Bytes of the environment that are not UTF-8 come as lone surrogates.
    octets = secret.encode(errors="surrogatepass")
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(octets), quote(octets, safe="")}


# The process's own: for what is logged, and for what is shown without being logged.
redact: Final = Redactor()
