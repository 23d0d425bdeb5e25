"""Whatever is told of a run, and however badly that goes: the run ends as it would without, and soon."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from doc_examples import REPOSITORY
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.telemetry import notifier, ping, run_telemetry
from http_listeners import free_port, listening, notices_within, silent_host

if TYPE_CHECKING:
    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
HEADER = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
SECRET = "S3cret-Canary"
# What docs/operations/monitoring.md promises, added up, and a run of two small slices.
LONGEST_S = 16 + 15 + 5 + 5 + 30 + 10
# So that waiting for them all takes no minute.
SHORT = {
    "telemetry.ping._STEP_S": 0.3,
    "telemetry.ping._TIMEOUT_S": 0.6,
    "telemetry.ping._START_TIMEOUT_S": 0.3,
    "telemetry.pushgateway.PUSH_S": 0.3,
    **notices_within(0.5),
}


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


def test_the_bounds_are_those_that_the_page_promises() -> None:
    page = (REPOSITORY / "docs" / "operations" / "monitoring.md").read_text(encoding="utf-8")
    promised = [int(found) for found in re.findall(r"^\| [^|]+ \| (\d+) s\b[^|]*\|$", page, re.MULTILINE)]
    assert promised == [
        ping._START_TIMEOUT_S + ping._TIMEOUT_S,
        run_telemetry._LEDGER_S,
        run_telemetry._FILE_S,
        run_telemetry._PUSH_S,
        notifier._TIMEOUT_S + run_telemetry._NOTE_S,
    ]
    assert notifier._SEND_S < notifier._TIMEOUT_S


@pytest.mark.parametrize(
    ("trouble", "code"), [("everything refuses", 0), ("everything refuses", 65), ("everything hangs", 65)]
)
def test_a_run_ends_as_it_would_without(program: Program, newest_warehouse: Warehouse, trouble: str, code: int) -> None:
    if code:
        newest_warehouse.sandbox.override(VOD, Delivery(body=HEADER + "t,c1,VOD,,u1,-5\n"))
    program = replace(program, limits=SHORT)
    with silent_host() as silent:
        address = silent if trouble == "everything hangs" else f"127.0.0.1:{free_port()}"
        began = time.monotonic()
        done = program(
            "run",
            "--json",
            LOOKBACK_DAYS="0",
            METRICS_FILE="/proc/watch_time.prom",
            PUSHGATEWAY_URL=f"http://user:{SECRET}@{address}",
            PING_URL=f"http://{address}/{SECRET}",
            NOTIFY_URLS=f"json://{address}/{SECRET}?cto=300&rto=300, mailto://user:{SECRET}@{address}/?to=ops@example.com",
        )
        took = time.monotonic() - began
    assert done.returncode == code
    assert json.loads(done.stdout)["exit_code"] == code
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    told = {"metrics_file_failed": 1, "push_failed": 1, "ping_failed": 2} | ({"notice_failed": 2} if code else {})
    assert {event: events.count(event) for event in told} == told
    assert took < LONGEST_S
    assert SECRET not in done.stdout + done.stderr


def test_a_backfill_is_watched_over_as_well(program: Program) -> None:
    day = f"{TARGET}"
    with listening() as host:
        done = program("backfill", "--start", day, "--end", day, PING_URL=f"{host.url}/x")
    assert done.returncode == 0
    assert [each.path for each in host.received] == ["/x/start", "/x"]
    assert host.received[-1].body == "backfill ended with exit code 0: 2 loaded"


def test_doctor_looks_at_each_channel_and_sends_nothing(program: Program) -> None:
    with listening() as host:
        done = program(
            "doctor",
            "--json",
            METRICS_FILE=str(program.folder / "watch_time.prom"),
            PUSHGATEWAY_URL=host.url,
            PING_URL=f"{host.url}/{SECRET}",
            NOTIFY_URLS=f"{host.url.replace('http', 'json')}/{SECRET} xyz://{SECRET}",
        )
        checks = [(check["check"], check["verdict"]) for check in json.loads(done.stdout)][-5:]
    assert done.returncode == 0
    assert checks == [
        ("metrics file", "ok"),
        ("Pushgateway", "ok"),
        ("ping", "ok"),
        ("notifications", "ok"),
        ("notifications", "warning"),
    ]
    assert [each.path for each in host.received] == ["/-/ready"]
    assert SECRET not in done.stdout + done.stderr


def test_doctor_warns_of_channels_that_lead_nowhere(program: Program) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    done = program(
        "doctor",
        "--json",
        METRICS_FILE="/nowhere/watch_time.txt",
        PUSHGATEWAY_URL=nowhere,
        PING_URL=nowhere,
        NOTIFY_URLS_FILE="missing",
    )
    assert done.returncode == 0, "none of them can fail a run"
    checks = [(check["check"], check["verdict"]) for check in json.loads(done.stdout)][-4:]
    assert checks == [
        ("WATCH_TIME_NOTIFY_URLS_FILE", "warning"),
        ("metrics file", "warning"),
        ("Pushgateway", "warning"),
        ("ping", "warning"),
    ]


@pytest.mark.parametrize("command", [("--help",), ("status",)])
def test_commands_that_tell_nobody_load_nothing_for_it(program: Program, command: tuple[str, ...]) -> None:
    program.environment = {**program.environment, "PYTHONPROFILEIMPORTTIME": "1"}
    loaded = program(*command, PING_URL="http://127.0.0.1:1/x", NOTIFY_URLS="json://127.0.0.1:1").stderr
    assert " etl.cli.main\n" in loaded
    for module in ("prometheus_client", "apprise", "httpx", "etl.telemetry.run_telemetry"):
        assert f" {module}\n" not in loaded
