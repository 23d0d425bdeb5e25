"""What a report says is what the warehouse holds: character for character, to the last digit, and nothing is lost.

Reports made by chance go through the whole way, the report API, the download, COPY and back from real Postgres; a
second reader (`strict_csv`) says what must be there.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import strict_csv
from conftest import HEADER, TODAY, VOD, Warehouse, hide_settings
from effort import SEED, effort
from etl.domain.outcome import FetchOptions, Result
from etl.domain.slices import ReportType, Slice
from etl.sandbox.faults import Delivery
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from tally import record

if TYPE_CHECKING:
    from collections.abc import Iterator

    import postgres
    from etl.domain.outcome import Outcome
    from etl.job.plan_runner import Job

# Not made small: each try is a load of its own.
by_chance = settings(
    deadline=None,
    database=None,
    max_examples=effort(15),
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

any_text = st.text(
    st.one_of(
        st.sampled_from('",\r\n\t\\N. x0é\ufeff\u200b\x1a\x7f\x85\u2028\U0001f3ac'),
        st.characters(exclude_characters="\0", exclude_categories=["Cs"]),
    ),
    max_size=12,
)
ids = st.one_of(any_text.filter(bool), st.sampled_from(["007", "NA", "null", "1e5", "\\N", "\\.", " x ", "y" * 1_000]))
few_ids = st.sampled_from(["c1", "c2", "Å", "A\u030a"])
watch_times = st.from_regex(r"[0-9]{1,12}(\.[0-9]{1,18})?", fullmatch=True, alphabet="0123456789.")
types = st.sampled_from(["VOD", "Live", "Live-to-VOD", "simulive"])
moments = st.one_of(
    st.just(""),
    st.datetimes().map(lambda moment: moment.isoformat()),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat(timespec="microseconds")),
    st.sampled_from(
        ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "0001-01-01T00:00:00+14:00", "now", "2026"]
    ),
)
rows = st.tuples(any_text, ids, types, moments, st.one_of(any_text, ids), watch_times)
# Few keys, so that lines meet; with what cannot be loaded among them.
meeting = st.tuples(any_text, few_ids, types, moments, st.sampled_from(["", "u1", "u2"]), watch_times)
bad = st.sampled_from(
    ["t,c1,VOD", "t,,VOD,,u1,1", "t,c1,VOD,,u1,-1", "t,c1,VOD,,u1,1e5", "t,c1,,,u1,1", "t,c1,VOD,,u1,1,2"]
)


@dataclass
class Loader:
    """One job for all examples, each of which has a date of its own."""

    warehouse: Warehouse
    job: Job
    slice: Slice = VOD
    fresh: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def load(self, body: bytes, *, before: bytes | None = None) -> Outcome:
        """Bring a report for a fresh date; after `before`, where there is one, so that it is a restated one."""
        self.slice = Slice(date(1996, 1, 1) + timedelta(days=next(self.fresh)), ReportType.VOD)
        if before:
            self._bring(before)
        return self._bring(body)

    def _bring(self, body: bytes) -> Outcome:
        self.warehouse.sandbox.override(self.slice, Delivery(body=body))
        return self.job.context.pipeline.sync_slice(self.slice, FetchOptions())

    def query(self, text: LiteralString) -> list[tuple[Any, ...]]:
        """A statement on the slice, which is what its parameters are."""
        return self.warehouse.query(text, self.slice.report_date, self.slice.report_type.value)


@pytest.fixture(scope="module")
def loader(newest_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loader]:
    sandbox = Sandbox(SandboxConfig(quiet_one_day_in=0, today=lambda: TODAY, first_day=date(1990, 1, 1)))
    with ExitStack() as stack:
        monkeypatch = stack.enter_context(pytest.MonkeyPatch.context())
        hide_settings(monkeypatch, tmp_path_factory.mktemp("folder"))
        url = stack.enter_context(newest_server.database())
        warehouse = Warehouse(url, sandbox, stack.enter_context(running(sandbox)))
        yield Loader(warehouse, stack.enter_context(warehouse.job(max_reject_ratio="1", shrink_limit="0")))


def written(lines: list[tuple[str, ...]], quoting: Any = csv.QUOTE_ALL) -> bytes:
    text = io.StringIO()
    csv.writer(text, quoting=quoting, lineterminator="\r\n").writerows(lines)
    return (HEADER + text.getvalue()).encode()


reports_before = st.none() | st.lists(meeting, min_size=1, max_size=10).map(written)


@seed(SEED)
@by_chance
@given(lines=st.lists(rows, min_size=1, max_size=30), before=reports_before)
def test_ids_and_numbers_come_back_as_they_were_written(
    loader: Loader, lines: list[tuple[str, ...]], before: bytes | None
) -> None:
    """First loads and restated ones; the same number to the last digit, the same text to the last character."""
    body = written(lines)
    assert loader.load(body, before=before).result in {Result.LOADED, Result.UNCHANGED}
    # Fractions, since Python's decimals round to 28 digits.
    expected: defaultdict[tuple[str, ...], Fraction] = defaultdict(Fraction)
    for content, customer, type_, seconds, *_ in strict_csv.read(body).rows:
        expected[content, customer, type_] += Fraction(seconds)
    stored = loader.query(
        "SELECT content_id, customer_id, streaming_type, watch_seconds FROM watch_time "
        "WHERE report_date = %s AND report_type = %s"
    )
    assert {tuple(key): Fraction(seconds) for *key, seconds in stored} == expected
    assert len(stored) == len(expected)
    record("random reports loaded", 1)


@seed(SEED)
@by_chance
@given(lines=st.lists(rows, min_size=1, max_size=20, unique_by=lambda line: line[1]))
def test_titles_and_times_come_back_as_they_were_written(loader: Loader, lines: list[tuple[str, ...]]) -> None:
    body = written(lines)
    assert loader.load(body).result is Result.LOADED
    with psycopg.connect(loader.warehouse.url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        stored = {
            content: (title, None if created_at is None else tuple(map(int, created_at)))
            for content, title, *created_at_parts in connection.execute(
                "SELECT content_id, title, created_at IS NULL, EXTRACT(YEAR FROM created_at), "
                "EXTRACT(MONTH FROM created_at), EXTRACT(DAY FROM created_at), EXTRACT(HOUR FROM created_at), "
                "EXTRACT(MINUTE FROM created_at), EXTRACT(MICROSECOND FROM created_at) FROM content"
            )
            for created_at in [None if created_at_parts[0] else created_at_parts[1:]]
        }
    for content, *_, title, moment in strict_csv.read(body).rows:
        assert stored[content][0] == title
        if moment:
            parts = (moment.year, moment.month, moment.day, moment.hour, moment.minute)
            assert stored[content][1] == (*parts, moment.second * 1_000_000 + moment.microsecond)
    record("random reports loaded", 1)


@seed(SEED)
@by_chance
@given(good=st.lists(meeting, min_size=1, max_size=30), faulty=st.lists(bad, max_size=6), before=reports_before)
def test_every_record_is_stored_or_merged_or_rejected(
    loader: Loader, good: list[tuple[str, ...]], faulty: list[str], before: bytes | None
) -> None:
    """Records in equal rows stored, plus lines merged into them, plus rejects; so do the seconds."""
    body = written(good) + "".join(f"{line}\n" for line in faulty).encode()
    outcome = loader.load(body, before=before)
    reading = strict_csv.read(body)
    assert outcome.result in {Result.LOADED, Result.UNCHANGED}, outcome.message
    ((read, stored, merged, rejected, seconds),) = loader.query(
        "SELECT rows_read, rows_inserted + rows_updated + rows_unchanged, rows_merged, rows_rejected, seconds_after "
        "FROM report_revision WHERE report_date = %s AND report_type = %s ORDER BY revision DESC LIMIT 1"
    )
    assert read == len(good) + len(faulty)
    assert (stored + merged, rejected) == (len(reading.rows), len(reading.rejects))
    ((in_table, seconds_in_table),) = loader.query(
        "SELECT count(*), coalesce(sum(watch_seconds), 0) FROM watch_time WHERE report_date = %s AND report_type = %s"
    )
    assert (in_table, seconds_in_table) == (stored, seconds)
    assert Fraction(seconds) == sum(Fraction(row[3]) for row in reading.rows)
    kept = loader.query(
        "SELECT line_number, raw_text FROM report_reject JOIN report_slice "
        "USING (report_date, report_type, report_sha256) WHERE report_date = %s AND report_type = %s ORDER BY 1"
    )
    assert kept == [(line, text) for line, _, text in reading.rejects]
    record("random reports loaded", 1)
