"""A reader that looks at a slice all the time, in a thread, and keeps every state that it saw.

A partition that is being attached has one peculiarity of Postgres: ATTACH keeps readers out of nothing, and tells them
of the new partition a moment after its commit can be seen. A statement planned in between has the new ledger row, and
the facts of before. So a first load may be seen in the ledger before its facts; never the other way round.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import psycopg
from psycopg.rows import args_row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.domain.slices import Slice
    from etl.sandbox.sandbox import Report

_PAUSE_S = 0.003

# One statement, and so one snapshot.
_READ = """
    SELECT coalesce((SELECT revision FROM report_slice WHERE report_date = %(day)s AND report_type = %(type)s), 0),
           (SELECT count(*) FROM report_revision WHERE report_date = %(day)s AND report_type = %(type)s),
           count(*),
           coalesce(sum(watch_seconds), 0)
    FROM watch_time
    WHERE report_date = %(day)s AND report_type = %(type)s
"""


class SliceState(NamedTuple):
    """What a slice looks like: its revision by the ledger, how many revisions are recorded, its facts."""

    revision: int
    revisions: int
    rows: int
    watch_seconds: Decimal


NOT_LOADED = SliceState(0, 0, 0, Decimal(0))


def expected(report: Report, revision: int) -> SliceState:
    """How the slice looks once this report is its so-many-th revision; none of its lines share a key."""
    return SliceState(revision, revision, report.rows, report.watch_seconds)


class SliceObserver:
    """Looks by itself between `observe` and the next one."""

    def __init__(self, connection: psycopg.Connection[SliceState]) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._slice: Slice | None = None
        self._ending = threading.Event()
        self.seen: set[SliceState] = set()

    def observe(self, slice_: Slice) -> None:
        """From now on; what was seen of another slice is forgotten."""
        with self._lock:
            self._slice, self.seen = slice_, set()
        self.read()

    def read(self) -> SliceState:
        """Now."""
        with self._lock:
            assert self._slice
            key = {"day": self._slice.report_date, "type": self._slice.report_type.value}
            (seen,) = self._connection.execute(_READ, key).fetchall()
            self.seen.add(seen)
            return seen

    def assert_only(self, before: SliceState, after: SliceState, *, told: str) -> None:
        """Nothing else was seen since `observe`."""
        allowed = {before, after}
        if before == NOT_LOADED:
            allowed.add(after._replace(rows=0, watch_seconds=Decimal(0)))
        assert self.seen <= allowed, f"{told}: seen {self.seen}"

    def run(self) -> None:
        while not self._ending.wait(_PAUSE_S):
            if self._slice:
                self.read()

    def end(self) -> None:
        self._ending.set()


@contextmanager
def observing(url: str) -> Iterator[SliceObserver]:
    with psycopg.connect(
        url, autocommit=True, application_name="observer", row_factory=args_row(SliceState)
    ) as connection:
        observer = SliceObserver(connection)
        thread = threading.Thread(target=observer.run, daemon=True)
        thread.start()
        try:
            yield observer
        finally:
            observer.end()
            thread.join()
