"""What both orchestrators are put through: the job's own warehouse and source, as settings of a container."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from disposable_server import disposable_server
from etl.config.environment import PREFIX
from etl.domain.slices import ReportType, Slice
from etl.extract.retry import PASSING
from etl.sandbox.faults import Answer, Delivery
from etl.sandbox.report_generator import HEADER
from etl.sandbox.sandbox import Sandbox
from etl.sandbox.sandbox_config import SandboxConfig
from etl.sandbox.server import running

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS: Final = Path(os.environ.get("WATCH_TIME_TEST_ORCHESTRATORS", "")).absolute()
IMAGE: Final = os.environ.get("WATCH_TIME_TEST_IMAGE", "watch-time")
needs_orchestrators: Final = pytest.mark.skipif(
    "WATCH_TIME_TEST_ORCHESTRATORS" not in os.environ, reason="`make orchestrators` installs them and runs it"
)


@dataclass(frozen=True)
class Source:
    """The sandbox and a database, and a job that looks at the newest date only.

    Attributes:
        settings: variables of the job.
        secrets: files, by the names that the documentation has.
    """

    url: str
    sandbox: Sandbox
    settings: dict[str, str]
    secrets: dict[str, Path]

    @property
    def target(self) -> Slice:
        """The slice of VOD that is due."""
        return Slice(datetime.now(UTC).date() - timedelta(days=2), ReportType.VOD)

    def is_down_for_one_run(self) -> None:
        """So many answers of 503 that a run gives up; then the report."""
        self.sandbox.script(self.target, api=[Answer(503)] * PASSING.limit)

    def hands_out_what_is_held(self) -> None:
        """A report whose lines are all rejected."""
        self.sandbox.override(self.target, Delivery(body=HEADER + b"Title,id,VOD,,customer,no number\n" * 100))

    def states(self) -> list[tuple[str, str]]:
        """Report type and state of what is in the ledger."""
        with psycopg.connect(self.url) as connection:
            return connection.execute("SELECT report_type, state FROM report_slice ORDER BY 1").fetchall()


@contextmanager
def source(folder: Path) -> Iterator[Source]:
    """New ones."""
    config = SandboxConfig(vod_rows=100, live_rows=50, quiet_one_day_in=0)
    sandbox = Sandbox(config)
    with disposable_server() as server, running(sandbox) as base_url:
        secrets = {"api-token": config.token, "database-url": server.url}
        for name, text in secrets.items():
            (folder / name).write_text(text)
            # The image's user is another one.
            (folder / name).chmod(0o644)
        settings = {
            "API_BASE_URL": base_url,
            "ORG_ID": config.org_id,
            "NOT_FOUND_WAIT_SECONDS": "0",
            "LOOKBACK_DAYS": "0",
        }
        yield Source(
            server.url,
            sandbox,
            {f"{PREFIX}{name}": value for name, value in settings.items()},
            {name: folder / name for name in secrets},
        )
