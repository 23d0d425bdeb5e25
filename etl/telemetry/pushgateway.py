"""Metrics on a Pushgateway: one group for each command's last run, and one for the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from etl.telemetry.http_sender import request, require_http
from etl.telemetry.metrics import of_run, of_snapshot, registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.telemetry.metrics import Run
    from etl.telemetry.warehouse_snapshot import WarehouseSnapshot

_JOB: Final = "watch_time"
_WHERE: Final = "the Pushgateway"
# Both pushes and their names' resolution share it.
PUSH_S: Final = 5.0


def push(url: str, run: Run, snapshot: WarehouseSnapshot | None) -> None:
    """Replace the run's group on a Pushgateway, and that of the warehouse, which all commands share.

    Where nothing is known of the warehouse its group is deleted: a Pushgateway keeps what it has for ever.

    Raises:
        WatchTimeError: the gateway cannot be reached, or refuses.
    """
    from prometheus_client import delete_from_gateway, push_to_gateway  # noqa: PLC0415 - as above

    require_http(url, _WHERE)
    own = registry(of_run(run))
    push_to_gateway(url, _JOB, own, {"command": run.command}, timeout=PUSH_S, handler=_by_httpx)
    if snapshot:
        push_to_gateway(url, _JOB, registry(of_snapshot(snapshot)), timeout=PUSH_S, handler=_by_httpx)
    else:
        delete_from_gateway(url, _JOB, timeout=PUSH_S, handler=_by_httpx)


def probe(url: str) -> str:
    """Ask a Pushgateway whether it is ready.

    Raises:
        WatchTimeError: with what is amiss.
    """
    request("GET", f"{url.rstrip('/')}/-/ready", where=_WHERE, timeout_s=PUSH_S)
    return "ready"


def _by_httpx(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], None]:
    """The library's way to bring one's own client: ours uses no proxy for loopback, and passwords in URLs."""
    return lambda: request(method, url, where=_WHERE, timeout_s=timeout or PUSH_S, content=data, headers=dict(headers))
