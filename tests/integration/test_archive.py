"""Every accepted revision is archived, and what readers of the archive see is what the warehouse holds."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.conninfo import conninfo_to_dict

from archives import IN_THE_WAREHOUSE, ArchiveFiles, bucket, query, stalled_s3
from conftest import DAY, HEADER, VOD, Program, Warehouse
from etl.archive import parquet, timeout_store
from etl.archive.archive import open_archive
from etl.archive.layout import Key, published
from etl.domain.errors import ArchiveUnavailable, ExitCode, Misconfigured, ReconciliationFailed, WrongOrganization
from etl.domain.outcome import FetchOptions, Outcome, Result
from etl.domain.pipeline_values import ReportFile
from etl.domain.slices import ReportType, Slice
from etl.load import compaction, partition_bounds
from etl.runtime.cancellation import Stop, Stopped
from etl.sandbox.faults import Delivery
from etl.warehouse.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import postgres
    from etl.warehouse.transactions import Connection


pytestmark = pytest.mark.usefixtures("store_servers")

REPORT = HEADER + "A,c1,VOD,2026-01-02T03:04:05Z,007,12.5\nA,c1,VOD,2026-01-02T03:04:05Z,,3\n"
OTHER = HEADER + "B,c1,VOD,2026-01-02T03:04:05Z,007,13.5\nB,c2,VOD,,u2,1\n"
EMPTY = HEADER
LATER = HEADER + "C,c1,VOD,2026-01-02T03:04:05Z,007,14.5\nC,c2,VOD,,u2,1\n"
SMALLER = HEADER + "A,c1,VOD,2026-01-02T03:04:05Z,007,1\n"


def _key(report: str, revision: int = 1, slice_: Slice = VOD) -> Key:
    return Key(slice_, revision, sha256(report.encode()).hexdigest())


def _names(*keys: Key) -> set[str]:
    """All that should be there of these revisions."""
    return {"organization.json"}.union(
        *({key.raw, key.parquet, key.marker, published(key.slice)} for key in keys)
    )  # fmt: skip


def test_what_readers_read_is_what_the_warehouse_holds(newest_warehouse: Warehouse, archive: ArchiveFiles) -> None:
    days = [DAY, DAY + timedelta(days=1)]
    with newest_warehouse.job(archive_url=archive.url) as opened:
        outcomes = opened.run(opened.planner.backfill(days[0], days[1]))
    assert [outcome.result for outcome in outcomes] == [Result.LOADED] * 4
    facts = archive.facts()
    assert facts == newest_warehouse.query(IN_THE_WAREHOUSE)
    assert len(facts) > 500
    assert sorted(name for name in archive.files() if name.startswith("facts/")) == sorted(
        published(outcome.slice) for outcome in outcomes
    )


def test_the_raw_file_is_the_report_byte_for_byte(newest_warehouse: Warehouse, archive: ArchiveFiles) -> None:
    newest_warehouse.sync(REPORT, archive_url=archive.url)
    packed = archive.copied() / _key(REPORT).raw
    assert pa.input_stream(str(packed), compression="zstd").read() == REPORT.encode()
    (count,) = query("SELECT count(*) FROM read_csv(?, header = true, all_varchar = true)", str(packed))
    assert count == (2,)


def test_each_revision_stays_and_readers_see_the_newest(newest_warehouse: Warehouse, archive: ArchiveFiles) -> None:
    for report in (REPORT, OTHER):
        assert newest_warehouse.sync(report, archive_url=archive.url).exit_code == 0
    keys = _key(REPORT), _key(OTHER, 2)
    assert set(archive.files()) == _names(*keys)
    assert archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)
    copy = archive.copied()
    rows = [
        query(
            "SELECT content_id, title, customer_id, watch_seconds FROM read_parquet(?) ORDER BY ALL", str(copy / name)
        )
        for name in (keys[0].parquet, keys[1].parquet, published(VOD))
    ]
    assert rows[0] == [("c1", "A", "", Decimal(3)), ("c1", "A", "007", Decimal("12.5"))]
    assert rows[1] == rows[2] == [("c1", "B", "007", Decimal("13.5")), ("c2", "B", "u2", Decimal(1))]


def test_on_every_postgres_a_slice_is_archived_alone_and_in_a_compacted_month(
    warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    """The second load of a slice takes another way than its first, and its month's partition yet another name."""
    other = Slice(DAY, ReportType.LIVE)
    for report, slice_ in ((REPORT, VOD), (REPORT, other), (OTHER, VOD)):
        assert warehouse.sync(report, slice_=slice_, archive_url=folder_archive.url).result is Result.LOADED
        assert folder_archive.facts() == warehouse.query(IN_THE_WAREHOUSE)
    before = folder_archive.files()
    with open_database(warehouse.url, schema="public") as database:
        assert compaction.compact(database, partition_bounds.of_month(DAY), Stop()) is not None
    assert warehouse.sync(OTHER, archive_url=folder_archive.url).result is Result.UNCHANGED
    assert folder_archive.files() == before
    assert warehouse.sync(SMALLER, shrink_limit="0", archive_url=folder_archive.url).result is Result.LOADED
    assert folder_archive.facts() == warehouse.query(IN_THE_WAREHOUSE)
    assert len(folder_archive.facts()) == 3


def test_the_same_report_again_writes_nothing(newest_warehouse: Warehouse, folder_archive: ArchiveFiles) -> None:
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    before = {path: path.stat().st_mtime_ns for path in folder_archive.copies.parent.joinpath("lake").rglob("*")}
    newest_warehouse.sandbox.override(VOD, newest_warehouse.sandbox._overrides[VOD])
    assert newest_warehouse.sync(archive_url=folder_archive.url).result is Result.UNCHANGED
    assert before == {
        path: path.stat().st_mtime_ns for path in folder_archive.copies.parent.joinpath("lake").rglob("*")
    }


def test_lines_of_one_key_and_odd_texts_are_as_the_table_has_them(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    report = HEADER + (
        'T,"c,1",VOD,0001-01-01T00:00:00Z,u,0.000000000000000001\n'
        'T,"c,1",VOD,0001-01-01T00:00:00Z,u,999999999999\n'
        '"a ""b"",\r\n\\N",\\.,Live-to-VOD,nonsense,"  ",999999999999.999999999999999999\n'
        '"",NULL,VOD,9999-12-31T23:59:59.999999Z,"x\ny",0\n'
        "\ufeff,\ufeffc,VOD,,\ufeff,1\n"
    )
    newest_warehouse.sync(report, archive_url=folder_archive.url)
    assert folder_archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)
    path = str(folder_archive.copied() / published(VOD))
    # Microseconds as numbers: DuckDB hands moments of the year 1 to Python in its own way.
    contents = query("SELECT DISTINCT content_id, title, epoch_us(created_at) FROM read_parquet(?) ORDER BY ALL", path)
    assert contents == newest_warehouse.query(
        "SELECT content_id, title, (extract(epoch FROM created_at) * 1000000)::bigint FROM content ORDER BY 1"
    )
    assert len(contents) == 4


def test_a_held_report_is_not_archived_and_an_overruled_one_is(
    newest_warehouse: Warehouse, archive: ArchiveFiles
) -> None:
    newest_warehouse.sync(REPORT, archive_url=archive.url)
    before = archive.files()
    assert newest_warehouse.sync(SMALLER, archive_url=archive.url).result is Result.HELD
    assert archive.files() == before
    accepted = newest_warehouse.sync(SMALLER, ask=FetchOptions(accept=True), archive_url=archive.url)
    assert accepted.result is Result.LOADED
    marker = json.loads(archive.files()[_key(SMALLER, 2).marker])
    assert "stored report has 2 rows" in marker["accepted"]["overruled"]


def test_many_rows_are_written_in_groups_that_fit_into_memory(tmp_path: Path) -> None:
    title = "t" * 4096
    lines = [f'"c{number}","{title}",,"VOD","u",1.5\n'.encode() for number in range(4200)]
    found = parquet.write(tmp_path / "facts.parquet", lines, {})
    assert found == (4200, Decimal(6300))
    assert pq.read_metadata(tmp_path / "facts.parquet").num_row_groups == 3, "of eight mebibytes of text each"


def test_an_empty_day_is_a_file_without_rows(newest_warehouse: Warehouse, folder_archive: ArchiveFiles) -> None:
    assert newest_warehouse.sync(EMPTY, archive_url=folder_archive.url).result is Result.EMPTY
    assert set(folder_archive.files()) == _names(_key(EMPTY))
    assert folder_archive.facts() == []
    other = Slice(DAY, ReportType.LIVE)
    newest_warehouse.sync(REPORT, slice_=other, archive_url=folder_archive.url)
    assert folder_archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE) != []


def test_what_was_loaded_without_the_archive_is_archived_by_the_next_check(
    newest_warehouse: Warehouse, archive: ArchiveFiles
) -> None:
    newest_warehouse.sync(REPORT)
    assert newest_warehouse.sync(archive_url=archive.url).result is Result.UNCHANGED
    assert set(archive.files()) == _names(_key(REPORT))
    assert archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)
    assert newest_warehouse.query("SELECT count(*) FROM report_revision") == [(1,)]


def _nothing_is_committed(warehouse: Warehouse) -> bool:
    return (
        warehouse.query("SELECT count(*) FROM watch_time")
        == warehouse.query("SELECT count(*) FROM report_revision")
        == [(0,)]
    )


def test_where_the_store_fails_the_slice_is_not_loaded(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    folder_archive.put("raw", b"a file where a folder must be")
    outcome = newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    assert (outcome.result, outcome.exit_code) == (Result.FAILED, ExitCode.TRY_LATER)
    assert "archive" in (outcome.message or "")
    assert _nothing_is_committed(newest_warehouse)
    folder_archive.remove("raw")
    assert newest_warehouse.sync(archive_url=folder_archive.url).result is Result.LOADED
    assert set(folder_archive.files()) == _names(_key(REPORT))


def test_a_store_that_is_gone_ends_the_run_before_anything_is_asked(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = bucket()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(timeout_store, "_TIMEOUT_S", 5.0)
    with pytest.raises(ArchiveUnavailable, match=address):
        newest_warehouse.sync(REPORT, archive_url=address)
    assert newest_warehouse.query("SELECT count(*) FROM report_slice") == [(0,)]


def test_a_bucket_that_is_not_there_is_named(newest_warehouse: Warehouse) -> None:
    outcome = newest_warehouse.sync(REPORT, archive_url="s3://no-such-bucket-of-ours/prefix")
    assert outcome.exit_code is ExitCode.MISCONFIGURED
    assert "no-such-bucket-of-ours" in (outcome.message or "")
    assert _nothing_is_committed(newest_warehouse)


@pytest.mark.parametrize("what", [b"PUT /", b"report_type%3DVOD/revision%3D1"])
def test_a_store_that_stalls_holds_the_slice_for_a_bounded_time(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, what: bytes
) -> None:
    address = bucket()
    with stalled_s3(on=what) as endpoint, monkeypatch.context() as through_it:
        through_it.setattr(timeout_store, "_TIMEOUT_S", 3.0)
        through_it.setenv("AWS_ENDPOINT_URL", endpoint)
        outcome = newest_warehouse.sync(REPORT, archive_url=address)
    assert (outcome.result, outcome.exit_code) == (Result.FAILED, ExitCode.TRY_LATER)
    assert "no response within 3 s" in (outcome.message or "")
    assert _nothing_is_committed(newest_warehouse)
    assert newest_warehouse.sync(archive_url=address).result is Result.LOADED


def test_the_copy_that_readers_see_has_as_long_as_its_size_allows(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that takes a large file in time may copy it, too."""
    archive = ArchiveFiles(bucket(), Path())
    newest_warehouse.sync(REPORT, archive_url=archive.url)
    with monkeypatch.context() as through_it, stalled_s3(on=b"x-amz-copy-source", for_s=13.0) as endpoint:
        through_it.setattr(timeout_store, "_TIMEOUT_S", 12.0)
        through_it.setattr(timeout_store, "_SLOWEST_BYTES_PER_S", 100)
        through_it.setenv("AWS_ENDPOINT_URL", endpoint)
        outcome = newest_warehouse.sync(OTHER, archive_url=archive.url)
    assert (outcome.result, outcome.message) == (Result.LOADED, None)
    assert set(archive.files()) == _names(_key(REPORT), _key(OTHER, 2))


@pytest.mark.parametrize("rows", [[("c1", "007", "12.5")], [("c1", "007", "12.5"), ("c1", "", "4")]], ids=["row", "s"])
def test_a_file_that_is_not_the_report_is_not_archived(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles, tmp_path: Path, rows: list[tuple[str, str, str]]
) -> None:
    """A row short, or a second too many: what readers of the archive would see must be what is committed."""
    path = tmp_path / "report.csv"
    path.write_text(REPORT)
    key = _key(REPORT)
    report = ReportFile(path, key.sha256, len(REPORT), len(REPORT), None, 0.0)
    lines = [f'"{content}","A",,"VOD","{customer}",{seconds}\n'.encode() for content, customer, seconds in rows]
    archive = open_archive(newest_warehouse.configured(archive_url=folder_archive.url), Stop())
    with (
        open_database(newest_warehouse.url, schema="public") as database,
        pytest.raises(ReconciliationFailed, match=r"the report has 2 rows and 15\.5 s, but the file .* has"),
        database.transaction() as connection,
    ):
        archive.store_revision(connection, VOD, 1, report, lines, expected=(2, Decimal("15.5")), read_as="{}")
    assert folder_archive.files() == {}


def test_the_transaction_may_be_idle_for_as_long_as_the_report_takes_to_archive(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles, tmp_path: Path
) -> None:
    """To write two files and to send them, each no larger than the report, at a mebibyte a second."""
    path, key, idle_s = tmp_path / "report.csv", _key(REPORT), list[object]()
    path.write_text(REPORT)
    report = ReportFile(path, key.sha256, 1000 << 20, len(REPORT), None, 0.0)
    archive = open_archive(newest_warehouse.configured(archive_url=folder_archive.url), Stop())

    def lines(connection: Connection) -> Iterator[bytes]:
        shown = "SELECT setting::int / 1000 FROM pg_settings WHERE name = 'idle_in_transaction_session_timeout'"
        idle_s.append(connection.execute(shown).fetchone())
        yield b'"c1","A",,"VOD","",1\n'

    with open_database(newest_warehouse.url, schema="public") as database, database.transaction() as connection:
        archive.store_revision(connection, VOD, 1, report, lines(connection), expected=(1, Decimal(1)), read_as="{}")
    assert idle_s == [(600 + 4 * (30 + 1000),)]


def test_what_is_published_is_not_published_again(newest_warehouse: Warehouse, folder_archive: ArchiveFiles) -> None:
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    archive = open_archive(newest_warehouse.configured(archive_url=folder_archive.url), Stop())
    with open_database(newest_warehouse.url, schema="public") as database:
        for lost, has_published in (("", False), (published(VOD), True), (_key(REPORT).marker, True), ("", False)):
            if lost:
                folder_archive.remove(lost)
            assert database.run(lambda connection: archive.publish(connection, VOD)) is has_published
    assert set(folder_archive.files()) == _names(_key(REPORT))


def test_a_stop_after_the_commit_ends_the_run_and_the_next_check_finishes_it(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest_warehouse.sandbox.override(VOD, Delivery(body=REPORT))
    with newest_warehouse.job(archive_url=folder_archive.url) as opened:
        pipeline = opened.context.pipeline
        record = pipeline._recorder.record_accepted

        def record_and_stop(*arguments: Any, **more: Any) -> Outcome:
            outcome = record(*arguments, **more)
            opened.context.database.stop.request()
            return outcome

        monkeypatch.setattr(pipeline._recorder, "record_accepted", record_and_stop)
        with pytest.raises(Stopped):
            pipeline.sync_slice(VOD, FetchOptions())
    assert newest_warehouse.query("SELECT state, revision FROM report_slice") == [("loaded", 1)]
    assert published(VOD) not in folder_archive.files()
    assert newest_warehouse.sync(archive_url=folder_archive.url).exit_code == 0
    assert set(folder_archive.files()) == _names(_key(REPORT))


def test_a_revision_of_another_organization_is_not_read(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    """As when somebody copied folders of two archives into one."""
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    marker = _key(REPORT).marker
    text = folder_archive.files()[marker].decode()
    ours = newest_warehouse.sandbox.config.org_id
    folder_archive.put(marker, text.replace(ours, "somebody-else").encode())
    archive = open_archive(newest_warehouse.configured(archive_url=folder_archive.url), Stop())
    with pytest.raises(WrongOrganization, match="somebody-else"):
        archive.marker(_key(REPORT))


def test_a_failure_after_the_commit_is_told_and_the_next_check_finishes_it(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    folder_archive.put("facts", b"a file where a folder must be")
    outcome = newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    assert (outcome.result, outcome.exit_code) == (Result.LOADED, ExitCode.TRY_LATER)
    assert "committed, but not yet visible to readers of the archive" in (outcome.message or "")
    folder_archive.remove("facts")
    assert newest_warehouse.sync(archive_url=folder_archive.url).exit_code == 0
    assert set(folder_archive.files()) == _names(_key(REPORT))
    assert folder_archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)


def test_another_organization_is_refused(newest_warehouse: Warehouse, archive: ArchiveFiles) -> None:
    newest_warehouse.sync(REPORT, archive_url=archive.url)
    archive.put("organization.json", b'{"layout": 1, "org_id": "somebody-else"}')
    with pytest.raises(WrongOrganization, match="somebody-else"):
        newest_warehouse.sync(archive_url=archive.url)
    archive.put("organization.json", b'{"layout": 2, "org_id": "sandbox-org"}')
    with pytest.raises(Misconfigured, match=r"organization\.json"):
        newest_warehouse.sync(archive_url=archive.url)


def test_a_new_database_does_not_write_over_the_archive_of_the_old_one(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    for report in (REPORT, OTHER):
        newest_warehouse.sync(report, archive_url=folder_archive.url)
    with psycopg.connect(newest_warehouse.url) as connection:
        connection.execute("DROP TABLE watch_time_20261116_vod")
        connection.execute("TRUNCATE report_slice, report_revision, report_check, content, warehouse")
    before = folder_archive.files()
    outcome = newest_warehouse.sync(archive_url=folder_archive.url)
    assert outcome.exit_code is ExitCode.MISCONFIGURED
    assert "backfill --from-archive" in (outcome.next_step or "")
    assert folder_archive.files() == before
    assert _nothing_is_committed(newest_warehouse)


@contextmanager
def _before_the_loss(server: postgres.Server, warehouse: Warehouse) -> Iterator[Warehouse]:
    """The warehouse as it is now: what a standby has that gets nothing more, or a backup."""
    database = str(conninfo_to_dict(warehouse.url)["dbname"])
    with replace(server, template=database).database() as url:
        yield replace(warehouse, url=url)


@pytest.mark.single_server("a database of a cluster cannot be copied")
@pytest.mark.parametrize("reports", [[REPORT], [REPORT, OTHER], [REPORT, EMPTY]], ids=["first", "restated", "emptied"])
def test_a_commit_that_a_failover_lost_comes_back_with_the_next_check(
    newest_server: postgres.Server, newest_warehouse: Warehouse, archive: ArchiveFiles, reports: list[str]
) -> None:
    """The archive says that it was committed, and the source has that report still: no need to ask anybody."""
    neighbour = Slice(DAY, ReportType.LIVE)
    newest_warehouse.sync(REPORT, slice_=neighbour, archive_url=archive.url)
    *earlier, lost = reports
    for report in earlier:
        newest_warehouse.sync(report, archive_url=archive.url)
    with _before_the_loss(newest_server, newest_warehouse) as left:
        newest_warehouse.sync(lost, shrink_limit="0", archive_url=archive.url)
        files = archive.files()
        outcome = left.sync(shrink_limit="0", archive_url=archive.url)
        assert (outcome.result, outcome.exit_code) == (Result.EMPTY if lost == EMPTY else Result.LOADED, ExitCode.OK)
        assert any("had lost this revision" in warning for warning in outcome.warnings)
        assert left.stored() == newest_warehouse.stored()
        assert archive.files() == files
        assert left.sync(archive_url=archive.url).result is Result.UNCHANGED
        # From here on it is a slice like any other.
        assert left.sync(OTHER if lost != OTHER else REPORT, archive_url=archive.url).revision == len(reports) + 1
        assert archive.facts() == left.query(IN_THE_WAREHOUSE)


@pytest.mark.single_server("a database of a cluster cannot be copied")
def test_a_lost_revision_is_read_as_it_was_and_accepted_again_where_a_guard_refuses_it(
    newest_server: postgres.Server, newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    """Another warehouse's person cannot accept for this one, not even by a copy of its database."""
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    renamed = SMALLER.replace("Customer ID", "Viewer")
    with _before_the_loss(newest_server, newest_warehouse) as left:
        aliases = {"Viewer": "customer_id"}
        newest_warehouse.sync(renamed, archive_url=folder_archive.url, header_aliases=aliases)
        accepted = newest_warehouse.sync(
            ask=FetchOptions(accept=True), archive_url=folder_archive.url, header_aliases=aliases
        )
        assert accepted.result is Result.LOADED
        files = folder_archive.files()
        assert left.sync(archive_url=folder_archive.url).result is Result.HELD
        assert left.facts() != newest_warehouse.facts()
        assert left.sync(ask=FetchOptions(accept=True), archive_url=folder_archive.url).result is Result.LOADED
        assert left.stored() == newest_warehouse.stored()
        (overruled,) = left.query("SELECT overruled FROM report_revision WHERE revision = 2")[0]
        assert "stored report has 2 rows" in overruled
        assert folder_archive.files() == files


@pytest.mark.single_server("a database of a cluster cannot be copied")
def test_a_lost_revision_of_the_stored_report_is_not_taken_for_the_stored_one(
    newest_server: postgres.Server, newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    """The same bytes, read in another way: the hash is that of the stored report, and so are the settings again."""
    report = "Viewer," + HEADER.replace("Customer ID", "Member") + "v1,A,c1,VOD,,m1,5\nv2,A,c1,VOD,,m1,6\n"
    by_viewer = {"Viewer": "customer_id", "Member": "ignore"}
    by_member = {"Viewer": "ignore", "Member": "customer_id"}
    newest_warehouse.sync(report, archive_url=folder_archive.url, header_aliases=by_viewer)
    with _before_the_loss(newest_server, newest_warehouse) as left:
        newest_warehouse.sync(archive_url=folder_archive.url, header_aliases=by_member)
        assert left.sync(archive_url=folder_archive.url, header_aliases=by_viewer).revision == 2
        assert left.stored() == newest_warehouse.stored()
        assert left.facts() == [("c1", "m1", "VOD", Decimal(11))]
        assert left.sync(archive_url=folder_archive.url, header_aliases=by_viewer).revision == 3
        assert folder_archive.facts() == left.query(IN_THE_WAREHOUSE)


@pytest.mark.single_server("a database of a cluster cannot be copied")
@pytest.mark.parametrize("now", ["another", "the-stored", "none"])
def test_a_lost_commit_whose_report_is_gone_says_what_to_type(
    newest_server: postgres.Server, newest_warehouse: Warehouse, folder_archive: ArchiveFiles, now: str
) -> None:
    """Whatever the source says now, the lost revision comes first."""
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    with _before_the_loss(newest_server, newest_warehouse) as left:
        newest_warehouse.sync(OTHER, archive_url=folder_archive.url)
        files, before = folder_archive.files(), left.stored()
        if now == "none":
            left.sandbox.withdraw(VOD)
        else:
            left.sandbox.override(VOD, Delivery(body=LATER if now == "another" else REPORT))
        outcome = left.sync(archive_url=folder_archive.url)
        assert (outcome.result, outcome.exit_code) == (Result.FAILED, ExitCode.MISCONFIGURED)
        assert f"{VOD} revision 2, which is not in this warehouse" in (outcome.message or "")
        assert f"backfill --from-archive --start {DAY} --end {DAY} --type VOD" in (outcome.next_step or "")
        assert (folder_archive.files(), left.stored()) == (files, before)


@pytest.mark.single_server("a database of a cluster cannot be copied")
def test_another_report_under_the_number_of_an_archived_one_is_not_sent_to_a_rebuild_that_refuses(
    newest_server: postgres.Server, newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    with _before_the_loss(newest_server, newest_warehouse) as left:
        newest_warehouse.sync(OTHER, archive_url=folder_archive.url)
        left.sync(LATER)
        files = folder_archive.files()
        outcome = left.sync(archive_url=folder_archive.url)
        assert outcome.exit_code is ExitCode.MISCONFIGURED
        assert "WATCH_TIME_SCHEMA" in (outcome.next_step or "")
        assert folder_archive.files() == files


def test_another_warehouse_of_the_organization_does_not_pass_for_one_that_lost_a_commit(
    newest_server: postgres.Server, newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    """Though the source has the archived report still, and it would be its first revision as well."""
    newest_warehouse.sync(REPORT, archive_url=folder_archive.url)
    files = folder_archive.files()
    with newest_server.database() as url:
        other = replace(newest_warehouse, url=url)
        # It has an owner, and data.
        other.sync(REPORT, slice_=Slice(DAY, ReportType.LIVE))
        outcome = other.sync(archive_url=folder_archive.url)
        assert (outcome.result, outcome.exit_code) == (Result.FAILED, ExitCode.MISCONFIGURED)
        assert "WATCH_TIME_ARCHIVE_URL to a different one" in (outcome.next_step or "")
        assert (folder_archive.files(), other.facts()) == (files, [])


def _queries_of_the_page() -> list[str]:
    page = (Path(__file__).parents[2] / "docs" / "archive.md").read_text(encoding="utf-8")
    return re.findall(r"```sql\n(.*?)```", page, re.DOTALL)


def test_the_queries_of_the_page_run_and_agree_with_the_warehouse(
    newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    newest_warehouse.sync(archive_url=folder_archive.url)
    newest_warehouse.sandbox.restate(VOD)
    newest_warehouse.sync(archive_url=folder_archive.url)
    answers = [query(text.replace("'lake/", f"'{folder_archive.url}/")) for text in _queries_of_the_page()]
    totals, titles, revisions, lines = answers
    assert totals == newest_warehouse.query(
        "SELECT report_date, report_type, count(*), sum(watch_seconds) FROM watch_time GROUP BY 1, 2"
    )
    assert len(titles) == 10
    assert [row[2] for row in revisions] == [
        seconds for (seconds,) in newest_warehouse.query("SELECT seconds_after FROM report_revision ORDER BY revision")
    ]
    assert lines == newest_warehouse.query("SELECT sum(rows_read)::bigint FROM report_revision")


def test_doctor_tries_the_archive_and_leaves_nothing(program: Program, archive: ArchiveFiles, tmp_path: Path) -> None:
    done = program("doctor", "--json", ARCHIVE_URL=archive.url)
    (check,) = [check for check in json.loads(done.stdout) if check["check"] == "archive"]
    assert (check["verdict"], done.returncode) == ("ok", 0), done.stdout
    assert archive.files() == {}
    broken = tmp_path / "a-file"
    broken.write_text("no folder")
    done = program("doctor", "--json", ARCHIVE_URL=str(broken))
    (check,) = [check for check in json.loads(done.stdout) if check["check"] == "archive"]
    assert (check["verdict"], done.returncode) == ("problem", 75)
