"""Taking secrets out of text: known ones wherever they appear, and what looks like one."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK: Final = "***"
_URL_QUERY: Final = re.compile(r"""(\b[a-z][a-z0-9+.-]*://[^\s?#"'<>]*)[?#][^\s"'<>]*""", re.IGNORECASE)
_URL_PASSWORD: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:@/]*:)[^\s/]*@", re.IGNORECASE)
_AUTHORIZATION: Final = re.compile(
    r"""(\bauthorization["']?\s*[:=,]\s*b?["']?(?:[a-z]+\s+)?|\bbearer\s+)[^\s"',]{6,}""", re.IGNORECASE
)
_SIGNATURE: Final = re.compile(r"((?:signature|credential|token|sig)=)[^\s&\"'<>]+", re.IGNORECASE)


class Redactor:
    """Takes secrets out of text."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self.know(secrets)

    def know(self, secrets: Iterable[str]) -> None:
        """From now on mask these, in place of those known before."""
        # Longest first: one secret may contain another.
        known = sorted({form for secret in secrets if secret for form in _forms(secret)}, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(secret) for secret in known)) if known else None

    def __call__(self, text: str) -> str:
        """`text` without secrets."""
        if self._known:
            text = self._known.sub(MASK, text)
        text = _URL_PASSWORD.sub(rf"\1{MASK}@", text)
        text = _URL_QUERY.sub(rf"\1?{MASK}", text)
        text = _AUTHORIZATION.sub(rf"\1{MASK}", text)
        return _SIGNATURE.sub(rf"\1{MASK}", text)


def _forms(secret: str) -> set[str]:
    """A secret as it is, and as Python, JSON and URLs write it."""
    return {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(secret, safe="")}


# The process's own: for what is logged, and for what is shown without being logged.
redact: Final = Redactor()
