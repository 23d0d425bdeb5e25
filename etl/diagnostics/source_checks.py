"""Checks of `doctor` that need the network: the report API, this machine's clock, and the download host."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from pydantic import SecretStr

from etl.diagnostics.check_result import Check, Verdict
from etl.domain.errors import ExitCode, WatchTimeError
from etl.domain.pipeline_values import ReportAddress
from etl.domain.slices import Slice, slices_of, target_date
from etl.extract import retry
from etl.extract.http_clients import api_client, storage_client
from etl.extract.report_api import ReportApi
from etl.extract.transport_errors import HTTP_ERRORS, explain
from etl.extract.url_policy import UrlPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from etl.config.settings import Settings

# Signed URLs live for an hour and hosts refuse requests from clocks a quarter of an hour off; a minute is worth a word.
_SKEW_WORTH_A_WORD_S: Final = 60.0
# The days before the target date that are asked, in the hope for a report to try the download host with.
_DAYS_TRIED: Final = 3


def check_network(settings: Settings) -> Iterator[Check]:
    """Ask for a recent report, and fetch a byte of it."""
    try:
        policy = UrlPolicy.beside(settings.api_base_url, settings.download_hosts)
        token, org_id = SecretStr(settings.require("api_token")), settings.require("org_id")
        with api_client(settings.api_base_url, token=token, org_id=org_id) as api, storage_client(policy) as storage:
            dates: list[str] = []
            api.event_hooks = {"response": [lambda response: dates.append(response.headers.get("date", ""))]}
            slice_, address = _find_report(api, settings)
            yield Check.ok("API", f"{settings.api_base_url} accepts the token and the organization")
            yield _clock(dates[-1] if dates else "")
            if address is None:
                yield Check.warning(
                    "download host",
                    f"not checked: the API has no report of the {_DAYS_TRIED} dates up to {slice_.report_date}",
                )
            else:
                yield _download_host(storage, policy, address)
    except WatchTimeError as error:
        yield Check.problem("API", error)


def _find_report(api: httpx.Client, settings: Settings) -> tuple[Slice, ReportAddress | None]:
    """An address of a recent report, or the last slice that was asked for in vain."""
    source = ReportApi(api, retry_policy=retry.RetryPolicy(), strict_not_found=settings.strict_not_found)
    newest = target_date(settings.now(), settings.lag_days)
    slices = slices_of(newest - timedelta(days=back) for back in range(_DAYS_TRIED))[::-1]
    for slice_ in slices:
        answer = source.ask_once(slice_)
        if isinstance(answer, ReportAddress):
            return slice_, answer
    return slices[0], None


def _clock(date_header: str) -> Check:
    theirs = retry.http_date(date_header)
    if theirs is None:
        return Check.warning("clock", "not checked: the API's response has no Date header")
    skew_s = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew_s) < _SKEW_WORTH_A_WORD_S:
        return Check.ok("clock", "agrees with the API's clock")
    direction = "ahead of" if skew_s > 0 else "behind"
    return Check.warning(
        "clock",
        f"this machine's clock is {abs(skew_s):.0f} s {direction} the API's",
        "synchronize the clock (NTP): near midnight a wrong clock picks the wrong date",
    )


def _download_host(storage: httpx.Client, policy: UrlPolicy, address: ReportAddress) -> Check:
    """Fetch one byte: signed URLs are made for GET, so a HEAD would be refused."""
    url = policy.check(address.url)
    try:
        with storage.stream("GET", url, headers={"Range": "bytes=0-0"}) as response:
            status = response.status_code
    except HTTP_ERRORS as error:
        return Check.problem("download host", explain(error, f"the download host {url.host}"))
    if status in {200, 206}:
        return Check.ok("download host", f"{url.host} serves reports")
    return Check(
        "download host",
        Verdict.PROBLEM,
        f"{url.host} returned {status} to a newly signed URL",
        "try again; if it persists, ask BlendVision",
        ExitCode.TRY_LATER,
    )
