"""Servers in containers: they are the servers that the tests take them for, and they end with whoever started them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg import conninfo

import postgres
from docker_engine import docker, needs_engine, running
from waiting import until

TESTS = Path(__file__).parents[1]
MAJORS = pytest.mark.parametrize("major", postgres.CONTAINER_MAJORS)


def test_without_the_images_the_other_servers_are_taken_and_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without network is no reason to fail; nor is none."""
    monkeypatch.delenv("WATCH_TIME_TEST_ENGINE", raising=False)
    monkeypatch.setattr(postgres, "GIVEN", None)
    sources, reason = postgres._sources(majors=(1,))
    assert {source.partition("-")[0] for source in sources} <= {"debian", "wheel"}
    assert reason == "no Docker engine answers" or (reason and "has no postgres:1 and cannot pull it" in reason)


def test_where_containers_are_asked_for_nothing_else_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCH_TIME_TEST_ENGINE", "1")
    monkeypatch.setattr(postgres, "GIVEN", None)
    with pytest.raises(RuntimeError, match=r"WATCH_TIME_TEST_ENGINE=1, and .*(postgres:1|no Docker engine)"):
        postgres._sources(majors=(1,))


STARTING = """
import sys, time, postgres
with postgres._url("container-18", durable=False) as url:
    print(url, flush=True)
    time.sleep(600)
"""


@needs_engine
def test_it_is_reached_from_this_machine_only_and_a_killed_run_leaves_none() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTING], cwd=TESTS, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout
        url = conninfo.conninfo_to_dict(run.stdout.readline())
        published = docker("ps", "--format={{.Ports}}", f"--filter=publish={url['port']}").stdout.strip()
        assert published == f"127.0.0.1:{url['port']}->5432/tcp" or url["host"] not in {"localhost", "127.0.0.1"}
        run.kill()
    until(lambda: not docker("ps", "--all", "--quiet", f"--filter=publish={url['port']}").stdout, "the container stays")


@needs_engine
class TestTheImage:
    """As the official one: for tests' images are made of other binaries where no registry can be asked."""

    @MAJORS
    @pytest.mark.parametrize("number", ["TERM", "INT"])
    def test_it_makes_what_it_is_told_and_keeps_it(
        self, major: int, number: Literal["TERM", "INT"], tmp_path: Path
    ) -> None:
        (tmp_path / "password").write_text("s3cret-pass\n")
        (tmp_path / "tables.sql").write_text("CREATE TABLE made (by) AS SELECT current_user;\n")
        variables = {
            "POSTGRES_USER": "watch_time",
            "POSTGRES_PASSWORD_FILE": "/run/secrets/password",
            "POSTGRES_DB": "warehouse",
            "POSTGRES_INITDB_ARGS": "--data-checksums --wal-segsize=1",
        }
        options = [f"--env={name}={value}" for name, value in variables.items()]
        options += [f"--volume={tmp_path}/password:/run/secrets/password:ro", "--publish=127.0.0.1::5432"]
        options += [f"--volume={tmp_path}/tables.sql:/docker-entrypoint-initdb.d/tables.sql:ro"]
        asked = "SELECT by, current_setting('server_encoding'), current_setting('wal_segment_size') FROM made"
        ready = ("pg_isready", "--host=127.0.0.1", "--username=watch_time", "--dbname=warehouse")
        with running(f"postgres:{major}", "-c", "work_mem=7MB", options=tuple(options)) as server:
            for _ in range(2):
                until(lambda: "accepting" in server.execute(*ready, check=False), "the server does not get ready")
                url = f"postgresql://watch_time:s3cret-pass@127.0.0.1:{server.port(5432)}/warehouse"
                with psycopg.connect(url) as connection:
                    assert connection.info.server_version // 10_000 == major
                    assert connection.execute(asked).fetchall() == [("watch_time", "UTF8", "1MB")]
                    assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
                with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                    psycopg.connect(url.replace("s3cret", "guessed"))
                docker("kill", f"--signal={number}", server.name)
                assert server.wait() == 0, server.logs()
                docker("start", server.name)

    @MAJORS
    def test_without_a_password_it_refuses(self, major: int) -> None:
        with running(f"postgres:{major}") as server:
            assert server.wait() == 1
            assert "POSTGRES_PASSWORD" in server.logs()
