"""What comes back, what overtakes, what gets in the way: a slice stays the newest accepted report, and says so."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from typer.testing import CliRunner

from conftest import DAY, HEADER, VOD, Warehouse
from etl.cli import main
from etl.domain.errors import DatabaseUnavailable
from etl.domain.outcome import FetchOptions, Outcome, Result, Trust
from etl.domain.slices import ReportType, State
from etl.job.planner import Planner
from etl.load import compaction, partition_bounds
from etl.runtime.cancellation import Stop
from etl.sandbox.faults import Answer, Delivery
from etl.warehouse import schema
from etl.warehouse import transactions as connecting
from etl.warehouse.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from etl.domain.outcome import Pause
    from etl.domain.pipeline_values import Origin, ReportAddress, ReportFile
    from etl.extract.download import Downloader
    from postgres import Server

GOOD = HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,2\n"
BAD = HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,-2\n"
NO_REPORT = Answer(404, '{"code": 5, "message": "not found", "details": []}')
HTML_404 = Answer(404, "<html></html>", media_type="text/html")


def _slice_row(warehouse: Warehouse) -> tuple[Any, ...]:
    return warehouse.query("SELECT state, revision, last_check IS NULL FROM report_slice")[0]


def _planned(warehouse: Warehouse) -> list[str]:
    with warehouse.job() as opened:
        return [planned.reason for planned in opened.planner.backfill(DAY, DAY, report_types=[ReportType.VOD])]


class TestHeldSlices:
    """A report that a person has to look at is not forgotten because the next check met something else."""

    @pytest.mark.parametrize("stored_before", [False, True], ids=["nothing-stored", "facts-stored"])
    @pytest.mark.parametrize("answer", [HTML_404, Answer(403, '{"code": 7, "message": "no", "details": []}')])
    def test_trouble_does_not_release_it(self, warehouse: Warehouse, stored_before: bool, answer: Answer) -> None:
        if stored_before:
            warehouse.sync(GOOD)
        warehouse.sync(BAD)
        warehouse.sandbox.script(VOD, api=[answer] * 3)
        assert warehouse.sync().exit_code
        assert _slice_row(warehouse) == ("held", int(stored_before), False)
        (reason,) = _planned(warehouse)
        assert "invalid lines: 1 of 2" in reason

    def test_a_404_does_not_release_it_while_there_are_facts(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        warehouse.sync(BAD)
        warehouse.sandbox.withdraw(VOD)
        assert warehouse.sync().result is Result.WITHDRAWN
        assert _slice_row(warehouse) == ("held", 1, False)
        assert len(_planned(warehouse)) == 1

    def test_it_claims_the_schema_for_its_organization(self, warehouse: Warehouse) -> None:
        warehouse.sync(BAD)
        assert warehouse.query("SELECT org_id FROM warehouse") == [("sandbox-org",)]

    def test_the_first_thousand_of_its_lines_are_kept(self, warehouse: Warehouse) -> None:
        outcome = warehouse.sync(HEADER + "A,c1,VOD,,u1,-1\n" * 1_500)
        assert "invalid lines: 1,500 of 1,500" in (outcome.message or "")
        assert "the first 1,000 at most" in (outcome.next_step or "")
        assert warehouse.query("SELECT count(*), min(line_number), max(line_number) FROM report_reject") == [
            (1_000, 2, 1_001)
        ]


class TestAcceptedByHand:
    """A person who has looked at a held report may take it; that is recorded."""

    def test_rejected_lines_are_left_out(self, warehouse: Warehouse) -> None:
        assert "watch-time backfill --start 2026-11-16 --end 2026-11-16 --type VOD --accept" in (
            warehouse.sync(BAD).next_step or ""
        )
        outcome = warehouse.sync(ask=FetchOptions(accept=True))
        assert (outcome.result, outcome.rows, outcome.rejected) == (Result.LOADED, 1, 1)
        assert any("accepted by hand: invalid lines: 1 of 2" in warning for warning in outcome.warnings)
        ((overruled,),) = warehouse.query("SELECT overruled FROM report_revision")
        assert overruled.startswith("invalid lines: 1 of 2")
        assert warehouse.query("SELECT count(*) FROM report_reject") == [(1,)]

    def test_an_empty_report_replaces_a_good_one(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        assert warehouse.sync(HEADER).result is Result.HELD
        outcome = warehouse.sync(ask=FetchOptions(accept=True))
        assert (outcome.result, outcome.revision) == (Result.EMPTY, 2)
        assert warehouse.facts() == []
        assert warehouse.query("SELECT state, rows_stored FROM report_slice") == [("empty", 0)]

    @pytest.mark.parametrize("suspicious", [BAD, HEADER], ids=["rejects", "empty"])
    def test_until_then_a_held_report_stays_held_at_every_check(self, warehouse: Warehouse, suspicious: str) -> None:
        warehouse.sync(GOOD)
        facts = warehouse.facts()
        for _ in range(3):
            assert warehouse.sync(suspicious).result is Result.HELD
            assert warehouse.facts() == facts

    def test_nobody_can_accept_a_report_of_rejects_only(self, warehouse: Warehouse) -> None:
        outcome = warehouse.sync(HEADER + "A,c1,VOD,,u1,-1\n", ask=FetchOptions(accept=True))
        assert outcome.result is Result.HELD
        assert "--accept" not in (outcome.next_step or "")

    def test_a_report_without_fault_needs_no_overruling(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD, ask=FetchOptions(accept=True))
        assert warehouse.query("SELECT overruled FROM report_revision") == [(None,)]

    def test_another_report_than_the_held_one_is_not_accepted(self, warehouse: Warehouse) -> None:
        """A person looked at the held report; the source published a bare header, and accepting deleted every row."""
        warehouse.sync(GOOD)
        assert warehouse.sync(BAD).result is Result.HELD
        outcome = warehouse.sync(HEADER, ask=FetchOptions(accept=True))
        assert (outcome.result, outcome.exit_code) == (Result.HELD, 65)
        assert "--accept takes the held report only, and this is a different one" in (outcome.message or "")
        assert len(warehouse.facts()) == 2
        # It is the held one from now on, for whoever has looked at it.
        assert warehouse.sync(ask=FetchOptions(accept=True)).result is Result.EMPTY

    def test_accepting_opens_nothing_for_a_report_that_was_not_held(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        assert warehouse.sync(HEADER, ask=FetchOptions(accept=True)).result is Result.HELD
        assert len(warehouse.facts()) == 2

    def test_the_hash_of_the_held_report_is_kept_until_it_is_answered(self, warehouse: Warehouse) -> None:
        def held() -> list[tuple[Any, ...]]:
            return warehouse.query("SELECT state, held_sha256 FROM report_slice")

        bad_sha256 = hashlib.sha256(BAD.encode()).hexdigest()
        warehouse.sync(BAD)
        assert held() == [("held", bad_sha256)]
        warehouse.sync(GOOD)
        assert held() == [("loaded", None)]
        warehouse.sync(HEADER)
        assert held() == [("held", hashlib.sha256(HEADER.encode()).hexdigest())]
        warehouse.sandbox.script(VOD, api=[NO_REPORT])
        assert warehouse.sync().result is Result.WITHDRAWN
        assert held()[0][0] == "held"
        warehouse.sync(GOOD)
        assert held() == [("loaded", None)]
        warehouse.sync(BAD)
        warehouse.sync(ask=FetchOptions(accept=True))
        assert held() == [("loaded", None)]


class TestAcceptedBefore:
    """What was accepted of a report is not asked about again when it comes back; what it would replace is."""

    def test_a_report_accepted_by_hand_comes_back_with_all_its_rejects(self, warehouse: Warehouse) -> None:
        """Its 1,500 rejected lines had become 1,000."""
        first = GOOD + "A,c1,VOD,,u1,-1\n" * 1_500
        warehouse.sync(first)
        assert warehouse.sync(ask=FetchOptions(accept=True)).result is Result.LOADED
        assert warehouse.sync(GOOD).revision == 2
        outcome = warehouse.sync(first)
        assert (outcome.result, outcome.revision, outcome.rejected) == (Result.LOADED, 3, 1_500)
        assert warehouse.query("SELECT count(*), count(DISTINCT line_number) FROM report_reject") == [(1_500, 1_500)]

    def test_a_report_that_was_accepted_while_nothing_was_stored_replaces_no_good_one(
        self, warehouse: Warehouse
    ) -> None:
        """A bare header has the same hash on every day, and is accepted on a quiet one."""
        warehouse.sync(HEADER)
        warehouse.sync(GOOD)
        assert warehouse.sync(HEADER).result is Result.HELD
        assert len(warehouse.facts()) == 2

    def test_its_rejects_stay_while_it_is_held_for_how_small_it_is(self, warehouse: Warehouse) -> None:
        """Held, only its first thousand rejected lines are in memory."""
        first = HEADER + "A,c1,VOD,,u1,1\n" + "A,c1,VOD,,u1,-1\n" * 1_500
        warehouse.sync(first)
        warehouse.sync(ask=FetchOptions(accept=True))
        warehouse.sync(GOOD + "C,c3,VOD,,u3,30\n")
        assert warehouse.sync(first).result is Result.HELD
        assert warehouse.query("SELECT count(*) FROM report_reject") == [(1_500,)]

    def test_its_rejects_stay_while_it_is_held_for_how_it_is_read_now(self, warehouse: Warehouse) -> None:
        """Read so, nothing is left of it; the lines that were rejected when it was accepted are not forgotten."""
        body = "Content Title,Content ID,Streaming Type,Created At,First,Second\n" + "A,c1,VOD,,x,7\n" * 2
        right, wrong = ('{"First": "customer_id", "Second": "watch_seconds"}',
                        '{"First": "watch_seconds", "Second": "customer_id"}')  # fmt: skip
        body += "A,c1,VOD,,x,-7\n" * 1_500
        warehouse.sync(body, header_aliases=right)
        warehouse.sync(header_aliases=right, ask=FetchOptions(accept=True))
        assert warehouse.sync(header_aliases=wrong).result is Result.HELD
        assert warehouse.query("SELECT count(*) FROM report_reject") == [(1_500,)]
        assert warehouse.sync(header_aliases=right).result is Result.UNCHANGED
        assert warehouse.query("SELECT count(*) FROM report_reject") == [(1_500,)]


class _Interjecting:
    """A downloader that lets something happen between a download and the load."""

    def __init__(self, real: Downloader, interjection: Callable[[], object]) -> None:
        self.retry_policy = real.retry_policy
        self._real = real
        self._interjections = [interjection]

    def download(
        self,
        address: ReportAddress,
        *,
        renew: Callable[[], ReportAddress],
        folder: Path,
        if_none_match: Origin | None = None,
        on_retry: Callable[[Pause], None] | None = None,
        on_body: Callable[[], None],
    ) -> ReportFile:
        report = self._real.download(
            address, renew=renew, folder=folder, if_none_match=if_none_match, on_retry=on_retry, on_body=on_body
        )
        if self._interjections:
            self._interjections.pop()()
        return report


def _sync_while(warehouse: Warehouse, interjection: Callable[[], object]) -> Outcome:
    with warehouse.job() as opened:
        opened.context.pipeline._source.downloader = _Interjecting(
            opened.context.pipeline._source.downloader, interjection
        )  # type: ignore[assignment]
        return opened.context.pipeline.sync_slice(VOD, FetchOptions())


def test_a_run_that_was_overtaken_does_not_bring_the_older_report_back(warehouse: Warehouse) -> None:
    warehouse.sync(HEADER + "A,c1,VOD,,u1,4\n")
    warehouse.sandbox.override(VOD, Delivery(body=HEADER + "A,c1,VOD,,u1,5\n"))
    outcome = _sync_while(warehouse, lambda: warehouse.sync(HEADER + "A,c1,VOD,,u1,9\n"))
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 2)
    assert warehouse.facts() == [("c1", "u1", "VOD", 9)]


def test_a_run_that_was_overtaken_by_the_same_report_finds_it_unchanged(warehouse: Warehouse) -> None:
    outcome = _sync_while(warehouse, warehouse.sync)
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 1)
    assert warehouse.sandbox.statuses("storage") == {200: 2}


@pytest.mark.parametrize("answered", ["record_held", "record_not_found", "_record_unmodified"])
def test_what_was_answered_before_another_run_committed_is_asked_for_again(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, answered: str
) -> None:
    """Held, absent or unmodified: none of it says anything about the revision that came meanwhile."""
    warehouse.sync(GOOD)
    with warehouse.job() as opened:
        holder = opened.context.pipeline if answered == "_record_unmodified" else opened.context.pipeline._recorder
        record, interjections = getattr(holder, answered), [warehouse.sync]

        def interject_and_record(*arguments: object) -> object:
            while interjections:
                assert interjections.pop()(GOOD + "C,c3,VOD,,u3,3\n").result is Result.LOADED
            return record(*arguments)

        monkeypatch.setattr(holder, answered, interject_and_record)
        if answered == "record_held":
            warehouse.sandbox.override(VOD, Delivery(body=BAD))
        elif answered == "record_not_found":
            warehouse.sandbox.script(VOD, api=[NO_REPORT])
        outcome = opened.context.pipeline.sync_slice(VOD, FetchOptions())
    assert (outcome.result, outcome.revision, outcome.rows) == (Result.UNCHANGED, 2, 3)
    assert warehouse.sandbox.statuses("api").total() == 4, "the first load, the answer, the other run, and once more"
    assert warehouse.query("SELECT state, last_check FROM report_slice") == [("loaded", None)]
    assert warehouse.query("SELECT result FROM report_check ORDER BY first_at") == [("loaded",), ("unchanged",)]


def test_facts_that_are_dropped_while_the_source_answers_unmodified_are_loaded_again(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest_warehouse.sync(GOOD)
    facts = newest_warehouse.facts()
    with newest_warehouse.job() as opened:
        pipeline = opened.context.pipeline
        record = pipeline._record_unmodified

        def drop_and_record(*arguments: Any) -> object:
            with psycopg.connect(newest_warehouse.url) as somebody:
                somebody.execute("DROP TABLE IF EXISTS watch_time_20261116_vod")
            return record(*arguments)

        monkeypatch.setattr(pipeline, "_record_unmodified", drop_and_record)
        assert pipeline.sync_slice(VOD, FetchOptions()).result is Result.LOADED
    assert newest_warehouse.facts() == facts


def test_a_former_report_with_rejected_lines_may_come_back(warehouse: Warehouse) -> None:
    first, second = GOOD.replace("u2,2", "u2,-2"), GOOD.replace("u2,2", "u2,1")
    for body, revision in ((first, 1), (second, 2), (first, 3)):
        assert warehouse.sync(body, max_reject_ratio="0.5").revision == revision
    assert warehouse.query("SELECT line_number FROM report_reject") == [(3,)]
    held = warehouse.sync(HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,-3\n")
    assert held.result is Result.HELD
    assert warehouse.query("SELECT count(*) FROM report_reject") == [(2,)]


class TestReadAgain:
    """The same bytes are loaded again where what is stored does not come from reading them in this way."""

    def test_after_the_columns_were_named_otherwise(self, warehouse: Warehouse) -> None:
        body = "Content Title,Content ID,Streaming Type,Created At,First,Second\nA,c1,VOD,,5,7\n"
        warehouse.sync(body, header_aliases='{"First": "watch_seconds", "Second": "customer_id"}')
        assert warehouse.facts() == [("c1", "7", "VOD", 5)]
        outcome = warehouse.sync(body, header_aliases='{"First": "customer_id", "Second": "watch_seconds"}')
        assert outcome.result is Result.LOADED
        assert warehouse.facts() == [("c1", "5", "VOD", 7)]

    @pytest.mark.parametrize("aliases", ['{"Viewer": "customer_id"}', '{"Region": "ignore", "Viewer": "ignore"}'])
    def test_but_not_because_of_an_alias_that_its_header_does_not_have(
        self, warehouse: Warehouse, aliases: str
    ) -> None:
        """An accepted report became held at every check."""
        warehouse.sync(GOOD)
        warehouse.sync(BAD)
        assert warehouse.sync(ask=FetchOptions(accept=True)).result is Result.LOADED
        outcome = warehouse.sync(header_aliases=aliases)
        assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 2)
        assert warehouse.sandbox.statuses("storage")[304] == 1, "nor is it downloaded"

    def test_after_an_alias_for_one_of_its_columns(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        outcome = warehouse.sync(header_aliases='{"customer-id": "customer_id", "Nothing": "ignore"}')
        assert outcome.result is Result.UNCHANGED
        assert warehouse.query("SELECT read_as::json ->> 'Customer ID' FROM report_slice") == [("customer_id",)]

    def test_after_somebody_dropped_the_partition(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        with psycopg.connect(warehouse.url) as connection:
            connection.execute("DROP TABLE watch_time_20261116_vod")
        assert warehouse.sync().result is Result.LOADED
        assert len(warehouse.facts()) == 2
        assert warehouse.query("SELECT revision FROM report_revision") == [(1,)], "it is the same revision"


class TestDamagedFacts:
    """Rows that were changed behind the program's back are put right."""

    def _damage(self, warehouse: Warehouse, rows: int = 5) -> None:
        with psycopg.connect(warehouse.url) as connection:
            connection.execute(
                "DELETE FROM watch_time WHERE customer_id IN (SELECT customer_id FROM watch_time LIMIT %s)", [rows]
            )
            connection.execute(
                "INSERT INTO watch_time (content_id, customer_id, streaming_type, report_date, report_type, "
                "watch_seconds) VALUES ('c', 'nobody', 'VOD', %s, 'VOD', 1)",
                [DAY],
            )

    @pytest.mark.parametrize("compacted", [False, True], ids=["own-partition", "compacted"])
    @pytest.mark.parametrize("trust", [Trust.COUNTS, Trust.NOTHING], ids=["refresh", "reload"])
    def test_they_are_corrected_and_stay_the_same_revision(
        self, warehouse: Warehouse, trust: Trust, compacted: bool
    ) -> None:
        warehouse.sync()
        before = warehouse.stored()
        if compacted:
            with warehouse.job() as opened:
                assert compaction.compact(opened.context.database, partition_bounds.of_month(DAY), Stop())
        self._damage(warehouse)
        assert warehouse.sync().result is Result.UNCHANGED, "the daily job trusts the ledger"
        outcome = warehouse.sync(ask=FetchOptions(trust=trust))
        assert (outcome.result, outcome.revision) == (Result.LOADED, 1)
        assert " 1 extra" in (outcome.message or "")
        assert warehouse.stored() == before
        assert "corrected" in warehouse.query("SELECT message FROM report_check ORDER BY first_at DESC LIMIT 1")[0][0]
        assert warehouse.sync(ask=FetchOptions(trust=trust)).result is Result.UNCHANGED

    def test_damage_that_leaves_counts_and_sums_takes_reloading(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        before = warehouse.stored()
        with psycopg.connect(warehouse.url) as connection:
            connection.execute("UPDATE watch_time SET customer_id = customer_id || 'x'")
        assert warehouse.sync(ask=FetchOptions(trust=Trust.COUNTS)).result is Result.UNCHANGED
        assert warehouse.sync(ask=FetchOptions(trust=Trust.NOTHING)).result is Result.LOADED
        assert warehouse.stored() == before

    def test_a_slice_that_has_none_loses_what_somebody_put_there(self, warehouse: Warehouse) -> None:
        warehouse.sync(GOOD)
        warehouse.sync(HEADER, shrink_limit="0")
        self._damage(warehouse)
        assert warehouse.sync(ask=FetchOptions(trust=Trust.COUNTS)).result is Result.LOADED
        assert warehouse.facts() == []

    def test_what_the_source_restated_meanwhile_is_a_revision(self, warehouse: Warehouse) -> None:
        warehouse.sync()
        self._damage(warehouse)
        restated = warehouse.sandbox.restate(VOD)
        outcome = warehouse.sync()
        assert (outcome.result, outcome.revision) == (Result.LOADED, 2)
        assert outcome.rows == 300 + restated.rows_added - restated.rows_vanished
        assert warehouse.query("SELECT count(*) FROM watch_time") == [(outcome.rows,)]


def test_a_line_of_data_in_the_header_s_place_is_not_quoted(warehouse: Warehouse) -> None:
    outcome = warehouse.sync("A title,content-canary,VOD,2023-07-03,customer-canary,5\n")
    assert outcome.exit_code == 65
    assert "line 1 is not the header of a watch-time report: only 0 of its 6 fields name a known column" in (
        outcome.message or ""
    )
    assert "canary" not in f"{outcome}{warehouse.query('SELECT * FROM report_slice')}"


@pytest.mark.single_server("it takes no triggers on distributed tables")
@pytest.mark.parametrize("stored_before", [False, True], ids=["new-partition", "differences"])
def test_what_the_table_would_not_hold_exactly_is_rolled_back(warehouse: Warehouse, stored_before: bool) -> None:
    """A trigger of somebody's that rounds stands for all that could falsify a row on its way."""
    if stored_before:
        warehouse.sync(HEADER + "A,c1,VOD,,u1,1\n")
    before = warehouse.stored()
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
    outcome = warehouse.sync(HEADER + "A,c1,VOD,,u1,1\nB,c2,VOD,,u2,2.5\n")
    assert int(outcome.exit_code) == 70, outcome.message
    assert "the report has 2 rows and 3.5 s, but watch_time would have 2 rows and 4 s; rolled back" in (
        outcome.message or ""
    )
    assert warehouse.stored() == before
    assert warehouse.query("SELECT state FROM report_slice") == [("loaded" if stored_before else "failed",)]


class _CountingStop(Stop):
    """Counts the pauses between tries of a transaction."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses = 0

    def sleep(self, seconds: float) -> None:
        self.pauses += 1
        super().sleep(seconds)


WAITING_FOR_LONG: LiteralString = (
    "SELECT count(*) FROM pg_locks "
    "WHERE relation = 'watch_time'::regclass AND waitstart < clock_timestamp() - interval '1 s'"
)


def test_a_long_analyze_makes_a_first_load_wait_and_not_begin_again(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer than the lock timeout of everything else, which is short here."""
    monkeypatch.setitem(connecting._TRANSACTION_SETTINGS, "lock_timeout", "500ms")
    stop = _CountingStop()
    outcomes: list[Outcome] = []
    with newest_warehouse.job() as opened, psycopg.connect(newest_warehouse.url) as connection:
        opened.context.database.stop = stop
        connection.execute("LOCK TABLE ONLY watch_time IN SHARE UPDATE EXCLUSIVE MODE")
        loading = threading.Thread(
            target=lambda: outcomes.append(opened.context.pipeline.sync_slice(VOD, FetchOptions()))
        )
        loading.start()
        with psycopg.connect(newest_warehouse.url, autocommit=True) as observer:
            while loading.is_alive() and observer.execute(WAITING_FOR_LONG).fetchone() == (0,):
                time.sleep(0.05)
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
            plan = opened.planner.backfill(
                DAY.replace(day=13), DAY, report_types=[ReportType.VOD], wanted=[None, *State]
            )
            outcomes = opened.run(plan)
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

    monkeypatch.setattr(Planner, "lookback", fails)
    newest_warehouse.sandbox.override(VOD, Delivery(body=BAD))
    settings = newest_warehouse.configured()
    for name in ("API_TOKEN", "ORG_ID", "DATABASE_URL", "API_BASE_URL"):
        monkeypatch.setenv(f"WATCH_TIME_{name}", settings.require(name.lower()))  # type: ignore[arg-type]  # names of settings
    done = CliRunner().invoke(main.app, ["run", "--date", f"{DAY}", "--yes", "--json"])
    assert done.exit_code == 65
    document = json.loads(done.stdout)
    assert document["exit_code"] == 65
    assert document["error"]["message"] == "the database went away"
    assert [slice_["result"] for slice_ in document["slices"]] == ["loaded", "held"]
