"""Reports that are accepted: a slice is exactly the newest one, to the row and to the second."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

import psycopg
import pytest

from conftest import DAY, HEADER, VOD, Warehouse
from etl.domain.outcome import Outcome, Result
from etl.domain.pipeline_values import Tally
from etl.domain.slices import ReportType, Slice
from etl.load import load_steps
from etl.load.load_strategy import begin_load
from etl.sandbox.faults import Delivery
from etl.transform import normalise
from etl.warehouse.database import open_database

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.every_server

LIVE = Slice(DAY, ReportType.LIVE)


def _truth(path: Path) -> list[tuple[str, str, str, Decimal]]:
    """What a report says, read by the standard library."""
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file, strict=True))
    sums: Counter[tuple[str, str, str]] = Counter()
    for line in lines:
        streaming_type = line["Streaming Type"].upper().replace("-", "_")
        sums[line["Content ID"], line["Customer ID"], streaming_type] += Decimal(line["Watch Time (sec.)"])  # type: ignore[assignment]
    return sorted((*key, Decimal(seconds)) for key, seconds in sums.items())


def _lines(*lines: str) -> str:
    return HEADER + "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("slice_", [VOD, LIVE], ids=str)
def test_a_first_load_stores_the_report_exactly(warehouse: Warehouse, slice_: Slice) -> None:
    outcome = warehouse.sync(slice_=slice_)
    report = warehouse.sandbox.report(slice_)
    assert outcome.result is Result.LOADED
    assert (outcome.rows, outcome.watch_seconds) == (report.rows, report.watch_seconds)
    assert warehouse.facts(slice_) == _truth(report.path)
    assert warehouse.query(
        "SELECT relname, relispartition FROM pg_class WHERE relname LIKE 'watch_time_2%' AND relkind = 'r'"
    ) == [(f"watch_time_20261116_{slice_.report_type.lower()}", True)]


@pytest.mark.parametrize("etag", ['"v1"', None], ids=["not-downloaded", "downloaded"])
def test_the_same_report_again_rewrites_nothing(warehouse: Warehouse, etag: str | None) -> None:
    warehouse.sandbox.override(VOD, Delivery(headers={"etag": etag}))
    warehouse.sync()
    before = warehouse.stored()
    versions = "SELECT xmin::text, ctid::text FROM {} ORDER BY 1, 2"
    rows_before = [warehouse.query(versions.format(table)) for table in ("watch_time", "content")]
    outcome = warehouse.sync()
    assert (outcome.result, outcome.revision) == (Result.UNCHANGED, 1)
    assert warehouse.stored() == before
    assert [warehouse.query(versions.format(table)) for table in ("watch_time", "content")] == rows_before


def test_a_restated_report_leaves_exactly_the_new_one(warehouse: Warehouse) -> None:
    first = warehouse.sync()
    restated = warehouse.sandbox.restate(VOD)
    versions = "SELECT content_id, customer_id, streaming_type, xmin::text FROM watch_time"
    before = set(warehouse.query(versions))
    outcome = warehouse.sync()
    report = warehouse.sandbox.report(VOD)
    assert warehouse.facts() == _truth(report.path)
    assert outcome.change
    assert (outcome.change.inserted, outcome.change.updated, outcome.change.deleted) == (
        restated.rows_added,
        restated.rows_changed,
        restated.rows_vanished,
    )
    assert restated.rows_added and restated.rows_changed and restated.rows_vanished  # noqa: PT018 - one claim: it says something
    assert warehouse.query(
        "SELECT revision, rows_inserted, rows_updated, rows_deleted, rows_unchanged, seconds_before, seconds_after "
        "FROM report_revision ORDER BY revision"
    ) == [
        (1, first.rows, 0, 0, 0, 0, first.watch_seconds),
        (
            2,
            restated.rows_added,
            restated.rows_changed,
            restated.rows_vanished,
            first.rows - restated.rows_changed - restated.rows_vanished,
            first.watch_seconds,
            report.watch_seconds,
        ),
    ]
    untouched = before.intersection(warehouse.query(versions))
    assert len(untouched) == first.rows - restated.rows_changed - restated.rows_vanished
    assert warehouse.query("SELECT title FROM content WHERE content_id = %s", restated.content_id) == [
        (restated.title,)
    ]


def _storage_answers(warehouse: Warehouse) -> list[int]:
    return [request.status for request in warehouse.sandbox.requests("storage")]


def test_a_report_that_the_host_says_is_still_the_same_is_not_downloaded(warehouse: Warehouse) -> None:
    warehouse.sync()
    before = warehouse.stored()

    outcome = warehouse.sync()

    assert (outcome.result, outcome.report_bytes, outcome.revision) == (Result.UNCHANGED, 0, 1)
    assert _storage_answers(warehouse) == [200, 304]
    assert warehouse.stored() == before


def test_a_restated_report_is_downloaded_and_the_next_time_not(warehouse: Warehouse) -> None:
    warehouse.sync()
    warehouse.sandbox.restate(VOD)
    assert [warehouse.sync().result for _ in range(2)] == [Result.LOADED, Result.UNCHANGED]
    assert _storage_answers(warehouse) == [200, 200, 304]


def test_an_etag_that_the_host_changed_alone_is_noted(warehouse: Warehouse) -> None:
    warehouse.sync()
    warehouse.sandbox.override(VOD, Delivery(headers={"etag": '"another"'}))
    assert [warehouse.sync().result for _ in range(2)] == [Result.UNCHANGED, Result.UNCHANGED]
    assert _storage_answers(warehouse) == [200, 200, 304]


def test_facts_that_are_gone_are_loaded_again_whatever_the_host_says(warehouse: Warehouse) -> None:
    warehouse.sync()
    stored = warehouse.facts()
    with psycopg.connect(warehouse.url) as connection:
        connection.execute(f"DROP TABLE watch_time_{DAY:%Y%m%d}_vod")
    assert warehouse.sync().result is Result.LOADED
    assert warehouse.facts() == stored


def test_a_report_that_would_be_read_otherwise_now_is_downloaded_again(warehouse: Warehouse) -> None:
    body = "Content Title,Content ID,Streaming Type,Created At,First,Second\nt,c1,VOD,,5,7\n"
    warehouse.sync(body, header_aliases='{"First": "customer_id", "Second": "watch_seconds"}')
    outcome = warehouse.sync(header_aliases='{"First": "watch_seconds", "Second": "customer_id"}')
    assert outcome.result is Result.LOADED
    assert _storage_answers(warehouse) == [200, 200]


def test_a_host_without_strong_etags_is_asked_for_the_file_each_time(warehouse: Warehouse) -> None:
    warehouse.sandbox.override(VOD, Delivery(headers={"etag": 'W/"1"'}))
    assert [warehouse.sync().result for _ in range(2)] == [Result.LOADED, Result.UNCHANGED]
    assert _storage_answers(warehouse) == [200, 200]


def test_a_report_that_goes_back_to_a_former_one_is_a_new_revision(warehouse: Warehouse) -> None:
    warehouse.sync(_lines("t,c1,VOD,,u1,5"))
    warehouse.sync(_lines("t,c1,VOD,,u1,6"))
    assert warehouse.sync(_lines("t,c1,VOD,,u1,5")).revision == 3
    assert warehouse.facts() == [("c1", "u1", "VOD", 5)]


@pytest.mark.parametrize("restated", [False, True], ids=["new-partition", "differences"])
def test_facts_contents_and_rejects_take_turns_when_there_are_many(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, restated: bool
) -> None:
    """Small blocks, and nothing kept beside the facts: what a block has for other tables interrupts their COPY."""
    if restated:
        warehouse.sync(_lines("t,c1,VOD,,u1,5"))
    good = [f"t{number % 40},c{number % 40},VOD,,u{number},{number}" for number in range(200)]
    bad = [f"t,c,VOD,,u{number},-1" for number in range(50)]
    monkeypatch.setattr(normalise, "chunks", partial(normalise.chunks, block_bytes=300))
    monkeypatch.setattr(load_steps, "_BESIDE_BYTES", 0)
    sent, take = list[int](), load_steps._SideBuffer.take

    def take_and_note(buffer: load_steps._SideBuffer) -> tuple[Sequence[memoryview], Sequence[memoryview]]:
        taken = take(buffer)
        sent.append(sum(len(text) for texts in taken for text in texts))
        return taken

    monkeypatch.setattr(load_steps._SideBuffer, "take", take_and_note)

    outcome = warehouse.sync(_lines(*good[:100], *bad, *good[100:]), max_reject_ratio="0.5")

    assert (outcome.result, outcome.rows, outcome.rejected) == (Result.LOADED, 200, 50)
    assert warehouse.facts() == sorted((f"c{number % 40}", f"u{number}", "VOD", number) for number in range(200))
    assert warehouse.query("SELECT count(*) FROM content") == [(40,)]
    assert warehouse.query("SELECT min(line_number), max(line_number), count(*) FROM report_reject") == [(102, 151, 50)]
    # After a block that says nothing of contents and rejects it is not interrupted: each time leaves empty pages.
    assert len(sent) > 4
    assert all(sent[:-1])


class TestLinesOfOneKey:
    """Lines that share a key are summed, on both ways of loading, and counted."""

    LINES = (
        "new title,c1,VOD,,u1,10",
        "old title,c1,VOD,,u1,5.5",  # the title changed during the day
        "t,c2,VOD,,,7",
        "t,c2,VOD,,,7",  # anonymous viewers, a line each
        "t,c3,VOD,,u2,3",
        "t,c3,VOD,,u2,3",
        "t,c3,VOD,,u2,3",  # an identified customer's line, three times to the letter
        "t,c4,Live-to-VOD,,u2,1",
        "t,c4,LIVE_TO_VOD,,u2,1.25",  # two spellings of one streaming type
        "one,c5,VOD,,u3,4",
        "two,c5,VOD,,u3,4",  # the title changed, and the seconds are equal by chance
    )
    FACTS = (
        ("c1", "u1", "VOD", Decimal("15.5")),
        ("c2", "", "VOD", Decimal(14)),
        ("c3", "u2", "VOD", Decimal(9)),
        ("c4", "u2", "LIVE_TO_VOD", Decimal("2.25")),
        ("c5", "u3", "VOD", Decimal(8)),
    )

    @pytest.mark.parametrize(
        "lines",
        [
            pytest.param(["t,c1,VOD,,,5"] * 2, id="each equals the stored row"),
            pytest.param(["t,c1,VOD,,,5", "t,c1,VOD,,,3"], id="one equals the stored row"),
            pytest.param(["t,c1,VOD,,,2", "t,c1,VOD,,,3"], id="their sum equals the stored row"),
            pytest.param(["t,c1,VOD,,,5", "t,c2,VOD,,,3", "t,c2,VOD,,,3"], id="of a new key"),
        ],
    )
    def test_beside_a_stored_row_of_their_key_too(self, warehouse: Warehouse, lines: list[str]) -> None:
        warehouse.sync(_lines("t,c1,VOD,,,5", "t,c0,VOD,,,1"))
        outcome = warehouse.sync(_lines(*lines), shrink_limit="0")
        expected: Counter[str] = Counter()
        for line in lines:
            expected[line.split(",")[1]] += int(line.split(",")[-1])
        assert {content: seconds for content, _, _, seconds in warehouse.facts()} == expected
        assert outcome.change
        assert (outcome.change.merged, outcome.change.deleted) == (len(lines) - len(expected), 1)

    @pytest.mark.parametrize("stored_before", [False, True], ids=["new-partition", "differences"])
    def test_they_become_one_row_with_their_sum(self, warehouse: Warehouse, stored_before: bool) -> None:
        if stored_before:
            warehouse.sync(_lines(*self.LINES[:6]))
        outcome = warehouse.sync(_lines(*self.LINES))
        assert warehouse.facts() == list(self.FACTS)
        assert outcome.change
        assert (outcome.change.merged, outcome.change.repeated) == (6, 2)
        assert outcome.warnings == ("2 exact repetitions of a line of the same customer; the seconds were added up",)
        assert warehouse.query(
            "SELECT rows_read, rows_merged, rows_repeated FROM report_revision ORDER BY revision DESC LIMIT 1"
        ) == [(11, 6, 2)]
        assert warehouse.query("SELECT relname FROM pg_class WHERE relname LIKE '%merged'") == []


@pytest.mark.parametrize("where", ["environment", "address"])
def test_another_encoding_of_the_client_changes_no_letter(
    warehouse: Warehouse, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its surroundings give libpq one, which Postgres would believe."""
    url = warehouse.url
    if where == "environment":
        monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    else:
        url += f"{'&' if '?' in url else '?'}client_encoding=LATIN1"
    warehouse.sync(_lines("Café 日本,ü,VOD,,é,5"), database_url=url)
    monkeypatch.delenv("PGCLIENTENCODING", raising=False)
    assert warehouse.query("SELECT content_id, title FROM content") == [("ü", "Café 日本")]
    assert warehouse.facts() == [("ü", "é", "VOD", Decimal(5))]


def test_ids_titles_and_numbers_survive_to_the_letter(warehouse: Warehouse) -> None:
    ids = ["007", "NA", "null", "None", "NaN", "1e5", "1.0", "TRUE", " x", "x ", " ", "\\N", "\\.", "\\", "a\\tb",
           "tab\there", "e\u0301", "\u00e9", "\u200b", "'; DROP TABLE watch_time; --", "%s", "{leaf}",
           "a" * 1000]  # fmt: skip
    body = _lines(*(f'"title, ""quoted""\nwith a line end {number}","{id_}",VOD,,"{id_}",{number}.000000000000000001'
                    for number, id_ in enumerate(ids)))  # fmt: skip
    outcome = warehouse.sync(body)
    assert outcome.exit_code == 0, outcome.message
    stored = {(content, customer): seconds for content, customer, _, seconds in warehouse.facts()}
    assert stored == {(id_, id_): Decimal(f"{number}.000000000000000001") for number, id_ in enumerate(ids)}
    titles = dict(warehouse.query("SELECT content_id, title FROM content"))
    assert titles["\\."] == f'title, "quoted"\nwith a line end {ids.index(chr(92) + ".")}'


def test_sums_are_exact_beyond_28_digits(warehouse: Warehouse) -> None:
    lines = [f"t,c{number},VOD,,u,999999999999.999999999999999999" for number in range(40)]
    outcome = warehouse.sync(_lines(*lines))
    expected = Decimal("39999999999999.999999999999999960")
    assert outcome.watch_seconds == expected
    assert warehouse.query("SELECT watch_seconds FROM report_slice") == [(expected,)]


def test_columns_may_come_in_any_order_and_spelling(warehouse: Warehouse) -> None:
    header = "watch time (SEC.),customer_id,CREATED AT,Streaming-Type,content id,\ufeffContent  Title\n"
    outcome = warehouse.sync(f"{header}5,u1,2023-07-03T01:02:03Z,vod,c1,A title\n")
    assert outcome.exit_code == 0, outcome.message
    assert warehouse.facts() == [("c1", "u1", "VOD", 5)]
    assert warehouse.query("SELECT title, created_at::text FROM content") == [("A title", "2023-07-03 01:02:03+00")]


def test_an_old_day_does_not_bring_an_old_title_back(warehouse: Warehouse) -> None:
    warehouse.sync(_lines("new,c1,VOD,2023-01-01T00:00:00Z,u1,1"))
    older = Slice(DAY - timedelta(days=7), ReportType.VOD)
    warehouse.sync(_lines("old,c1,VOD,,u1,1"), slice_=older)
    warehouse.sync(_lines("live,c1,LIVE,,u1,1"), slice_=LIVE)
    assert warehouse.query("SELECT title, created_at IS NULL, first_seen, last_seen FROM content") == [
        ("new", False, older.report_date, DAY)
    ]


def test_unreadable_creation_times_and_new_streaming_types_are_loaded_and_counted(warehouse: Warehouse) -> None:
    outcome = warehouse.sync(_lines("t,c1,VOD,yesterday,u1,1", "t,c2,Catch-up,2023-07-03,u1,1"))
    assert [row[2] for row in warehouse.facts()] == ["VOD", "CATCH_UP"]
    assert outcome.warnings == (
        "1 row with a creation time in an unknown format; stored without it",
        "1 row with an undocumented streaming type; loaded unchanged",
    )


def test_the_views_show_the_report_and_the_days_figures(warehouse: Warehouse) -> None:
    warehouse.sync(_lines("A,c1,VOD,2023-07-03,u1,1.5", "A,c1,VOD,2023-07-03,,2", "B,c2,VOD,,u1,3"))
    assert warehouse.query(
        "SELECT title, content_id, customer_id, watch_seconds FROM watch_time_report ORDER BY 2, 3"
    ) == [
        ("A", "c1", "", 2),
        ("A", "c1", "u1", Decimal("1.5")),
        ("B", "c2", "u1", 3),
    ]
    assert warehouse.query("SELECT rows, watch_seconds FROM watch_time_daily") == [(3, Decimal("6.5"))]


def test_several_slices_at_once_leave_what_one_after_the_other_leaves(warehouse: Warehouse) -> None:
    with warehouse.job(concurrency=8) as opened:
        plan = opened.planner.backfill(DAY - timedelta(days=9), DAY)
        outcomes = opened.run(plan)
    assert Counter(outcome.result for outcome in outcomes) == {Result.LOADED: 20}
    for outcome in outcomes:
        assert warehouse.facts(outcome.slice) == _truth(warehouse.sandbox.report(outcome.slice).path)


def _bring_twice_at_once(warehouse: Warehouse) -> list[Outcome]:
    with warehouse.job(concurrency=4) as opened:
        plan = opened.planner.backfill(DAY, DAY)
        return opened.run([*plan, *plan])


def test_two_runs_of_one_slice_at_once_leave_one_revision(warehouse: Warehouse) -> None:
    outcomes = _bring_twice_at_once(warehouse)
    assert Counter(outcome.result for outcome in outcomes) == {Result.LOADED: 2, Result.UNCHANGED: 2}
    assert warehouse.query("SELECT max(revision) FROM report_revision") == [(1,)]


def test_the_transaction_plans_as_before_once_the_rows_for_the_archive_are_read(warehouse: Warehouse) -> None:
    """Nested loops are switched off for that alone: what is stored after it may do better with them."""
    with open_database(warehouse.url, schema="public") as database, database.transaction() as connection:
        load = begin_load(connection, VOD, "0" * 64)
        load.stage(iter(()))
        load.deduplicate(Tally())
        load.write()
        assert list(load.stored_rows()) == []
        assert connection.execute("SHOW enable_nestloop").fetchone() == ("on",)
