"""The source of reports: requests one, downloads it, and returns the verified file.

Combines `report_api` and `download`, which are independent, for the pipeline and for `verify`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import SecretStr

from etl.domain.outcome import FetchOptions
from etl.domain.pipeline_values import ReportFile, ReportNotFound
from etl.extract import scratch_folder
from etl.extract.download import Downloader
from etl.extract.http_clients import api_client, storage_client
from etl.extract.report_api import ReportApi
from etl.extract.retry import RateLimiter, RetryPolicy
from etl.extract.url_policy import UrlPolicy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx

    from etl.config.settings import Settings
    from etl.domain.outcome import Pause
    from etl.domain.pipeline_values import Origin
    from etl.domain.slices import Slice
    from etl.runtime.cancellation import Stop


@dataclass
class Source:
    """The report API and the storage it points to. Safe to use from several threads.

    Attributes:
        folder: where downloads are put.
        strict_not_found, rate: as in `ReportApi`.
    """

    api_client: httpx.Client
    downloader: Downloader
    folder: Path
    strict_not_found: bool
    rate: RateLimiter

    @contextmanager
    def fetch(
        self,
        slice_: Slice,
        ask: FetchOptions = FetchOptions(),  # noqa: B008 - a value
        *,
        if_none_match: Origin | None = None,
        on_retry: Callable[[Pause], None] = lambda _: None,
        on_wait: Callable[[Pause], None] = lambda _: None,
        on_body: Callable[[], None] = lambda: None,
    ) -> Iterator[ReportFile | ReportNotFound]:
        """Request the slice's report and download it, complete and verified; the file exists while this is open.

        `on_retry` is called before a request or download is retried, `on_wait` before a missing report is requested
        again, `on_body` when a file starts to arrive. `if_none_match` identifies the stored report, which is not
        downloaded if the host says that it is unchanged.

        Raises what asking and downloading raise; `Unmodified` only with `if_none_match`.
        """
        api = ReportApi(
            self.api_client,
            retry_policy=self.downloader.retry_policy,
            strict_not_found=self.strict_not_found,
            rate=self.rate,
            on_retry=on_retry,
            on_wait=on_wait,
        )
        answer = api.await_report(slice_, ask.wait_s) if ask.wait_s else api.ask_once(slice_, confirm=ask.settled)
        if isinstance(answer, ReportNotFound):
            yield answer
            return
        with scratch_folder.folder_in(self.folder) as folder:
            yield self.downloader.download(
                answer,
                renew=lambda: api.renew(slice_),
                folder=folder,
                if_none_match=if_none_match,
                on_retry=on_retry,
                on_body=on_body,
            )


@contextmanager
def open_source(settings: Settings, stop: Stop, *, requests_per_second: float | None = None) -> Iterator[Source]:
    """The configured source, with its clients and a scratch folder; `settings` must have token and organization.

    The report API gets at most `requests_per_second`; None: no limit.

    Raises:
        Misconfigured: the base URL or a proxy cannot be used.
    """
    token, org_id = SecretStr(settings.require("api_token")), settings.require("org_id")
    policy = UrlPolicy.beside(settings.api_base_url, settings.download_hosts)
    with (
        api_client(settings.api_base_url, token=token, org_id=org_id) as api,
        storage_client(policy) as storage,
        scratch_folder.folder() as folder,
    ):
        retry_policy = RetryPolicy(sleep=stop.sleep)
        yield Source(
            api,
            Downloader(storage, policy, retry_policy, stop),
            folder,
            strict_not_found=settings.strict_not_found,
            rate=RateLimiter(requests_per_second, retry_policy),
        )
