"""The checker finds what is wrong: a warehouse is tampered with by hand, and each time it is told."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo

from conftest import DAY, TODAY, Warehouse, hide_settings
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from warehouse_checker import violations, wait_for_no_backend

if TYPE_CHECKING:
    from collections.abc import Iterator

    import postgres

VOD, LIVE = Slice(DAY, ReportType.VOD), Slice(DAY, ReportType.LIVE)
BOTH = (LIVE, VOD)
WORLD = SandboxConfig(vod_rows=60, live_rows=40, titles=30, quiet_one_day_in=0, today=lambda: TODAY)


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return WORLD


@pytest.fixture(scope="module", name="template")
def _template(
    newest_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[postgres.Server, Warehouse]]:
    """Two slices, of which one was restated; loaded once, and copied for each test."""
    sandbox = Sandbox(WORLD)
    with (
        pytest.MonkeyPatch.context() as monkeypatch,
        newest_server.database() as url,
        running(sandbox) as base_url,
    ):
        hide_settings(monkeypatch, tmp_path_factory.mktemp("folder"))
        warehouse = Warehouse(url, sandbox, base_url)
        warehouse.sync(slice_=LIVE)
        warehouse.sync(slice_=VOD)
        sandbox.restate(VOD)
        warehouse.sync(slice_=VOD)
        assert wait_for_no_backend(url) == []
        yield replace(newest_server, template=str(conninfo.conninfo_to_dict(url)["dbname"])), warehouse


@pytest.fixture
def loaded(template: tuple[postgres.Server, Warehouse]) -> Iterator[Warehouse]:
    server, warehouse = template
    with server.database() as url:
        yield replace(warehouse, url=url)


def _found(warehouse: Warehouse) -> str:
    return "\n".join(violations(warehouse.url, warehouse.sandbox, BOTH, revisions=(0, 1)))


def _tamper(warehouse: Warehouse, text: str) -> None:
    with psycopg.connect(warehouse.url, autocommit=True) as connection:
        connection.execute(text.encode())


def test_a_faultless_warehouse_has_no_violation(warehouse: Warehouse) -> None:
    for slice_ in BOTH:
        warehouse.sync(slice_=slice_)
    assert violations(warehouse.url, warehouse.sandbox, BOTH) == []
    warehouse.sandbox.restate(VOD)
    warehouse.sync(slice_=VOD)
    assert violations(warehouse.url, warehouse.sandbox, [LIVE]) == []
    assert violations(warehouse.url, warehouse.sandbox, [VOD], revisions=[1]) == []
    assert violations(warehouse.url, warehouse.sandbox, [VOD], revisions=[0]) == [
        f"{VOD}: report_slice has the hash of none of the reports [0]"
    ]
    other = Slice(DAY - timedelta(days=1), ReportType.VOD)
    assert violations(warehouse.url, warehouse.sandbox, [other]) == [f"{other}: missing"]
    assert violations(warehouse.url, warehouse.sandbox, [other], may_be_missing=True) == []


_VOD_LEAF, _LIVE_LEAF = f"watch_time_{DAY:%Y%m%d}_vod", f"watch_time_{DAY:%Y%m%d}_live"
_OTHER_DAY = DAY + timedelta(days=1)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(
            f"DELETE FROM {_VOD_LEAF} WHERE ctid = (SELECT min(ctid) FROM {_VOD_LEAF})",
            "1 of 62 rows are wrong", id="a row is gone"),
        pytest.param(
            f"UPDATE {_VOD_LEAF} SET watch_seconds = watch_seconds + 0.001 WHERE customer_id = 'null'",
            "rows are wrong", id="a millisecond too much"),
        pytest.param(
            f"UPDATE {_VOD_LEAF} SET customer_id = customer_id || ' ' WHERE customer_id = 'null'",
            "rows are wrong", id="a customer id with a blank behind it"),
        pytest.param(
            f"INSERT INTO watch_time VALUES ('x', '', 'VOD', '{DAY}', 'VOD', 0)",
            "rows are wrong", id="a row too many"),
        pytest.param("UPDATE report_slice SET watch_seconds = watch_seconds + 1", "report_slice says",
                     id="a sum that is not that of the rows"),
        pytest.param("UPDATE report_slice SET report_sha256 = repeat('0', 64)", "has the hash of none",
                     id="another hash"),
        pytest.param("UPDATE report_slice SET state = 'failed'", "is failed", id="another state"),
        pytest.param("DELETE FROM report_revision WHERE revision = 1 AND report_type = 'VOD'",
                     "is at revision 2, report_revision has [2]", id="a revision is gone"),
        pytest.param(
            """INSERT INTO report_revision SELECT report_date, report_type, 3, report_sha256, report_bytes, rows_read,
               rows_merged, rows_repeated, rows_rejected, 0, 0, 0, rows_read - rows_merged, seconds_after,
               seconds_after, created_at_unread, unknown_types, overruled, code_version FROM report_revision
               WHERE revision = 2; UPDATE report_slice SET revision = 3 WHERE revision = 2""",
            "the same report was loaded twice", id="loaded twice"),
        pytest.param("UPDATE report_revision SET seconds_before = 1 WHERE revision = 2", "the one before ended at",
                     id="a revision that does not follow"),
        pytest.param("UPDATE report_revision SET rows_merged = rows_merged + 1, rows_unchanged = rows_unchanged - 1 "
                     "WHERE revision = 2", "rows_merged is", id="lines merged that were not"),
        pytest.param("DELETE FROM report_slice", "no row in report_slice", id="no row in the ledger"),
        pytest.param("UPDATE content SET title = title || '.' WHERE content_id = (SELECT min(content_id) FROM content)",
                     "content ", id="another title"),
        pytest.param("UPDATE content SET created_at = created_at + interval '1 second'", "rows are wrong in all",
                     id="other creation times"),
        pytest.param("DELETE FROM content", "rows are wrong in all", id="no contents"),
        pytest.param("DELETE FROM warehouse", "the warehouse is of []", id="nobody's warehouse"),
        pytest.param("CREATE TABLE watch_time_20200101_vod (LIKE watch_time INCLUDING ALL)",
                     "table watch_time_20200101_vod is left over", id="a table that was not attached"),
        pytest.param("CREATE TABLE incoming (content_id text)", "table incoming is left over", id="a table aside"),
        pytest.param(
            "CREATE TABLE empty PARTITION OF watch_time "
            f"FOR VALUES FROM ('{_OTHER_DAY}', 'LIVE') TO ('{_OTHER_DAY}', 'VOD')",
            "partition empty: holds no slice", id="a partition without a slice"),
        pytest.param(f"ALTER TABLE watch_time DETACH PARTITION {_VOD_LEAF}",
                     f"table {_VOD_LEAF} is left over", id="a partition taken away"),
        pytest.param(f"ALTER TABLE {_VOD_LEAF} ADD CHECK (report_date = '{DAY}')", "of its making is left",
                     id="the check of an attachment"),
        pytest.param(f"ALTER TABLE {_VOD_LEAF} ALTER report_date SET DEFAULT '{DAY}'", "of its making is left",
                     id="a default of a load"),
        pytest.param("UPDATE pg_index SET indisvalid = false WHERE indrelid = 'content'::regclass",
                     "index content_pkey is not valid", id="an index that is not valid"),
        pytest.param("ALTER TABLE content DROP CONSTRAINT content_pkey", "table content has no primary key",
                     id="an index that is gone"),
        pytest.param("ALTER TABLE watch_time DROP CONSTRAINT watch_time_pkey", "its primary key is not attached",
                     id="no key"),
        pytest.param("INSERT INTO report_reject VALUES "
                     f"('{DAY}', 'VOD', 'x', 2, 'why', 'raw')", "1 lines in report_reject", id="a reject"),
    ],
)  # fmt: skip
def test_tampering_is_told(loaded: Warehouse, text: str, told: str) -> None:
    assert _found(loaded) == ""
    _tamper(loaded, text)
    assert told in _found(loaded)


def test_a_backend_that_stays_is_told(loaded: Warehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse_checker._TIMEOUT_S", 0.2)
    with psycopg.connect(loaded.url, application_name="watch-time") as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1)")
        found = _found(loaded)
    assert "of the program stays, idle in transaction" in found
    assert "a lock is left: advisory ExclusiveLock" in found
    assert _found(loaded) == ""
