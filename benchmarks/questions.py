"""How long analysts wait: the views, the ten queries of the docs and the page, over a month of many rows.

    .venv/bin/python benchmarks/questions.py --rows 12_400_000
    .venv/bin/python benchmarks/questions.py --rows 1_000_000 --plans plans.txt

The month's rows are generated in SQL and then take the program's own steps: key, rollup, ledger, compaction, counts.
Each question is asked three times on one embedded server; the middle time is told, and with `--plans` how Postgres
answered. `--year` adds eleven months of 1,000 rows a slice for the question of one customer's year. At the end: the
bytes per row, and what an index on content_id costs and gains. With `--folder` the warehouse stays there; the next
run with that folder continues, or only asks.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import sql

from etl.config.settings import Settings
from etl.diagnostics import page_reader
from etl.domain.pipeline_values import LoadedReport, Origin, ReportFile, Tally
from etl.domain.slices import dates_between, slices_of
from etl.load import compaction, distinct_customers
from etl.load.new_partition_load import NewPartitionLoad
from etl.runtime.cancellation import Stop
from etl.warehouse import embedded_postgres, ledger, schema
from etl.warehouse.database import open_warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.domain.slices import Slice
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection

_TRIES: Final = 3
_FIRST: Final = date(2026, 10, 1)
_LAST: Final = date(2026, 10, 31)
_YEAR_BEFORE: Final = date(2025, 11, 1)
_TODAY: Final = date(2026, 11, 30)
_QUERIES: Final = Path(__file__).parents[1] / "docs" / "queries.md"
_VIEWS: Final = ("watch_time_daily", "watch_time_customers", "watch_time_monthly", "watch_time_by_content")
# Contents and customers are drawn with a bias: a few have most of the rows.
_CONTENTS: Final = 3_000
_GENERATE: Final = """
    INSERT INTO {lines} (customer_id, content_id, streaming_type, watch_seconds)
    SELECT DISTINCT ON (1, 2, 3)
           CASE WHEN random() < 0.0005 THEN '' ELSE 'customer-' || floor({customers} * random() ^ 1.5)::bigint END,
           md5(floor({contents} * random() ^ 3)::text),
           CASE WHEN {type} = 'VOD' THEN 'VOD' WHEN random() < 0.4 THEN 'LIVE' ELSE 'LIVE_TO_VOD' END,
           round((random() ^ 3 * 7200)::numeric, 3)
    FROM generate_series(1, {rows})
    ORDER BY 1, 2, 3
"""
_NAME_CONTENTS: Final = """
    INSERT INTO incoming_content (content_id, title)
    SELECT DISTINCT content_id, 'Title of ' || content_id FROM {lines}
"""


# Of one that few watched: the index finds its rows, and without it a month is read.
_VIEWERS: Final = """
    SELECT customer_id, sum(watch_seconds)
    FROM watch_time
    WHERE content_id = (
        SELECT content_id FROM content_daily GROUP BY content_id ORDER BY sum(customers), content_id LIMIT 1
    )
      AND report_date >= DATE '2026-10-01' AND report_date < DATE '2026-11-01'
    GROUP BY customer_id
"""


class _GeneratedLoad(NewPartitionLoad):
    """A load whose report is made by the server."""

    def generate(self, tally: Tally, rows: int, customers: int) -> None:
        """In place of `stage`."""
        self._execute("load/create_incoming_content")
        self._create_lines()
        ordered = sql.SQL(_GENERATE).format(
            lines=self._lines,
            customers=sql.Literal(customers),
            contents=sql.Literal(_CONTENTS),
            rows=sql.Literal(rows),
            type=sql.Literal(self.slice.report_type.value),
        )
        self._connection.execute(ordered)
        self._connection.execute(sql.SQL(_NAME_CONTENTS).format(lines=self._lines))
        counted = sql.SQL("SELECT count(*), sum(watch_seconds) FROM {}").format(self._lines)
        tally.rows_read, tally.watch_seconds = self._connection.execute(counted).fetchone() or (0, Decimal(0))


@dataclass(frozen=True)
class Answer:
    """How long a question took, in seconds, and how many rows it returned."""

    question: str
    seconds: float
    rows: int
    plan: str


@contextmanager
def month(rows: int, *, year: bool = False, kept: Path | None = None) -> Iterator[tuple[str, Settings]]:
    """A warehouse whose October has so many rows, compacted and counted as `run` leaves it; its URL and settings."""
    with tempfile.TemporaryDirectory(prefix="watch-time-questions-") as temporary:
        folder = kept or Path(temporary)
        filled = folder / "filled"
        with embedded_postgres.server(folder / "postgres") as url:
            os.environ["WATCH_TIME_DATABASE_URL"] = url
            settings = Settings.load()
            if not filled.exists():
                with open_warehouse(settings) as database:
                    _fill(database, settings, rows, year=year)
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute("VACUUM ANALYZE")
                filled.touch()
            yield url, settings


def _fill(database: Database, settings: Settings, rows: int, *, year: bool) -> None:
    schema.migrate(database)
    customers = max(1_000, rows // 25)
    slices = slices_of(dates_between(_FIRST, _LAST))
    wanted = dict.fromkeys(slices, rows // len(slices))
    if year:
        wanted |= dict.fromkeys(slices_of(dates_between(_YEAR_BEFORE, _FIRST - timedelta(days=1))), 1_000)
    loaded = database.run(lambda connection: ledger.read_range(connection, _YEAR_BEFORE, _LAST))
    for slice_ in sorted(wanted.keys() - loaded.keys()):
        _fill_slice(database, slice_, wanted[slice_], customers)
    began_s = time.monotonic()
    for settled in compaction.settled_months(database, settings, today=_TODAY):
        compaction.compact(database, settled, Stop())
    compacted_s = time.monotonic()
    counted, _ = distinct_customers.count_stale(database, settings, Stop(), today=_TODAY)
    print(f"compacted in {compacted_s - began_s:.1f} s; {counted} periods counted in ", end="")
    print(f"{time.monotonic() - compacted_s:.1f} s", flush=True)


def _fill_slice(database: Database, slice_: Slice, rows: int, customers: int) -> None:
    def load(connection: Connection) -> None:
        tally = Tally()
        loading = _GeneratedLoad(connection, slice_, "0" * 64)
        loading.generate(tally, rows, customers)
        loading.deduplicate(tally)
        loading.write()
        change = loading.finish(tally)
        report = ReportFile(Path("none"), "0" * 64, 0, 0, Origin("none", '"none"'), 0.0)
        loaded = LoadedReport(report, tally, change, "{}", (), timedelta(0))
        ledger.record_revision(connection, slice_, None, loaded, reason=None)
        schema.claim(connection, "benchmark")

    database.run(load)


def questions() -> dict[str, str]:
    """Each question's SQL: the views of the month, and the docs' queries put to it."""
    asked = {view: f"TABLE {view}" for view in _VIEWS}
    documented = re.findall(
        r"^## (\d+)\..*?```sql\n(.*?);?\n```", _QUERIES.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    for number, text in documented:
        moved = text.replace("2026-10-", "2026-09-").replace("2026-11-", "2026-10-").replace("2026-12-", "2026-11-")
        asked[f"query {number}"] = moved
    asked["one content by day"] = (
        "SELECT report_date, sum(watch_seconds) FROM content_daily "
        "WHERE content_id = (SELECT min(content_id) FROM content) GROUP BY report_date ORDER BY report_date"
    )
    asked["one customer"] = "SELECT * FROM watch_time_by_customer WHERE customer_id = 'customer-1'"
    asked["one customer's rows"] = "SELECT * FROM watch_time_report WHERE customer_id = 'customer-1'"
    return asked


def ask(url: str, question: str, text: str) -> Answer:
    """Ask it a few times."""
    with psycopg.connect(url) as connection:
        connection.execute("SET search_path = watch_time, public")
        took, rows = [], 0
        for _ in range(_TRIES):
            began = time.monotonic()
            rows = len(connection.execute(text.encode()).fetchall())
            took.append(time.monotonic() - began)
        plan = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {text}".encode()).fetchall()
    return Answer(question, statistics.median(took), rows, "\n".join(line for (line,) in plan))


def show_disk(url: str) -> None:
    """Print what the month's facts and the rollup take, and what an index on content_id costs and gains."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET search_path = watch_time, public")
        (rows,) = connection.execute("SELECT sum(rows) FROM watch_time_monthly").fetchone() or (0,)

        def bytes_of(query: str) -> int:
            ((size,),) = connection.execute(query.encode()).fetchall()
            return int(size)

        facts = "FROM pg_partition_tree('watch_time') WHERE isleaf"
        table = bytes_of(f"SELECT sum(pg_table_size(relid)) {facts}")
        indexes = bytes_of(f"SELECT sum(pg_indexes_size(relid)) {facts}")
        rollup = bytes_of("SELECT pg_total_relation_size('content_daily')")
        print(f"bytes per row: table {table / rows:.1f}, key {indexes / rows:.1f}, rollup {rollup / rows:.2f}")
        without = ask(url, "", _VIEWERS)
        began = time.monotonic()
        connection.execute("CREATE INDEX ON watch_time (content_id)")
        built_s = time.monotonic() - began
        more = bytes_of(f"SELECT sum(pg_indexes_size(relid)) {facts}") - indexes
        with_index = ask(url, "", _VIEWERS)
        connection.execute("DROP INDEX watch_time_content_id_idx")
    print(f"an index on content_id: {built_s:.1f} s for {rows:,} rows, {more / rows:.1f} bytes per row; the viewers of")
    print(f"one content item in a month: {without.seconds:.3f} s without it, {with_index.seconds:.3f} s with it")


def ask_page(settings: Settings) -> Answer:
    """Read what the page of the month shows."""
    took = []
    for _ in range(_TRIES):
        began = time.monotonic()
        page_reader.read(settings, _FIRST, _LAST, now=datetime(2026, 11, 30, 12, tzinfo=UTC))
        took.append(time.monotonic() - began)
    return Answer("the page's data", statistics.median(took), 0, "")


def main() -> None:
    """Make the month, ask, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--year", action="store_true")
    parser.add_argument("--plans", type=Path)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    with month(arguments.rows, year=arguments.year, kept=arguments.folder) as (url, settings):
        answers = [ask(url, question, text) for question, text in questions().items()]
        answers.append(ask_page(settings))
        show_disk(url)
    for answer in answers:
        print(f"{answer.question:<28}{answer.seconds:>8.3f} s{answer.rows:>12,} rows")
    if arguments.plans:
        arguments.plans.write_text(
            "\n\n".join(f"# {answer.question}\n{answer.plan}" for answer in answers), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
