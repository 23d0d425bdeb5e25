"""An independent reading of a warehouse against the sandbox's report files: what is wrong with it, in words.

It shares no SQL and no code with what loads: a mistake made on both sides would not show.
"""

from __future__ import annotations

import time
from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from etl.domain.slices import ReportType, Slice
from expected_reports import expected_by_hash, expected_report
from leftovers import leftover_violations, partition_violations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from etl.sandbox.sandbox import Sandbox
    from expected_reports import ExpectedReport, Key

Connection = psycopg.Connection[dict[str, Any]]
Row = dict[str, Any]

# Identified customers, all seconds, anonymous seconds, whether there is an anonymous row.
_Sums = tuple[int, Decimal, Decimal, bool]

_TIMEOUT_S = 30.0
_SHOWN = 3  # rows of a slice that differ


def violations(
    url: str,
    sandbox: Sandbox,
    slices: Iterable[Slice],
    *,
    schema: str = "public",
    revisions: Collection[int] = (0,),
    may_be_missing: bool = False,
) -> list[str]:
    """What is wrong with the warehouse; nothing when all is as promised.

    Each slice must be exactly one of the sandbox's `revisions`, or, where it `may_be_missing`, not there at all. Other
    slices are only compared with their own ledger. Waits first until the program has no backend in the database.
    """
    found = wait_for_no_backend(url)
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(sql.Identifier(schema)))
        connection.execute("SET LOCAL TimeZone TO 'UTC'")
        warehouse = _Warehouse(connection, sandbox)
        for slice_ in warehouse.slices:
            found += warehouse.about_ledger(slice_)
        for slice_ in sorted(set(slices)):
            found += warehouse.about_truth(slice_, revisions, may_be_missing=may_be_missing)
        found += warehouse.about_contents()
        found += warehouse.about_owner()
        found += partition_violations(connection)
        found += leftover_violations(connection)
    return found


def wait_for_no_backend(url: str, timeout_s: float | None = None) -> list[str]:
    """Wait until no backend of the program is left in the database; those that stay, in words."""
    deadline = time.monotonic() + (_TIMEOUT_S if timeout_s is None else timeout_s)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        while backends := connection.execute(
            "SELECT pid, state, wait_event, query FROM pg_stat_activity "
            "WHERE application_name = 'watch-time' AND datname = current_database()"
        ).fetchall():
            if time.monotonic() > deadline:
                return [
                    f"backend {row['pid']} of the program stays, {row['state']}, waits for {row['wait_event']}: "
                    f"{row['query'][:80]}"
                    for row in backends
                ]
            time.sleep(0.01)
    return []


class _Warehouse:
    """The facts and the ledger, as one snapshot has them."""

    def __init__(self, connection: Connection, sandbox: Sandbox) -> None:
        self._connection = connection
        self._sandbox = sandbox
        self._ledger = {_slice(row): row for row in connection.execute("SELECT * FROM report_slice").fetchall()}
        self._history: defaultdict[Slice, list[Row]] = defaultdict(list)
        for row in connection.execute("SELECT * FROM report_revision ORDER BY revision").fetchall():
            self._history[_slice(row)].append(row)
        self._facts: defaultdict[Slice, dict[Key, Decimal]] = defaultdict(dict)
        for row in connection.execute("SELECT * FROM watch_time").fetchall():
            key = (row["content_id"], row["customer_id"], row["streaming_type"])
            self._facts[_slice(row)][key] = row["watch_seconds"]
        self._rollup: defaultdict[Slice, dict[tuple[str, str], _Sums]] = defaultdict(dict)
        for row in connection.execute("SELECT * FROM content_daily").fetchall():
            sums = (row["customers"], row["watch_seconds"], row["anonymous_seconds"], row["has_anonymous"])
            self._rollup[_slice(row)][row["content_id"], row["streaming_type"]] = sums

    @property
    def slices(self) -> list[Slice]:
        """All of which anything is there."""
        return sorted({*self._ledger, *self._history, *self._facts, *self._rollup})

    def about_ledger(self, slice_: Slice) -> Iterator[str]:
        """Whether a slice's facts, its row and its revisions tell one story."""
        facts, row, history = self._facts.get(slice_, {}), self._ledger.get(slice_), self._history.get(slice_, [])
        if row is None:
            yield f"{slice_}: {len(facts)} rows and {len(history)} revisions, and no row in report_slice"
            return
        seconds = sum(facts.values(), Decimal(0))
        if (row["rows_stored"], row["watch_seconds"]) != (len(facts), seconds):
            yield (
                f"{slice_}: {len(facts)} rows and {seconds} s; report_slice says {row['rows_stored']} and "
                f"{row['watch_seconds']}"
            )
        yield from self._about_rollup(slice_, facts)
        numbers = [revision["revision"] for revision in history]
        if numbers != list(range(1, row["revision"] + 1)):
            yield f"{slice_}: report_slice is at revision {row['revision']}, report_revision has {numbers}"
        if history and (row["report_sha256"], row["watch_seconds"], row["rows_stored"]) != (
            history[-1]["report_sha256"],
            history[-1]["seconds_after"],
            _stored(history[-1]),
        ):
            yield f"{slice_}: report_slice and the newest of report_revision differ in hash, rows or seconds"
        yield from self._about_steps(slice_, history)

    def _about_rollup(self, slice_: Slice, facts: Mapping[Key, Decimal]) -> Iterator[str]:
        """Whether the sums of each content are those of its rows."""
        expected: dict[tuple[str, str], _Sums] = {}
        for (content_id, customer_id, streaming_type), seconds in facts.items():
            customers, all_seconds, anonymous_seconds, has_anonymous = expected.get(
                (content_id, streaming_type), (0, Decimal(0), Decimal(0), False)
            )
            expected[content_id, streaming_type] = (
                customers + bool(customer_id),
                all_seconds + seconds,
                anonymous_seconds if customer_id else seconds,
                has_anonymous or not customer_id,
            )
        found = self._rollup.get(slice_, {})
        wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        for key in wrong[:_SHOWN]:
            yield f"{slice_} {key}: content_daily has {found.get(key)}, the rows give {expected.get(key)}"

    def _about_steps(self, slice_: Slice, history: Sequence[Row]) -> Iterator[str]:
        """Whether each revision follows from the one before."""
        sha256, rows, seconds = None, 0, Decimal(0)
        for row in history:
            where = f"{slice_} revision {row['revision']}"
            if row["report_sha256"] == sha256:
                yield f"{where}: the same report was loaded twice"
            if row["seconds_before"] != seconds:
                yield f"{where}: begins at {row['seconds_before']} s, the one before ended at {seconds}"
            if rows + row["rows_inserted"] - row["rows_deleted"] != _stored(row):
                yield f"{where}: {rows} rows, inserted and deleted do not give {_stored(row)}"
            sha256, rows, seconds = row["report_sha256"], _stored(row), row["seconds_after"]

    def about_truth(self, slice_: Slice, revisions: Collection[int], *, may_be_missing: bool) -> Iterator[str]:
        """Whether a slice is one of the sandbox's revisions, to the row and to the second."""
        facts, row, history = self._facts.get(slice_, {}), self._ledger.get(slice_), self._history.get(slice_, [])
        if not facts and not history and (row is None or row["revision"] == 0):
            if not may_be_missing:
                yield f"{slice_}: missing"
            return
        if row is None:
            return  # told by about_ledger
        allowed = {
            truth.sha256: truth for truth in (expected_report(self._sandbox, slice_, each) for each in revisions)
        }
        truth = allowed.get(row["report_sha256"])
        if truth is None:
            yield f"{slice_}: report_slice has the hash of none of the reports {sorted(revisions)}"
            return
        if row["state"] != "loaded":
            yield f"{slice_}: is {row['state']}"
        yield from _differences(slice_, facts, truth)
        for revision in history:
            yield from self._about_revision(slice_, revision)
        rejects = self._connection.execute(
            "SELECT count(*) FROM report_reject WHERE (report_date, report_type) = (%s, %s)",
            (slice_.report_date, slice_.report_type.value),
        ).fetchone()
        if rejects and rejects["count"]:
            yield f"{slice_}: {rejects['count']} lines in report_reject"

    def _about_revision(self, slice_: Slice, row: Row) -> Iterator[str]:
        truth = self._truths(slice_).get(row["report_sha256"])
        where = f"{slice_} revision {row['revision']}"
        if truth is None:
            yield f"{where}: has the hash of no report that the sandbox ever had"
            return
        for column, true in (
            ("report_bytes", truth.size_bytes),
            ("rows_read", truth.lines),
            ("rows_merged", truth.lines - len(truth.facts)),
            ("rows_rejected", 0),
            ("seconds_after", truth.seconds),
        ):
            if row[column] != true:
                yield f"{where}: {column} is {row[column]}, the report has {true}"

    def about_contents(self) -> Iterator[str]:
        """Whether `content` is what all the revisions that were ever accepted say."""
        expected: dict[str, tuple[Any, ...]] = {}
        for slice_ in sorted(self._history):
            truths = self._truths(slice_)
            for row in self._history[slice_]:
                if row["report_sha256"] not in truths:
                    return  # told by about_truth; or a report of a test's own, of which nothing is known here
                for content_id, naming in truths[row["report_sha256"]].contents.items():
                    first_seen = expected[content_id][len(naming)] if content_id in expected else slice_.report_date
                    expected[content_id] = (
                        *naming, first_seen, slice_.report_date, slice_.report_type.value,
                    )  # fmt: skip
        found = {
            row["content_id"]: tuple(
                row[column] for column in ("title", "created_at", "first_seen", "last_seen", "last_seen_type")
            )
            for row in self._connection.execute("SELECT * FROM content").fetchall()
        }
        wrong = [
            content_id
            for content_id in expected.keys() | found.keys()
            if expected.get(content_id) != found.get(content_id)
        ]
        for content_id in sorted(wrong)[:_SHOWN]:
            yield f"content {content_id}: {found.get(content_id)}, the reports have {expected.get(content_id)}"
        if len(wrong) > _SHOWN:
            yield f"content: {len(wrong)} rows are wrong in all"

    def about_owner(self) -> Iterator[str]:
        """Whether the warehouse is the sandbox's organization's, once it has facts."""
        owners = [row["org_id"] for row in self._connection.execute("SELECT org_id FROM warehouse").fetchall()]
        if owners != [self._sandbox.config.org_id] and (owners or self._history):
            yield f"the warehouse is of {owners}, not of {self._sandbox.config.org_id}"

    def _truths(self, slice_: Slice) -> Mapping[str, ExpectedReport]:
        return expected_by_hash(self._sandbox, slice_)


def _differences(slice_: Slice, facts: Mapping[Key, Decimal], truth: ExpectedReport) -> Iterator[str]:
    wrong = [key for key in facts.keys() | truth.facts.keys() if facts.get(key) != truth.facts.get(key)]
    for key in sorted(wrong)[:_SHOWN]:
        yield f"{slice_} {key}: {facts.get(key)} s, the report has {truth.facts.get(key)}"
    if wrong:
        yield f"{slice_}: {len(wrong)} of {len(truth.facts)} rows are wrong"


def _stored(revision: Row) -> int:
    return int(revision["rows_inserted"] + revision["rows_updated"] + revision["rows_unchanged"])


def _slice(row: Row) -> Slice:
    return Slice(row["report_date"], ReportType(row["report_type"]))
