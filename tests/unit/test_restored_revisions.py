"""A revision from the archive must be read as it was when it was accepted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from etl.domain.errors import ReconciliationFailed
from etl.domain.pipeline_values import Change, Tally
from etl.domain.slices import ReportType
from etl.pipeline.archive_stage import _require_equal
from etl.warehouse.revisions import Accepted

CHANGE = Change(inserted=2, updated=0, deleted=0, unchanged=0, merged=0, repeated=0)
TALLY = Tally(rows_read=2, watch_seconds=Decimal(5))
FIRST = Accepted(
    report_date=date(2026, 11, 16),
    report_type=ReportType.VOD,
    revision=1,
    report_sha256="a" * 64,
    report_bytes=100,
    rows_read=2,
    rows_merged=0,
    rows_repeated=0,
    rows_rejected=0,
    rows_inserted=2,
    rows_updated=0,
    rows_deleted=0,
    rows_unchanged=0,
    seconds_before=Decimal(0),
    seconds_after=Decimal(5),
    created_at_unread=0,
    unknown_types=0,
    overruled=None,
    code_version="1",
    loaded_at=datetime(2026, 11, 18, tzinfo=UTC),
    load_duration=None,
    report_source=None,
    report_etag=None,
)
# The same rows, but one of them was there before.
SECOND = replace(FIRST, revision=2, rows_inserted=1, rows_unchanged=1, seconds_before=Decimal(3))


def test_what_a_revision_changed_is_compared_where_the_one_before_it_is_there() -> None:
    _require_equal(FIRST, None, TALLY, CHANGE)
    with pytest.raises(ReconciliationFailed, match="rows_inserted was 2, would be 1"):
        _require_equal(FIRST, None, TALLY, replace(CHANGE, inserted=1, unchanged=1))


def test_a_revision_whose_predecessor_was_never_archived_can_be_restored() -> None:
    _require_equal(SECOND, None, TALLY, CHANGE)
