"""A machine is gone in the middle of a COPY, and nobody told the server: the next run does not wait for hours."""

from __future__ import annotations

import socket
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from checker import violations
from conftest import TODAY, Warehouse
from etl.domain.outcome import FetchOptions
from etl.domain.slices import ReportType, Slice
from etl.job import runner
from etl.sandbox.sandbox_config import SandboxConfig
from etl.warehouse import connection
from needing import lacking
from own_server import own_server
from short_pauses import Impatient
from tally import record
from wire import TCP_REPAIR, Cut, proxied

if TYPE_CHECKING:
    from etl.sandbox.sandbox import Sandbox

SLICE = Slice(TODAY - timedelta(days=9), ReportType.VOD)
COPY_DATA = b"d"


@pytest.fixture
def sandbox_config() -> SandboxConfig:
    return SandboxConfig(vod_rows=50, quiet_one_day_in=0, today=lambda: TODAY)


def test_a_client_that_vanished_in_the_middle_of_copy_frees_its_slice(
    sandbox: Sandbox, base_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server asks whether the client is there; here after a second."""
    _require_right_to_vanish()
    assert int(connection._TRANSACTION_SETTINGS["tcp_keepalives_idle"]) <= 60
    monkeypatch.setitem(connection._TRANSACTION_SETTINGS, "tcp_keepalives_idle", "1")
    with own_server() as server, proxied(server.url) as proxy:
        warehouse = Warehouse(server.url, sandbox, base_url)
        proxy.arm(Cut("client", 1, "half", "vanish", kind=COPY_DATA))
        with runner.open_job(warehouse.configured(database_url=proxy.url), stop=Impatient(0.05)) as opened:
            outcome = opened._pipeline.sync_slice(SLICE, FetchOptions())
        assert proxy.cut_at == COPY_DATA
        assert outcome.revision == 1, outcome
        assert violations(server.url, sandbox, [SLICE]) == []
    record("clients that vanished", 1)


def _require_right_to_vanish() -> None:
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError:
            lacking("this user may not close connections without a word (TCP_REPAIR wants CAP_NET_ADMIN, on Linux)")
