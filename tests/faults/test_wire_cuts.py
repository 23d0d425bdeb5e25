"""The connection to Postgres breaks at any message of a load: no half, nothing twice, and the same run heals it.

Also where the COMMIT went out and its answer was lost, which nobody on this side can tell from a COMMIT that never
arrived.
"""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import pytest

from capped_stop import CappedStop
from conftest import TODAY, Warehouse
from effort import EXHAUSTIVE, SEED, effort
from etl.domain.errors import ExitCode
from etl.domain.outcome import FetchOptions, Outcome, Result
from etl.domain.slices import ReportType, Slice
from etl.job import plan_runner
from etl.sandbox.sandbox_config import SandboxConfig
from etl.transform import record_splitter
from pgbouncer import pgbouncer
from slice_observer import NOT_LOADED, SliceState, expected, observing
from tally import record
from warehouse_checker import violations
from wire_proxy import MANNERS, PASSED, SENDERS, Cut, Proxy, Sender, proxied

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slice_observer import SliceObserver

# A slice for each cut, and all of them past.
FIRST_DAY = TODAY - timedelta(days=2_500)
# `make soak` cuts at every message, in a way left to chance, and in more ways the longer it lasts. A plain run cuts at
# every so-many-th message, at one of each kind, and at each COMMIT.
WAYS = [(passed, manner) for passed in PASSED for manner in MANNERS]
WAYS_EACH = min(effort(1), len(WAYS))
STEP = 1 if EXHAUSTIVE else 32
# Behind a pooler, the more is tried, the fewer are left out.
STEP_BEHIND_A_POOLER = max(1, round(6 / WAYS_EACH)) if EXHAUSTIVE else 32


class Bench(NamedTuple):
    """A warehouse, the proxy in front of it, and somebody who looks on."""

    warehouse: Warehouse
    proxy: Proxy
    observer: SliceObserver

    def sync(self, slice_: Slice, cut: Cut | None) -> Outcome:
        """As a run of its own does it, from connecting to closing."""
        self.proxy.arm(cut)
        settings = self.warehouse.configured(database_url=self.proxy.url)
        with plan_runner.open_job(settings, stop=CappedStop(0.02)) as opened:
            return opened.context.pipeline.sync_slice(slice_, FetchOptions())


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(
        vod_rows=50, titles=30, customers=500, quiet_one_day_in=0, first_day=FIRST_DAY, today=lambda: TODAY
    )


@pytest.fixture
def bench(newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with _bench(newest_warehouse, newest_warehouse.url, monkeypatch) as bench:
        yield bench


@contextmanager
def _bench(warehouse: Warehouse, url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """With the proxy in front of what answers at `url`."""
    # Three blocks, and so three COPYs of facts and of contents, of fifty lines.
    monkeypatch.setattr(record_splitter, "BLOCK_RECORDS", 20)
    with proxied(url, silence_s=0.05) as proxy, observing(warehouse.url) as observer:
        yield Bench(warehouse, proxy, observer)


def _slice(number: int) -> Slice:
    return Slice(FIRST_DAY + timedelta(days=number), ReportType.VOD)


@pytest.mark.timeout(600 * WAYS_EACH)
@pytest.mark.parametrize("sender", SENDERS)
def test_a_load_survives_a_cut_at_any_message(bench: Bench, sender: Sender) -> None:
    """Each slice is loaded with a cut, restated, and loaded with a cut again."""
    met, slices = _cut_everywhere(bench, sender, step=STEP)
    assert violations(bench.warehouse.url, bench.warehouse.sandbox, slices, revisions=[0, 1]) == []
    record("wire cuts", met["cut"])
    record("wire cuts that lost the answer to a COMMIT", met["committed"])
    if sender == "server":
        assert met["committed"] >= 2, f"the answers to two COMMITs were among the messages: {met}"


@pytest.mark.timeout(600 * WAYS_EACH)
@pytest.mark.parametrize("sender", SENDERS)
def test_a_load_behind_pgbouncer_survives_a_cut_at_any_message(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, sender: Sender
) -> None:
    """What the pooler does with a session whose client is gone must not leave a lock or a half load behind."""
    with (
        pgbouncer(newest_warehouse.url, server_connections=4) as through,
        _bench(newest_warehouse, through, monkeypatch) as bench,
    ):
        met, slices = _cut_everywhere(bench, sender, step=STEP_BEHIND_A_POOLER)
    # Only now: the pooler keeps its connections for the next client, and with them what the program left in them.
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, slices, revisions=[0, 1]) == []
    record("wire cuts between program and pgbouncer", met["cut"])


def _cut_everywhere(bench: Bench, sender: Sender, *, step: int) -> tuple[Counter[str], list[Slice]]:
    """At so many messages of first loads and of restated ones; what was met, by its name, and on what."""
    sandbox, met = bench.warehouse.sandbox, Counter[str]()
    first, restated = (_cuts(sender, messages, step) for messages in _messages(bench, sender))
    for number, cuts in enumerate(zip_longest(first, restated), start=2):
        slice_ = _slice(number)
        before = NOT_LOADED
        for revision, cut in enumerate(cuts, start=1):
            after = expected(sandbox.report(slice_), revision)
            met += _cut_once(bench, slice_, cut, before, after)
            sandbox.restate(slice_)
            before = after
    # A message more or less is Postgres's or the pooler's own affair: a parameter told, a row that comes with the next.
    assert met["not reached"] <= max(2, met["cut"] // 20), met
    assert met["healed by the run itself"] >= met["cut"] * 0.9, met
    return met, [_slice(done) for done in range(2, number + 1)]


def _messages(bench: Bench, sender: Sender) -> list[list[str]]:
    """The kinds of the messages of a run that is not cut: a first load, and one of a restated report."""
    kinds = []
    # The very first one of all finds the warehouse nobody's: a row that later ones are answered is not there.
    assert bench.sync(_slice(0), None).revision == 1
    for revision in (1, 2):
        assert bench.sync(_slice(1), None).revision == revision
        bench.warehouse.sandbox.restate(_slice(1))
        kinds.append(bench.proxy.kinds[sender])
    return kinds


def _cuts(sender: Sender, kinds: list[str], step: int) -> list[Cut]:
    """At every so-many-th message, at one more of each kind that is among the others, and at each COMMIT."""
    chance = random.Random(SEED)  # noqa: S311 - chance, not secrets
    numbers = range(1 + chance.randrange(step), len(kinds) + 1, step)
    found: list[tuple[int, str | None]] = [(number, None) for number in numbers]
    # Of a kind they are counted by themselves: how many messages of data there are is up to the report.
    left_out = Counter(kind for number, kind in enumerate(kinds, start=1) if number not in numbers)
    for kind, count in sorted(left_out.items()):
        nth = range(1, kinds.count(kind) + 1) if kind.endswith(" COMMIT") else [chance.randint(1, count)]
        found += [(number, kind) for number in nth]
    return [Cut(sender, number, *way, named=kind) for number, kind in found for way in chance.sample(WAYS, WAYS_EACH)]


def _cut_once(bench: Bench, slice_: Slice, cut: Cut | None, before: SliceState, after: SliceState) -> Counter[str]:
    """Load with this cut; the slice is as before or as after at every look, and as after in the end."""
    bench.observer.observe(slice_)
    outcome = bench.sync(slice_, cut)
    told = f"seed {SEED}, {slice_}: {cut}, message type {bench.proxy.cut_at!r}: {outcome}"
    is_cut = bench.proxy.cut_at is not None
    met = Counter({"cut" if is_cut else "not reached": 1}) if cut else Counter[str]()
    assert outcome.exit_code in {ExitCode.OK, ExitCode.TRY_LATER}, told
    if outcome.exit_code is ExitCode.OK:
        met["healed by the run itself"] += is_cut
        met["committed"] += outcome.result is Result.UNCHANGED
    else:
        assert bench.sync(slice_, None).exit_code is ExitCode.OK, told
    assert bench.observer.read() == after, told
    bench.observer.assert_only(before, after, told=told)
    return met
