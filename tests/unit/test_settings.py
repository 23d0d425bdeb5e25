"""Settings: where they come from, what is said about wrong ones, and that their secrets stay secret."""

from __future__ import annotations

import os
import pickle
import re
import traceback
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from etl.config.settings import Settings, open_secrets, unknown_variables
from etl.domain.errors import Misconfigured

TOKEN = "t0k3n-canary"
URL = "postgresql://loader:pa55-canary@db.example.com:5432/warehouse?sslmode=verify-full"


def settings_of(**values: Any) -> Settings:
    return Settings(**values)


def set_variables(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"WATCH_TIME_{name}", value)


def complaint(*needs: str) -> Misconfigured:
    with pytest.raises(Misconfigured) as refused:
        Settings.load(needs)  # type: ignore[arg-type]  # names of settings
    return refused.value


def problems(*needs: str) -> dict[str, str]:
    """What is said of each variable, and of its value where that is shown."""
    lines = [re.fullmatch(r"  (\w+)(.*)", line) for line in complaint(*needs).message.splitlines()[1:]]
    return {found[1]: found[2] for found in lines if found}


def test_nothing_is_needed_for_the_defaults() -> None:
    settings = Settings.load()
    assert (settings.lag_days, settings.schema_name, settings.max_reject_ratio) == (2, "public", Decimal(0))
    assert settings.secrets() == ("", "")


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, LAG_DAYS="two", SCHEMA="Public", CONCURRENCY="0", TIME_ZONE="Taipei", API_TOKEN_FILE="x")
    error = complaint("api_token", "org_id")
    assert error.exit_code == 78
    assert error.message.startswith("6 settings are missing or wrong:\n")
    assert problems("api_token", "org_id") == {
        "WATCH_TIME_API_TOKEN_FILE": " names x, which cannot be read: No such file or directory",
        "WATCH_TIME_CONCURRENCY": "=0: expected a whole number from 1 to 32",
        "WATCH_TIME_LAG_DAYS": "=two: expected a whole number from 1 to 60",
        "WATCH_TIME_ORG_ID": ": not set; expected the organization's id, as the console shows it",
        "WATCH_TIME_SCHEMA": "=Public: expected at most 63 lower-case letters, digits and underscores, not starting "
        "with a digit",
        "WATCH_TIME_TIME_ZONE": "=Taipei: expected an IANA time zone, such as Asia/Taipei",
    }


def test_each_missing_setting_is_named_with_what_it_wants() -> None:
    assert {name: text.partition(" expected ")[2][:9] for name, text in problems(
        "api_token", "org_id", "database_url"
    ).items()} == {
        "WATCH_TIME_API_TOKEN": "an API to",
        "WATCH_TIME_DATABASE_URL": "postgresq",
        "WATCH_TIME_ORG_ID": "the organ",
    }  # fmt: skip


def test_what_was_not_needed_is_asked_for_when_it_is_used_after_all() -> None:
    with pytest.raises(Misconfigured, match="WATCH_TIME_ORG_ID is not set") as refused:
        Settings.load().require("org_id")
    assert refused.value.next_step == "set it to the organization's id, as the console shows it"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("API_BASE_URL", "api.example.com", "expected https://HOST"),
        ("API_BASE_URL", "https://me:secret@api.example.com", "expected https://HOST"),
        ("API_BASE_URL", "https://api.example.com/?v=1", "expected https://HOST"),
        ("API_TOKEN", "two words", "expected printable ASCII without spaces"),
        ("ORG_ID", "Ω", "expected printable ASCII without spaces"),
        ("DATABASE_URL", "mysql://db/warehouse", "expected postgresql://"),
        ("DATABASE_URL", "host=db password=x", "expected postgresql://"),
        ("DATABASE_URL", "embedded:", "expected postgresql://"),
        ("SCHEMA", 'x"; DROP', "expected at most 63 lower-case letters"),
        ("SCHEMA", "a\n", "expected at most 63 lower-case letters"),
        ("SCHEMA", "a" * 64, "expected at most 63 lower-case letters"),
        (
            "DATABASE_URL",
            "postgresql://u:p@ss-canary@h/d",
            "expected @ : / in user and password to be written as %40",
        ),
        ("DATABASE_URL", "postgresql://u:pa/ss-canary@h/d", "written as %40 %3A %2F"),
        ("TIME_ZONE", "../etc/passwd", "=../etc/passwd: expected an IANA time zone"),
        ("TIME_ZONE", "localtime", "=localtime: expected an IANA time zone"),
        ("TIME_ZONE", "right/Asia/Taipei", "such as Asia/Taipei"),
        ("LAG_DAYS", "-1", "=-1: expected a whole number from 1 to 60"),
        ("LOOKBACK_DAYS", "1e9", "=1e9: expected a whole number from 0 to 366"),
        ("NOT_FOUND_WAIT_SECONDS", "nan", "=nan: expected a number from 0 to 86,400"),
        ("FIRST_DATE", "2026-13-01", "=2026-13-01: expected a date (YYYY-MM-DD)"),
        ("NOT_FOUND_WAIT_SECONDS", "inf", "=inf: expected a number from 0 to 86,400"),
        ("MAX_REJECT_RATIO", "NaN", "=NaN: expected a number from 0 to 1"),
        ("WEAKEST_SSLMODE", "none", "=none: expected one of disable, allow, prefer, require, verify-ca, verify-full"),
        ("MAX_REJECT_RATIO", "1.1", "=1.1: expected a number from 0 to 1"),
        ("SHRINK_LIMIT", "half", "=half: expected a number from 0 to 1"),
        ("STRICT_NOT_FOUND", "perhaps", "=perhaps: expected true or false"),
        (
            "DOWNLOAD_HOSTS",
            "https://files.example.com",
            "without scheme, port or *; invalid: https://files.example.com",
        ),
        ("DOWNLOAD_HOSTS", "a.example.com, *.example.com", "without scheme, port or *; invalid: *.example.com"),
        ("DOWNLOAD_HOSTS", "files.example.com:443", "without scheme, port or *; invalid: files.example.com:443"),
        ("HEADER_ALIASES", "{Viewer: customer_id}", "expected a JSON object such as"),
        ("HEADER_ALIASES", '["Viewer"]', "expected a JSON object of strings"),
        ("HEADER_ALIASES", '{"Viewer": 1}', "expected a JSON object of strings"),
        ("HEADER_ALIASES", '{"A": "viewer", "B": "ignore"}', "ignore; invalid: viewer"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, told: str
) -> None:
    set_variables(monkeypatch, **{name: value})
    found = problems()
    assert list(found) == [f"WATCH_TIME_{name}"]
    assert told in found[f"WATCH_TIME_{name}"]


def test_lists_and_mappings_are_written_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(
        monkeypatch,
        DOWNLOAD_HOSTS=" Files.Example.com. ,,cdn.example.net",
        HEADER_ALIASES='{"Viewer": "customer_id", "觀看": "ignore"}',
        SHRINK_LIMIT="0.1",
        API_BASE_URL="https://api.example.com/v1/",
    )
    settings = Settings.load()
    assert settings.download_hosts == ("files.example.com", "cdn.example.net")
    assert settings.header_aliases == {"Viewer": "customer_id", "觀看": "ignore"}
    assert settings.shrink_limit == Decimal("0.1")
    assert settings.api_base_url == "https://api.example.com/v1"


def test_the_environment_wins_over_the_env_file_and_empty_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("WATCH_TIME_ORG_ID=file\nwatch_time_api_token=file\nWATCH_TIME_LAG_DAYS=3\nOTHER=1\n")
    set_variables(monkeypatch, LAG_DAYS="4", ORG_ID="", API_TOKEN_FILE="")
    settings = Settings.load(needs=("org_id", "api_token"))
    assert (settings.require("org_id"), settings.require("api_token"), settings.lag_days) == ("file", "file", 4)


@pytest.mark.parametrize("content", [pytest.param(b"A=\xff\n", id="bytes"), pytest.param(None, id="no right to read")])
def test_an_env_file_that_cannot_be_read_is_a_problem_of_configuration(
    monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    Path(".env").write_bytes(content or b"")
    if content is None:

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr("etl.config.environment.dotenv_values", refuse)  # root may read everything
    reason = "it is not valid UTF-8" if content else "Permission denied"
    assert complaint().message == f".env in {Path.cwd()} cannot be read: {reason}"


def test_secrets_may_come_from_files(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("token").write_text(f"{TOKEN}\n")
    Path(".env").write_text(f"WATCH_TIME_DATABASE_URL_FILE={Path.cwd()}/url\n")
    Path("url").write_text(URL)
    set_variables(monkeypatch, API_TOKEN_FILE="token")
    settings = Settings.load(needs=("api_token", "database_url"))
    assert (settings.require("api_token"), settings.require("database_url")) == (TOKEN, URL)
    assert unknown_variables() == {}


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        pytest.param(None, "API_TOKEN_FILE", "cannot be read: No such file or directory", id="missing"),
        pytest.param(b" \n", "API_TOKEN_FILE", "which is empty", id="empty"),
        pytest.param(b"\xff\xfe", "API_TOKEN_FILE", "cannot be read: it is not valid UTF-8", id="binary"),
        pytest.param(b"two words", "API_TOKEN", "expected printable ASCII without spaces", id="no token"),
    ],
)
def test_a_wrong_secret_file_is_one_problem(
    monkeypatch: pytest.MonkeyPatch, content: bytes | None, name: str, told: str
) -> None:
    if content is not None:
        Path("token").write_bytes(content)
    set_variables(monkeypatch, API_TOKEN_FILE="token")
    found = problems("api_token")
    assert list(found) == [f"WATCH_TIME_{name}"]
    assert told in found[f"WATCH_TIME_{name}"]


def test_a_secret_given_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("token").write_text(TOKEN)
    set_variables(monkeypatch, API_TOKEN=TOKEN, API_TOKEN_FILE="token")
    assert problems("api_token") == {
        "WATCH_TIME_API_TOKEN": " is set together with WATCH_TIME_API_TOKEN_FILE; keep one of them"
    }


def test_secrets_are_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, API_TOKEN=TOKEN, DATABASE_URL=URL)
    settings = Settings.load()
    shown = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    assert "canary" not in shown
    assert pickle.loads(pickle.dumps(settings)) == settings  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("name", "value"), [("API_TOKEN", f"{TOKEN} \t"), ("DATABASE_URL", "canary"), ("API_TOKEN_FILE", "file")]
)
def test_a_wrong_secret_is_in_no_message(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    Path("file").write_text(f"{TOKEN} {TOKEN}")
    set_variables(monkeypatch, **{name: value})
    error = complaint("api_token", "database_url")
    assert "canary" not in "".join([error.next_step, *traceback.format_exception(error)])
    with pytest.raises(ValueError, match="api_token") as invalid:
        settings_of(api_token=f"{TOKEN} \t")
    assert "canary" not in str(invalid.value)


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        pytest.param(URL, {URL, "pa55-canary"}, id="password"),
        pytest.param("postgresql://u:p%40ss@h/d", {"postgresql://u:p%40ss@h/d", "p%40ss", "p@ss"}, id="escaped"),
        pytest.param("postgresql://h/d?user=u&password=p%3D", {"postgresql://h/d?user=u&password=p%3D", "p%3D", "p="},
                     id="parameter"),
        pytest.param("postgresql://u@h:5432/d?x=a@b", {"postgresql://u@h:5432/d?x=a@b"}, id="none"),
        pytest.param("postgresql://h:5432/d", {"postgresql://h:5432/d"}, id="port"),
        pytest.param("postgresql://prod_2026:prod_2026@h/prod_2026", {"postgresql://prod_2026:prod_2026@h/prod_2026"},
                     id="a name as well"),
        pytest.param("embedded:./warehouse", set(), id="embedded"),
    ],
)  # fmt: skip
def test_what_must_be_masked_is_the_url_and_its_password(url: str, secrets: set[str]) -> None:
    settings = settings_of(api_token=TOKEN, database_url=url, weakest_sslmode="disable")
    assert set(settings.secrets()) == {TOKEN} | secrets


def test_names_that_nothing_reads_come_with_the_nearest_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, API_TOKN="x", SERVICE_HOST="10.0.0.1", LAG_DAYS="2", API_TOKEN_FILE="f", TEST_X="1")
    Path(".env").write_text("WATCH_TIME_SHEMA=a\n")
    found = unknown_variables()
    assert found.pop("WATCH_TIME_SERVICE_HOST") != "WATCH_TIME_SERVICE_HOST"
    assert found == {"WATCH_TIME_API_TOKN": "WATCH_TIME_API_TOKEN", "WATCH_TIME_SHEMA": "WATCH_TIME_SCHEMA"}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        settings_of().lag_days = 1


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_today_is_that_of_the_time_zone(zone: str) -> None:
    offset = timedelta(hours=14 if zone.endswith("Kiritimati") else -11)
    before = datetime.now(UTC)
    today = settings_of(time_zone=zone).today()
    assert (before + offset).date() <= today <= (datetime.now(UTC) + offset).date()


def test_only_our_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAG_DAYS", "9")
    monkeypatch.setenv("SCHEMA_NAME", "elsewhere")
    settings = Settings.load()
    assert (settings.lag_days, settings.schema_name) == (2, "public")


@pytest.mark.parametrize(
    ("mode", "told"),
    [(0o600, {}), (0o400, {}), (0o644, "0644"), (0o640, "0640"), (0o604, "0604"), (0o602, "0602")],
)
def test_secrets_that_others_get_at_are_told_of(
    monkeypatch: pytest.MonkeyPatch, mode: int, told: str | dict[str, str]
) -> None:
    Path("token").write_text(TOKEN)
    Path(".env").write_text(f"watch_time_database_url={URL}\n")
    for name in ("token", ".env"):
        Path(name).chmod(mode)
    set_variables(monkeypatch, API_TOKEN_FILE="token", PING_URL_FILE="missing")
    assert open_secrets() == ({".env": told, "token": told} if told else {})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_a_platform_mounts_is_in_its_hands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes mounts secrets as root's, mode 0644, for a program that runs as another user."""
    Path("token").write_text(TOKEN)
    os.chown("token", 4711, 4711)
    set_variables(monkeypatch, API_TOKEN_FILE="token")
    Path("token").chmod(0o644)
    assert open_secrets() == {}
    Path("token").chmod(0o666)
    assert open_secrets() == {"token": "0666"}


def test_an_env_file_without_secrets_may_be_read_by_all() -> None:
    Path(".env").write_text("WATCH_TIME_LAG_DAYS=3\n")
    Path(".env").chmod(0o644)
    assert open_secrets() == {}
