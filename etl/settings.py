"""The settings: environment variables `WATCH_TIME_*`, a `.env` file, and `*_FILE` for the secrets.

The only module that reads the environment. Every problem is reported at once, and no value of a secret is ever shown.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
import re
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from dotenv import dotenv_values
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from etl.contract import COLUMNS, IGNORE
from etl.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX: Final = "WATCH_TIME_"
EMBEDDED: Final = "embedded:"

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

Need = Literal["api_token", "org_id", "database_url"]

_SECRETS: Final = ("api_token", "database_url")
# Those of the channels: whatever is wrong with them must not keep a run from its work.
_CHANNEL_SECRETS: Final = ("ping_url", "notify_urls")
# As Apprise splits them: a comma within a URL, as in a list of addresses, is a part of it.
_BETWEEN_URLS: Final = re.compile(r"[\s,;]+(?=[a-z0-9]{1,32}://)", re.IGNORECASE)
_URL_PARTS: Final = re.compile(r"[/?#&=:@,;]+")
# Shorter pieces of a URL are words, and longer ones are none; masking words would eat into every line of the log.
_SHORTEST_TOKEN: Final = 8
_LONGEST_WORD: Final = 20

_EXAMPLES: Final = {
    "api_token": "the token of an API key from the BlendVision One console",
    "org_id": "the organization's id, as the console shows it",
    "database_url": "postgresql://user@host:5432/database, or embedded:./warehouse for a Postgres of its own",
}


class Settings(BaseSettings):
    """All settings, validated. `Settings.load` is the way to get them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    api_token: SecretStr | None = Field(None, description="API token of the organization (secret).")
    org_id: str | None = Field(None, description="Organization id, sent as `x-bv-org-id`.")
    api_base_url: str = Field(
        "https://api.one.blendvision.com", description="Base URL of the report API. Plain http only on loopback."
    )
    database_url: SecretStr | None = Field(
        None, description="Postgres URL (secret), or `embedded:DIR` for a Postgres kept in that folder."
    )
    schema_name: str = Field(
        "public",
        validation_alias=f"{PREFIX}SCHEMA",
        description="Postgres schema of all tables; one organization per schema.",
    )
    time_zone: str = Field("UTC", description="IANA zone that decides what *today* is.")
    lag_days: int = Field(2, ge=1, le=60, description="The target date is today minus so many days.")
    lookback_days: int = Field(
        5,
        ge=0,
        le=366,
        description="`run` also takes the slices of so many days before the target that are not loaded.",
    )
    recheck_days: int = Field(
        5,
        ge=0,
        le=366,
        description="`run` asks again for the loaded slices of so many days before the target; 0: none.",
    )
    not_found_wait_seconds: float = Field(
        900,
        ge=0,
        le=86_400,
        description="How long `run` waits, in all, for the target date's report to appear (seconds).",
    )
    strict_not_found: bool = Field(
        True, description="Only a 404 with the API's own error body counts as *no report*; any other is an error."
    )
    concurrency: int = Field(2, ge=1, le=32, description="How many slices are worked on at the same time.")
    download_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Comma-separated hosts (and subdomains) that reports may come from; empty: any public host.",
    )
    header_aliases: Annotated[dict[str, str], NoDecode] = Field(
        {}, description='JSON object, header text to column name, or to `ignore`: `{"Viewer": "customer_id"}`.'
    )
    max_reject_ratio: Decimal = Field(
        Decimal(0),
        ge=0,
        le=1,
        description="Share of a report's lines that may be rejected before it is held; 0: none.",
    )
    shrink_limit: Decimal = Field(
        Decimal("0.5"),
        ge=0,
        le=1,
        description="A report with less than this share of the stored rows or seconds is held; 0: never.",
    )
    # Strings without further checks: a channel that cannot be used is a warning, never a reason not to run.
    metrics_file: str | None = Field(
        None, description="Where runs write their metrics for node_exporter's textfile collector: a `*.prom` file."
    )
    pushgateway_url: str | None = Field(None, description="Base URL of a Prometheus Pushgateway that runs push to.")
    ping_url: SecretStr | None = Field(
        None, description="URL of a dead man's switch, pinged as on healthchecks.io (secret: who knows it can ping)."
    )
    notify_urls: SecretStr | None = Field(
        None, description="Apprise URLs of chats and mailboxes to tell of changes (secret); spaces or commas between."
    )

    @field_validator("api_base_url")
    @classmethod
    def _base_is_http(cls, value: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
            raise ValueError("must look like https://host, without user, query or fragment")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _database_is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.match(rf"postgres(ql)?(\+\w+)?://|{EMBEDDED}.", value.get_secret_value()):
            raise ValueError(f"must look like {_EXAMPLES['database_url']}")
        return value

    @field_validator("schema_name")
    @classmethod
    def _schema_is_a_plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
            raise ValueError("must be lower-case letters, digits and underscores, at most 63, and begin with no digit")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError("no such time zone; use an IANA name such as Asia/Taipei") from None
        return value

    @field_validator("org_id")
    @classmethod
    def _org_id_is_one_word(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value):
            raise ValueError("must be printable ASCII without spaces: it is sent as an HTTP header")
        return value

    @field_validator("api_token")
    @classmethod
    def _token_is_one_word(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise ValueError("must be printable ASCII without spaces: it is sent as an HTTP header")
        return value

    @field_validator("download_hosts", mode="before")
    @classmethod
    def _split_hosts(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(host.strip().lower().rstrip(".") for host in value.split(",") if host.strip())
        wrong = [host for host in value if not _HOST.fullmatch(host)] if isinstance(value, tuple) else []
        if wrong:
            raise ValueError(
                f"must be host names, which cover their subdomains, without scheme, port or *: {', '.join(wrong)}"
            )
        return value

    @field_validator("header_aliases", mode="before")
    @classmethod
    def _aliases_name_columns(cls, value: object) -> object:
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise ValueError('must be a JSON object such as {"Viewer": "customer_id"}') from None
        if not isinstance(value, dict) or not all(isinstance(column, str) for column in value.values()):
            raise ValueError('must be a JSON object of texts such as {"Viewer": "customer_id"}')
        unknown = sorted(set(value.values()) - {*COLUMNS, IGNORE})
        if unknown:
            raise ValueError(f"{', '.join(unknown)}: no such column; the columns are {', '.join(COLUMNS)}, {IGNORE}")
        return value

    def today(self) -> date:
        """The date in the configured zone, now."""
        return datetime.now(ZoneInfo(self.time_zone)).date()

    def require(self, name: Need) -> str:
        """The value of a setting that may be missing.

        Raises:
            Misconfigured: it is missing. `load(needs=...)` finds that out earlier, together with every other problem.
        """
        value = getattr(self, name)
        if value is None:
            raise Misconfigured(f"{variable_of(name)} is not set", next_step=f"it wants {_EXAMPLES[name]}")
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    def secrets(self) -> tuple[str, ...]:
        """The values that must never be shown; a database URL counts as a whole and by its password."""
        token, url = (secret.get_secret_value() if secret else "" for secret in (self.api_token, self.database_url))
        channels = self.channels().secrets()
        if url.startswith(EMBEDDED):
            return (token, *channels)
        passwords = re.findall(r"(?:://[^:@/\s]*:|[?&]\w*password=)([^@&\s]+)", url)
        return (token, url, *passwords, *map(unquote, passwords), *channels)

    def channels(self) -> Channels:
        """Where to tell of runs."""
        return Channels(
            self.metrics_file or "",
            self.pushgateway_url or "",
            self.ping_url.get_secret_value() if self.ping_url else "",
            split_urls(self.notify_urls.get_secret_value() if self.notify_urls else ""),
        )

    @classmethod
    def load(cls, needs: Iterable[Need] = ()) -> Settings:
        """Read the environment and `.env` of the current folder.

        Args:
            needs: the settings that the caller cannot do without.

        Raises:
            Misconfigured: with every problem at once: invalid values, missing ones, secret files that cannot be read.
        """
        given = _given()
        problems: dict[str, str] = {}
        from_files = _read_secret_files(_SECRETS, given, problems) | _read_secret_files(_CHANNEL_SECRETS, given, {})
        try:
            settings = cls(**from_files)  # type: ignore[arg-type]  # values are validated by pydantic
        except ValidationError as error:
            settings = None
            problems |= {variable_of(str(item["loc"][0])): _in_words(item["msg"]) for item in error.errors()}
        for name in needs:
            variable = variable_of(name)
            if not {variable, f"{variable}_FILE"} & problems.keys() and not from_files.get(name, given.get(variable)):
                problems[variable] = f"is not set; it wants {_EXAMPLES[name]}"
        if problems or settings is None:
            lines = "".join(f"\n  {variable} {problem}" for variable, problem in sorted(problems.items()))
            raise Misconfigured(
                f"{len(problems)} {'setting needs' if len(problems) == 1 else 'settings need'} attention:{lines}",
                next_step="set them in the environment or in a .env file here; secrets may also come from a file "
                f"named by {variable_of('api_token')}_FILE or {variable_of('database_url')}_FILE",
            )
        return settings


@dataclass(frozen=True, slots=True)
class Channels:
    """Where to tell of runs; what is not configured is empty. Its representation shows no secret."""

    metrics_file: str = ""
    pushgateway_url: str = ""
    ping_url: str = field(default="", repr=False)
    notify_urls: tuple[str, ...] = field(default=(), repr=False)

    @classmethod
    def load(cls) -> Channels:
        """Those of the environment and `.env`, whatever is wrong with the other settings.

        Raises:
            Misconfigured: `.env` cannot be read.
        """
        given = _given()
        values = given | {
            variable_of(name): value for name, value in _read_secret_files(_CHANNEL_SECRETS, given, {}).items()
        }
        file, gateway, ping, urls = (
            values.get(variable_of(name), "") for name in ("metrics_file", "pushgateway_url", *_CHANNEL_SECRETS)
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


def unread_channels() -> dict[str, str]:
    """What is wrong with the files that name channels, by variable; a run goes on without them."""
    problems: dict[str, str] = {}
    _read_secret_files(_CHANNEL_SECRETS, _given(), problems)
    return problems


def variable_of(field_name: str) -> str:
    """The environment variable of a field of `Settings`; a name that is one already stays as it is."""
    if field_name.startswith(PREFIX):
        return field_name
    return f"{PREFIX}SCHEMA" if field_name == "schema_name" else f"{PREFIX}{field_name.upper()}"


def unknown_variables() -> dict[str, str | None]:
    """Variables that begin with `WATCH_TIME_` and that nothing reads, each with the known name nearest to it.

    Not an error: an orchestrator may set such names on its own (Kubernetes does, for a Service named `watch-time`).
    """
    known = {variable_of(name) for name in Settings.model_fields}
    known |= {f"{variable_of(name)}_FILE" for name in (*_SECRETS, *_CHANNEL_SECRETS)}
    strangers = sorted(name for name in _given() if name.startswith(PREFIX) and name not in known)
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1)), None)
        for name in strangers
        if not name.startswith(f"{PREFIX}TEST_")
    }


def _given() -> dict[str, str]:
    """What is set, as pydantic sees it: in capitals, nothing empty, the environment before `.env`.

    Raises:
        Misconfigured: `.env` cannot be read.
    """
    try:
        from_file = dotenv_values(".env")
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(
            f".env in {Path.cwd()} cannot be read: {_why_unreadable(error)}",
            next_step="mend the file, or put the settings into the environment",
        ) from None
    given = [*from_file.items(), *os.environ.items()]
    return {name.upper(): value for name, value in given if value}


def _read_secret_files(names: Iterable[str], given: Mapping[str, str], problems: dict[str, str]) -> dict[str, str]:
    """Read `*_FILE` of the settings `names`; problems are added to `problems` under the variable's name."""
    values: dict[str, str] = {}
    for name in names:
        variable = variable_of(name)
        file_name = given.get(f"{variable}_FILE")
        if not file_name:
            continue
        if given.get(variable):
            problems[variable] = f"is set together with {variable}_FILE; keep one of them"
            continue
        try:
            text = Path(file_name).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            problems[f"{variable}_FILE"] = f"names {file_name}, which cannot be read: {_why_unreadable(error)}"
            continue
        if text:
            values[name] = text
        else:
            problems[f"{variable}_FILE"] = f"names {file_name}, which is empty"
    return values


def _why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    return str(error.strerror) if isinstance(error, OSError) else "it is not UTF-8"


def _in_words(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")
