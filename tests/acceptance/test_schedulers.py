"""What cron and systemd are given: read by their own tools, true to the program, and the program run as they run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from etl.config.environment import PREFIX
from etl.domain.errors import ExitCode, TryLater
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Answer
from etl.sandbox.sandbox_config import SandboxConfig
from kubernetes_manifests import JOBS, job, pod

if TYPE_CHECKING:
    from conftest import Program, Warehouse

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
SERVICE: Final = DEPLOY / "systemd" / "watch-time.service"
TIMER: Final = DEPLOY / "systemd" / "watch-time.timer"
CRONTAB: Final = DEPLOY / "cron" / "watch-time.crontab"
SCRIPT: Final = Path(sys.executable).with_name("watch-time")
AGAIN: Final = {TryLater.exit_code, ExitCode.STOPPED}


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    """The program decides for itself what today is, and so does this one."""
    return SandboxConfig(vod_rows=100, live_rows=50, quiet_one_day_in=0)


def _unit(file: Path) -> list[tuple[str, str]]:
    """Its settings in their order; several may have one name."""
    lines = (line.partition("=") for line in file.read_text(encoding="utf-8").splitlines() if re.match(r"[A-Z]", line))
    return [(name, value) for name, _, value in lines]


def _only(file: Path, name: str) -> str:
    (value,) = (value for key, value in _unit(file) if key == name)
    return value


def _seconds(text: str) -> int:
    number, unit = re.fullmatch(r"([0-9]+)(min|h|)", text).groups()  # type: ignore[union-attr]
    return int(number) * {"": 1, "min": 60, "h": 3600}[unit]


def _systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("systemd-analyze is not installed: the units were not read by systemd")
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)


class TestSystemd:
    """The unit and its timer."""

    @pytest.fixture
    def units(self, tmp_path: Path) -> Path:
        """As installed, but for where the program is: verify wants it to be there."""
        for file in (SERVICE, TIMER):
            text = file.read_text(encoding="utf-8").replace("/opt/watch-time/bin/watch-time", str(SCRIPT))
            (tmp_path / file.name).write_text(text)
        return tmp_path

    def test_systemd_finds_no_fault(self, units: Path) -> None:
        done = _systemd_analyze("verify", "--man=no", units / SERVICE.name, units / TIMER.name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    @pytest.mark.parametrize(
        ("right", "wrong"),
        [("Type=exec", "Type=oneshot"), ("Restart=on-abnormal", "Restart=sometimes"), ("UMask=", "Umask=")],
    )
    def test_a_fault_would_be_found(self, units: Path, right: str, wrong: str) -> None:
        unit = units / SERVICE.name
        text = unit.read_text()
        assert text.count(right) == 1
        unit.write_text(text.replace(right, wrong))
        assert _systemd_analyze("verify", "--man=no", unit).stderr != ""

    def test_it_is_shut_in(self, units: Path) -> None:
        """By the measure of systemd, from 0 (nothing exposed) to 10: 2 at most, in tenths."""
        done = _systemd_analyze("security", "--offline=true", "--threshold=20", units / SERVICE.name)
        assert done.returncode == 0, done.stdout[-200:]

    def test_every_exit_code_has_one_consequence(self) -> None:
        again = [int(code) for code in _only(SERVICE, "RestartForceExitStatus").split()]
        never = [int(code) for code in _only(SERVICE, "RestartPreventExitStatus").split()]
        assert sorted(again + never) == sorted(set(ExitCode) - {ExitCode.OK})
        assert set(again) == AGAIN
        assert _only(SERVICE, "SuccessExitStatus") == str(int(ExitCode.STOPPED)), "systemctl stop is no failure"

    def test_the_tries_of_an_hour_do_not_keep_the_next_from_starting(self) -> None:
        """A timer that starts a unit which is over its limit of starts does nothing."""
        calendar = _only(TIMER, "OnCalendar")
        assert calendar.startswith("*-*-* *:"), "hourly"
        assert _systemd_analyze("calendar", calendar).returncode == 0
        tries_s = (int(_only(SERVICE, "StartLimitBurst")) - 1) * _seconds(_only(SERVICE, "RestartSec"))
        late_s = _seconds(_only(TIMER, "RandomizedDelaySec"))
        assert late_s + tries_s + _seconds(_only(SERVICE, "StartLimitIntervalSec")) <= 3600

    def test_its_limits_are_those_of_the_pod(self) -> None:
        (container,) = pod(JOBS["run/cronjob.yaml"])["containers"]
        assert _only(SERVICE, "MemoryMax") + "i" == container["resources"]["limits"]["memory"]
        cronjob = JOBS["run/cronjob.yaml"]
        assert _seconds(_only(SERVICE, "RuntimeMaxSec")) == job(cronjob)["activeDeadlineSeconds"]
        assert _seconds(_only(SERVICE, "TimeoutStopSec")) == pod(cronjob)["terminationGracePeriodSeconds"]

    def test_the_program_runs_with_what_the_unit_gives_it(self, program: Program, tmp_path: Path) -> None:
        """Credentials as systemd lays them down, the cache as the folder for reports."""
        credentials, cache = tmp_path / "credentials", tmp_path / "cache"
        (cache / "watch-time").mkdir(parents=True)
        credentials.mkdir()
        environment = dict(program.environment)
        for name, source in (value.split(":") for key, value in _unit(SERVICE) if key == "LoadCredential"):
            assert source == f"/etc/watch-time/{name}"
            (credentials / name).write_text(environment.pop(PREFIX + name.replace("-", "_").upper()))
            (credentials / name).chmod(0o400)
        for assignment in (value for key, value in _unit(SERVICE) if key == "Environment"):
            variable, _, value = assignment.partition("=")
            environment[variable] = value.replace("%d", str(credentials)).replace("%C", str(cache))
        assert environment["TMPDIR"] == str(cache / _only(SERVICE, "CacheDirectory"))
        installed, *arguments = _only(SERVICE, "ExecStart").split()
        assert Path(installed).name == SCRIPT.name
        done = subprocess.run(
            [sys.executable, "-m", "etl", *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True,
            check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "secrets_open_to_others" not in done.stderr


class TestCron:
    """The line of the crontab, run by /bin/sh as cron does."""

    LINES = tuple(line for line in CRONTAB.read_text(encoding="utf-8").splitlines() if not line.startswith("#"))

    @pytest.fixture
    def line(self, program: Program) -> str:
        """The command, in a folder of the test's own."""
        *_, line = self.LINES
        found = re.fullmatch(r"[0-9]+ (?:\* ){4}(cd /srv/watch-time && .*)", line)
        assert found, "hourly"
        assert "%" not in found[1], "cron takes it for the end of the line"
        scripts = program.folder / ".venv" / "bin"
        scripts.mkdir(parents=True)
        (scripts / "watch-time").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m etl "$@"\n')
        (scripts / "watch-time").chmod(0o755)
        return found[1].replace("/srv/watch-time", str(program.folder))

    def _run(self, line: str, program: Program, **settings: str) -> str:
        """What cron would mail."""
        more = {f"{PREFIX}{name}": value for name, value in settings.items()}
        done = subprocess.run(
            ["/bin/sh", "-c", line], env={**program.environment, **more}, capture_output=True, text=True, check=False,
            timeout=120,
        )  # fmt: skip
        return done.stdout + done.stderr

    def test_a_good_run_mails_nothing(self, line: str, program: Program) -> None:
        assert self._run(line, program, LOOKBACK_DAYS="1") == ""
        assert "4 loaded" in (program.folder / "last-run.txt").read_text()
        assert '"event": "run_done"' in (program.folder / "run.log").read_text()

    def test_what_wants_a_person_is_mailed(self, line: str, program: Program) -> None:
        assert "WATCH_TIME_CONCURRENCY" in self._run(line, program, CONCURRENCY="many")

    def test_what_passes_by_itself_is_not_mailed(
        self, line: str, program: Program, newest_warehouse: Warehouse
    ) -> None:
        target = Slice(datetime.now(UTC).date() - timedelta(days=2), ReportType.VOD)
        newest_warehouse.sandbox.script(target, api=[Answer(503, headers={"Retry-After": "0"})] * 20)
        assert self._run(line, program, LOOKBACK_DAYS="0") == ""
        assert '"exit_code": 75' in (program.folder / "run.log").read_text()
        (codes,) = re.findall(r"case \$\? in ([0-9|]+)\) ;;", line)
        assert {int(code) for code in codes.split("|")} == AGAIN

    def test_its_other_lines_are_variables(self) -> None:
        assert all(re.fullmatch(r"[A-Z]+=\S+", line) for line in self.LINES[:-1])
        shell = dict(line.split("=") for line in self.LINES[:-1])["SHELL"]
        assert os.access(shell, os.X_OK)
