"""Which database URLs demand enough of TLS, as libpq and its variables and files understand them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from etl.config.settings import Settings
from etl.config.sslmode_check import Sslmode, too_weak

FULL: Sslmode = "verify-full"
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_variables_of_mine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE", "PGSERVICEFILE", "PGREQUIRESSL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql:///d", id="socket, by default"),
        pytest.param("postgresql:///d?host=/run/postgresql", id="socket"),
        pytest.param("postgresql:///d?host=@abstract", id="abstract socket"),
        pytest.param("postgresql://%2Frun%2Fpostgresql/d", id="socket in the place of the host"),
        pytest.param("postgresql://localhost/d", id="localhost"),
        pytest.param("postgresql://127.0.0.2:5433/d", id="loopback"),
        pytest.param("postgresql://[::1]/d", id="loopback of IPv6"),
        pytest.param("postgresql+psycopg://localhost/d", id="as SQLAlchemy writes it"),
        pytest.param("postgresql://localhost,127.0.0.1/d", id="several, all local"),
        pytest.param("postgresql:///d?hostaddr=127.0.0.1", id="an address alone"),
        pytest.param("postgresql://db.example.com/d?sslmode=verify-full", id="as demanded"),
        pytest.param("postgres://a.example.com,b.example.com/d?sslmode=verify-full", id="several, as demanded"),
        pytest.param("postgresql://db.example.com/d?sslrootcert=system", id="libpq's own demand with system"),
        pytest.param("postgresql://db.example.com/d?sslmode=disable&sslmode=verify-full", id="the last one counts"),
    ],
)
def test_these_are_fine(url: str) -> None:
    assert too_weak(url, FULL) is None


@pytest.mark.parametrize(
    ("url", "told"),
    [
        pytest.param(
            "postgresql://db.example.com/d", "db.example.com with sslmode=prefer (the default), which", id="none stated"
        ),
        pytest.param("postgresql://u:pw@10.1.2.3/d?sslmode=disable", "10.1.2.3 with sslmode=disable,", id="disable"),
        pytest.param("postgresql://h/d?sslmode=allow", "h with sslmode=allow,", id="allow"),
        pytest.param("postgresql://h/d?sslmode=require", "h with sslmode=require,", id="require"),
        pytest.param("postgresql://h/d?sslmode=verify-ca", "h with sslmode=verify-ca,", id="verify-ca"),
        pytest.param("postgresql+psycopg://h/d", "h with sslmode=prefer", id="as SQLAlchemy writes it"),
        pytest.param("postgresql://localhost,h/d", "connects to h with", id="one of several"),
        pytest.param("postgresql:///d?host=/run,h", "connects to h with", id="one beside a socket"),
        pytest.param("postgresql://localhost/d?host=h", "connects to h with", id="host as a parameter wins"),
        pytest.param("postgresql://localhost/d?hostaddr=10.0.0.1", "connects to 10.0.0.1 with", id="address elsewhere"),
        pytest.param("postgresql://h/d?hostaddr=127.0.0.1", "connects to h with", id="a tunnel's end"),
        pytest.param("postgresql://h/d?sslmode=verify-full&sslmode=prefer", "h with sslmode=prefer", id="last counts"),
        pytest.param("postgresql://h/d?sslrootcert=system&sslmode=require", "sslmode=require", id="weak with system"),
        pytest.param("postgresql://localhost.example.com/d", "localhost.example.com", id="localhost as a beginning"),
        pytest.param("postgresql://127.1/d", "127.1", id="loopback in another notation"),
        pytest.param("postgresql://[::ffff:127.0.0.1]/d", "::ffff:127.0.0.1", id="IPv4 in IPv6"),
        pytest.param("postgresql://h/d?channel_binding=require", "h with sslmode=prefer", id="channel binding"),
        pytest.param("postgresql://u:p?w@h/d", "h with sslmode=prefer", id="a question mark in the password"),
    ],
)
def test_these_are_too_weak(url: str, told: str) -> None:
    found = too_weak(url, FULL)
    assert found is not None
    assert told in found
    assert "sslmode=verify-full&sslrootcert=FILE" in found
    assert "pw" not in found
    assert too_weak(url, "disable") is None


@pytest.mark.parametrize("url", ["postgresql://h/d?no_such=option", "nonsense"])
def test_what_cannot_be_read_is_left_to_who_connects(url: str) -> None:
    assert too_weak(url, FULL) is None


def test_the_variables_of_libpq_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example.com")
    assert "connects to db.example.com" in (too_weak("postgresql:///d", FULL) or "")
    assert too_weak("postgresql://localhost/d", FULL) is None
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert too_weak("postgresql:///d", FULL) is None
    assert "with sslmode=require," in (too_weak("postgresql:///d?sslmode=require", FULL) or "")
    monkeypatch.setenv("PGHOSTADDR", "10.0.0.1")
    monkeypatch.setenv("PGSSLMODE", "disable")
    assert "connects to 10.0.0.1" in (too_weak("postgresql://localhost/d", FULL) or "")


@pytest.mark.parametrize("by_variable", [True, False])
def test_the_service_file_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, by_variable: bool) -> None:
    (tmp_path / "services").write_text(
        "[weak]\nhost=db.example.com\n[strong]\nhost=db.example.com\nsslmode=verify-full\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))

    def judged(service: str) -> str:
        if by_variable:
            monkeypatch.setenv("PGSERVICE", service)
            return too_weak("postgresql:///d", FULL) or ""
        return too_weak(f"postgresql:///d?service={service}", FULL) or ""

    assert "connects to db.example.com with sslmode=prefer" in judged("weak")
    assert judged("strong") == ""


@pytest.mark.parametrize(
    ("weakest", "refused"),
    [
        ("verify-full", {"disable", "allow", "prefer", "require", "verify-ca"}),
        ("verify-ca", {"disable", "allow", "prefer", "require"}),
        ("require", {"disable", "allow", "prefer"}),
        ("prefer", {"disable", "allow"}),
        ("disable", set()),
    ],
)
def test_the_weakest_mode_allowed_draws_the_line(weakest: Sslmode, refused: set[str]) -> None:
    modes = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
    assert {mode for mode in modes if too_weak(f"postgresql://h/d?sslmode={mode}", weakest)} == refused


def test_the_containers_of_the_compose_file_reach_their_database(monkeypatch: pytest.MonkeyPatch) -> None:
    compose = (REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8")
    (weakest,) = re.findall(r"^ +WATCH_TIME_WEAKEST_SSLMODE: \$\{\w+:-(.+)\}$", compose, re.MULTILINE)
    monkeypatch.setenv("WATCH_TIME_WEAKEST_SSLMODE", weakest)
    monkeypatch.setenv("WATCH_TIME_DATABASE_URL_FILE", str(REPOSITORY / "deploy/compose/database-url"))
    assert Settings.load(["database_url"]).database_url
