"""What a setting's value must look like, and how a wrong one is told."""

from __future__ import annotations

import json
import re
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final, get_args
from zoneinfo import ZoneInfo

from pydantic import SecretStr, ValidationInfo

from etl.config.sslmode_check import Sslmode, too_weak
from etl.domain.contract import COLUMNS, IGNORE

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

EMBEDDED: Final = "embedded:"
EXAMPLES: Final = {
    "api_token": "an API token from the BlendVision One console",
    "org_id": "the organization's id, as the console shows it",
    "database_url": "postgresql://user@host:5432/database, or embedded:./warehouse for a Postgres of its own",
    "archive_url": "a folder, or s3://bucket/prefix, gs://bucket/prefix, abfs://container/prefix",
}

_HOST: Final = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")
# abfs also knows container@account; a colon before the @ would be a password.
_ARCHIVE: Final = re.compile(r"(s3|gs)://[^\s/?#@:]+(/[^\s?#]*)?|abfs://[^\s/?#@:]+(@[^\s/?#@:]+)?(/[^\s?#]*)?")
_LONGEST_SHOWN: Final = 60

# What a machine's folder of time zones holds beside those of IANA: its own zone, and others with leap seconds.
_OF_THE_MACHINE: Final = re.compile(r"(posix|right)/|(localtime|posixrules|Factory)\Z")
# For libpq the first @ or / ends the password: what comes after it would be taken for a host or a database, and shown.
_SPLIT_PASSWORD: Final = re.compile(r"postgres[^:]*://[^/?]*[@/][^?]*@")

_EXPECTED: Final[dict[object, str]] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    date: "a date (YYYY-MM-DD)",
    Sslmode: f"one of {', '.join(get_args(Sslmode))}",
}


def problem(field: FieldInfo, error: ErrorDetails, given: str | None) -> str:
    """What is wrong with a value, after the name of its variable; `given` is None for a secret, which is not shown."""
    value = "" if given is None else f"={_shown(given)}"
    if error["type"] == "value_error":
        return f"{value}: {error['msg'].removeprefix('Value error, ')}"
    kind = next(kind for kind in (field.annotation, *get_args(field.annotation)) if kind in _EXPECTED)
    bounds = "".join(
        f" {word} {getattr(each, sign):,}"
        for word, sign in (("from", "ge"), ("to", "le"))
        for each in field.metadata
        if hasattr(each, sign)
    )
    return f"{value}: expected {_EXPECTED[kind]}{bounds}"


def _shown(value: str) -> str:
    """A value in one line of bounded length."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in value)
    return line if len(line) <= _LONGEST_SHOWN else f"{line[:_LONGEST_SHOWN]}..."


def http_base(value: str) -> str:
    """Of a base URL, without the slash at its end."""
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", value):
        raise ValueError("expected https://HOST, without user, query or fragment")
    return value.rstrip("/")


def database_url(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    """Of a database's URL, which must be protected as well as `weakest_sslmode` says."""
    if value is None:
        return None
    url = value.get_secret_value()
    if not re.match(rf"postgres(ql)?(\+\w+)?://|{EMBEDDED}.", url):
        raise ValueError(f"expected {EXAMPLES['database_url']}")
    if _SPLIT_PASSWORD.match(url):
        raise ValueError("expected @ : / in user and password to be written as %40 %3A %2F")
    weakest = info.data.get("weakest_sslmode")  # not there when it is none
    if weakest and not url.startswith(EMBEDDED) and (weakness := too_weak(url, weakest)):
        raise ValueError(weakness)
    return value


def archive_url(value: str | None) -> str | None:
    """Of a folder or a store, without the slash at its end."""
    if value is not None and (":" in value or value.startswith("//")) and not _ARCHIVE.fullmatch(value):
        raise ValueError(
            f"expected {EXAMPLES['archive_url']}, without user, password, port or query: credentials come from "
            "the store's own environment variables"
        )
    return value and (value.rstrip("/") or "/")


def schema_name(value: str) -> str:
    """Of a schema whose name needs no quotes."""
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", value):
        raise ValueError("expected at most 63 lower-case letters, digits and underscores, not starting with a digit")
    return value


def time_zone(value: str) -> str:
    """Of a zone of IANA's."""
    wrong = ValueError("expected an IANA time zone, such as Asia/Taipei")
    if _OF_THE_MACHINE.match(value):
        raise wrong
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise wrong from None
    return value


def header_value(value: str | SecretStr | None) -> str | SecretStr | None:
    """Of what is sent as an HTTP header."""
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if text is not None and not re.fullmatch(r"[\x21-\x7e]+", text):
        raise ValueError("expected printable ASCII without spaces: it is sent as an HTTP header")
    return value


def host_names(value: object) -> object:
    """Of host names, commas between."""
    if isinstance(value, str):
        value = tuple(host.strip().lower().rstrip(".") for host in value.split(",") if host.strip())
    wrong = [host for host in value if not _HOST.fullmatch(host)] if isinstance(value, tuple) else []
    if wrong:
        raise ValueError(f"expected host names, without scheme, port or *; invalid: {', '.join(wrong)}")
    return value


def header_aliases(value: object) -> object:
    """Of a JSON object from headers to columns."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError('expected a JSON object such as {"Viewer": "customer_id"}') from None
    if not isinstance(value, dict) or not all(isinstance(column, str) for column in value.values()):
        raise ValueError('expected a JSON object of strings such as {"Viewer": "customer_id"}')
    unknown = sorted(set(value.values()) - {*COLUMNS, IGNORE})
    if unknown:
        raise ValueError(f"expected column names from {', '.join(COLUMNS)}, {IGNORE}; invalid: {', '.join(unknown)}")
    return value
