"""The command as people and schedulers see it: exit codes, documents, messages, log lines."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from etl import __version__
from etl.domain.slices import ReportType, Slice, dates_between, slices_of
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.sandbox_config import SandboxConfig
from http_listeners import listening

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Program, Warehouse
    from http_listeners import Listener

TARGET = datetime.now(UTC).date() - timedelta(days=2)
VOD = Slice(TARGET, ReportType.VOD)


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, quiet_one_day_in=0)


@pytest.fixture
def chat() -> Iterator[Listener]:
    with listening() as listener:
        yield listener


def _log_lines(stderr: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def test_run_loads_the_target_date_and_the_lookback_window(program: Program, newest_warehouse: Warehouse) -> None:
    done = program("run", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["exit_code"] == 0
    dates = {slice_["report_date"] for slice_ in document["slices"]}
    assert dates == {f"{TARGET - timedelta(days=back)}" for back in range(15)}
    assert {slice_["result"] for slice_ in document["slices"]} == {"loaded"}
    vod = next(
        slice_
        for slice_ in document["slices"]
        if (slice_["report_date"], slice_["report_type"]) == (f"{TARGET}", "VOD")
    )
    report = newest_warehouse.sandbox.report(VOD)
    assert (vod["rows"], vod["watch_seconds"]) == (report.rows, f"{report.watch_seconds.normalize():f}")
    counted = newest_warehouse.query("SELECT count(customers), count(*) FROM watch_time_customers")
    assert counted == [(15, 15)], "the run counts the customers of what it loaded"

    again = program("run", "--json")
    assert [slice_["result"] for slice_ in json.loads(again.stdout)["slices"]] == ["unchanged"] * 12


def test_run_logs_one_line_per_slice_and_one_for_the_run(program: Program) -> None:
    lines = _log_lines(program("run", "--date", f"{TARGET}", LOOKBACK_DAYS="1").stderr)
    assert [line["event"] for line in lines] == ["run_started", *["slice_done"] * 4, "run_done", "customers_counted"]
    assert (lines[0]["command"], lines[0]["version"]) == ("run", __version__)
    assert {line["slice"] for line in lines[1:5]} == {
        f"{day} {report_type}" for day in (TARGET, TARGET - timedelta(days=1)) for report_type in ReportType
    }
    assert (lines[5]["slices"], lines[5]["loaded"], lines[5]["exit_code"]) == (4, 4, 0)


def test_run_tells_in_the_log_why_it_stands_still_and_until_when(program: Program, newest_warehouse: Warehouse) -> None:
    not_there = Answer(404, '{"code": 5, "message": "not found", "details": []}')
    newest_warehouse.sandbox.script(VOD, api=[not_there])
    live = Slice(TARGET, ReportType.LIVE)
    newest_warehouse.sandbox.script(live, api=[Answer(503, headers={"Retry-After": "0"})])
    hurried = replace(program, limits={"extract.retry._FIRST_POLL_S": 0.2})
    done = hurried("run", LOOKBACK_DAYS="0", RECHECK_DAYS="0", NOT_FOUND_WAIT_SECONDS="600")
    assert done.returncode == 0, done.stderr
    lines = {line["event"]: line for line in _log_lines(done.stderr)}
    waiting, retrying = lines["waiting"], lines["retrying"]
    assert (waiting["slice"], waiting["reason"], waiting["attempt"]) == (str(VOD), "not published (404)", 1)
    left = datetime.fromisoformat(waiting["gives_up"]) - datetime.fromisoformat(waiting["timestamp"])
    assert timedelta(seconds=590) < left < timedelta(seconds=601)
    assert (retrying["slice"], retrying["attempt"]) == (str(live), 1)
    assert f"returned 503 for {live}" in retrying["reason"]
    assert retrying["next_try"][:10] == retrying["timestamp"][:10]


def test_quiet_is_quiet_until_something_needs_attention(program: Program, newest_warehouse: Warehouse) -> None:
    quiet = ("run", "--quiet")
    done = program(*quiet, LOOKBACK_DAYS="0")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    newest_warehouse.sandbox.override(VOD, Delivery(body="no report\n"))
    done = program(*quiet, LOOKBACK_DAYS="0")
    assert (done.returncode, [line["event"] for line in _log_lines(done.stderr)]) == (65, ["slice_done"])
    assert f"{VOD} failed: " in done.stdout
    assert program(*quiet, "--verbose").returncode == 2


def test_python_m_etl_and_the_console_script_are_the_same(program: Program) -> None:
    script = Path(sys.executable).with_name("watch-time")
    by_script = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert program("--version").stdout == by_script.stdout == f"watch-time {__version__}\n"


def test_backfill_lists_loads_and_goes_on(program: Program) -> None:
    span = ("--start", f"{TARGET - timedelta(days=2)}", "--end", f"{TARGET}")
    listed = json.loads(program("backfill", *span, "--type", "vod", "--dry-run", "--json").stdout)
    assert listed["slices"] == [
        {"report_date": f"{TARGET - timedelta(days=back)}", "report_type": "VOD", "reason": "never tried"}
        for back in (2, 1, 0)
    ]
    assert listed["estimate"]["slices"] == 3
    assert listed["estimate"]["report_bytes"] is None, "nothing was loaded to estimate from"
    assert program("status", "--json").stdout.count('"never tried"') == 28, "a dry run tries nothing"
    assert program("backfill", *span, "--type", "VOD").returncode == 0
    rest = json.loads(program("backfill", *span, "--json").stdout)
    assert [slice_["report_type"] for slice_ in rest["slices"]] == ["LIVE"] * 3
    assert "\n0 slices to request\n" in program("backfill", *span, "--dry-run").stdout
    again = program("backfill", *span, "--dry-run", "--refresh").stdout
    assert "checked again" in again
    assert "6 slices to request: about " in again
    assert "estimated from the last 6 loads" in again
    slow = program("backfill", *span, "--dry-run", "--refresh", "--rate", "0.01").stdout
    assert " in 10 min, estimated" in slow, "six requests, a hundred seconds each"


def test_status_shows_each_slice(program: Program, newest_warehouse: Warehouse) -> None:
    newest_warehouse.sandbox.override(VOD, Delivery(body="no report\n"))
    program("run", LOOKBACK_DAYS="0")
    shown = json.loads(
        program("status", "--start", f"{TARGET - timedelta(days=1)}", "--end", f"{TARGET}", "--json").stdout
    )["slices"]
    assert [(slice_["report_type"], slice_["state"]) for slice_ in shown] == [
        ("LIVE", "never tried"),
        ("VOD", "never tried"),
        ("LIVE", "loaded"),
        ("VOD", "failed"),
    ]
    assert shown[2]["rows"] == newest_warehouse.sandbox.report(Slice(TARGET, ReportType.LIVE)).rows
    assert shown[2]["loaded_at"].startswith(f"{datetime.now(UTC).date()}")
    assert "line 1 is not the header of a watch-time report" in shown[3]["reason"]
    table = program("status", "--start", f"{TARGET}").stdout
    assert "loaded" in table
    assert "failed" in table


def test_backfill_takes_a_part_of_the_slices(program: Program) -> None:
    span = ("--start", f"{TARGET - timedelta(days=4)}", "--end", f"{TARGET}", "--dry-run", "--json")
    whole = json.loads(program("backfill", *span).stdout)["slices"]
    shards = [program("backfill", *span, "--shard", f"{index}/3") for index in range(3)]
    parts = [json.loads(shard.stdout)["slices"] for shard in shards]
    assert len(whole) == 10
    assert sorted((line for part in parts for line in part), key=str) == sorted(whole, key=str)
    program("backfill", *span[:4], "--type", "LIVE")
    only = json.loads(program("backfill", *span, "--only", "loaded,held").stdout)["slices"]
    assert {slice_["report_type"] for slice_ in only} == {"LIVE"}
    assert [json.loads(shard.stdout)["shard"] for shard in shards] == ["0/3", "1/3", "2/3"]
    assert "\n2 slices of shard 1/3 to request" in program("backfill", *span[:5], "--shard", "1/3").stdout
    for wrong in (("--only", "lost"), ("--accept",), ("--only", "held", "--refresh"), ("--refresh", "--reload")):
        assert program("backfill", *span, *wrong).returncode == 2


@pytest.mark.parametrize("shard", ["3/3", "0/0", "-1/3", "1", "a/b", "1/3 ", "1.0/3", "$(JOB_COMPLETION_INDEX)/3"])
def test_what_is_no_shard_is_told_with_one_that_is(bare_program: Program, shard: str) -> None:
    done = bare_program("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}", "--shard", shard)
    assert done.returncode == 2
    told = " ".join(done.stderr.replace("\u2502", " ").split())
    assert f"--shard '{shard}' is not valid: expected I/N, such as 0/4 to 3/4 for four parts" in told


def test_each_state_can_be_chosen_for_a_backfill(program: Program, newest_warehouse: Warehouse) -> None:
    """A date for each state; the last has no row."""
    states = ["loaded", "unavailable", "empty", "held", "failed", "missing"]
    days = {state: TARGET - timedelta(days=back) for back, state in enumerate(states)}
    with psycopg.connect(newest_warehouse.url) as connection:
        for state, day in days.items():
            if state != "missing":
                connection.execute(
                    "INSERT INTO report_slice (report_date, report_type, state, revision, rows_stored, watch_seconds, "
                    "checked_at, loaded_at) VALUES (%s, 'VOD', %s, 0, 0, 0, now(), now())",
                    [day, state],
                )
    span = ("--start", f"{min(days.values())}", "--end", f"{TARGET}", "--type", "VOD", "--dry-run", "--json")
    for state, day in days.items():
        plan = json.loads(program("backfill", *span, "--only", state).stdout)["slices"]
        assert [slice_["report_date"] for slice_ in plan] == [f"{day}"], state
    all_but_loaded = json.loads(program("backfill", *span).stdout)["slices"]
    assert len(all_but_loaded) == 5


def test_revisions_tell_what_changed_and_what_is_held(program: Program, newest_warehouse: Warehouse) -> None:
    assert "nothing was restated, and nothing is held" in program("revisions").stdout
    program("run", LOOKBACK_DAYS="0", RECHECK_DAYS="0")
    before = newest_warehouse.sandbox.report(VOD)
    restated = newest_warehouse.sandbox.restate(VOD)
    after = newest_warehouse.sandbox.report(VOD)
    newest_warehouse.sandbox.override(
        Slice(TARGET, ReportType.LIVE),
        Delivery(body="Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"),
    )
    assert program("run", LOOKBACK_DAYS="0", RECHECK_DAYS="0").returncode == 65
    told = program("revisions", COLUMNS="160").stdout
    changed = f"+{restated.rows_added} -{restated.rows_vanished} ~{restated.rows_changed}"
    assert f"{before.watch_seconds:,.3f}  {after.watch_seconds:,.3f}  {changed} " in told
    accept = ("backfill", "--start", f"{TARGET}", "--end", f"{TARGET}", "--type", "LIVE", "--accept")
    assert f"next: to accept the report:\n    watch-time {' '.join(accept)}\n" in told
    assert program(*accept).returncode == 0
    document = json.loads(program("revisions", "--json").stdout)
    assert [(change["report_type"], change["revision"]) for change in document["revisions"]] == [
        ("LIVE", 2),
        ("VOD", 2),
    ]
    assert document["revisions"][0]["overruled"].startswith("the new report has a header and no rows")
    assert document["held"] == []


def test_a_monitor_learns_that_a_slice_is_late(program: Program, newest_warehouse: Warehouse) -> None:
    """Late is what was due yesterday or before; the target date itself may still come today."""
    nothing = program("status", "--check")
    assert nothing.returncode == 75
    assert f"late: {TARGET - timedelta(days=1)}, 2 slices" in nothing.stdout
    day = TARGET - timedelta(days=3)
    not_there = [Answer(404, '{"code": 5, "message": "not found", "details": []}')]
    for slice_ in slices_of([day]):
        newest_warehouse.sandbox.script(slice_, api=not_there)
    newest_warehouse.sandbox.withdraw(VOD)
    assert program("run").returncode == 0
    assert program("status").returncode == 0
    checked = program("status", "--check")
    assert checked.returncode == 75
    assert f"late: {day}, 2 slices\n" in checked.stdout
    assert f"  why:\n    watch-time explain {day} --type LIVE\n" in checked.stdout
    assert f"  next:\n    watch-time backfill --start {day} --end {day}\n" in checked.stdout
    assert "FIRST_DATE" not in checked.stdout, "two days ago matters"
    for told in (
        program("status", "--check", "--start", f"{TARGET - timedelta(days=2)}"),
        program("status", "--check", FIRST_DATE=f"{TARGET - timedelta(days=2)}"),
    ):
        assert told.returncode == 0
        assert f"VOD   {TARGET - timedelta(days=1)}" in told.stdout, "the newest stored date stays what it is"
    document = json.loads(program("status", "--check", "--json").stdout)
    assert (document["oldest_gap"], document["late"]) == (f"{day} LIVE", [f"{day} LIVE", f"{day} VOD"])
    live, vod = document["freshness"]
    assert live["newest_stored"] == f"{TARGET}"
    assert vod["newest_stored"] == f"{TARGET - timedelta(days=1)}"
    assert live["complete_up_to"] == vod["complete_up_to"] == f"{day - timedelta(days=1)}"
    program("backfill", "--start", f"{day}", "--end", f"{day}")
    assert program("status", "--check").returncode == 0, "the target date is a gap, and not late"


class TestAWrongDateFarBack:
    """Years of dates that nobody ever asked for would count as missing from then on."""

    WRONG = "2019-01-01"

    def test_it_is_refused_before_it_does_harm(self, program: Program, newest_warehouse: Warehouse) -> None:
        assert program("run", LOOKBACK_DAYS="0").returncode == 0
        days = (TARGET - date(2019, 1, 1)).days
        for wrong in (("run", "--date", self.WRONG), ("backfill", "--start", self.WRONG, "--end", f"{TARGET}")):
            refused = program(*wrong)
            assert refused.returncode == 2
            assert f"error: {self.WRONG} is {days:,} days before {TARGET}, the oldest" in refused.stderr
            assert "next: correct the date, or confirm it by adding --yes to the command" in refused.stderr
        assert newest_warehouse.query("SELECT DISTINCT report_date FROM report_slice") == [(TARGET,)]
        assert "late" not in program("status", "--check").stdout

    def test_a_dry_run_of_it_only_lists(self, program: Program) -> None:
        program("run", LOOKBACK_DAYS="0")
        assert program("backfill", "--start", self.WRONG, "--end", self.WRONG, "--dry-run").returncode == 0

    def test_what_status_says_after_it_can_be_pasted(self, program: Program, chat: Listener) -> None:
        program("run", LOOKBACK_DAYS="0")
        notify = {"NOTIFY_URLS": f"{chat.url.replace('http', 'json')}/hooks/x"}
        assert program("run", "--date", self.WRONG, "--yes", LOOKBACK_DAYS="0", **notify).returncode == 0
        told = program("status", "--check")
        assert told.returncode == 75
        assert "late: 2019-01-02 to " in told.stdout
        begins, last = f"WATCH_TIME_FIRST_DATE={TARGET}", TARGET - timedelta(days=1)
        fetch = ("backfill", "--start", "2019-01-02", "--end", f"{last}")
        assert f"  next:\n    watch-time {' '.join(fetch)}\n" in told.stdout
        assert f"  or set, if nothing before that date matters:\n    {begins}\n" in told.stdout
        (notice,) = chat.received
        message = json.loads(notice.body)["message"]
        assert f"to load everything that is late: watch-time {' '.join(fetch)}\n" in message
        assert message.endswith(begins)
        document = json.loads(program("status", "--json").stdout)
        assert (document["fetch_late"], document["leave_out_late"]) == (f"watch-time {' '.join(fetch)}", begins)

        plan = json.loads(program(*fetch, "--dry-run", "--json").stdout)["slices"]
        assert [f"{slice_['report_date']} {slice_['report_type']}" for slice_ in plan] == document["gaps"]

        metrics = program.folder / "watch_time.prom"
        healed = {"FIRST_DATE": f"{TARGET}"}
        checked = program("status", "--check", **healed)
        assert (checked.returncode, "late" in checked.stdout, "presumed" in checked.stdout) == (0, False, False)
        assert program("run", LOOKBACK_DAYS="0", METRICS_FILE=str(metrics), **notify, **healed).returncode == 0
        figures = dict(line.rsplit(" ", 1) for line in metrics.read_text().splitlines() if not line.startswith("#"))
        for report_type in ReportType:
            assert figures[f'watch_time_late_slices{{report_type="{report_type}"}}'] == "0.0"
            assert figures[f'watch_time_presumed_empty_slices{{report_type="{report_type}"}}'] == "0.0"
            assert figures[f'watch_time_slices{{report_type="{report_type}",state="never_tried"}}'] == "0.0"
            assert figures[f'watch_time_slices{{report_type="{report_type}",state="empty"}}'] == "0.0"
        assert len(chat.received) == 1, "and nothing more is told"


class TestExitCodes:
    """A scheduler knows from the code alone whether to retry or to page."""

    def test_usage(self, program: Program) -> None:
        wrong = program("run", "--date", "yesterday", "--json")
        assert wrong.returncode == 2
        assert "is not a valid date (YYYY-MM-DD" in wrong.stderr
        assert json.loads(wrong.stdout)["error"]["class"] == "WrongUsage", "who asked for a document gets one"
        assert program("backfill", "--start", "2026-02-02", "--end", "2026-02-01").returncode == 2
        assert program("no-such-command").returncode == 2

    def test_missing_settings_are_all_named(self, bare_program: Program) -> None:
        done = bare_program("run")
        assert done.returncode == 78
        for name in ("WATCH_TIME_API_TOKEN", "WATCH_TIME_ORG_ID", "WATCH_TIME_DATABASE_URL"):
            assert f"{name}: not set" in done.stderr
        assert done.stdout == ""

    def test_tables_missing(self, program: Program) -> None:
        done = program("run", SCHEMA="elsewhere")
        assert done.returncode == 78
        assert "next:\n    watch-time migrate\n" in done.stderr

    def test_another_organization(self, program: Program) -> None:
        assert program("run", LOOKBACK_DAYS="0").returncode == 0
        done = program("run", ORG_ID="other-org")
        assert done.returncode == 78
        assert "contains data for organization sandbox-org, not other-org" in done.stderr

    def test_credentials(self, program: Program) -> None:
        done = program("run", API_TOKEN="wrong-token-of-mine", LOOKBACK_DAYS="0")
        assert done.returncode == 77
        assert "wrong-token-of-mine" not in done.stdout + done.stderr

    def test_data_refused(self, program: Program, newest_warehouse: Warehouse) -> None:
        newest_warehouse.sandbox.override(VOD, Delivery(body="no report\n"))
        assert program("run", LOOKBACK_DAYS="0").returncode == 65

    def test_source_in_trouble(self, program: Program, newest_warehouse: Warehouse) -> None:
        newest_warehouse.sandbox.script(VOD, api=[Answer(503, headers={"Retry-After": "0"})] * 20)
        assert program("run", LOOKBACK_DAYS="0").returncode == 75

    def test_database_down(self, program: Program) -> None:
        done = program("status", DATABASE_URL="postgresql://u:hidden-password@127.0.0.1:1/x")
        assert done.returncode == 75
        assert "cannot be reached" in done.stderr
        assert "hidden-password" not in done.stderr

    def test_not_published_yet_is_no_failure(self, program: Program) -> None:
        done = program("run", "--date", f"{TARGET + timedelta(days=1)}", "--json", LOOKBACK_DAYS="0")
        assert done.returncode == 0
        assert [slice_["result"] for slice_ in json.loads(done.stdout)["slices"]] == ["unavailable"] * 2


class TestWrongToken:
    """It cannot get better at the next slice: the run ends at the first."""

    def test_a_backfill_tries_no_other_slice(self, program: Program, newest_warehouse: Warehouse) -> None:
        sixty_four_days = ("backfill", "--start", f"{TARGET - timedelta(days=63)}", "--end", f"{TARGET}")
        done = program(*sixty_four_days, "--json", API_TOKEN="wrong")
        assert done.returncode == 77
        document = json.loads(done.stdout)
        (refused,) = document["slices"]
        assert (document["exit_code"], document["not_tried"]) == (77, 127)
        assert (refused["result"], refused["exit_code"]) == ("failed", 77)
        assert "WATCH_TIME_API_TOKEN" in refused["next_step"]
        _, told, summed_up = _log_lines(done.stderr)
        assert (told["event"], told["exit_code"]) == ("slice_done", 77)
        assert (summed_up["event"], summed_up["exit_code"], summed_up["not_tried"]) == ("run_done", 77, 127)
        assert newest_warehouse.query("SELECT state, error_code FROM report_slice") == [
            ("failed", "credentials_refused")
        ]
        assert newest_warehouse.query("SELECT result, times FROM report_check") == [("failed", 1)]
        assert len(newest_warehouse.sandbox.requests("api")) <= 2, "those that were being worked on"
        shown = program(*sixty_four_days, API_TOKEN="wrong").stdout
        assert shown.count("next: ") == 1
        assert "\n128 slices: the API refuses the token: " in shown
        assert "\n128 slices: 1 failed, 127 not tried; 0 rows written" in shown

    def test_the_daily_job_does_not_go_on_with_the_lookback_window(
        self, program: Program, newest_warehouse: Warehouse
    ) -> None:
        with listening() as pinged:
            done = program("run", "--json", API_TOKEN="wrong", PING_URL=f"{pinged.url}/ping")
        document = json.loads(done.stdout)
        assert (done.returncode, len(document["slices"])) == (77, 1)
        assert document["not_tried"] == 29
        assert document["error"] is None
        assert len(newest_warehouse.sandbox.requests("api")) <= 2
        assert [(ping.path, ping.body) for ping in pinged.received[1:]] == [
            ("/ping/77", "run ended with exit code 77: 1 failed, 29 not tried")
        ]

    def test_what_was_begun_before_is_finished_and_told(self, program: Program, newest_warehouse: Warehouse) -> None:
        """The first slice is asked for with a token that is still good."""
        first, *others = slices_of(dates_between(TARGET - timedelta(days=4), TARGET))
        newest_warehouse.sandbox.override(first, Delivery(latency_s=1))
        for slice_ in others:
            newest_warehouse.sandbox.script(slice_, api=[Answer(403, '{"code": 7, "message": "no", "details": []}')])
        done = program("backfill", "--start", f"{first.report_date}", "--end", f"{TARGET}", "--json")
        document = json.loads(done.stdout)
        assert done.returncode == 77
        loaded, refused = document["slices"]
        assert document["not_tried"] == 8
        assert (loaded["report_date"], loaded["result"]) == (f"{first.report_date}", "loaded")
        assert refused["exit_code"] == 77
        assert [line["event"] for line in _log_lines(done.stderr)].count("slice_done") == 2
        assert newest_warehouse.query("SELECT state FROM report_slice ORDER BY 1") == [("failed",), ("loaded",)]

    def test_verify_compares_no_other_slice(self, program: Program, newest_warehouse: Warehouse) -> None:
        span = ("--start", f"{TARGET - timedelta(days=2)}", "--end", f"{TARGET}")
        assert program("backfill", *span).returncode == 0
        asked = len(newest_warehouse.sandbox.requests("api"))
        done = program("verify", *span, API_TOKEN="wrong")
        assert done.returncode == 77
        assert done.stdout.count("next: ") == 1
        assert "0 of 6 stored slices could be compared with the report; 5 not tried" in done.stdout
        assert len(newest_warehouse.sandbox.requests("api")) == asked + 1


class TestDoctor:
    """Each thing that can be amiss has a line, and what to do about it."""

    def _checks(self, program: Program, **settings: str) -> dict[str, dict[str, Any]]:
        done = program("doctor", "--json", **settings)
        checks = {check["check"]: check for check in json.loads(done.stdout)}
        assert done.returncode == max(check["exit_code"] for check in checks.values())
        return checks

    def test_all_is_well(self, program: Program) -> None:
        checks = self._checks(program)
        assert list(checks) == ["settings", "database", "tables", "privileges", "API", "clock", "download host"]
        assert {check["verdict"] for check in checks.values()} == {"ok"}

    @pytest.mark.parametrize(
        ("settings", "name", "code", "says"),
        [
            pytest.param({"API_TOKEN": "x"}, "API", 77, "token", id="token"),
            pytest.param({"API_BASE_URL": "http://127.0.0.1:1"}, "API", 75, "could not be reached", id="api-down"),
            pytest.param({"SCHEMA": "elsewhere"}, "database", 78, "no watch-time tables", id="not-migrated"),
            pytest.param({"LAG_DAYS": "many"}, "settings", 78, "WATCH_TIME_LAG_DAYS", id="setting"),
            pytest.param(
                {"DATABASE_URL": "postgresql://127.0.0.1:1/x"}, "database", 75, "cannot be reached", id="db-down"
            ),
        ],
    )
    def test_what_is_amiss_is_named(
        self, program: Program, settings: dict[str, str], name: str, code: int, says: str
    ) -> None:
        check = self._checks(program, **settings)[name]
        assert (check["verdict"], check["exit_code"]) == ("problem", code)
        assert says in check["detail"]
        assert check["next_step"]

    def test_a_misspelt_setting_is_noticed(self, program: Program) -> None:
        check = json.loads(program("doctor", "--json", LOOKBACK="3").stdout)[0]
        assert check["verdict"] == "warning"
        assert check["next_step"] == "rename it to WATCH_TIME_LOOKBACK_DAYS, or remove it"


def test_nothing_secret_is_printed_anywhere(program: Program, newest_warehouse: Warehouse) -> None:
    """Token, signatures and customer ids, in every output of runs that go well and runs that do not."""
    customer = "customer-canary-42"
    header = "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
    newest_warehouse.sandbox.override(VOD, Delivery(body=f"{header}t,c1,VOD,,{customer},-1\nt,c2,VOD,,{customer},x\n"))
    newest_warehouse.sandbox.script(
        Slice(TARGET, ReportType.LIVE), storage=[Delivery(expired=True), Delivery(cut_after_bytes=100), Answer(500)]
    )
    outputs = [program(*command) for command in (("run",), ("run", "--json"), ("status",), ("doctor",))]
    printed = "".join(done.stdout + done.stderr for done in outputs)
    assert outputs[0].returncode == 65
    for canary in (newest_warehouse.sandbox.config.token, "X-Amz", "Signature=", customer):
        assert canary not in printed
    ledger = str(newest_warehouse.query("SELECT * FROM report_slice"))
    for canary in ("X-Amz", "Signature=", customer):
        assert canary not in ledger


def test_a_file_of_secrets_that_others_may_read_is_a_warning_and_no_more(program: Program) -> None:
    url = program.folder / "database-url"
    url.write_text(program.environment["WATCH_TIME_DATABASE_URL"])
    url.chmod(0o644)
    done = program("status", DATABASE_URL="", DATABASE_URL_FILE=str(url))
    assert done.returncode == 0
    (line,) = [line for line in done.stderr.splitlines() if "secrets_open_to_others" in line]
    warned = json.loads(line)
    assert (warned["file"], warned["mode"], warned["next_step"]) == (str(url), "0644", "chmod 600")
    url.chmod(0o600)
    assert "secrets_open_to_others" not in program("status", DATABASE_URL="", DATABASE_URL_FILE=str(url)).stderr
