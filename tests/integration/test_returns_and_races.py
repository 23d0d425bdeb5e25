"""What comes back, what overtakes, what gets in the way: a slice stays the newest accepted report, and says so."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from typer.testing import CliRunner

from conftest import DAY, HEADER, VOD, Warehouse
from etl import cli, schema
from etl.db import Database
from etl.errors import DatabaseUnavailable
from etl.job import Job
from etl.outcome import Ask, Outcome, Result
from etl.sandbox.script import Answer, Delivery
from etl.slices import ReportType, State
from etl.stop import Stop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from etl.download import Downloader
    from etl.report import Origin, ReportAddress, ReportFile
    from postgres import Server

GOOD = HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,2\n"
BAD = HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,-2\n"
HTML_404 = Answer(404, "<html></html>", media_type="text/html")


def _slice_row(warehouse: Warehouse) -> tuple[Any, ...]:
    return warehouse.query("SELECT state, revision, last_check IS NULL FROM report_slice")[0]


def _planned(warehouse: Warehouse) -> list[str]:
    with warehouse.job() as opened:
        return [planned.reason for planned in opened.backfill_plan(DAY, DAY, report_types=[ReportType.VOD])]


class TestHeldSlices:
    """A report that a person has to look at is not forgotten because the next check met something else."""

    @pytest.mark.parametrize("stored_before", [False, True], ids=["nothing-stored", "facts-stored"])
    @pytest.mark.parametrize("answer", [HTML_404, Answer(403, '{"code": 7, "message": "no", "details": []}')])
    def test_trouble_does_not_release_it(self, warehouse: Warehouse, stored_before: bool, answer: Answer) -> None:
        if stored_before:
            warehouse.bring(GOOD)
        warehouse.bring(BAD)
        warehouse.sandbox.script(VOD, api=[answer] * 3)
        assert warehouse.bring().exit_code
        assert _slice_row(warehouse) == ("held", int(stored_before), False)
        (reason,) = _planned(warehouse)
        assert "1 of 2 lines cannot be loaded" in reason

    def test_a_404_does_not_release_it_while_there_are_facts(self, warehouse: Warehouse) -> None:
        warehouse.bring(GOOD)
        warehouse.bring(BAD)
        warehouse.sandbox.withdraw(VOD)
        assert warehouse.bring().result is Result.WITHDRAWN
        assert _slice_row(warehouse) == ("held", 1, False)
        assert len(_planned(warehouse)) == 1

    def test_it_claims_the_schema_for_its_organization(self, warehouse: Warehouse) -> None:
        warehouse.bring(BAD)
        assert warehouse.query("SELECT org_id FROM warehouse") == [("sandbox-org",)]

    def test_the_first_thousand_of_its_lines_are_kept(self, warehouse: Warehouse) -> None:
        outcome = warehouse.bring(HEADER + "A,c1,VOD,,u1,-1\n" * 1_500)
        assert "1500 of 1500 lines" in (outcome.message or "")
        assert "the first 1,000 of them" in (outcome.next_step or "")
        assert warehouse.query("SELECT count(*), min(line_number), max(line_number) FROM report_reject") == [
            (1_000, 2, 1_001)
        ]


class TestAcceptedByHand:
    """A person who has looked at a held report may take it; that is recorded."""

    def test_rejected_lines_are_left_out(self, warehouse: Warehouse) -> None:
        assert "watch-time backfill --start 2026-11-16 --end 2026-11-16 --type VOD --accept" in (
            warehouse.bring(BAD).next_step or ""
        )
        outcome = warehouse.bring(ask=Ask(accept=True))
        assert (outcome.result, outcome.rows, outcome.rejected) == (Result.LOADED, 1, 1)
        assert any("accepted by hand: 1 of 2 lines" in warning for warning in outcome.warnings)
        ((overruled,),) = warehouse.query("SELECT overruled FROM report_revision")
        assert overruled.startswith("1 of 2 lines cannot be loaded")
        assert warehouse.query("SELECT count(*) FROM report_reject") == [(1,)]

    def test_an_empty_report_replaces_a_good_one(self, warehouse: Warehouse) -> None:
        warehouse.bring(GOOD)
        outcome = warehouse.bring(HEADER, ask=Ask(accept=True))
        assert (outcome.result, outcome.revision) == (Result.EMPTY, 2)
        assert warehouse.facts() == []
        assert warehouse.query("SELECT state, rows_stored FROM report_slice") == [("empty", 0)]

    def test_nobody_can_accept_a_report_of_rejects_only(self, warehouse: Warehouse) -> None:
        outcome = warehouse.bring(HEADER + "A,c1,VOD,,u1,-1\n", ask=Ask(accept=True))
        assert outcome.result is Result.HELD
        assert "--accept" not in (outcome.next_step or "")

    def test_a_report_without_fault_needs_no_overruling(self, warehouse: Warehouse) -> None:
        warehouse.bring(GOOD, ask=Ask(accept=True))
        assert warehouse.query("SELECT overruled FROM report_revision") == [(None,)]


class _Interjecting:
    """A downloader that lets something happen between a download and the load."""

    def __init__(self, real: Downloader, interjection: Callable[[], object]) -> None:
        self.patience = real.patience
        self._real = real
        self._interjections = [interjection]

    def download(
        self,
        address: ReportAddress,
        *,
        renew: Callable[[], ReportAddress],
        folder: Path,
        unless: Origin | None = None,
        on_retry: Callable[[], None] | None = None,
        on_body: Callable[[], None],
    ) -> ReportFile:
        report = self._real.download(
            address, renew=renew, folder=folder, unless=unless, on_retry=on_retry, on_body=on_body
        )
        if self._interjections:
            self._interjections.pop()()
        return report


def _bring_while(warehouse: Warehouse, interjection: Callable[[], object]) -> Outcome:
    with warehouse.job() as opened:
        opened._pipeline._source._downloader = _Interjecting(opened._pipeline._source._downloader, interjection)  # type: ignore[assignment]
        return opened._pipeline.bring(VOD, Ask())


def test_a_run_that_was_overtaken_does_not_bring_the_older_report_back(warehouse: Warehouse) -> None:
    warehouse.bring(HEADER + "A,c1,VOD,,u1,4\n")
    warehouse.sandbox.override(VOD, Delivery(body=HEADER + "A,c1,VOD,,u1,5\n"))
    outcome = _bring_while(warehouse, lambda: warehouse.bring(HEADER + "A,c1,VOD,,u1,9\n"))
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 2)
    assert warehouse.facts() == [("c1", "u1", "VOD", 9)]


def test_a_run_that_was_overtaken_by_the_same_report_finds_it_unchanged(warehouse: Warehouse) -> None:
    outcome = _bring_while(warehouse, warehouse.bring)
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 1)
    assert warehouse.sandbox.statuses("storage") == {200: 2}


def test_a_former_report_with_rejected_lines_may_come_back(warehouse: Warehouse) -> None:
    first, second = GOOD.replace("u2,2", "u2,-2"), GOOD.replace("u2,2", "u2,1")
    for body, revision in ((first, 1), (second, 2), (first, 3)):
        assert warehouse.bring(body, max_reject_ratio="0.5").revision == revision
    assert warehouse.query("SELECT line_number FROM report_reject") == [(3,)]
    held = warehouse.bring(HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,-3\n")
    assert held.result is Result.HELD
    assert warehouse.query("SELECT count(*) FROM report_reject") == [(2,)]


class TestReadAgain:
    """The same bytes are loaded again where what is stored does not come from reading them in this way."""

    def test_after_the_columns_were_named_otherwise(self, warehouse: Warehouse) -> None:
        body = "Content Title,Content ID,Streaming Type,Created At,First,Second\nA,c1,VOD,,5,7\n"
        warehouse.bring(body, header_aliases='{"First": "watch_seconds", "Second": "customer_id"}')
        assert warehouse.facts() == [("c1", "7", "VOD", 5)]
        outcome = warehouse.bring(body, header_aliases='{"First": "customer_id", "Second": "watch_seconds"}')
        assert outcome.result is Result.LOADED
        assert warehouse.facts() == [("c1", "5", "VOD", 7)]

    def test_after_somebody_dropped_the_partition(self, warehouse: Warehouse) -> None:
        warehouse.bring(GOOD)
        with psycopg.connect(warehouse.url) as connection:
            connection.execute("DROP TABLE watch_time_20261116_vod")
        assert warehouse.bring().result is Result.LOADED
        assert len(warehouse.facts()) == 2


def test_a_line_of_data_in_the_header_s_place_is_not_quoted(warehouse: Warehouse) -> None:
    outcome = warehouse.bring("A title,content-canary,VOD,2023-07-03,customer-canary,5\n")
    assert outcome.exit_code == 65
    assert "line 1 is no header of a watch-time report: of its 6 fields 0 name a column" in (outcome.message or "")
    assert "canary" not in f"{outcome}{warehouse.query('SELECT * FROM report_slice')}"


@pytest.mark.single_server("it takes no triggers on distributed tables")
@pytest.mark.parametrize("stored_before", [False, True], ids=["new-partition", "differences"])
def test_what_the_table_would_not_hold_exactly_is_rolled_back(warehouse: Warehouse, stored_before: bool) -> None:
    """A trigger of somebody's that rounds stands for all that could falsify a row on its way."""
    if stored_before:
        warehouse.bring(HEADER + "A,c1,VOD,,u1,1\n")
    before = warehouse.everything()
    with psycopg.connect(warehouse.url) as connection:
        connection.execute("""
            CREATE FUNCTION round_off() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN NEW.watch_seconds := round(NEW.watch_seconds); RETURN NEW; END $$""")
        connection.execute(
            "CREATE TRIGGER round_off BEFORE INSERT ON watch_time FOR EACH ROW EXECUTE FUNCTION round_off()"
            if stored_before
            else """
            CREATE FUNCTION meddle() RETURNS event_trigger LANGUAGE plpgsql AS
            $$ BEGIN
                IF to_regclass('watch_time_20261116_vod') IS NOT NULL AND NOT EXISTS (
                    SELECT FROM pg_trigger WHERE tgrelid = to_regclass('watch_time_20261116_vod')
                ) THEN
                    CREATE TRIGGER round_off BEFORE INSERT ON watch_time_20261116_vod
                        FOR EACH ROW EXECUTE FUNCTION round_off();
                END IF;
            END $$;
            CREATE EVENT TRIGGER meddle ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION meddle()"""
        )
    outcome = warehouse.bring(HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,2.5\n")
    assert int(outcome.exit_code) == 70, outcome.message
    assert "the report has 2 rows and 3.5 s, the table would have 2 rows and 4 s; rolled back" in (
        outcome.message or ""
    )
    assert warehouse.everything() == before
    assert warehouse.query("SELECT state FROM report_slice") == [("loaded" if stored_before else "failed",)]


class _CountingStop(Stop):
    """Counts the pauses between tries of a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses = 0

    def sleep(self, seconds: float) -> None:
        self.pauses += 1
        super().sleep(seconds)


def test_a_long_analyze_makes_a_first_load_wait_and_not_begin_again(newest_warehouse: Warehouse) -> None:
    """Longer than the lock timeout of everything else."""
    stop = _CountingStop()
    outcomes: list[Outcome] = []
    with newest_warehouse.job() as opened, psycopg.connect(newest_warehouse.url) as connection:
        opened._database.stop = stop
        connection.execute("LOCK TABLE ONLY watch_time IN SHARE UPDATE EXCLUSIVE MODE")
        loading = threading.Thread(target=lambda: outcomes.append(opened._pipeline.bring(VOD, Ask())))
        loading.start()
        time.sleep(11)
        connection.rollback()
        loading.join()
    assert outcomes[0].result is Result.LOADED
    assert stop.pauses == 0, "it was done once, not once more after a timeout"


def test_restated_slices_side_by_side_do_not_stand_in_each_other_s_way(warehouse: Warehouse) -> None:
    """They name the same contents, and each changes all of them."""
    slices = [VOD, *(type(VOD)(DAY.replace(day=day), ReportType.VOD) for day in (13, 14, 15))]
    for title in ("first", "second"):
        for number, slice_ in enumerate(slices):
            lines = "".join(f"{title},c{content},VOD,,u{number},{content}\n" for content in range(2_000))
            warehouse.sandbox.override(slice_, Delivery(body=HEADER + lines))
        with warehouse.job(concurrency=4) as opened:
            plan = opened.backfill_plan(DAY.replace(day=13), DAY, report_types=[ReportType.VOD], wanted=[None, *State])
            outcomes = opened.work(plan)
        assert [outcome.result for outcome in outcomes] == [Result.LOADED] * 4
    assert warehouse.query("SELECT DISTINCT title FROM content") == [("second",)]


def test_migrating_needs_no_right_to_create_schemas_where_there_is_one(server: Server) -> None:
    with server.database(migrated=False) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE ROLE migrator_of_one_schema LOGIN")
        connection.execute("CREATE SCHEMA ours AUTHORIZATION migrator_of_one_schema")
        try:
            as_migrator = url.replace("postgres@", "migrator_of_one_schema@").replace(
                "postgres:@", "migrator_of_one_schema@"
            )
            for _ in range(2):
                schema.migrate(Database(as_migrator, schema="ours"))
        finally:
            connection.execute("DROP OWNED BY migrator_of_one_schema CASCADE")
            connection.execute("DROP ROLE migrator_of_one_schema")


def test_trouble_after_the_target_date_is_told_beside_what_came_of_it(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise DatabaseUnavailable("the database went away", next_step="try again later")

    monkeypatch.setattr(Job, "lookback_plan", fails)
    newest_warehouse.sandbox.override(VOD, Delivery(body=BAD))
    settings = newest_warehouse.configured()
    for name in ("API_TOKEN", "ORG_ID", "DATABASE_URL", "API_BASE_URL"):
        monkeypatch.setenv(f"WATCH_TIME_{name}", settings.require(name.lower()))  # type: ignore[arg-type]  # names of settings
    done = CliRunner().invoke(cli.app, ["run", "--date", f"{DAY}", "--json"])
    assert done.exit_code == 65
    document = json.loads(done.stdout)
    assert document["exit_code"] == 65
    assert document["error"]["message"] == "the database went away"
    assert [slice_["result"] for slice_ in document["slices"]] == ["loaded", "held"]
