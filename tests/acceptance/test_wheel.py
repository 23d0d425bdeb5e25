"""The wheel works where there is no clone: it carries migrations and SQL."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import Program
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from conftest import Warehouse

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    """The program decides for itself what today is, and so does this one."""
    return SandboxConfig(vod_rows=100, live_rows=50, quiet_one_day_in=0)


def _in(folder: Path, *command: str | Path) -> str:
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def test_migrate_and_run_from_an_installed_wheel(program: Program, newest_warehouse: Warehouse, tmp_path: Path) -> None:
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    _in(
        REPOSITORY, *pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path / "dist", "."
    )
    (wheel,) = (tmp_path / "dist").iterdir()
    site = tmp_path / "site"
    _in(tmp_path, *pip, "install", "--quiet", "--no-deps", "--target", site, wheel)

    installed = Program(tmp_path, {**program.environment, "PYTHONPATH": str(site)})
    where = subprocess.run(
        [sys.executable, "-c", "import etl.warehouse.schema; print(etl.warehouse.schema._migrations())"],
        cwd=tmp_path, env=installed.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert where.stdout.strip() == str(site / "etl" / "migrations")
    assert installed("migrate", SCHEMA="from_wheel").returncode == 0
    done = installed("run", SCHEMA="from_wheel", LOOKBACK_DAYS="0")
    assert done.returncode == 0, done.stderr
    assert newest_warehouse.query("SELECT count(*) > 0 FROM from_wheel.watch_time") == [(True,)]
