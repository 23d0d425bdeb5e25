"""The doctor: what is amiss is named, with what to do about it, and the rest is looked at all the same."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import sql

from etl.diagnostics import doctor
from etl.diagnostics.check_result import Check, Verdict
from etl.diagnostics.doctor import run_checks
from etl.diagnostics.source_checks import _clock
from etl.domain.errors import DatabaseUnavailable
from etl.domain.slices import ReportType, Slice
from etl.extract import retry
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import driver_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Warehouse
    from etl.sandbox.sandbox import Sandbox
    from postgres import Server


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    """On the day that it is: so are the doctor's questions."""
    return SandboxConfig(vod_rows=5, live_rows=5, quiet_one_day_in=0)


@pytest.fixture
def configured(newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Warehouse:
    """The settings of the newest warehouse, in the environment."""
    configure(monkeypatch, newest_warehouse)
    return newest_warehouse


def configure(monkeypatch: pytest.MonkeyPatch, warehouse: Warehouse, **settings: str) -> None:
    known = {
        "API_TOKEN": warehouse.sandbox.config.token,
        "ORG_ID": warehouse.sandbox.config.org_id,
        "API_BASE_URL": warehouse.base_url,
        "DATABASE_URL": warehouse.url,
    }
    for name, value in (known | settings).items():
        monkeypatch.setenv(f"WATCH_TIME_{name}", value)


def found() -> dict[str, Check]:
    return {check.name: check for check in run_checks()}


def amiss() -> list[tuple[str, Verdict, int]]:
    return [
        (check.name, check.verdict, int(check.exit_code)) for check in run_checks() if check.verdict is not Verdict.OK
    ]


def newest_slice(sandbox: Sandbox) -> Slice:
    return Slice(sandbox.config.today() - timedelta(days=2), ReportType.VOD)


@pytest.mark.single_server("there is one check more: see test_citus")
def test_where_nothing_is_amiss_everything_was_looked_at_and_nothing_changed(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, warehouse)
    checks = found()
    assert {check.verdict for check in checks.values()} == {Verdict.OK}
    assert list(checks) == ["settings", "database", "tables", "privileges", "API", "clock", "download host"]
    assert checks["tables"].detail.endswith("not yet bound to an organization")
    assert warehouse.query("SELECT count(*) FROM report_slice") == [(0,)]
    assert warehouse.query("SELECT count(*) FROM warehouse") == [(0,)]


@pytest.mark.usefixtures("configured")
def test_no_check_shows_a_secret(configured: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, configured, API_TOKEN="t0k3n-canary")
    assert "canary" not in "".join(str(check) for check in run_checks())


def test_without_settings_only_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCH_TIME_API_TOKN", "x")
    assert amiss() == [("settings", Verdict.PROBLEM, 78)]
    (missing,) = run_checks()
    assert "4 settings are missing, wrong or unknown:" in missing.detail
    unknown = "WATCH_TIME_API_TOKN: unknown setting; did you mean WATCH_TIME_API_TOKEN?"
    assert missing.detail.endswith(unknown)


@pytest.mark.usefixtures("configured")
def test_it_never_recommends_itself(monkeypatch: pytest.MonkeyPatch, configured: Warehouse) -> None:
    configure(monkeypatch, configured, DATABASE_URL="postgresql://u@127.0.0.1:1/x")
    assert found()["database"].next_step == "try again later"
    for next_step in {*driver_errors._NEXT_STEPS.values(), driver_errors._LATER, driver_errors._NODE}:
        assert "doctor" not in (
            Check.problem("database", DatabaseUnavailable("x", next_step=next_step)).next_step or ""
        )


@pytest.mark.usefixtures("configured")
def test_secrets_that_others_get_at_are_worth_a_word() -> None:
    Path(".env").write_text("WATCH_TIME_PING_URL=https://hc.example.com/canary\n")
    Path(".env").chmod(0o644)
    warned = next(check for check in run_checks() if check.name == "settings" and check.verdict is Verdict.WARNING)
    assert (warned.detail, warned.next_step) == (
        ".env holds secrets and has mode 0644: other users can read or change it", "`chmod 600 .env`",
    )  # fmt: skip


def test_an_env_file_that_cannot_be_read_is_a_problem_of_the_settings() -> None:
    Path(".env").write_bytes(b"\xff")
    assert amiss() == [("settings", Verdict.PROBLEM, 78)]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        pytest.param({"API_TOKEN": "wrong"}, ("API", Verdict.PROBLEM, 77), id="token"),
        pytest.param({"API_BASE_URL": "http://127.0.0.1:1"}, ("API", Verdict.PROBLEM, 75), id="API down"),
        pytest.param({"API_BASE_URL": "http://example.com"}, ("API", Verdict.PROBLEM, 78), id="API in plain text"),
        pytest.param({"SCHEMA": "elsewhere"}, ("database", Verdict.PROBLEM, 78), id="never migrated"),
        pytest.param({"DATABASE_URL": "postgresql://u@h/d?x=y"}, ("database", Verdict.PROBLEM, 78), id="database url"),
    ],
)
def test_one_trouble_leaves_the_other_checks_alone(
    configured: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    expected: tuple[str, Verdict, int],
) -> None:
    monkeypatch.setattr(retry, "RetryPolicy", partial(retry.RetryPolicy, sleep=lambda _: None))
    configure(monkeypatch, configured, **settings)
    assert amiss() == [expected]
    assert found()[expected[0]].next_step


def test_another_organizations_tables_are_named(configured: Warehouse) -> None:
    with psycopg.connect(configured.url) as connection:
        connection.execute("INSERT INTO warehouse (org_id) VALUES ('other')")
    assert amiss() == [("database", Verdict.PROBLEM, 78)]
    assert "contains data for organization other, not sandbox-org" in found()["database"].detail


@contextmanager
def role(server: Server) -> Iterator[str]:
    """A database role that owns nothing."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.mark.single_server("roles are those of each node")
def test_rights_that_are_lacking_are_named_one_by_one(
    server: Server, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading everything is not enough, and of the privileges on a table every single one is needed."""
    with role(server) as name, psycopg.connect(warehouse.url, autocommit=True) as owner:
        who = sql.Identifier(name)
        for grant in ("SELECT ON ALL TABLES IN SCHEMA public", "INSERT, UPDATE ON content", "INSERT ON report_slice"):
            owner.execute(sql.SQL("GRANT {} TO {}").format(sql.SQL(grant), who))
        joint = "&" if "?" in warehouse.url else "?"
        configure(monkeypatch, warehouse, DATABASE_URL=f"{warehouse.url}{joint}options=-c%20role%3D{name}")
        assert amiss() == [("privileges", Verdict.PROBLEM, 78)]
        assert found()["privileges"].detail == (
            "the database user lacks the privileges to create tables in the schema, attach partitions to watch_time, "
            "write report_slice, write report_revision, write report_reject, write report_check, write warehouse, "
            "write report_notice, write content_daily, write "
            "customer_count"
        )
        owner.execute(sql.SQL("DROP OWNED BY {}").format(who))


@pytest.mark.usefixtures("configured")
def test_a_server_that_was_never_tried_is_worth_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_NEWEST_MAJOR", 14)
    assert amiss() == [("database", Verdict.WARNING, 0)]


def test_a_storage_host_that_refuses_a_fresh_address_is_a_problem(configured: Warehouse) -> None:
    configured.sandbox.override(newest_slice(configured.sandbox), Delivery(expired=True))
    assert amiss() == [("download host", Verdict.PROBLEM, 75)]


@pytest.mark.usefixtures("configured")
class TestWithoutReports:
    @pytest.fixture
    def sandbox_config(self) -> SandboxConfig:
        return SandboxConfig(vod_rows=5, live_rows=5, publication_delay_days=30)

    def test_a_source_without_recent_reports_is_no_problem(self) -> None:
        assert amiss() == [("download host", Verdict.WARNING, 0)]
        assert found()["API"].verdict is Verdict.OK


@pytest.mark.parametrize(
    ("header", "detail"),
    [
        pytest.param("", "not checked: the API's response has no Date header", id="none"),
        pytest.param("yesterday", "not checked: the API's response has no Date header", id="word"),
        pytest.param(0, "agrees with the API's clock", id="equal"),
        pytest.param(-50, "agrees with the API's clock", id="a little"),
        pytest.param(-3600, "this machine's clock is 3600 s ahead of the API's", id="ahead"),
        pytest.param(3600, "this machine's clock is 3600 s behind the API's", id="behind"),
    ],
)
@pytest.mark.parametrize("zone", ["GMT", "-0000"])
def test_clocks_are_compared(header: str | int, detail: str, zone: str) -> None:
    if isinstance(header, int):
        # Half a second, so that the time that passes here rounds away; the header has none.
        theirs = datetime.now(UTC) + timedelta(seconds=header)
        header = format_datetime(theirs.replace(microsecond=0), usegmt=True).replace("GMT", zone)
    check = _clock(header)
    assert check.verdict is (Verdict.OK if detail.startswith("agrees") else Verdict.WARNING)
    assert check.detail.replace("3601", "3600").replace("3599", "3600") == detail
