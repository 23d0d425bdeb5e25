"""docker-compose.yml as the documentation has it, brought up by Compose on a Docker engine."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from docker_engine import docker, needs_engine
from etl.domain.slices import dates_between, slices_of
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from waiting import until
from warehouse_checker import violations

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [needs_engine, pytest.mark.timeout(600)]

REPOSITORY = Path(__file__).parents[2]
PASSWORD = "canary-9c1f"
LAST = SandboxConfig().today() - timedelta(days=40)
FIRST = LAST - timedelta(days=29)
# The only thing that is not in the file of the documentation: a way to look at the tables from outside.
PUBLISHED = {"services": {"postgres": {"ports": ["127.0.0.1::5432"]}}}


class Compose:
    """A project of Compose, with a database password of its own."""

    def __init__(self, folder: Path) -> None:
        self.project = f"watch-time-test-{uuid.uuid4().hex[:12]}"
        (folder / "password").write_text(f"{PASSWORD}\n")
        (folder / "url").write_text(f"postgresql://watch_time:{PASSWORD}@postgres:5432/watch_time\n")
        self._override = folder / "published.yml"
        self._override.write_text(json.dumps(PUBLISHED))
        secrets = {"POSTGRES_PASSWORD_FILE": f"{folder}/password", "DATABASE_URL_FILE": f"{folder}/url"}
        self._environment = {**os.environ, **secrets}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = ["docker-compose", "--project-name", self.project, "--file", "docker-compose.yml",
                   "--file", f"{self._override}", *arguments]  # fmt: skip
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=170)
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def exit_code(self, service: str) -> int:
        """Of the service's container, when it has ended."""
        return int(docker("wait", self("ps", "--quiet", service).stdout.strip()).stdout)

    @property
    def database_url(self) -> str:
        port = self("port", "postgres", "5432").stdout.strip().rpartition(":")[2]
        return f"postgresql://watch_time:{PASSWORD}@127.0.0.1:{port}/watch_time"

    def left(self) -> str:
        """The ids of the containers, networks and volumes that are the project's."""
        label = f"--filter=label=com.docker.compose.project={self.project}"
        lists = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return "".join(docker(*what, "--quiet", label).stdout for what in lists)


@pytest.fixture
def compose(tmp_path: Path) -> Iterator[Compose]:
    """Up, as `docker compose up` brings it; and down, which leaves nothing."""
    project = Compose(tmp_path)
    try:
        up = project("up", "--detach", "--no-build")
        assert up.returncode == 0, up.stderr
        yield project
    finally:
        down = project("down", "--volumes")
    assert down.returncode == 0, down.stderr
    assert project.left() == ""


def test_up_makes_the_tables_and_one_run_succeeds_and_nothing_shows_the_password(compose: Compose) -> None:
    assert compose.left()
    assert compose.exit_code("migrate") == 0, compose("logs", "migrate").stdout
    assert compose.exit_code("job") == 0, compose("logs", "job").stdout
    shown = compose("run", "--rm", "job", "status", "--json")
    assert shown.returncode == 0, shown.stderr
    assert "loaded" in shown.stdout
    described = docker("inspect", *compose("ps", "--all", "--quiet").stdout.split()).stdout
    assert "/run/secrets/database-url" in described
    assert PASSWORD not in described + compose("logs", "--no-color").stdout


def test_a_restart_of_postgres_in_the_middle_of_a_backfill_costs_nothing(compose: Compose) -> None:
    backfill = ("run", "--rm", "-T", "job", "backfill", "--start", f"{FIRST}", "--end", f"{LAST}", "--yes")
    url = compose.database_url
    loaded = f"SELECT count(*) > 3 FROM report_slice WHERE report_date <= '{LAST}'"
    assert compose.exit_code("job") == 0, compose("logs", "job").stdout
    with compose.start(*backfill) as run, psycopg.connect(url, autocommit=True) as observer:
        until(lambda: observer.execute(loaded).fetchone() == (True,) or run.poll() is not None, "nothing is loaded")
        restarted = compose("restart", "postgres")
        _, told = run.communicate(timeout=170)
    assert restarted.returncode == 0, restarted.stderr
    assert run.returncode in {0, 75}, told
    again = compose(*backfill)
    assert again.returncode == 0, again.stderr
    sandbox = Sandbox(SandboxConfig())
    slices = [slice_ for slice_ in slices_of(dates_between(FIRST, LAST)) if sandbox.has_history(slice_)]
    # A restart gives the server another port to be found at.
    assert violations(compose.database_url, sandbox, slices) == []
