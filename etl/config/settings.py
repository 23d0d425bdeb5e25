"""The settings: environment variables `WATCH_TIME_*`, a `.env` file, and `*_FILE` for the secrets.

Every problem is reported at once, and no value of a secret is ever shown.
"""

from __future__ import annotations

import difflib
import json
import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from etl.config.environment import PREFIX, given, open_to_others, read_secret_files, variable_of
from etl.config.sslmode import Sslmode, too_weak
from etl.config.telemetry_settings import TELEMETRY_SECRETS, TelemetrySettings, split_urls
from etl.domain.contract import COLUMNS, IGNORE
from etl.domain.errors import Misconfigured
from etl.domain.slices import MAX_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Iterable

EMBEDDED: Final = "embedded:"

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")

Need = Literal["api_token", "org_id", "database_url", "archive_url"]

_SECRETS: Final = ("api_token", "database_url")

_EXAMPLES: Final = {
    "api_token": "the token of an API key from the BlendVision One console",
    "org_id": "the organization's id, as the console shows it",
    "database_url": "postgresql://user@host:5432/database, or embedded:./warehouse for a Postgres of its own",
    "archive_url": "a folder, or s3://bucket/prefix, gs://bucket/prefix, abfs://container/prefix",
}

# abfs also knows container@account; a colon before the @ would be a password.
_ARCHIVE: Final = re.compile(r"(s3|gs)://[^\s/?#@:]+(/[^\s?#]*)?|abfs://[^\s/?#@:]+(@[^\s/?#@:]+)?(/[^\s?#]*)?")


# What a machine's folder of time zones holds beside those of IANA: its own zone, and others with leap seconds.
_OF_THE_MACHINE: Final = re.compile(r"(posix|right)/|(localtime|posixrules|Factory)\Z")

# For libpq the first @ or / ends the password: what comes after it would be taken for a host or a database, and shown.
_SPLIT_PASSWORD: Final = re.compile(r"postgres[^:]*://[^/?]*[@/][^?]*@")
# In a database URL: before the @, and of what comes after the ? also those of keys.
_PASSWORDS: Final = re.compile(r"(?<=://)[^:@/]*:([^@/]*)@|[?&]\w*password=([^&]*)")


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
    # Before the URL, which is judged by it.
    weakest_sslmode: Sslmode = Field(
        "verify-full",
        description="What a database URL's `sslmode` must be at least, where it leads to another machine.",
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
        14,
        ge=0,
        le=366,
        description="`run` also takes the slices of so many days before the target that are not loaded.",
    )
    first_date: date | None = Field(
        None,
        description="Gaps before this date do not count (YYYY-MM-DD); by default they count from the first known date.",
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
    concurrency: int = Field(2, ge=1, le=MAX_CONCURRENCY, description="How many slices are worked on at the same time.")
    dask_without_tls: bool = Field(
        False, description="Lets `--dask` use a scheduler on another machine without TLS, for networks of your own."
    )
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
    archive_url: str | None = Field(
        None,
        description="Where every accepted revision is archived: a folder, or `s3://`, `gs://`, `abfs://` and a prefix.",
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
    def _database_is_a_url(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and not re.match(rf"postgres(ql)?(\+\w+)?://|{EMBEDDED}.", value.get_secret_value()):
            raise ValueError(f"must look like {_EXAMPLES['database_url']}")
        if value is not None and _SPLIT_PASSWORD.match(value.get_secret_value()):
            raise ValueError("must have @ : / in its user and its password written as %40 %3A %2F")
        weakest = info.data.get("weakest_sslmode")  # not there when it is none
        if value is not None and weakest and not value.get_secret_value().startswith(EMBEDDED):
            problem = too_weak(value.get_secret_value(), weakest)
            if problem:
                raise ValueError(problem)
        return value

    @field_validator("archive_url")
    @classmethod
    def _archive_is_a_place(cls, value: str | None) -> str | None:
        if value is not None and (":" in value or value.startswith("//")) and not _ARCHIVE.fullmatch(value):
            raise ValueError(
                f"must be {_EXAMPLES['archive_url']}; without user, password, port or query: credentials come from the "
                "store's own environment variables"
            )
        return value and (value.rstrip("/") or "/")

    @field_validator("schema_name")
    @classmethod
    def _schema_is_a_plain_name(cls, value: str) -> str:
        if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
            raise ValueError("must be lower-case letters, digits and underscores, at most 63, and begin with no digit")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone_exists(cls, value: str) -> str:
        wrong = ValueError(f"{value!r} is not an IANA time zone; use a name such as Asia/Taipei")
        if _OF_THE_MACHINE.match(value):
            raise wrong
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise wrong from None
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

    def now(self) -> datetime:
        """The time in the configured zone."""
        return datetime.now(ZoneInfo(self.time_zone))

    def today(self) -> date:
        """The date in the configured zone."""
        return self.now().date()

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
        """The values that must never be shown; a database URL counts as a whole and by its passwords."""
        token, url = (secret.get_secret_value() if secret else "" for secret in (self.api_token, self.database_url))
        of_telemetry = self.telemetry().secrets()
        if url.startswith(EMBEDDED):
            return (token, *of_telemetry)
        passwords = [password for found in _PASSWORDS.findall(url) for password in found if password]
        # One that is also a name in the URL is not looked for: a mask in that name's place would tell it.
        rest = _PASSWORDS.sub("", url)
        hidden = (password for password in (*passwords, *map(unquote, passwords)) if password not in rest)
        return (token, url, *hidden, *of_telemetry)

    def telemetry(self) -> TelemetrySettings:
        """Where to tell of runs."""
        return TelemetrySettings(
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
        variables = given()
        problems: dict[str, str] = {}
        from_files = read_secret_files(_SECRETS, variables, problems)
        from_files |= read_secret_files(TELEMETRY_SECRETS, variables, {})
        try:
            settings = cls(**from_files)  # type: ignore[arg-type]  # values are validated by pydantic
        except ValidationError as error:
            settings = None
            problems |= {variable_of(str(item["loc"][0])): _in_words(item["msg"]) for item in error.errors()}
        for name in needs:
            variable = variable_of(name)
            if not {variable, f"{variable}_FILE"} & problems.keys() and not from_files.get(
                name, variables.get(variable)
            ):
                problems[variable] = f"is not set; it wants {_EXAMPLES[name]}"
        if problems or settings is None:
            lines = "".join(f"\n  {variable} {problem}" for variable, problem in sorted(problems.items()))
            raise Misconfigured(
                f"{len(problems)} {'setting needs' if len(problems) == 1 else 'settings need'} attention:{lines}",
                next_step="set them in the environment or in a .env file here; secrets may also come from a file "
                f"named by {variable_of('api_token')}_FILE or {variable_of('database_url')}_FILE",
            )
        return settings


def unknown_variables() -> dict[str, str | None]:
    """Variables that begin with `WATCH_TIME_` and that nothing reads, each with the known name nearest to it.

    Not an error: an orchestrator may set such names on its own (Kubernetes does, for a Service named `watch-time`).
    """
    known = {variable_of(name) for name in Settings.model_fields}
    known |= {f"{variable_of(name)}_FILE" for name in (*_SECRETS, *TELEMETRY_SECRETS)}
    foreign = sorted(name for name in given() if name.startswith(PREFIX) and name not in known)
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1)), None)
        for name in foreign
        if not name.startswith(f"{PREFIX}TEST_")
    }


def open_secrets() -> dict[str, str]:
    """The files with secrets that other users may read or change, and their modes."""
    return open_to_others((*_SECRETS, *TELEMETRY_SECRETS))


def _in_words(message: str) -> str:
    return message.removeprefix("Value error, ").removeprefix("Input ")
