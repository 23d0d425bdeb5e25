"""Metrics: what Prometheus reads is what the run did and what the ledger knows, and nothing stale."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from etl import __version__
from etl.domain.outcome import Outcome, Result
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from etl.telemetry import metrics, textfile
from http_listeners import fetch, free_port, pushgateway
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program, Warehouse

TARGET = datetime.now(UTC).date() - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)
HEADER = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations" / "monitoring.md"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


@pytest.fixture(scope="module")
def gateway() -> Iterator[str]:
    with pushgateway() as url:
        yield url


def parsed(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"watch_time_{name}", frozenset(labels.items())]


def names(samples: Samples) -> set[str]:
    return {name for name, _ in samples}


def check_with_promtool(text: str) -> None:
    if promtool := shutil.which("promtool"):
        subprocess.run([promtool, "check", "metrics"], input=text, text=True, check=True, capture_output=True)


def test_the_textfile_tells_the_run_and_where_the_warehouse_stands(
    program: Program, newest_warehouse: Warehouse
) -> None:
    file = program.folder / "watch_time.prom"
    bad = Slice(TARGET - timedelta(days=1), ReportType.VOD)
    newest_warehouse.sandbox.override(bad, Delivery(body=HEADER + "t,c1,VOD,,u1,-5\n"))
    before = datetime.now(UTC).timestamp()
    done = program("run", "--json", METRICS_FILE=str(file), LOOKBACK_DAYS="3")
    assert done.returncode == 65, done.stderr
    assert file.stat().st_mode & 0o777 == 0o644
    left = {path.name for path in file.parent.iterdir() if "prom" in path.name}
    assert left == {file.name, f".{file.name}.lock"}, "nothing but the lock is left over"
    check_with_promtool(file.read_text())
    samples = parsed(file.read_text())
    slices = {(each["report_date"], each["report_type"]): each for each in json.loads(done.stdout)["slices"]}
    vod = slices[f"{TARGET}", "VOD"]

    run = {"command": "run"}
    assert value(samples, "build_info", version=__version__, **run) == 1
    assert value(samples, "run_exit_code", **run) == 65
    assert before <= value(samples, "run_last_finish_timestamp_seconds", **run) <= datetime.now(UTC).timestamp()
    assert 0 < value(samples, "run_duration_seconds", **run) < 60
    assert value(samples, "run_slices", report_type="VOD", result="loaded", **run) == 3
    assert value(samples, "run_slices", report_type="VOD", result="held", **run) == 1
    assert value(samples, "run_slices", report_type="LIVE", result="held", **run) == 0
    assert value(samples, "run_rejected_lines", report_type="VOD", **run) == sum(
        each["rows_rejected"] for (_, kind), each in slices.items() if kind == "VOD"
    )
    assert value(samples, "run_loaded_rows", report_type="LIVE", **run) == 4 * 80
    assert value(samples, "run_report_bytes", report_type="VOD", **run) == sum(
        each["report_bytes"] for (_, kind), each in slices.items() if kind == "VOD"
    )
    slowest = value(samples, "run_slowest_slice_duration_seconds", report_type="VOD", **run)
    assert 0 < slowest <= value(samples, "run_slices_duration_seconds", report_type="VOD", **run)
    assert value(samples, "run_retries", report_type="VOD", **run) == 0

    midnight = datetime.combine(TARGET, time(), UTC).timestamp()
    assert value(samples, "last_loaded_report_date_timestamp_seconds", report_type="VOD") == midnight
    assert value(samples, "complete_up_to_timestamp_seconds", report_type="LIVE") == midnight
    assert value(samples, "complete_up_to_timestamp_seconds", report_type="VOD") == midnight - 2 * 86_400
    assert value(samples, "slices", report_type="VOD", state="loaded") == 3
    assert value(samples, "slices", report_type="VOD", state="held") == 1
    assert value(samples, "slices", report_type="VOD", state="never_tried") == 0
    assert value(samples, "late_slices", report_type="VOD") == 1
    assert value(samples, "stored_rows", report_type="VOD") == vod["rows"]
    assert value(samples, "stored_watch_seconds", report_type="VOD") == float(vod["watch_seconds"])
    assert {label for _, labels in samples for label, _ in labels} == {
        "command", "report_type", "result", "state", "version",
    }  # fmt: skip


def test_gaps_that_were_never_tried_are_counted(program: Program) -> None:
    file = program.folder / "watch_time.prom"
    far = TARGET - timedelta(days=9)
    program("backfill", "--start", f"{far}", "--end", f"{far}", "--type", "LIVE")
    program("run", METRICS_FILE=str(file), LOOKBACK_DAYS="0", RECHECK_DAYS="0")
    samples = parsed(file.read_text())
    assert value(samples, "slices", report_type="LIVE", state="never_tried") == 8
    assert value(samples, "slices", report_type="VOD", state="never_tried") == 9
    assert value(samples, "late_slices", report_type="VOD") == 9


def test_where_the_ledger_cannot_be_read_its_figures_are_absent_and_the_exit_code_is_told(program: Program) -> None:
    file = program.folder / "watch_time.prom"
    assert program("run", METRICS_FILE=str(file), LOOKBACK_DAYS="0").returncode == 0
    assert {metric.name for metric in metrics.STANDING} & names(parsed(file.read_text()))
    done = program("run", METRICS_FILE=str(file), SCHEMA="elsewhere")
    assert done.returncode == 78
    samples = parsed(file.read_text())
    assert names(samples) == {metric.name for metric in metrics.RUN}
    assert value(samples, "run_exit_code", command="run") == 78


def test_a_backfill_does_not_hide_how_the_daily_run_ended(program: Program) -> None:
    file = program.folder / "watch_time.prom"
    program("run", METRICS_FILE=str(file), LOOKBACK_DAYS="0", SCHEMA="elsewhere")
    day = f"{TARGET}"
    assert program("backfill", "--start", day, "--end", day, METRICS_FILE=str(file)).returncode == 0
    samples = parsed(file.read_text())
    assert value(samples, "run_exit_code", command="run") == 78
    assert value(samples, "run_exit_code", command="backfill") == 0
    assert value(samples, "slices", report_type="VOD", state="loaded") == 1
    program("backfill", "--start", day, "--end", day, "--refresh", "--dry-run", METRICS_FILE=f"{file}.prom")
    assert not Path(f"{file}.prom").exists(), "a dry run tells nobody anything"


def test_the_textfile_can_be_read_by_others_whatever_the_umask(tmp_path: Path) -> None:
    run = metrics.Run("run", 0, 1.0, datetime.now(UTC), [Outcome(VOD, Result.LOADED, retries=3, elapsed_s=2.5)])
    file = tmp_path / "watch_time.prom"
    file.write_bytes(b"\xff\xfe no metrics")
    umask = os.umask(0o077)
    try:
        textfile.write(file, run, None)
    finally:
        os.umask(umask)
    assert file.stat().st_mode & 0o777 == 0o644
    samples = parsed(file.read_text())
    assert value(samples, "run_retries", report_type="VOD", command="run") == 3
    assert value(samples, "run_slowest_slice_duration_seconds", report_type="VOD", command="run") == 2.5


def _ended(command: str, exit_code: int) -> metrics.Run:
    return metrics.Run(command, exit_code, 1.0, datetime.now(UTC), [])


def test_a_run_that_ends_while_a_backfill_writes_the_textfile_loses_no_figures(tmp_path: Path) -> None:
    others: list[threading.Thread] = []

    class Overtaken(type(tmp_path)):  # type: ignore[misc]  # a Path of this system, whichever that is
        def read_text(self, *arguments: Any, **named: Any) -> str:
            """What the backfill reads; before it goes on, a run has all the time that it wants to end and write."""
            text: str = super().read_text(*arguments, **named)
            other = threading.Thread(target=textfile.write, args=(Path(self), _ended("run", 75), None))
            others.append(other)
            other.start()
            other.join(0.5)
            return text

    file = tmp_path / "watch_time.prom"
    textfile.write(file, _ended("run", 0), None)
    textfile.write(Overtaken(file), _ended("backfill", 65), None)
    others[0].join(60)
    samples = parsed(file.read_text())
    assert value(samples, "run_exit_code", command="run") == 75
    assert value(samples, "run_exit_code", command="backfill") == 65


def test_a_writer_that_is_suspended_keeps_nobody_from_writing_the_textfile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(textfile, "_LOCK_TIMEOUT_S", 0.1)
    file = tmp_path / "watch_time.prom"
    with textfile._locked(tmp_path / f".{file.name}.lock"):
        textfile.write(file, _ended("run", 65), None)
    assert value(parsed(file.read_text()), "run_exit_code", command="run") == 65


def test_a_textfile_that_cannot_be_written_is_a_warning(program: Program) -> None:
    done = program("run", METRICS_FILE="/nowhere/watch_time.prom", LOOKBACK_DAYS="0")
    assert done.returncode == 0
    assert '"event": "metrics_file_failed"' in done.stderr
    assert "/nowhere" in done.stderr


def test_a_real_pushgateway_has_the_run_and_the_warehouse(program: Program, gateway: str) -> None:
    done = program("run", PUSHGATEWAY_URL=f"{gateway}/", LOOKBACK_DAYS="0")
    assert (done.returncode, "warning" in done.stderr) == (0, False), done.stderr
    common = {"job": "watch_time", "instance": ""}
    samples = parsed(fetch(f"{gateway}/metrics"))
    assert value(samples, "run_exit_code", command="run", **common) == 0
    assert value(samples, "run_slices", command="run", report_type="VOD", result="loaded", **common) == 1
    midnight = datetime.combine(TARGET, time(), UTC).timestamp()
    assert value(samples, "last_loaded_report_date_timestamp_seconds", report_type="VOD", **common) == midnight
    assert samples["push_failure_time_seconds", frozenset({"command": "run", **common}.items())] == 0

    day = f"{TARGET - timedelta(days=1)}"
    program("backfill", "--start", day, "--end", day, "--type", "LIVE", PUSHGATEWAY_URL=gateway)
    samples = parsed(fetch(f"{gateway}/metrics"))
    assert value(samples, "run_loaded_rows", command="backfill", report_type="LIVE", **common) == 80
    assert value(samples, "run_loaded_rows", command="run", report_type="LIVE", **common) == 80
    assert value(samples, "slices", report_type="LIVE", state="loaded", **common) == 2, "one group for all commands"

    assert program("run", PUSHGATEWAY_URL=gateway, SCHEMA="elsewhere").returncode == 78
    samples = parsed(fetch(f"{gateway}/metrics"))
    assert value(samples, "run_exit_code", command="run", **common) == 78
    assert not {metric.name for metric in metrics.STANDING} & names(samples), "the gateway keeps nothing stale"


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}", "no url", "http://u:pa55-canary@127.0.0.1:{port}/x"])
def test_a_pushgateway_that_is_not_there_is_a_warning(program: Program, url: str) -> None:
    done = program("run", PUSHGATEWAY_URL=url.format(port=free_port()), LOOKBACK_DAYS="0")
    assert done.returncode == 0
    assert '"event": "push_failed"' in done.stderr
    assert "canary" not in done.stderr + done.stdout


RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "watch-time.rules.yml"


def test_the_alerts_fire_and_are_quiet_as_their_own_tests_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        skip_missing("promtool is not installed (Debian: prometheus): the alerts were not tried")
    done = subprocess.run(
        [promtool, "test", "rules", RULES.with_name("watch-time.test.yml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_on_the_page_and_each_is_tested() -> None:
    rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
    table = DOCUMENT.read_text(encoding="utf-8").partition("<!-- alerts -->")[2].partition("<!-- /alerts -->")[0]
    told = re.findall(r"^\| `(\w+)` \| .* \| (\w+) \|$", table, re.MULTILINE)
    assert told == [(rule["alert"], rule["labels"]["severity"]) for rule in rules]
    tests = yaml.safe_load(RULES.with_name("watch-time.test.yml").read_text(encoding="utf-8"))["tests"]
    fired = {case["alertname"] for test in tests for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in rules}


def test_every_metric_that_is_alerted_on_exists() -> None:
    known = {metric.name for metric in (*metrics.RUN, *metrics.STANDING)}
    named = set(re.findall(r"\bwatch_time_\w+", RULES.read_text(encoding="utf-8")))
    assert len(named) == 6
    assert named <= known
