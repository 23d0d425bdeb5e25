"""Checking everything that a run depends on, and saying how to fix what is wrong.

Changes nothing; into the archive a small file is written and removed again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from etl.config.settings import Settings, open_secrets, unknown_variable, unknown_variables
from etl.config.telemetry_settings import unread_telemetry
from etl.diagnostics.check_result import FONTS_NEXT_STEP, Check, Verdict
from etl.domain.errors import ExitCode, WatchTimeError
from etl.extract import token_expiry_warning
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse import citus, schema
from etl.warehouse.database import open_warehouse
from etl.warehouse.sql_files import statement
from etl.warehouse.transactions import fetch_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# The titles whose letters are looked for among the fonts.
_TITLES_TRIED: Final = 1_000
_OLDEST_MAJOR: Final = 15
_NEWEST_MAJOR: Final = 18


def run_checks(
    examine_fonts: Callable[[Iterable[str]], str | None] = lambda _: None, progress: ProgressReporter = SILENT
) -> Iterator[Check]:
    """Look at the settings, the database, the API, the clock and the download host, in this order.

    `examine_fonts` returns what pictures of these titles would lack.
    """
    try:
        settings = Settings.load(needs=("api_token", "org_id", "database_url"))
        for name, nearest in unknown_variables().items():
            hint = f"rename it to {nearest}, or remove it" if nearest else "remove it; see docs/configuration.md"
            yield Check.warning("settings", unknown_variable(name, nearest), hint)
        for file, mode in open_secrets().items():
            yield Check.warning(
                "settings",
                f"{file} holds secrets and has mode {mode}: other users can read or change it",
                f"`chmod 600 {file}`",
            )
    except WatchTimeError as error:
        yield Check.problem("settings", error)
        return
    yield Check.ok("settings", f"organization {settings.require('org_id')}, {settings.api_base_url}")
    if warning := token_expiry_warning.warning(settings.require("api_token"), now=datetime.now(UTC)):
        yield Check.warning("token", warning, "create a new one and set WATCH_TIME_API_TOKEN")
    progress.begin("checking the database")
    yield from _examine_database(settings, examine_fonts)
    from etl.diagnostics.source_checks import check_network  # noqa: PLC0415 - after the database: it may be all there is

    progress.begin("checking the API and the download host")
    yield from check_network(settings)
    progress.begin("checking the archive")
    yield from _examine_archive(settings)
    progress.begin("checking metrics, pings and notices")
    yield from _examine_channels(settings)


def _examine_database(settings: Settings, examine_fonts: Callable[[Iterable[str]], str | None]) -> Iterator[Check]:
    try:
        with open_warehouse(settings) as database, database.transaction() as connection:
            major = connection.info.server_version // 10_000
            where = f"Postgres {major} at {database}, schema {settings.schema_name}"
            if _OLDEST_MAJOR <= major <= _NEWEST_MAJOR:
                yield Check.ok("database", where)
            else:
                yield Check.warning(
                    "database", where, f"watch-time is tested with Postgres {_OLDEST_MAJOR} to {_NEWEST_MAJOR}"
                )
            schema.require_head(database, connection)
            schema.require_owner(database, connection, settings.require("org_id"))
            if found := citus.check_cluster(connection):
                yield Check("Citus", Verdict.WARNING if found[1] else Verdict.OK, *found)
            owner = schema.owner(connection)
            bound = f"bound to organization {owner}" if owner else "not yet bound to an organization"
            yield Check.ok("tables", f"schema is current ({schema.HEAD}), {bound}")
            lacking = [row["right"] for row in fetch_rows(connection, statement("diagnostics/lacking_rights"))]
            if lacking:
                yield Check(
                    "privileges",
                    Verdict.PROBLEM,
                    f"the database user lacks the privileges to {', '.join(lacking)}",
                    "grant it, or connect as the user that created the tables",
                    ExitCode.MISCONFIGURED,
                )
            else:
                yield Check.ok("privileges", "the user can read, write, create temporary tables and attach partitions")
            titles = fetch_rows(connection, statement("diagnostics/read_newest_titles"), {"most": _TITLES_TRIED})
            if boxes := examine_fonts(row["title"] for row in titles):
                yield Check.warning("fonts", f"titles in pictures show boxes: {boxes}", FONTS_NEXT_STEP)
    except WatchTimeError as error:
        yield Check.problem("database", error)


def _examine_archive(settings: Settings) -> Iterator[Check]:
    """Do there what a load and a sweep do: write, read, list, copy and remove."""
    if settings.archive_url is None:
        return

    from etl.archive import archive  # noqa: PLC0415 - only where there is an archive
    from etl.runtime.cancellation import Stop  # noqa: PLC0415

    try:
        archive.open_archive(settings, Stop()).probe()
        yield Check.ok("archive", f"files can be written, read, listed and deleted in {settings.archive_url}")
    except WatchTimeError as error:
        yield Check.problem("archive", error)


def _examine_channels(settings: Settings) -> Iterator[Check]:
    """Look at those that are configured. None can fail a run, so nothing here is worse than a warning."""
    from etl.telemetry import (  # noqa: PLC0415 - as above
        notifier,
        ping,
        pushgateway,
        textfile,
    )

    for variable, problem in unread_telemetry().items():
        yield Check.warning(
            variable, f"{variable}{problem}", "fix the file, or unset the variable; until then nothing is sent there"
        )
    channels = settings.telemetry()
    looks: list[tuple[str, Callable[[str], str], str]] = [
        ("metrics file", textfile.probe, channels.metrics_file),
        ("Pushgateway", pushgateway.probe, channels.pushgateway_url),
        ("ping", ping.probe, channels.ping_url),
        *(("notifications", notifier.probe, url) for url in channels.notify_urls),
    ]
    for name, look, value in looks:
        if value:
            try:
                yield Check.ok(name, look(value))
            except WatchTimeError as error:
                yield Check.warning(name, str(error), error.next_step)
