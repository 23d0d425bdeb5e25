"""The archive from outside: the whole warehouse comes back from it, and `archive` tells and mends what is amiss."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from archives import IN_THE_WAREHOUSE, ArchiveFiles
from conftest import HEADER, Program, Warehouse
from etl.archive.layout import Key, published
from etl.config.environment import PREFIX
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    import postgres

TARGET = datetime.now(UTC).date() - timedelta(days=2)
DAYS = [TARGET - timedelta(days=back) for back in range(3, -1, -1)]
SPAN = ("--start", f"{DAYS[0]}", "--end", f"{DAYS[-1]}")


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=200, live_rows=80, titles=40, quiet_one_day_in=0)


@pytest.fixture
def program(program: Program) -> Program:
    """Its runs look at the days of `SPAN` only."""
    return program.with_settings(LOOKBACK_DAYS="3", RECHECK_DAYS="3")


def _stored(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """All that a warehouse holds, but for when its own runs checked and claimed it."""
    statements = {
        "facts": "SELECT * FROM watch_time ORDER BY 1, 2, 3, 4, 5",
        "contents": "SELECT * FROM content ORDER BY 1",
        "revisions": "SELECT * FROM report_revision ORDER BY 1, 2, 3",
        "rejects": "SELECT * FROM report_reject ORDER BY 1, 2, 3, 4",
        "owner": "SELECT org_id FROM warehouse",
        "slices": "SELECT report_date, report_type, state, revision, report_sha256, read_as, rows_stored, "
        "watch_seconds, loaded_at, reason, error_code, last_check, report_source, report_etag FROM report_slice "
        "ORDER BY 1, 2",
    }
    with psycopg.connect(url) as connection:
        return {name: connection.execute(text).fetchall() for name, text in statements.items()}


def _done(program: Program, *arguments: str, code: int = 0, **settings: str) -> dict[str, Any]:
    ended = program(*arguments, "--json", **settings)
    assert ended.returncode == code, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert isinstance(found, dict)
    return found


def _history(program: Program, warehouse: Warehouse, url: str) -> None:
    """First loads, restatements, a report read through an alias, one that a person accepted, and an empty day."""
    sandbox = warehouse.sandbox
    _done(program, "backfill", *SPAN, ARCHIVE_URL=url)
    sandbox.restate(Slice(DAYS[0], ReportType.VOD))
    sandbox.restate(Slice(DAYS[1], ReportType.LIVE))
    _done(program, "run", ARCHIVE_URL=url)
    with_rejects = "".join(f"t{number},c{number},VOD,,u1,{number}\n" for number in range(400)) + "t,c,VOD,,u1,-5\n" * 7
    sandbox.override(Slice(DAYS[2], ReportType.VOD), Delivery(body=HEADER + with_rejects))
    held = ("backfill", "--start", f"{DAYS[2]}", "--end", f"{DAYS[2]}", "--refresh", "--type", "VOD")
    _done(program, *held, code=65, ARCHIVE_URL=url)
    _done(program, *held, "--accept", ARCHIVE_URL=url)
    renamed = HEADER.replace("Customer ID", "Viewer") + "t,c1,VOD,not a time,u1,5\nt,c1,VOD,not a time,u1,5\n"
    sandbox.override(Slice(DAYS[0] - timedelta(days=1), ReportType.VOD), Delivery(body=renamed))
    sandbox.override(Slice(DAYS[0] - timedelta(days=1), ReportType.LIVE), Delivery(body=HEADER))
    first = f"{DAYS[0] - timedelta(days=1)}"
    _done(
        program, "backfill", "--start", first, "--end", first,
        ARCHIVE_URL=url, HEADER_ALIASES='{"Viewer": "customer_id"}',
    )  # fmt: skip


def test_the_warehouse_is_rebuilt_from_the_archive_to_the_byte(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, archive: ArchiveFiles
) -> None:
    _history(program, newest_warehouse, archive.url)
    before = _stored(newest_warehouse.url)
    assert len(before["revisions"]) == 13
    assert len(before["rejects"]) == 7
    assert sorted({revision[2] for revision in before["revisions"]}) == [1, 2]
    assert archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)
    without_api = Program(
        program.folder,
        {
            name: value
            for name, value in program.environment.items()
            if name not in {f"{PREFIX}API_TOKEN", f"{PREFIX}API_BASE_URL"}
        },
    )
    files = archive.files()
    with newest_server.database() as url:
        rebuilt = _done(without_api, "backfill", "--from-archive", DATABASE_URL=url, ARCHIVE_URL=archive.url)
        assert len(rebuilt["slices"]) == 13
        assert _stored(url) == before
        # Again: nothing is loaded twice.
        again = _done(without_api, "backfill", "--from-archive", DATABASE_URL=url, ARCHIVE_URL=archive.url)
        assert {slice_["result"] for slice_ in again["slices"]} == {"unchanged"}
        assert _stored(url) == before
        # The source's reports are those that the rebuilt warehouse knows, and the archive is its own.
        after = _done(program, "run", DATABASE_URL=url, ARCHIVE_URL=archive.url)
        assert {slice_["result"] for slice_ in after["slices"]} <= {"unchanged", "unavailable"}
        assert _done(program, "archive", DATABASE_URL=url, ARCHIVE_URL=archive.url)["whole"] == 13
    assert archive.files() == files


def test_revisions_come_back_in_the_order_in_which_they_were_loaded(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, folder_archive: ArchiveFiles
) -> None:
    """A creation time that the newest report does not tell is that of the report that was loaded first."""
    for day, created_at in ((DAYS[2], ""), (DAYS[0], "2026-01-01T00:00:00Z"), (DAYS[1], "2026-02-02T00:00:00Z")):
        report = f"{HEADER}A,c1,VOD,{created_at},u1,5\n"
        newest_warehouse.sync(report, slice_=Slice(day, ReportType.VOD), archive_url=folder_archive.url)
    before = _stored(newest_warehouse.url)
    with newest_server.database() as url:
        _done(program, "backfill", "--from-archive", DATABASE_URL=url, ARCHIVE_URL=folder_archive.url)
        assert _stored(url) == before


def test_revisions_of_a_slice_come_back_in_their_order_though_the_clock_went_back(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, folder_archive: ArchiveFiles
) -> None:
    slice_ = Slice(DAYS[0], ReportType.VOD)
    for seconds in (5, 6):
        newest_warehouse.sync(f"{HEADER}A,c1,VOD,,u1,{seconds}\n", slice_=slice_, archive_url=folder_archive.url)
    with psycopg.connect(newest_warehouse.url) as connection:
        for table in (b"report_revision", b"report_slice"):
            connection.execute(b"UPDATE " + table + b" SET loaded_at = loaded_at - interval '1 day' WHERE revision = 2")
    (marker,) = [name for name in folder_archive.files() if "revision=2/" in name and name.endswith(".json")]
    folder_archive.remove(marker)
    _done(program, "archive", "--sweep", ARCHIVE_URL=folder_archive.url)
    before = _stored(newest_warehouse.url)
    assert newest_warehouse.query("SELECT revision FROM report_revision ORDER BY loaded_at") == [(2,), (1,)]
    with newest_server.database() as url:
        rebuilt = _done(program, "backfill", "--from-archive", DATABASE_URL=url, ARCHIVE_URL=folder_archive.url)
        assert [each["revision"] for each in rebuilt["slices"]] == [1, 2]
        assert _stored(url) == before


@contextmanager
def _before_the_loss(server: postgres.Server, warehouse: Warehouse) -> Iterator[str]:
    """The URL of the warehouse as it is now: what a standby has that gets nothing more, or a backup."""
    database = str(conninfo_to_dict(warehouse.url)["dbname"])
    with replace(server, template=database).database() as url:
        yield url


@pytest.mark.single_server("a database of a cluster cannot be copied")
@pytest.mark.parametrize("lost", [1, 2])
def test_lost_revisions_of_a_slice_come_back_by_what_the_message_says(
    program: Program,
    newest_warehouse: Warehouse,
    newest_server: postgres.Server,
    folder_archive: ArchiveFiles,
    lost: int,
) -> None:
    """The source has another report by then, so that nothing but the archive has the lost ones."""
    slice_ = Slice(DAYS[-1], ReportType.VOD)
    _done(program, "backfill", *SPAN, ARCHIVE_URL=folder_archive.url)
    with _before_the_loss(newest_server, newest_warehouse) as url:
        for _ in range(lost):
            newest_warehouse.sandbox.restate(slice_)
            _done(program, "run", ARCHIVE_URL=folder_archive.url)
        before = _stored(newest_warehouse.url)
        newest_warehouse.sandbox.restate(slice_)
        left = program.with_settings(DATABASE_URL=url, ARCHIVE_URL=folder_archive.url)
        refused = _done(left, "run", code=78)
        (told,) = [each["next_step"] for each in refused["slices"] if each["exit_code"]]
        (typed,) = re.findall(r"`watch-time (backfill --from-archive [^`]+)`", told)
        assert [each["revision"] for each in _done(left, *typed.split())["slices"]] == [*range(1, lost + 2)]
        assert _stored(url) == before
        (loaded,) = [each for each in _done(left, "run")["slices"] if each["result"] == "loaded"]
        assert loaded["revision"] == lost + 2
        assert _done(left, "archive")["whole"] == 8 + lost + 1
        with psycopg.connect(url) as connection:
            assert folder_archive.facts() == connection.execute(IN_THE_WAREHOUSE).fetchall()


@pytest.mark.single_server("a database of a cluster cannot be copied")
def test_a_sweep_by_a_warehouse_that_lost_a_commit_takes_nothing_from_readers(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, folder_archive: ArchiveFiles
) -> None:
    """Its ledger has the revision before; they have seen the one that is lost."""
    _done(program, "backfill", *SPAN, ARCHIVE_URL=folder_archive.url)
    with _before_the_loss(newest_server, newest_warehouse) as url:
        newest_warehouse.sandbox.restate(Slice(DAYS[-1], ReportType.VOD))
        _done(program, "run", ARCHIVE_URL=folder_archive.url)
        left, files = program.with_settings(DATABASE_URL=url, ARCHIVE_URL=folder_archive.url), folder_archive.files()
        swept = _done(left, "archive", "--sweep", code=78)
        assert (len(swept["unknown"]), swept["unfinished"], swept["removed"]) == (1, [], [])
        assert folder_archive.files() == files
        _done(left, "run")
        assert _done(left, "archive")["whole"] == 9
        assert folder_archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)


def test_a_range_is_rebuilt_alone(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, folder_archive: ArchiveFiles
) -> None:
    _done(program, "backfill", *SPAN, ARCHIVE_URL=folder_archive.url)
    day = f"{DAYS[1]}"
    with newest_server.database() as url:
        rebuilt = _done(
            program, "backfill", "--from-archive", "--start", day, "--end", day, "--type", "vod",
            DATABASE_URL=url, ARCHIVE_URL=folder_archive.url,
        )  # fmt: skip
    assert [(slice_["report_date"], slice_["report_type"]) for slice_ in rebuilt["slices"]] == [(day, "VOD")]


def test_a_damaged_raw_file_is_not_loaded_and_is_named(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, folder_archive: ArchiveFiles
) -> None:
    _done(program, "backfill", *SPAN, ARCHIVE_URL=folder_archive.url)
    (victim, other) = sorted(name for name in folder_archive.files() if name.startswith("raw/") and "=VOD" in name)[:2]
    folder_archive.put(victim, folder_archive.files()[other])
    with newest_server.database() as url:
        rebuilt = _done(
            program, "backfill", "--from-archive", code=65, DATABASE_URL=url, ARCHIVE_URL=folder_archive.url
        )
        failed = [slice_ for slice_ in rebuilt["slices"] if slice_["result"] == "failed"]
        assert [slice_["report_date"] for slice_ in failed] == [f"{DAYS[0]}"]
        assert "does not match the hash in its name" in failed[0]["message"]
        with psycopg.connect(url) as connection:
            (count,) = connection.execute("SELECT count(*) FROM report_revision").fetchone() or ()
        assert count == 7


def test_the_command_names_what_nothing_refers_to_and_sweeps_it(
    program: Program, newest_warehouse: Warehouse, archive: ArchiveFiles
) -> None:
    _done(program, "backfill", *SPAN, ARCHIVE_URL=archive.url)
    whole = archive.files()
    slice_ = Slice(DAYS[0], ReportType.VOD)
    stray = Key(slice_, 2, "0" * 64)
    strays = {stray.raw, stray.parquet, f"{published(slice_).replace('facts.parquet', '')}.facts.parquet.1f.part"}
    for name in (*strays, "facts/README.md"):
        archive.put(name, b"stray")
    found = _done(program, "archive", ARCHIVE_URL=archive.url)
    assert {file["name"] for file in found["unreferenced"]} == strays
    assert all(file["size_bytes"] == 5 and 0 <= file["age_s"] < 60 for file in found["unreferenced"])
    assert found["foreign"] == ["facts/README.md"]
    assert (found["revisions"], found["whole"]) == (8, 8)
    swept = _done(program, "archive", "--sweep", ARCHIVE_URL=archive.url)
    assert set(swept["removed"]) == strays
    assert swept["unreferenced"] == []
    assert archive.files() == whole | {"facts/README.md": b"stray"}


def test_sweeping_with_an_empty_database_removes_nothing(
    program: Program, newest_warehouse: Warehouse, newest_server: postgres.Server, folder_archive: ArchiveFiles
) -> None:
    _done(program, "backfill", *SPAN, ARCHIVE_URL=folder_archive.url)
    before = folder_archive.files()
    with newest_server.database() as url:
        found = _done(program, "archive", "--sweep", code=78, DATABASE_URL=url, ARCHIVE_URL=folder_archive.url)
    assert len(found["unknown"]) == 8
    assert found["removed"] == []
    assert folder_archive.files() == before


def test_a_lost_file_is_named_and_an_older_published_one_is_replaced(
    program: Program, newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    slice_ = Slice(DAYS[-1], ReportType.VOD)
    _done(program, "run", ARCHIVE_URL=folder_archive.url)
    old = folder_archive.files()[published(slice_)]
    newest_warehouse.sandbox.restate(slice_)
    _done(program, "run", ARCHIVE_URL=folder_archive.url)
    # As a copy that was given up on, and arrives late, would.
    folder_archive.put(published(slice_), old)
    assert folder_archive.facts() != newest_warehouse.query(IN_THE_WAREHOUSE)
    found = _done(program, "archive", code=75, ARCHIVE_URL=folder_archive.url)
    assert found["unfinished"] == [{"report_date": f"{DAYS[-1]}", "report_type": "VOD"}]
    _done(program, "archive", "--sweep", ARCHIVE_URL=folder_archive.url)
    assert folder_archive.facts() == newest_warehouse.query(IN_THE_WAREHOUSE)
    lost = next(name for name in sorted(folder_archive.files()) if name.startswith("raw/"))
    folder_archive.remove(lost)
    found = _done(program, "archive", code=65, ARCHIVE_URL=folder_archive.url)
    assert [each["missing"] for each in found["damaged"]] == [lost]


def test_a_warehouse_that_gets_an_archive_later_is_told_in_a_few_lines_what_to_type(
    program: Program, newest_warehouse: Warehouse, folder_archive: ArchiveFiles
) -> None:
    _done(program, "backfill", *SPAN)
    newest_warehouse.sandbox.restate(Slice(DAYS[-1], ReportType.VOD))
    _done(program, "run")
    page = program("archive", ARCHIVE_URL=folder_archive.url)
    assert page.returncode == 0
    told = page.stdout
    assert "0 of 9 accepted revisions fully archived" in told
    assert "slices that were loaded without the archive (8)" in told
    assert "and 3 more; use --json to list them all" in told
    assert "they cannot be restored (1)" in told
    _, _, typed = told.partition("\n    watch-time ")
    command = typed.splitlines()[0].split()
    assert command == ["backfill", *SPAN, "--refresh"]
    _done(program, *command, ARCHIVE_URL=folder_archive.url)
    found = _done(program, "archive", ARCHIVE_URL=folder_archive.url)
    assert (found["whole"], found["unarchived"]) == (8, [])
    assert [each["revision"] for each in found["superseded"]] == [1]


def test_the_command_line_says_what_goes_together(program: Program, folder_archive: ArchiveFiles) -> None:
    for arguments in (("--from-archive", "--refresh"), ("--start", "2026-11-01"), ("--from-archive", "--dry-run")):
        assert program("backfill", *arguments, ARCHIVE_URL=folder_archive.url).returncode == 2
    ended = program("backfill", "--from-archive")
    assert ended.returncode == 78
    assert "WATCH_TIME_ARCHIVE_URL" in ended.stderr
    nothing = program("backfill", "--from-archive", ARCHIVE_URL=folder_archive.url)
    assert (nothing.returncode, "has no revision" in nothing.stderr) == (2, True)


@pytest.mark.parametrize(
    "url", ["s3://key:secret-canary@bucket/x", "https://host/x", "s3://bucket/x?key=secret-canary"]
)
def test_an_address_with_secrets_or_of_another_kind_is_refused(program: Program, url: str) -> None:
    ended = program("run", ARCHIVE_URL=url)
    assert ended.returncode == 78
    assert "WATCH_TIME_ARCHIVE_URL" in ended.stderr
    assert "secret-canary" not in ended.stderr + ended.stdout
