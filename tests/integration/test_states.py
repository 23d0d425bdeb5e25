"""Absent reports, look-back, backfill: which slices are asked for, and what is known of them afterwards."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import psycopg
import pytest

from conftest import DAY, HEADER, NOON, TODAY, VOD, Warehouse
from etl.diagnostics import explain, status
from etl.domain.errors import WrongUsage
from etl.domain.outcome import FetchOptions, Outcome, Result
from etl.domain.slices import SETTLING_DAYS, ReportType, Shard, Slice, State, dates_between, slices_of
from etl.job.planner import LOADED_ONLY
from etl.sandbox.faults import Answer, Delivery
from etl.warehouse import ledger
from etl.warehouse.database import Database

TARGET = TODAY - timedelta(days=2)
NOT_THERE = Answer(404, '{"code": 5, "message": "report not found", "details": []}')


def _vod(day: date) -> Slice:
    return Slice(day, ReportType.VOD)


def _state(warehouse: Warehouse, slice_: Slice = VOD) -> tuple[object, ...]:
    return warehouse.query(
        "SELECT state, revision, reason FROM report_slice WHERE report_date = %s AND report_type = %s",
        slice_.report_date,
        slice_.report_type.value,
    )[0]


def test_a_404_within_the_settling_window_is_a_report_still_to_come(warehouse: Warehouse) -> None:
    warehouse.sandbox.script(VOD, api=[NOT_THERE])
    outcome = warehouse.sync()
    assert (outcome.result, outcome.exit_code) == (Result.UNAVAILABLE, 0)
    assert _state(warehouse) == ("unavailable", 0, "not published yet (404, checked once)")
    assert warehouse.sync().result is Result.LOADED


LIVE = Slice(DAY, ReportType.LIVE)
LATER = Slice(DAY + timedelta(days=3), ReportType.VOD)
ASKED = "404, checked 2 times, and the date is past the settling window"


def test_a_settled_404_without_evidence_is_no_empty_day(warehouse: Warehouse) -> None:
    """A source that is down for reports altogether returns 404 for everything."""
    for slice_ in (VOD, LIVE, LATER):
        warehouse.sandbox.withdraw(slice_)
    for slice_ in (VOD, LIVE):
        assert warehouse.sync(slice_=slice_, ask=FetchOptions(settled=True)).result is Result.UNAVAILABLE
    outcome = warehouse.sync(ask=FetchOptions(settled=True))
    assert (outcome.result, outcome.exit_code) == (Result.UNAVAILABLE, 0)
    assert _state(warehouse)[0] == "unavailable"
    assert outcome.message == (
        f"{ASKED}; but neither the date's other report nor a later one of this type exists, so the report "
        "may still come"
    )


@pytest.mark.parametrize(
    ("published", "evidence"),
    [
        pytest.param([LIVE], "LIVE of that date exists; no later VOD does", id="the date's other report"),
        pytest.param([LATER], f"VOD of {LATER.report_date} exists", id="a later report of the type"),
        pytest.param([LIVE, LATER], f"LIVE of that date exists; VOD of {LATER.report_date} exists", id="both of them"),
    ],
)
def test_a_settled_404_with_evidence_is_an_empty_day_that_may_still_be_asked_for(
    warehouse: Warehouse, published: list[Slice], evidence: str
) -> None:
    for slice_ in published:
        warehouse.sync(slice_=slice_)
    warehouse.sandbox.script(VOD, api=[NOT_THERE, NOT_THERE])
    outcome = warehouse.sync(ask=FetchOptions(settled=True))
    assert (outcome.result, outcome.exit_code) == (Result.EMPTY, 0)
    assert _state(warehouse) == ("empty", 0, f"no report: {ASKED}; {evidence}")
    assert warehouse.query("SELECT message FROM report_check WHERE result = 'empty'") == [
        (f"no report: {ASKED}; {evidence}",)
    ]
    assert warehouse.sync(ask=FetchOptions(settled=True)).result is Result.LOADED


def test_a_day_that_is_empty_by_a_404_is_told_apart_from_one_with_a_file_that_says_so(warehouse: Warehouse) -> None:
    """A report that is a week late beside the date's other one would pass for a quiet day, and the month for final."""
    warehouse.sync(HEADER, slice_=LIVE)
    warehouse.sandbox.script(VOD, api=[NOT_THERE, NOT_THERE])
    assert warehouse.sync(ask=FetchOptions(settled=True)).result is Result.EMPTY
    told = status.read(warehouse.configured(), DAY, DAY)
    assert [(one.state, one.shown_as) for one in told.slices] == [("empty", "empty"), ("empty", "presumed empty")]
    assert [one.as_json()["presumed_empty"] for one in told.slices] == [False, True]
    stories = explain.read(warehouse.configured(), [LIVE, VOD])
    assert [story.as_json()["presumed_empty"] for story in stories] == [False, True]
    assert warehouse.query(
        "SELECT report_type, state, presumed_empty FROM report_coverage WHERE report_date = %s ORDER BY 1", DAY
    ) == [("LIVE", "empty", False), ("VOD", "empty", True)]
    with warehouse.job() as opened:
        (again,) = opened.planner.backfill(DAY, DAY, wanted=[State.EMPTY], report_types=[ReportType.VOD])
        assert [outcome.result for outcome in opened.run([again])] == [Result.LOADED]
    assert status.read(warehouse.configured(), DAY, DAY).slices[1].shown_as == "loaded"


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Slice(LATER.report_date, ReportType.LIVE), id="another type on another date"),
        pytest.param(Slice(DAY - timedelta(days=1), ReportType.VOD), id="an earlier report of the type"),
    ],
)
def test_what_is_no_evidence(warehouse: Warehouse, other: Slice) -> None:
    warehouse.sync(slice_=other)
    warehouse.sandbox.withdraw(VOD)
    assert warehouse.sync(ask=FetchOptions(settled=True)).result is Result.UNAVAILABLE


def test_a_quiet_day_of_both_types_is_shown_by_one_of_them(warehouse: Warehouse) -> None:
    """A service without live events: that its VOD went on shows that the quiet date's LIVE is not to come either."""
    warehouse.sync(slice_=LATER)
    for slice_ in (VOD, LIVE):
        warehouse.sandbox.withdraw(slice_)
    assert warehouse.sync(ask=FetchOptions(settled=True)).result is Result.EMPTY
    outcome = warehouse.sync(slice_=LIVE, ask=FetchOptions(settled=True))
    assert outcome.message == f"no report: {ASKED}; VOD of that date is empty; no later LIVE does"


def test_a_backfill_sees_in_one_go_what_its_own_later_dates_show(warehouse: Warehouse) -> None:
    """Oldest first: when the quiet day is asked for, nothing later is there yet."""
    for slice_ in (VOD, LIVE):
        warehouse.sandbox.withdraw(slice_)
    with warehouse.job(concurrency=1) as opened:
        seen: list[Outcome] = []
        outcomes = opened.run(opened.planner.backfill(DAY, LATER.report_date), on_outcome=seen.append)
    assert [outcome.result for outcome in seen].count(Result.UNAVAILABLE) == 2
    assert [outcome.result for outcome in outcomes] == [Result.EMPTY] * 2 + [Result.LOADED] * 6
    assert _state(warehouse)[0] == _state(warehouse, LIVE)[0] == "empty"
    assert warehouse.query(
        "SELECT result FROM report_check WHERE report_date = %s AND report_type = 'VOD' ORDER BY first_at", DAY
    ) == [("unavailable",), ("empty",)]


def test_a_backfill_of_a_service_without_live_events_leaves_no_settled_date_in_doubt(warehouse: Warehouse) -> None:
    """What speaks for the quiet date's LIVE is its VOD, which is graded after it."""
    for slice_ in (VOD, *slices_of(dates_between(DAY, LATER.report_date), [ReportType.LIVE])):
        warehouse.sandbox.withdraw(slice_)
    with warehouse.job() as opened:
        outcomes = opened.run(opened.planner.backfill(DAY, LATER.report_date))
    results = {outcome.slice: outcome.result for outcome in outcomes}
    assert (results[VOD], results[LIVE]) == (Result.EMPTY, Result.EMPTY)
    assert results[Slice(LATER.report_date, ReportType.LIVE)] is Result.UNAVAILABLE, "not settled"


def test_trouble_on_the_way_does_not_hide_that_an_unreadable_report_was_there(warehouse: Warehouse) -> None:
    """Or else a 404 after it would make a quiet day."""
    warehouse.sync(slice_=LIVE)
    warehouse.sync("Title,Content,When\nt,c1,now\n")
    reason = _state(warehouse)[2]
    warehouse.sandbox.script(VOD, api=[Answer(401, "{}")])
    assert int(warehouse.sync().exit_code) == 77
    assert _state(warehouse) == ("failed", 0, reason)
    warehouse.sandbox.withdraw(VOD)
    assert warehouse.sync(ask=FetchOptions(settled=True)).result is Result.WITHDRAWN
    assert _state(warehouse) == ("failed", 0, reason)


@pytest.mark.parametrize(
    ("body", "state"),
    [
        pytest.param(HEADER + "t,c1,VOD,,u1,-5\n", "held", id="held"),
        pytest.param("Title,Content,When\nt,c1,now\n", "failed", id="with other columns"),
    ],
)
@pytest.mark.parametrize("settled", [False, True])
def test_a_report_that_was_there_and_not_accepted_does_not_become_a_quiet_day(
    warehouse: Warehouse, body: str, state: str, *, settled: bool
) -> None:
    warehouse.sync(slice_=LIVE)
    warehouse.sync(body)
    reason = _state(warehouse)[2]
    warehouse.sandbox.withdraw(VOD)
    outcome = warehouse.sync(ask=FetchOptions(settled=settled))
    assert (outcome.result, int(outcome.exit_code)) == (Result.WITHDRAWN, 65)
    assert "the report was withdrawn before it was accepted" in (outcome.message or "")
    assert _state(warehouse) == (state, 0, reason)


def test_a_404_does_not_make_the_schema_a_mistyped_organizations(warehouse: Warehouse) -> None:
    """Whoever returns 404 to a token may do so for any organization; the right one must not be locked out by it."""
    warehouse.sandbox.script(VOD, api=[NOT_THERE])
    assert warehouse.sync(org_id="mistyped-org").result is Result.UNAVAILABLE
    assert warehouse.query("SELECT org_id FROM warehouse") == []
    assert warehouse.sync().result is Result.LOADED
    assert warehouse.query("SELECT org_id FROM warehouse") == [(warehouse.sandbox.config.org_id,)]
    assert _state(warehouse)[:2] == ("loaded", 1)


def test_a_404_is_not_recorded_among_another_organizations_slices(warehouse: Warehouse) -> None:
    """The other one's first report was loaded after this run had begun."""
    with warehouse.job() as opened:
        with psycopg.connect(warehouse.url) as connection:
            connection.execute("INSERT INTO warehouse (org_id) VALUES ('other-org')")
        warehouse.sandbox.script(VOD, api=[NOT_THERE])
        outcome = opened.context.pipeline.sync_slice(VOD, FetchOptions())
    assert (outcome.result, int(outcome.exit_code)) == (Result.FAILED, 78)
    assert "contains data for organization other-org" in (outcome.message or "")
    assert warehouse.query("SELECT state FROM report_slice") == []
    assert warehouse.query("SELECT result FROM report_check") == []


def test_a_404_that_the_second_ask_contradicts_is_no_empty_day(warehouse: Warehouse) -> None:
    warehouse.sandbox.script(VOD, api=[NOT_THERE])
    assert warehouse.sync(ask=FetchOptions(settled=True)).result is Result.LOADED


def test_a_withdrawn_report_keeps_its_facts(warehouse: Warehouse) -> None:
    warehouse.sync()
    before = warehouse.stored()
    warehouse.sandbox.withdraw(VOD)
    outcome = warehouse.sync(ask=FetchOptions(settled=True))
    assert (outcome.result, outcome.exit_code) == (Result.WITHDRAWN, 0)
    assert _state(warehouse) == ("loaded", 1, None)
    ((last_check,),) = warehouse.query("SELECT last_check FROM report_slice")
    assert "the report was withdrawn; the loaded rows are kept" in last_check
    assert warehouse.stored() == before


def test_a_held_slice_is_loaded_again_once_the_source_is_back_to_what_is_stored(warehouse: Warehouse) -> None:
    warehouse.sync(HEADER + "A,c1,VOD,,u1,1\n")
    warehouse.sync(HEADER + "A,c1,VOD,,u1,-1\n")
    assert _state(warehouse)[:2] == ("held", 1)
    assert warehouse.query("SELECT count(*) FROM report_reject") == [(1,)]
    assert warehouse.sync(HEADER + "A,c1,VOD,,u1,1\n").result is Result.UNCHANGED
    assert _state(warehouse) == ("loaded", 1, None)
    assert warehouse.query("SELECT count(*) FROM report_reject") == [(0,)]


def test_the_daily_job_waits_for_the_target_date_within_its_budget(warehouse: Warehouse) -> None:
    with warehouse.job(not_found_wait_seconds=900) as opened:
        waits = [planned.ask.wait_s for planned in opened.planner.target()]
        slept: list[float] = []
        object.__setattr__(opened.context.pipeline._source.downloader.retry_policy, "sleep", slept.append)
        object.__setattr__(opened.context.pipeline._source.downloader.retry_policy, "clock", lambda: sum(slept))
        warehouse.sandbox.script(_vod(TARGET), api=[NOT_THERE] * 3)
        outcomes = opened.run(opened.planner.target())
    assert waits == [900, 900]
    assert [outcome.result for outcome in outcomes] == [Result.LOADED, Result.LOADED]
    assert len(slept) == 3
    assert 0 < sum(slept) < 900


def test_a_settled_target_date_is_not_waited_for(warehouse: Warehouse) -> None:
    with warehouse.job(not_found_wait_seconds=900) as opened:
        plan = opened.planner.target(TARGET - timedelta(days=SETTLING_DAYS + 1))
    assert [planned.ask for planned in plan] == [FetchOptions(settled=True), FetchOptions(settled=True)]


def test_lookback_takes_what_is_not_loaded_and_leaves_what_is(warehouse: Warehouse) -> None:
    warehouse.sync(slice_=_vod(TARGET - timedelta(days=1)))
    warehouse.sandbox.script(_vod(TARGET - timedelta(days=2)), api=[NOT_THERE])
    warehouse.sync(slice_=_vod(TARGET - timedelta(days=2)))
    warehouse.sync(HEADER + "t,c,VOD,,u,-1\n", slice_=_vod(TARGET - timedelta(days=3)))
    with warehouse.job(recheck_days=0, lookback_days=5) as opened:
        plan = opened.planner.lookback()
    reasons = {planned.slice: planned.reason for planned in plan if planned.slice.report_type is ReportType.VOD}
    assert [TARGET - slice_.report_date for slice_ in reasons] == [timedelta(days=days) for days in (5, 4, 3, 2)]
    shown = list(reasons.values())
    assert shown[:2] == ["never tried", "never tried"]
    assert shown[2].startswith("held, last checked")
    assert "invalid lines: 1 of 1" in shown[2]
    assert shown[3].startswith("unavailable, last checked")


def test_the_daily_job_asks_again_for_what_may_have_been_restated(warehouse: Warehouse) -> None:
    days = [TARGET - timedelta(days=back) for back in range(1, 8)]
    with warehouse.job() as opened:
        opened.run(opened.planner.backfill(days[-1], days[0]))
    warehouse.sandbox.restate(_vod(days[3]))
    with warehouse.job(recheck_days=4, lookback_days=2) as opened:
        plan = opened.planner.lookback()
        outcomes = opened.run(plan)
    assert {planned.slice.report_date for planned in plan} == set(days[:4])
    changed = {outcome.slice: outcome.result for outcome in outcomes if outcome.result is not Result.UNCHANGED}
    assert changed == {_vod(days[3]): Result.LOADED}


def test_an_outage_of_a_week_is_healed_by_one_run(warehouse: Warehouse) -> None:
    """Seven daily runs did not take place; all settings are as they come."""
    with warehouse.job() as opened:
        opened.planner.now = NOON - timedelta(days=8)
        before = opened.run([*opened.planner.target(), *opened.planner.lookback()])
    assert max(outcome.slice.report_date for outcome in before) == TARGET - timedelta(days=8)
    with warehouse.job(recheck_days=0) as opened:
        outcomes = opened.run([*opened.planner.target(), *opened.planner.lookback()])
    assert [outcome.slice for outcome in outcomes] == slices_of(dates_between(TARGET - timedelta(days=7), TARGET))
    assert {outcome.result for outcome in outcomes} == {Result.LOADED}


def test_one_failing_slice_leaves_the_other_alone_and_the_gravest_code_wins(warehouse: Warehouse) -> None:
    warehouse.sandbox.override(_vod(TARGET), Delivery(body="no report"))
    with warehouse.job() as opened:
        outcomes = opened.run(opened.planner.target())
    assert [(outcome.result, int(outcome.exit_code)) for outcome in outcomes] == [
        (Result.LOADED, 0),
        (Result.FAILED, 65),
    ]


def test_both_reports_of_a_date_are_in_one_shard(warehouse: Warehouse) -> None:
    """Each is evidence for the other."""
    with warehouse.job() as opened:
        shards = [opened.planner.backfill(DAY - timedelta(days=5), DAY, shard=Shard(index, 2)) for index in range(2)]
    assert [len(shard) for shard in shards] == [6, 6]
    for shard in shards:
        assert {planned.slice.report_type for planned in shard} == set(ReportType)
        assert len({planned.slice.report_date for planned in shard}) == 3


def test_a_backfill_goes_on_where_it_was(warehouse: Warehouse) -> None:
    start = DAY - timedelta(days=3)
    with warehouse.job() as opened:
        first = opened.planner.backfill(start, DAY, report_types=[ReportType.VOD])
        opened.run(first[:2])
        assert [planned.slice for planned in opened.planner.backfill(start, DAY, report_types=[ReportType.VOD])] == [
            planned.slice for planned in first[2:]
        ]
        opened.run(opened.planner.backfill(start, DAY))
        assert opened.planner.backfill(start, DAY) == []
        assert len(opened.planner.backfill(start, DAY, wanted=LOADED_ONLY)) == 8


def test_the_parts_of_a_backfill_do_not_depend_on_what_is_loaded_meanwhile(warehouse: Warehouse) -> None:
    start = DAY - timedelta(days=3)
    with warehouse.job() as opened:
        for index in range(3):
            opened.run(opened.planner.backfill(start, DAY, shard=Shard(index, 3)))
        assert opened.planner.backfill(start, DAY) == []


def test_checks_that_waited_for_each_other_are_noted_in_the_order_of_their_commits(warehouse: Warehouse) -> None:
    """Also where the clock stands still, or goes back."""
    database = Database(warehouse.url, schema="public")
    for message in ("a", "a", "b", "a"):
        with database.transaction() as connection:
            ledger.record_check(connection, VOD, "failed", message)
    with database.transaction() as connection:
        connection.execute(
            "UPDATE report_check SET first_at = first_at + interval '1 hour', last_at = last_at + interval '1 hour'"
        )
    with database.transaction() as connection:
        ledger.record_check(connection, VOD, "failed", "c")
    assert warehouse.query("SELECT message, times FROM report_check ORDER BY first_at") == [
        ("a", 2), ("b", 1), ("a", 1), ("c", 1),
    ]  # fmt: skip


def test_the_same_refusal_with_another_request_id_is_the_same_answer(warehouse: Warehouse) -> None:
    body = '{"code": 7, "message": "no", "details": []}'
    for number in range(3):
        warehouse.sandbox.script(VOD, api=[Answer(403, body, headers={"x-request-id": f"req-{number}"})])
        assert warehouse.sync().request_id == f"x-request-id: req-{number}"
    ((message, times),) = warehouse.query("SELECT message, times FROM report_check")
    assert (times, "req-" in message) == (3, False)


def test_a_day_that_is_not_over_is_refused(warehouse: Warehouse) -> None:
    with warehouse.job() as opened, pytest.raises(WrongUsage, match="not over yet"):
        opened.planner.target(TODAY)


def test_a_day_that_is_over_in_the_zone_and_not_in_utc_is_not_asked_for(warehouse: Warehouse) -> None:
    """Its report would lack the hours that are still to come, and count as the day's until it is asked for again."""
    zone = ZoneInfo("Pacific/Kiritimati")
    with warehouse.job(lag_days=1, time_zone=zone.key) as opened:
        opened.planner.now = datetime(2026, 11, 22, 1, tzinfo=zone)
        yesterday, before = date(2026, 11, 21), date(2026, 11, 20)
        assert {planned.slice.report_date for planned in opened.planner.target()} == {before}
        for plan in (opened.planner.target, lambda day: opened.planner.backfill(before, day)):
            with pytest.raises(WrongUsage) as refused:
                plan(yesterday)
            assert refused.value.message == (
                "2026-11-21 is not over yet: it is 2026-11-22 01:00 in Pacific/Kiritimati, 2026-11-21 11:00 in UTC, "
                "and reports cover UTC days"
            )
            assert refused.value.next_step == "give 2026-11-20 or an earlier date"
        opened.planner.now = datetime(2026, 11, 22, 14, tzinfo=zone)
        assert {planned.slice.report_date for planned in opened.planner.target()} == {yesterday}


class TestFarDates:
    """A date far before all others would make years of gaps."""

    OLDEST = DAY - timedelta(days=40)

    @pytest.mark.parametrize(
        ("known", "first_date", "back", "refused"),
        [
            pytest.param(True, None, 31, False, id="a month before the oldest date"),
            pytest.param(True, None, 32, True, id="more than that"),
            pytest.param(True, OLDEST - timedelta(days=10), 41, False, id="a month before the setting's date"),
            pytest.param(True, OLDEST + timedelta(days=10), 22, True, id="before the setting's date"),
            pytest.param(False, OLDEST, 32, True, id="in an empty warehouse, before the setting's date"),
            pytest.param(False, None, 5_000, False, id="in an empty warehouse"),
        ],
    )
    def test_a_range_that_begins_there_must_be_meant(
        self, warehouse: Warehouse, known: bool, first_date: date | None, back: int, refused: bool
    ) -> None:
        if known:
            warehouse.sync(slice_=_vod(self.OLDEST))
        start = self.OLDEST - timedelta(days=back)
        with warehouse.job(first_date=first_date) as opened:
            plan = opened.planner.backfill(start, DAY)
            opened.planner.require_near(plan, is_meant=True, is_history=True)
            if not refused:
                opened.planner.require_near(plan, is_meant=False, is_history=True)
                return
            with pytest.raises(WrongUsage, match=f"{start} is 32 days before") as error:
                opened.planner.require_near(plan, is_meant=False, is_history=True)
        assert error.value.next_step.endswith("by adding --yes to the command")

    def test_a_target_date_there_must_be_meant_even_in_an_empty_warehouse(self, warehouse: Warehouse) -> None:
        with warehouse.job() as opened:
            opened.planner.require_near(opened.planner.target(TARGET - timedelta(days=31)), is_meant=False)
            with pytest.raises(WrongUsage, match=f"is 32 days before {TARGET}"):
                opened.planner.require_near(opened.planner.target(TARGET - timedelta(days=32)), is_meant=False)

    def test_what_is_known_is_asked_for_again_without_a_question(self, warehouse: Warehouse) -> None:
        """Nothing that is worked on is far; that the range begins there does no harm."""
        warehouse.sync(slice_=_vod(self.OLDEST))
        with warehouse.job() as opened:
            plan = opened.planner.backfill(self.OLDEST - timedelta(days=900), DAY, wanted=LOADED_ONLY)
            opened.planner.require_near(plan, is_meant=False, is_history=True)
            opened.planner.require_near([], is_meant=False)
