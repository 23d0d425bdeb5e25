"""The invented data: repeatable, believable, and summed up rightly. Read back with the standard library's csv only."""

from __future__ import annotations

import csv
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from etl.domain.errors import Misconfigured
from etl.domain.slices import ReportType, Slice, dates_between
from etl.sandbox import demo_extra
from etl.sandbox.faults import Delivery
from etl.sandbox.file_cache import FileCache, GivenUp
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.sandbox.file_cache import Stored

VOD = Slice(date(2023, 7, 3), ReportType.VOD)
LIVE = Slice(date(2023, 7, 3), ReportType.LIVE)
CONFIG = SandboxConfig(vod_rows=5_000, live_rows=5_000, titles=300, quiet_one_day_in=0)

Key = tuple[str, str, str]

both_types = pytest.mark.parametrize("slice_", [pytest.param(VOD, id="vod"), pytest.param(LIVE, id="live")])


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    sandbox = Sandbox(CONFIG)
    yield sandbox
    sandbox.close()


def records(file: Stored) -> list[dict[str, str]]:
    with file.path.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text, strict=True))


def seconds_by_key(file: Stored) -> dict[Key, Decimal]:
    """The watch time of each key; fails if a key comes twice."""
    found = records(file)
    by_key = {
        (row["Content ID"], row["Customer ID"], row["Streaming Type"]): Decimal(row["Watch Time (sec.)"])
        for row in found
    }
    assert len(by_key) == len(found)
    return by_key


def python(program: str) -> str:
    """What a program prints in a process of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def content_of(config: SandboxConfig, slice_: Slice = VOD, revision: int = 0) -> bytes:
    sandbox = Sandbox(config)
    try:
        return sandbox.report(slice_, revision).path.read_bytes()
    finally:
        sandbox.close()


@pytest.mark.parametrize("revision", [0, 2])
@both_types
def test_equal_settings_give_equal_bytes(slice_: Slice, revision: int) -> None:
    assert content_of(CONFIG, slice_, revision) == content_of(CONFIG, slice_, revision)


def test_the_data_are_the_same_on_every_machine_and_in_every_version() -> None:
    """A change of the data is a decision, not an accident: figures and demonstrations refer to them."""
    sandbox = Sandbox(replace(CONFIG, vod_rows=3, titles=30))
    assert sandbox.report(VOD).path.read_bytes().decode() == (
        "Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"
        '"Line one\nLine two",8846eb43-14de-411b-a672-2f207e390b2a,VOD,2022-06-13T18:04:07Z,007,915\n'
        "Nuit d'été: 바다 16,db9fdd64-0364-41fe-8c99-328504e5d606,VOD,2021-01-09T19:19:02Z,"
        "c18cae18-9fae-408b-a411-d7a3f59b1cee,458\n"
        '"Silent 海 31, the sequel",4f634693-cad5-47a8-bc10-14ee553bc68f,VOD,2023-07-02T21:52:45Z,'
        "f622f99a-ca7e-4388-ae30-c24df39e11c6,500\n"
    )


@pytest.mark.parametrize(
    ("config", "slice_", "revision"),
    [
        pytest.param(replace(CONFIG, seed=2), VOD, 0, id="seed"),
        pytest.param(CONFIG, Slice(date(2023, 7, 4), ReportType.VOD), 0, id="date"),
        pytest.param(CONFIG, LIVE, 0, id="type"),
        pytest.param(CONFIG, VOD, 1, id="revision"),
    ],
)
def test_another_seed_date_type_or_revision_gives_another_report(
    config: SandboxConfig, slice_: Slice, revision: int
) -> None:
    assert content_of(config, slice_, revision) != content_of(CONFIG)


def test_the_header_is_the_documented_one_in_its_order(sandbox: Sandbox) -> None:
    first_line = sandbox.report(VOD).path.read_bytes().partition(b"\n")[0]
    assert first_line == b"Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)"


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 100, 131_072, 131_073])
@both_types
def test_the_truth_is_what_the_file_says(slice_: Slice, rows: int) -> None:
    """Rows and seconds, counted independently, at every size; the edges of a chunk included."""
    sandbox = Sandbox(replace(CONFIG, vod_rows=rows, live_rows=rows))
    report = sandbox.report(slice_)
    found = seconds_by_key(report)
    assert report.rows == len(found) == rows
    assert report.watch_seconds == sum(found.values())
    assert report.size_bytes == report.path.stat().st_size


def test_streaming_types_are_those_of_the_report_type(sandbox: Sandbox) -> None:
    assert {row["Streaming Type"] for row in records(sandbox.report(VOD))} == {"VOD"}
    assert {row["Streaming Type"] for row in records(sandbox.report(LIVE))} == {"Live", "Live-to-VOD"}


@both_types
def test_a_report_has_what_is_hard_to_read(sandbox: Sandbox, slice_: Slice) -> None:
    found = records(sandbox.report(slice_))
    titles = {row["Content Title"] for row in found}
    customers = {row["Customer ID"] for row in found}
    watched = {row["Watch Time (sec.)"] for row in found}
    for part in (",", '"', "\n", "海", "é", "🎬"):
        assert any(part in title for title in titles), part
    assert {"", "007", "NA", "null", "1e5", "Jane Doe 42", "van der  Berg, T."} <= customers
    assert any(len(customer) == 36 for customer in customers)
    assert any("." in seconds for seconds in watched)
    assert any("." not in seconds for seconds in watched)
    assert min(map(Decimal, watched)) > 0
    for row in found:
        datetime.strptime(row["Created At"], "%Y-%m-%dT%H:%M:%S%z")


def test_few_titles_are_watched_by_many(sandbox: Sandbox) -> None:
    views = Counter(row["Content ID"] for row in records(sandbox.report(VOD)))
    most_watched = sum(count for _, count in views.most_common(len(views) // 10))
    assert most_watched > 5_000 // 3


def test_customers_come_back_on_the_next_day() -> None:
    sandbox = Sandbox(replace(CONFIG, customers=3_000))
    days = [Slice(day, ReportType.VOD) for day in (date(2023, 7, 3), date(2023, 7, 4))]
    first, second = ({row["Customer ID"] for row in records(sandbox.report(day))} for day in days)
    assert len(first & second) > len(first) // 4
    assert second - first


def test_the_catalogue_grows_by_a_title_a_day_and_keeps_the_old_ones() -> None:
    sandbox = Sandbox(replace(CONFIG, vod_rows=20_000, titles=100))
    days = [Slice(day, ReportType.VOD) for day in (date(2023, 7, 3), date(2023, 8, 2))]
    first, later = (
        {row["Content ID"]: (row["Content Title"], row["Created At"]) for row in records(sandbox.report(day))}
        for day in days
    )
    assert len(later) == len(first) + 30
    assert first.items() <= later.items()


def test_anonymous_views_of_a_content_share_a_line_unless_told_otherwise() -> None:
    def anonymous_lines(*, line_per_view: bool) -> Counter[str]:
        sandbox = Sandbox(replace(CONFIG, anonymous_line_per_view=line_per_view))
        report = sandbox.report(VOD)
        found = records(report)
        assert len(found) == report.rows
        assert sum(Decimal(row["Watch Time (sec.)"]) for row in found) == report.watch_seconds
        return Counter(row["Content ID"] for row in found if not row["Customer ID"])

    assert set(anonymous_lines(line_per_view=False).values()) == {1}
    assert max(anonymous_lines(line_per_view=True).values()) > 5


@pytest.mark.parametrize("rows", [0, 1, 4, 5_000])
@both_types
def test_a_restatement_changes_what_it_says(slice_: Slice, rows: int) -> None:
    sandbox = Sandbox(replace(CONFIG, vod_rows=rows, live_rows=rows))
    for number in (1, 2, 3):
        before = sandbox.report(slice_)
        said = sandbox.restate(slice_)
        after = sandbox.report(slice_)
        old, new = seconds_by_key(before), seconds_by_key(after)
        assert said.revision == sandbox.revision(slice_) == number
        assert said.rows_added == len(new.keys() - old.keys())
        assert said.rows_vanished == len(old.keys() - new.keys())
        assert said.rows_changed == sum(old[key] != new[key] for key in old.keys() & new.keys())
        assert (after.rows, after.watch_seconds) == (len(new), sum(new.values()))
        assert {row["Content Title"] for row in records(after) if row["Content ID"] == said.content_id} == {said.title}


def test_a_restatement_of_a_usual_report_adds_changes_and_takes_away(sandbox: Sandbox) -> None:
    said = sandbox.restate(VOD)
    assert said.rows_added > said.rows_changed > said.rows_vanished > 0


def test_only_the_named_title_changes_in_a_restatement(sandbox: Sandbox) -> None:
    before = {row["Content ID"]: row["Content Title"] for row in records(sandbox.report(LIVE))}
    said = sandbox.restate(LIVE)
    after = {row["Content ID"]: row["Content Title"] for row in records(sandbox.report(LIVE))}
    assert {key for key in before if before[key] != after[key]} == {said.content_id}


def test_earlier_revisions_can_still_be_asked_for(sandbox: Sandbox) -> None:
    first = sandbox.report(VOD)
    sandbox.restate(VOD)
    assert sandbox.report(VOD, revision=0) == first
    assert sandbox.report(VOD) != first


def test_few_days_are_without_viewing_and_each_type_has_its_own() -> None:
    sandbox = Sandbox(SandboxConfig())
    days = list(dates_between(date(2023, 7, 1), date(2024, 6, 30)))
    quiet = {
        type_: {day for day in days if not sandbox.has_history(Slice(day, type_))}
        for type_ in (ReportType.VOD, ReportType.LIVE)
    }
    assert all(5 <= len(found) <= 25 for found in quiet.values())
    assert quiet[ReportType.VOD] != quiet[ReportType.LIVE]
    assert not sandbox.has_history(Slice(date(2023, 6, 30), ReportType.VOD))


def test_more_rows_than_there_are_viewers_and_titles_are_refused() -> None:
    sandbox = Sandbox(SandboxConfig(vod_rows=1_000, titles=1, customers=10))
    with pytest.raises(Misconfigured, match="cannot fill 1,000 rows"):
        sandbox.report(VOD)


def test_two_first_requests_at_once_share_one_file(sandbox: Sandbox) -> None:
    made: list[int] = []
    barrier = threading.Barrier(4)
    found: list[Stored] = []

    def pieces() -> Iterator[bytes]:
        made.append(1)
        yield from (b"a", b"b")

    def ask(cache: FileCache) -> None:
        barrier.wait()
        found.append(cache.file("once.csv", pieces))

    cache = FileCache()
    threads = [threading.Thread(target=ask, args=(cache,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]
    assert len(set(found)) == 1
    assert [path.name for path in found[0].path.parent.iterdir()] == ["once.csv"]
    assert found[0].path.read_bytes() == b"ab"
    cache.clear()
    assert not found[0].path.parent.exists()


def test_the_longest_unused_files_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.sandbox.file_cache._KEPT_BYTES", 10)
    cache = FileCache()
    first, second = (cache.file(name, lambda: [b"5byte"]) for name in ("first.csv", "second.csv"))
    assert cache.file("first.csv", list) == first
    cache.file("third.csv", lambda: [b"5byte"])
    assert (first.path.exists(), second.path.exists()) == (True, False)
    cache.clear()


def test_clearing_gives_up_what_is_being_made_and_leaves_nothing() -> None:
    cache = FileCache()

    def pieces() -> Iterator[bytes]:
        yield b"a"
        cache.clear()
        yield b"b"

    with pytest.raises(GivenUp):
        cache.file("half.csv", pieces)
    assert cache.file("half.csv", lambda: [b"whole"]).path.read_bytes() == b"whole"
    assert [path.name for path in cache.file("half.csv", list).path.parent.iterdir()] == ["half.csv"]
    cache.clear()


def test_a_closed_sandbox_makes_the_same_report_again(sandbox: Sandbox) -> None:
    first = sandbox.report(VOD)
    sandbox.close()
    assert not first.path.exists()
    assert sandbox.report(VOD) == first
    assert sandbox.report(VOD).path.exists()


def test_a_large_report_does_not_sit_in_memory() -> None:
    """2 million rows are 270 MB of text; the process that makes them stays far below that."""
    used = python(
        """
import resource
from datetime import date
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.sandbox import Sandbox
from etl.domain.slices import ReportType, Slice
slice_ = Slice(date(2023, 7, 3), ReportType.VOD)
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
Sandbox(SandboxConfig(vod_rows=200_000)).report(slice_)
small = peak()
report = Sandbox(SandboxConfig(vod_rows=2_000_000)).report(slice_)
assert report.rows == 2_000_000 and report.size_bytes > 200 << 20
print(peak() / small)
"""
    )
    assert float(used) < 1.3


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy = python("import sys, etl.sandbox; print({'starlette', 'uvicorn', 'numpy', 'pyarrow'} & set(sys.modules))")
    assert heavy == "set()"


def test_a_missing_extra_is_answered_with_the_line_that_installs_it() -> None:
    with pytest.raises(Misconfigured, match="no_such_package") as caught, demo_extra():
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401
    assert caught.value.next_step == "`pip install 'watch-time[demo]'`"


def test_gzip_of_a_report_is_repeatable(sandbox: Sandbox) -> None:
    first = sandbox.stored(VOD, Delivery(gzip="file")).path.read_bytes()
    sandbox.close()
    assert sandbox.stored(VOD, Delivery(gzip="file")).path.read_bytes() == first
