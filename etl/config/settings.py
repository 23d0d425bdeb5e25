"""The settings: environment variables `WATCH_TIME_*`, a `.env` file, and `*_FILE` for the secrets.

Every problem is reported at once, and no value of a secret is ever shown.
"""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from etl.config import setting_checks
from etl.config.environment import PREFIX, given, open_to_others, read_secret_files, variable_of
from etl.config.setting_checks import EMBEDDED, EXAMPLES
from etl.config.sslmode_check import Sslmode
from etl.config.telemetry_settings import TELEMETRY_SECRETS, TelemetrySettings, split_urls
from etl.domain.errors import Misconfigured
from etl.domain.plurals import plural
from etl.domain.slices import MAX_CONCURRENCY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


Need = Literal["api_token", "org_id", "database_url", "archive_url"]

_SECRETS: Final = ("api_token", "database_url")

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

    api_token: Annotated[SecretStr | None, AfterValidator(setting_checks.header_value)] = Field(
        None, description="API token of the organization (secret)."
    )
    org_id: Annotated[str | None, AfterValidator(setting_checks.header_value)] = Field(
        None, description="Organization id, sent as `x-bv-org-id`."
    )
    api_base_url: Annotated[str, AfterValidator(setting_checks.http_base)] = Field(
        "https://api.one.blendvision.com", description="Base URL of the report API. Plain http only on loopback."
    )
    # Before the URL, which is judged by it.
    weakest_sslmode: Sslmode = Field(
        "verify-full", description="Weakest `sslmode` allowed in a database URL that points to another machine."
    )
    database_url: Annotated[SecretStr | None, AfterValidator(setting_checks.database_url)] = Field(
        None, description="Postgres URL (secret), or `embedded:DIR` for an embedded Postgres in that folder."
    )
    schema_name: Annotated[str, AfterValidator(setting_checks.schema_name)] = Field(
        "public",
        validation_alias=f"{PREFIX}SCHEMA",
        description="Postgres schema of all tables; one organization per schema.",
    )
    time_zone: Annotated[str, AfterValidator(setting_checks.time_zone)] = Field(
        "UTC", description="IANA time zone that decides which day is *today*."
    )
    lag_days: int = Field(2, ge=1, le=60, description="The target date is today minus this many days.")
    lookback_days: int = Field(
        14,
        ge=0,
        le=366,
        description="`run` also tries to load missing slices of this many days before the target date.",
    )
    first_date: date | None = Field(
        None,
        description="Gaps before this date (YYYY-MM-DD) are ignored; by default, gaps count from the first known date.",
    )
    recheck_days: int = Field(
        5,
        ge=0,
        le=366,
        description="`run` re-checks the loaded slices of this many days before the target date; 0: none.",
    )
    not_found_wait_seconds: float = Field(
        900,
        ge=0,
        le=86_400,
        description="How long `run` waits, in total, for the target date's report to appear (seconds).",
    )
    strict_not_found: bool = Field(
        True, description="Only a 404 with the API's own error body counts as *no report*; any other is an error."
    )
    concurrency: int = Field(2, ge=1, le=MAX_CONCURRENCY, description="How many slices are loaded at the same time.")
    dask_without_tls: bool = Field(
        False, description="Lets `--dask` use a scheduler on another machine without TLS, for private networks."
    )
    download_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(setting_checks.host_names)] = Field(
        (), description="Comma-separated hosts (with subdomains) that reports may come from; empty: any public host."
    )
    header_aliases: Annotated[dict[str, str], NoDecode, BeforeValidator(setting_checks.header_aliases)] = Field(
        {}, description='JSON object mapping header text to a column name or `ignore`: `{"Viewer": "customer_id"}`.'
    )
    max_reject_ratio: Decimal = Field(
        Decimal(0), ge=0, le=1, description="Share of a report's lines that may be rejected before it is held; 0: none."
    )
    shrink_limit: Decimal = Field(
        Decimal("0.5"),
        ge=0,
        le=1,
        description="A report with less than this share of the stored rows or seconds is held; 0: never.",
    )
    archive_url: Annotated[str | None, AfterValidator(setting_checks.archive_url)] = Field(
        None,
        description="Where every accepted revision is archived: a folder, or `s3://`, `gs://`, `abfs://` and a prefix.",
    )
    # Strings without further checks: a channel that cannot be used is a warning, never a reason not to run.
    metrics_file: str | None = Field(
        None, description="Where runs write their metrics for node_exporter's textfile collector: a `*.prom` file."
    )
    pushgateway_url: str | None = Field(None, description="Base URL of a Prometheus Pushgateway that runs push to.")
    ping_url: SecretStr | None = Field(
        None, description="URL of a dead man's switch, pinged as on healthchecks.io (secret: anyone with it can ping)."
    )
    notify_urls: SecretStr | None = Field(
        None, description="Apprise URLs of chats and mailboxes to notify (secret), separated by spaces or commas."
    )

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
            raise Misconfigured(f"{variable_of(name)} is not set", next_step=f"set it to {EXAMPLES[name]}")
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
    def load(cls, needs: Iterable[Need] = (), answers: Mapping[str, str] | None = None) -> Settings:
        """Read the environment and `.env` of the current folder.

        Args:
            needs: the settings that the caller cannot do without.
            answers: values by field, which win over both.

        Raises:
            Misconfigured: with every problem at once: invalid values, missing ones, secret files that cannot be read.
        """
        answers = answers or {}
        variables = given() | {variable_of(name): value for name, value in answers.items()}
        problems: dict[str, str] = {}
        from_files = read_secret_files([name for name in _SECRETS if name not in answers], variables, problems)
        from_files |= read_secret_files(TELEMETRY_SECRETS, variables, {})
        try:
            settings = cls(**from_files, **answers)  # type: ignore[arg-type]  # values are validated by pydantic
        except ValidationError as error:
            settings = None
            for item in error.errors():
                variable = variable_of(str(item["loc"][0]))
                name = next(name for name in cls.model_fields if variable_of(name) == variable)
                shown = None if name in {*_SECRETS, *TELEMETRY_SECRETS} else variables.get(variable, "")
                problems[variable] = setting_checks.problem(cls.model_fields[name], item, shown)
        for name in needs:
            variable = variable_of(name)
            if not {variable, f"{variable}_FILE"} & problems.keys() and not from_files.get(
                name, variables.get(variable)
            ):
                problems[variable] = f": not set; expected {EXAMPLES[name]}"
        if problems or settings is None:
            lines = "".join(f"\n  {variable}{problem}" for variable, problem in sorted(problems.items()))
            unknown = unknown_variables()
            typos = "".join(f"\n  {unknown_variable(*found)}" for found in unknown.items())
            count = len(problems) + len(unknown)
            subject = f"{plural(count, 'setting')} {'is' if count == 1 else 'are'}"
            trouble = "missing, wrong or unknown" if unknown else "missing or wrong"
            raise Misconfigured(f"{subject} {trouble}:{lines}{typos}", next_step=_how_to_set(problems))
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


def unknown_variable(name: str, nearest: str | None) -> str:
    """What to say of a variable that nothing reads."""
    return f"{name}: unknown setting{f'; did you mean {nearest}?' if nearest else ''}"


def _how_to_set(problems: Mapping[str, str]) -> str:
    missing = [variable for variable, problem in problems.items() if problem.startswith(": not set")]
    if not missing:
        return "correct them in the environment or in .env"
    secret = next((variable for variable in map(variable_of, _SECRETS) if variable in missing), None)
    from_file = f"; a secret can also be read from a file: set {secret}_FILE to its path" if secret else ""
    return (
        f"set them in the environment or in .env in this folder{from_file}; to be prompted for them: `watch-time init`"
    )
