"""A machine is gone in the middle of a COPY, and nobody told the server: the next run does not wait for hours."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from capped_stop import CappedStop
from conftest import TODAY, Warehouse
from disposable_server import disposable_server
from etl.domain.outcome import FetchOptions
from etl.domain.slices import ReportType, Slice
from etl.job import plan_runner
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import transactions as connecting
from etl.warehouse.database import Database
from etl.warehouse.transactions import idle_for
from prerequisites import skip_missing
from tally import record
from warehouse_checker import violations
from wire_proxy import Cut, proxied

if TYPE_CHECKING:
    from etl.sandbox.sandbox import Sandbox

SLICE = Slice(TODAY - timedelta(days=9), ReportType.VOD)
QUERY, COPY_DATA = b"Q", b"d"
# What the server does about a client that says nothing: with these a vanished one is found in three seconds.
USER_TIMEOUT_S = 3
SHORT: Final = {"tcp_keepalives_idle": "1", "tcp_keepalives_interval": "1", "tcp_keepalives_count": "2",
                "tcp_user_timeout": f"{USER_TIMEOUT_S}s"}  # fmt: skip
# More than the kernel takes on the way to a client that does not read.
MUCH = "SELECT repeat('x', 999) FROM generate_series(1, 50000)"
MUCH_BYTES = 50_000_000
TIMEOUT_S = 60.0


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=50, quiet_one_day_in=0, today=lambda: TODAY)


@pytest.fixture
def server_with_short_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SHORT.items():
        if name in connecting._TRANSACTION_SETTINGS:
            monkeypatch.setitem(connecting._TRANSACTION_SETTINGS, name, text)


@pytest.mark.usefixtures("server_with_short_timeouts")
@pytest.mark.parametrize(
    "cut",
    [
        pytest.param(Cut("client", 1, "half", "vanish", kind=COPY_DATA), id="the server waits for more"),
        pytest.param(
            Cut("client", 1, "all", "vanish before the answer", kind=QUERY, text=b"COPY "),
            id="the server's answer is not acknowledged",
        ),
    ],
)
def test_a_client_that_vanished_in_the_middle_of_copy_frees_its_slice(
    sandbox: Sandbox, base_url: str, cut: Cut
) -> None:
    """The server probes the client, unless it waits for an acknowledgement: then it sends again and again."""
    if sys.platform != "linux":
        skip_missing("clients vanish by way of Linux's socket filters")
    with disposable_server() as server, proxied(server.url) as proxy:
        warehouse = Warehouse(server.url, sandbox, base_url)
        proxy.arm(cut)
        with plan_runner.open_job(warehouse.configured(database_url=proxy.url), stop=CappedStop(0.05)) as opened:
            outcome = opened.context.pipeline.sync_slice(SLICE, FetchOptions())
        assert proxy.cut_at == cut.kind
        assert outcome.revision == 1, outcome
        assert violations(server.url, sandbox, [SLICE]) == []
    record("clients that vanished", 1)


@pytest.mark.usefixtures("server_with_short_timeouts")
def test_a_client_that_reads_slowly_with_reason_is_not_taken_for_gone() -> None:
    """Its machine acknowledges what it has room for, and then answers that it has none."""
    with disposable_server(migrated=False) as server, psycopg.connect(server.url, autocommit=True) as observer:
        database = Database(server.url, schema="public")
        with (
            database.transaction() as connection,
            idle_for(connection, 60),
            connection.cursor() as cursor,
            cursor.copy(f"COPY ({MUCH}) TO STDOUT") as copy,
        ):
            read = len(copy.read())
            stalled = _stalled_for(observer, connection.info.backend_pid, 3 * USER_TIMEOUT_S)
            read += sum(map(len, copy))
        assert stalled
        assert read == MUCH_BYTES


def _stalled_for(observer: psycopg.Connection, pid: int, seconds: float) -> bool:
    """Wait until the backend has waited so long for its client to read; False: it is gone."""
    deadline, since = time.monotonic() + TIMEOUT_S, None
    while time.monotonic() - (since or time.monotonic()) < seconds:
        assert time.monotonic() < deadline
        row = observer.execute("SELECT wait_event FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
        if row is None:
            return False
        since = (since or time.monotonic()) if row == ("ClientWrite",) else None
        time.sleep(0.05)
    return True
