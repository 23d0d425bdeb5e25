"""The dead man's switch: start, success, or the exit code, whichever way a run ends; and no run fails for it."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.telemetry.ping import Ping
from http_listeners import Received, free_port, listening, silent_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program, Warehouse
    from http_listeners import Listener

TARGET = datetime.now(UTC).date() - timedelta(days=2)
TOKEN = "6b1f-Canary-0042"


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


@pytest.fixture
def host() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def ping_url(host: Listener) -> str:
    return f"{host.url}/ping/{TOKEN}"


def test_a_run_that_went_well_pings_start_and_success(program: Program, host: Listener) -> None:
    done = program("run", PING_URL=ping_url(host), LOOKBACK_DAYS="0")
    assert (done.returncode, "ping_failed" in done.stderr) == (0, False)
    assert [(each.method, each.path) for each in host.received] == [
        ("POST", f"/ping/{TOKEN}/start"),
        ("POST", f"/ping/{TOKEN}"),
    ]
    assert host.received[1].body == "run ended with exit code 0: 2 loaded"


def test_a_refused_report_pings_its_exit_code(program: Program, newest_warehouse: Warehouse, host: Listener) -> None:
    newest_warehouse.sandbox.override(Slice(TARGET, ReportType.VOD), Delivery(body="no report\n"))
    assert program("run", PING_URL=ping_url(host), LOOKBACK_DAYS="0").returncode == 65
    assert host.received[-1] == Received("POST", f"/ping/{TOKEN}/65", "run ended with exit code 65: 1 failed, 1 loaded")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        pytest.param({"API_TOKEN": ""}, 78, id="a setting is missing"),
        pytest.param({"LAG_DAYS": "two"}, 78, id="another setting is wrong"),
        pytest.param({"API_TOKEN": "wrong"}, 77, id="wrong token"),
    ],
)
def test_a_run_that_could_not_begin_pings_why_it_ended(
    program: Program, host: Listener, settings: dict[str, str], code: int
) -> None:
    assert program("run", PING_URL=ping_url(host), LOOKBACK_DAYS="0", **settings).returncode == code
    assert [each.path.removeprefix(f"/ping/{TOKEN}") for each in host.received] == ["/start", f"/{code}"]


def test_a_url_from_a_file_keeps_its_query_and_is_never_shown(program: Program, host: Listener) -> None:
    Path(program.folder, "ping").write_text(f"{ping_url(host)}/?key=s3cret-canary\n")
    host.statuses = [500, 500, 404]
    done = program("run", PING_URL_FILE="ping", LOOKBACK_DAYS="0")
    assert done.returncode == 0
    assert [each.path for each in host.received] == [f"/ping/{TOKEN}/start?key=s3cret-canary"] * 2 + [
        f"/ping/{TOKEN}/?key=s3cret-canary"
    ]
    assert done.stderr.count("ping_failed") == 2
    assert "the ping host returned 404" in done.stderr
    assert not [secret for secret in (TOKEN, "canary") if secret in done.stderr + done.stdout]


@pytest.mark.parametrize("problem", ["no such file", "given twice"])
def test_a_wrong_file_is_a_warning(program: Program, host: Listener, problem: str) -> None:
    settings = {"PING_URL_FILE": "nowhere"} | ({"PING_URL": ping_url(host)} if problem == "given twice" else {})
    done = program("run", LOOKBACK_DAYS="0", **settings)
    assert done.returncode == 0, done.stderr
    assert '"event": "telemetry_setting_ignored"' in done.stderr
    assert len(host.received) == (2 if problem == "given twice" else 0)


def test_trouble_that_passes_is_tried_again(host: Listener) -> None:
    host.statuses = [503]
    Ping(ping_url(host)).finish(0, "")
    assert [each.path for each in host.received] == [f"/ping/{TOKEN}"] * 2


@pytest.mark.parametrize("url", ["no url", "ftp://h/x", "http://[", "http://127.0.0.1:{port}/x"])
def test_a_url_that_leads_nowhere_is_a_warning(program: Program, url: str) -> None:
    done = program("run", PING_URL=url.format(port=free_port()), LOOKBACK_DAYS="0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('"event": "ping_failed"') == 2


def test_usage_and_dry_runs_ping_nobody(program: Program, host: Listener) -> None:
    day = f"{TARGET}"
    assert program("backfill", "--start", day, "--end", day, "--dry-run", PING_URL=ping_url(host)).returncode == 0
    assert program("run", "--date", "yesterday", PING_URL=ping_url(host)).returncode == 2
    assert program("status", PING_URL=ping_url(host)).returncode == 0
    assert host.received == []


def test_a_stopped_run_pings_143_and_is_gone_at_once(
    program: Program, newest_warehouse: Warehouse, host: Listener
) -> None:
    newest_warehouse.sandbox.withdraw(Slice(TARGET, ReportType.VOD))
    process = program.start("run", PING_URL=ping_url(host), NOT_FOUND_WAIT_SECONDS="600")
    with process:
        _until_it_waits(newest_warehouse, TARGET)
        assert [each.path for each in host.received] == [f"/ping/{TOKEN}/start"]
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143
    assert host.received[-1].path == f"/ping/{TOKEN}/143"


def test_a_host_that_hangs_keeps_neither_a_run_nor_its_stop_for_long(
    program: Program, newest_warehouse: Warehouse
) -> None:
    # The defaults stand in docs/operations/monitoring.md; acceptance/test_telemetry_failures.py checks them.
    program = replace(
        program,
        limits={f"telemetry.ping.{name}": 0.5 for name in ("_STEP_S", "_TIMEOUT_S", "_START_TIMEOUT_S")},
    )
    with silent_host() as address:
        url = f"http://{address}/{TOKEN}"
        done = program("run", PING_URL=url, LOOKBACK_DAYS="0")
        assert done.returncode == 0
        assert done.stderr.count('"event": "ping_failed"') == 2

        before = TARGET - timedelta(days=1)
        newest_warehouse.sandbox.withdraw(Slice(before, ReportType.VOD))
        process = program.start(
            "run", "--date", f"{before}", PING_URL=url, NOT_FOUND_WAIT_SECONDS="600", LOOKBACK_DAYS="0"
        )
        with process:
            _until_it_waits(newest_warehouse, before)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        assert process.returncode == 143


def _until_it_waits(warehouse: Warehouse, day: date) -> None:
    """LIVE of the date is loaded, and the source has answered that VOD is not there."""
    deadline = time.monotonic() + 90
    loaded = "SELECT count(*) FROM report_slice WHERE report_date = %s AND state = 'loaded'"
    while warehouse.query(loaded, day) == [(0,)] or not warehouse.sandbox.statuses("api")[404]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
