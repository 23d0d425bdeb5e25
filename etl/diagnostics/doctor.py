"""Checking everything that a run depends on, and saying how to fix what is wrong.

Changes nothing; into the archive a small file is written and removed again.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from etl.config.settings import Settings, open_secrets, unknown_variable, unknown_variables
from etl.config.telemetry_settings import unread_telemetry
from etl.domain.errors import ExitCode, WatchTimeError
from etl.domain.slices import Slice, slices_of, target_date
from etl.extract import token_expiry
from etl.warehouse import citus, schema
from etl.warehouse.connection import fetch_rows
from etl.warehouse.database import open_warehouse
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import httpx

    from etl.domain.report_values import ReportAddress
    from etl.extract.url_policy import UrlPolicy

# Signed URLs live for an hour and hosts refuse requests from clocks a quarter of an hour off; a minute is worth a word.
_SKEW_WORTH_A_WORD_S: Final = 60.0
# The days before the target date that are asked, in the hope for a report to try the download host with.
_DAYS_TRIED: Final = 3
_RECOMMENDS_DOCTOR: Final = re.compile(r"(; )?to [^;:]*: `watch-time doctor`")
_CHECK_RIGHTS: Final = "check the names of database and schema, and the user's privileges"
# The titles whose letters are looked for among the fonts.
_TITLES_TRIED: Final = 1_000
_OLDEST_MAJOR: Final = 15
_NEWEST_MAJOR: Final = 18


class Verdict(StrEnum):
    """What a check found."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    next_step: str | None = None
    exit_code: ExitCode = ExitCode.OK

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "check": self.name,
            "verdict": self.verdict.value,
            "detail": self.detail,
            "next_step": self.next_step,
            "exit_code": int(self.exit_code),
        }


def run_checks(examine_fonts: Callable[[Iterable[str]], str | None] = lambda _: None) -> Iterator[Check]:
    """Look at the settings, the database, the API, the clock and the download host, in this order.

    `examine_fonts` returns what pictures of these titles would lack.
    """
    try:
        settings = Settings.load(needs=("api_token", "org_id", "database_url"))
        for name, nearest in unknown_variables().items():
            hint = f"rename it to {nearest}, or remove it" if nearest else "remove it; see docs/configuration.md"
            yield _warning("settings", unknown_variable(name, nearest), hint)
        for file, mode in open_secrets().items():
            yield _warning(
                "settings",
                f"{file} holds secrets and has mode {mode}: other users can read or change it",
                f"`chmod 600 {file}`",
            )
    except WatchTimeError as error:
        yield _problem("settings", error)
        return
    yield _ok("settings", f"organization {settings.require('org_id')}, {settings.api_base_url}")
    if warning := token_expiry.warning(settings.require("api_token"), now=datetime.now(UTC)):
        yield _warning("token", warning, "create a new one and set WATCH_TIME_API_TOKEN")
    yield from _examine_database(settings, examine_fonts)
    yield from _examine_source(settings)
    yield from _examine_archive(settings)
    yield from _examine_channels(settings)


def _examine_database(settings: Settings, examine_fonts: Callable[[Iterable[str]], str | None]) -> Iterator[Check]:
    try:
        with open_warehouse(settings) as database, database.transaction() as connection:
            major = connection.info.server_version // 10_000
            where = f"Postgres {major} at {database}, schema {settings.schema_name}"
            if _OLDEST_MAJOR <= major <= _NEWEST_MAJOR:
                yield _ok("database", where)
            else:
                yield _warning(
                    "database", where, f"watch-time is tested with Postgres {_OLDEST_MAJOR} to {_NEWEST_MAJOR}"
                )
            schema.require_head(database, connection)
            schema.require_owner(database, connection, settings.require("org_id"))
            if found := citus.check_cluster(connection):
                yield Check("Citus", Verdict.WARNING if found[1] else Verdict.OK, *found)
            yield _ok("tables", _schema_is_current(schema.owner(connection)))
            lacking = [row["right"] for row in fetch_rows(connection, statement("diagnostics/lacking_rights"))]
            if lacking:
                yield Check(
                    "rights",
                    Verdict.PROBLEM,
                    f"the database user lacks the right to {', '.join(lacking)}",
                    "grant it, or connect as the user that created the tables",
                    ExitCode.MISCONFIGURED,
                )
            else:
                yield _ok("rights", "the user can read, write, create temporary tables and attach partitions")
            titles = fetch_rows(connection, statement("diagnostics/read_newest_titles"), {"most": _TITLES_TRIED})
            if boxes := examine_fonts(row["title"] for row in titles):
                yield _warning(
                    "fonts",
                    f"titles in pictures show boxes: {boxes}",
                    "install fonts for these letters; on Debian: `apt-get install fonts-noto-core fonts-noto-cjk`",
                )
    except WatchTimeError as error:
        yield _problem("database", error)


def _examine_source(settings: Settings) -> Iterator[Check]:
    from etl.extract.http_clients import api_client, storage_client  # noqa: PLC0415 - after the database: it may be all there is
    from etl.extract.url_policy import UrlPolicy  # noqa: PLC0415

    try:
        policy = UrlPolicy.beside(settings.api_base_url, settings.download_hosts)
        with ExitStack() as stack:
            token = settings.api_token
            assert token is not None  # noqa: S101 - `load` has seen to it
            api = stack.enter_context(api_client(settings.api_base_url, token=token, org_id=settings.require("org_id")))
            storage = stack.enter_context(storage_client(policy))
            dates: list[str] = []
            api.event_hooks = {"response": [lambda response: dates.append(response.headers.get("date", ""))]}
            slice_, address = _find_report(api, settings)
            yield _ok("API", f"{settings.api_base_url} accepts token and organization")
            yield _clock(dates[-1] if dates else "")
            if address is None:
                yield _warning(
                    "download host",
                    f"not checked: the API has no report of the {_DAYS_TRIED} dates up to {slice_.report_date}",
                )
            else:
                yield _download_host(storage, policy, address)
    except WatchTimeError as error:
        yield _problem("API", error)


def _examine_archive(settings: Settings) -> Iterator[Check]:
    """Do there what a load and a sweep do: write, read, list, copy and remove."""
    if settings.archive_url is None:
        return

    from etl.archive import archive  # noqa: PLC0415 - only where there is an archive
    from etl.runtime.cancellation import Stop  # noqa: PLC0415

    try:
        archive.open_archive(settings, Stop()).probe()
        yield _ok("archive", f"files can be written, read, listed and deleted in {settings.archive_url}")
    except WatchTimeError as error:
        yield _problem("archive", error)


def _examine_channels(settings: Settings) -> Iterator[Check]:
    """Look at those that are configured. None can fail a run, so nothing here is worse than a warning."""
    from etl.telemetry import (  # noqa: PLC0415 - as above
        notifier,
        ping,
        pushgateway,
        textfile,
    )

    for variable, problem in unread_telemetry().items():
        yield _warning(
            variable, f"{variable}{problem}", "fix the file, or unset the variable; until then nothing is sent there"
        )
    channels = settings.telemetry()
    looks: list[tuple[str, Callable[[str], str], str]] = [
        ("metrics file", textfile.probe, channels.metrics_file),
        ("Pushgateway", pushgateway.probe, channels.pushgateway_url),
        ("ping", ping.probe, channels.ping_url),
        *(("notices", notifier.probe, url) for url in channels.notify_urls),
    ]
    for name, look, value in looks:
        if value:
            try:
                yield _ok(name, look(value))
            except WatchTimeError as error:
                yield _warning(name, str(error), error.next_step)


def _find_report(api: httpx.Client, settings: Settings) -> tuple[Slice, ReportAddress | None]:
    """An address of a recent report, or the last slice that was asked for in vain."""
    from etl.domain.report_values import ReportAddress  # noqa: PLC0415
    from etl.extract.report_api import ReportApi  # noqa: PLC0415
    from etl.extract.retry import RetryPolicy  # noqa: PLC0415

    source = ReportApi(api, retry_policy=RetryPolicy(), strict_not_found=settings.strict_not_found)
    newest = target_date(settings.now(), settings.lag_days)
    slices = slices_of(newest - timedelta(days=back) for back in range(_DAYS_TRIED))[::-1]
    for slice_ in slices:
        answer = source.ask_once(slice_)
        if isinstance(answer, ReportAddress):
            return slice_, answer
    return slices[0], None


def _clock(date_header: str) -> Check:
    from etl.extract.retry import http_date  # noqa: PLC0415

    theirs = http_date(date_header)
    if theirs is None:
        return _warning("clock", "not checked: the API's answer has no Date header")
    skew_s = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew_s) < _SKEW_WORTH_A_WORD_S:
        return _ok("clock", "agrees with the API's clock")
    direction = "ahead of" if skew_s > 0 else "behind"
    return _warning(
        "clock",
        f"this machine's clock is {abs(skew_s):.0f} s {direction} the API's",
        "synchronize the clock (NTP): near midnight a wrong clock picks the wrong date",
    )


def _download_host(storage: httpx.Client, policy: UrlPolicy, address: ReportAddress) -> Check:
    """Fetch one byte: signed URLs are made for GET, so a HEAD would be refused."""
    from etl.extract.http_errors import HTTP_ERRORS, explain  # noqa: PLC0415

    url = policy.check(address.url)
    try:
        with storage.stream("GET", url, headers={"Range": "bytes=0-0"}) as response:
            status = response.status_code
    except HTTP_ERRORS as error:
        return _problem("download host", explain(error, f"the download host {url.host}"))
    if status in {200, 206}:
        return _ok("download host", f"{url.host} serves reports")
    return Check(
        "download host",
        Verdict.PROBLEM,
        f"{url.host} answered {status} to a newly signed URL",
        "try again; if it persists, ask BlendVision",
        ExitCode.TRY_LATER,
    )


def _schema_is_current(owner: str | None) -> str:
    bound = f"bound to organization {owner}" if owner else "not yet bound to an organization"
    return f"schema is current ({schema.HEAD}), {bound}"


def _ok(name: str, detail: str) -> Check:
    return Check(name, Verdict.OK, detail)


def _warning(name: str, detail: str, next_step: str | None = None) -> Check:
    return Check(name, Verdict.WARNING, detail, next_step)


def _problem(name: str, error: WatchTimeError) -> Check:
    # Who reads this has typed `doctor` already.
    next_step = _RECOMMENDS_DOCTOR.sub("", error.next_step) or _CHECK_RIGHTS
    return Check(name, Verdict.PROBLEM, str(error), next_step, error.exit_code)
