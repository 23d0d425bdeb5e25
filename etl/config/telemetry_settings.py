"""Where to tell of runs: the settings of metrics, dead man's switch and notifications, and what in them is secret.

Read apart from the other settings: what is wrong with those is what the channels have to tell.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from etl.config.environment import given, read_secret_files, variable_of

# Whatever is wrong with them must not keep a run from its work.
TELEMETRY_SECRETS: Final = ("ping_url", "notify_urls")
# As Apprise splits them: a comma within a URL, as in a list of addresses, is a part of it.
_BETWEEN_URLS: Final = re.compile(r"[\s,;]+(?=[a-z0-9]{1,32}://)", re.IGNORECASE)
_URL_PARTS: Final = re.compile(r"[/?#&=:@,;]+")
# Shorter pieces of a URL are words, and longer ones are none; masking words would eat into every line of the log.
_SHORTEST_TOKEN: Final = 8
_LONGEST_WORD: Final = 20


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """Where to tell of runs; what is not configured is empty. Its representation shows no secret."""

    metrics_file: str = ""
    pushgateway_url: str = ""
    ping_url: str = field(default="", repr=False)
    notify_urls: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def load(cls) -> TelemetrySettings:
        """Those of the environment and `.env`, whatever is wrong with the other settings.

        Raises:
            Misconfigured: `.env` cannot be read.
        """
        variables = given()
        values = variables | {
            variable_of(name): value for name, value in read_secret_files(TELEMETRY_SECRETS, variables, {}).items()
        }
        file, gateway, ping, urls = (
            values.get(variable_of(name), "") for name in ("metrics_file", "pushgateway_url", *TELEMETRY_SECRETS)
        )
        return cls(file, gateway, ping, split_urls(urls))

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown: the URLs, and what in them looks like a key."""
        urls = [url for url in (self.ping_url, *self.notify_urls) if url]
        text = " ".join([self.pushgateway_url, *urls])
        # Before a host; or in the place of a port, where Telegram has it.
        passwords = re.findall(r"://[^:@/?#\s]*:([^@/?#\s]+)@|://[^:@/?#\s]*:([^@/?#\s]*[^@/?#\s\d][^@/?#\s]*)", text)
        tokens = [part for url in urls for part in _URL_PARTS.split(url) if _looks_like_a_token(part)]
        found = [*urls, *filter(None, itertools.chain(*passwords)), *tokens]
        return tuple(dict.fromkeys([*found, *map(unquote, found)]))


def split_urls(text: str) -> tuple[str, ...]:
    """The URLs of a text, in which spaces, commas or semicolons stand between them."""
    return tuple(url for part in _BETWEEN_URLS.split(text) if (url := part.strip(" \t\r\n,;")))


def _looks_like_a_token(part: str) -> bool:
    """Whether a piece of a URL opens something: no word, no host name, no port."""
    if "." in part or len(part) < _SHORTEST_TOKEN:
        return False
    mixed = part.lower() != part and part.upper() != part
    return mixed or any(sign.isdigit() for sign in part) or len(part) > _LONGEST_WORD


def unread_telemetry() -> dict[str, str]:
    """What is wrong with the files that name channels, by variable; a run goes on without them."""
    problems: dict[str, str] = {}
    read_secret_files(TELEMETRY_SECRETS, given(), problems)
    return problems
