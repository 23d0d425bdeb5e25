"""Connects to a trusted Dask scheduler, or starts one on this machine.

Messages of a scheduler are unpickled, so it could run code here: it must have a certificate or be on this machine.
"""

from __future__ import annotations

import logging
import multiprocessing
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster

from etl import __version__
from etl.domain.errors import ClusterUnavailable, Misconfigured, WrongUsage
from etl.domain.loopback import is_loopback
from etl.job.dask import log_forwarding, ssl_workaround, worker
from etl.runtime.call_timeout import within

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CONNECT_S: Final = 10.0
# How long a scheduler may take to come back after a network failure or a restart.
_RECONNECT_S: Final = 30.0
_VERSION_S: Final = 5.0
_CLOSE_S: Final = 1.0


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at a trusted address, whose workers have this version.

    Raises:
        ClusterUnavailable: no scheduler answers there.
        Misconfigured: certificates are missing, or a worker has another version.
    """
    _log_as_we_do()
    ssl_workaround.isolate_connections()
    with dask.config.set({"distributed.comm.timeouts.connect": _CONNECT_S}):
        try:
            client = Client(address, timeout=_CONNECT_S, set_as_default=False, name="watch-time")
            client._timeout = _RECONNECT_S  # noqa: SLF001 - from here on; nothing public sets it
        except OSError as error:
            raise ClusterUnavailable(
                f"cannot reach a Dask scheduler at {address} ({type(error).__name__})",
                next_step="start one with dask scheduler, or correct the address; with tls:// both sides need "
                "certificates signed by the same CA",
            ) from None
        except (TypeError, ValueError, RuntimeError) as error:
            raise Misconfigured(
                f"{address} refused the connection: {error}",
                next_step="name Dask's certificates in DASK_DISTRIBUTED__COMM__TLS__CA_FILE, ...__CLIENT__CERT and "
                "...__CLIENT__KEY",
            ) from None
        try:
            _require_same_version(client)
            yield client
        finally:
            best_effort_within(lambda: client.close(timeout=_CLOSE_S), _CLOSE_S)


@contextmanager
def started(count: int) -> Iterator[Client]:
    """A scheduler in this process, and worker processes that end with it. Other users cannot use them.

    Everything listens on loopback and requires a certificate created for this run; without it, any user of this
    machine could run code on the workers.
    """
    options: dict[str, object] = {
        "distributed.scheduler.http.routes": [],
        "distributed.worker.http.routes": [],
        # Dask's profiler looks at the frames of all threads; while another thread imports pyarrow, that can leave both
        # waiting for each other for ever (seen with Python 3.11.7).
        "distributed.worker.profile.enabled": False,
        # No task waits at a busy worker: see `etl.job.dask.submitted_plan`.
        "distributed.scheduler.worker-saturation": 1.0,
    }
    _log_as_we_do()
    ssl_workaround.isolate_connections()
    with dask.config.set(options), ExitStack() as stack:
        cluster = LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            host="127.0.0.1",
            security=True,
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,
            preload=[ssl_workaround.__name__, worker.__name__],
        )
        stack.callback(_end, cluster)
        client = Client(cluster, set_as_default=False, name="watch-time")
        stack.callback(best_effort_within, lambda: client.close(timeout=_CLOSE_S), _CLOSE_S)
        client.subscribe_topic(log_forwarding.TOPIC, lambda event: log_forwarding.relog(event[1]))
        yield client


def _end(cluster: LocalCluster) -> None:
    """Close a cluster that this process started. Its workers are idle; one that hangs in the network is killed."""
    # Dask would wait ten seconds more when the process ends.
    cluster.shutdown_on_close = False
    best_effort_within(lambda: cluster.close(timeout=_CLOSE_S), _CLOSE_S)
    for process in multiprocessing.active_children():
        process.kill()


def trusted(address: str, *, without_tls: bool) -> str:
    """The scheduler's address in full.

    Raises:
        WrongUsage: it is not an address.
        Misconfigured: it is on another machine, without TLS.
    """
    scheme, _, rest = address.rpartition("://")
    scheme = scheme or "tcp"
    host = _host(rest)
    if scheme not in {"tcp", "tls"} or host is None:
        raise WrongUsage(
            f"--dask {address!r} is not the address of a scheduler",
            next_step="give local, or an address such as tls://scheduler.example.com:8786",
        )
    if scheme == "tcp" and not is_loopback(host) and not without_tls:
        raise Misconfigured(
            f"--dask {address} connects to another machine without TLS: whoever answers there could run code here",
            next_step=f"use tls://{rest} (docs/workers.md says how), or, on a private network, set "
            "WATCH_TIME_DASK_WITHOUT_TLS=true",
        )
    return f"{scheme}://{rest}"


def _host(place: str) -> str | None:
    """The host of `host:port`; None if it has another form."""
    try:
        parts = urlsplit(f"//{place}")
        is_complete = parts.netloc == place and "@" not in place and bool(parts.port)
    except ValueError:
        return None
    return parts.hostname if is_complete else None


def _require_same_version(client: Client) -> None:
    """Require this version of all workers that answer; others, and later ones, are checked with their slices.

    Raises:
        Misconfigured: a worker has another version, or no watch-time.
    """

    # A function inside another travels as it is: it needs no watch-time where it runs.
    def version() -> str | None:
        import importlib  # noqa: PLC0415 - it runs elsewhere

        try:
            return str(importlib.import_module("etl").__version__)
        except Exception:  # noqa: BLE001 - then it is not ours
            return None

    found: dict[str, Any] = {}
    # What the scheduler says to one that stands still, or whose network is gone, it may wait for until it misses it.
    with suppress(TimeoutError):
        found = within(_VERSION_S, lambda: client.run(version, on_error="return"))
    for address, other in sorted(found.items()):
        if other != __version__ and not isinstance(other, OSError):
            what = f"has watch-time {other}" if isinstance(other, str) else "has no watch-time"
            raise Misconfigured(
                f"the Dask worker {address} {what}, but the command has {__version__}",
                next_step=f"install watch-time {__version__} on every worker, and restart them",
            )


def _log_as_we_do() -> None:
    """On import Dask gives its loggers handlers of their own, which would write what it likes across a bar."""
    for name in ("distributed", "distributed.client", "distributed.gc", "bokeh", "tornado", "tornado.application"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    # Two threads wait for a worker process that ends; Dask warns of what the second one cannot read.
    logging.getLogger("distributed.process").setLevel(logging.ERROR)


def best_effort_within(work: Callable[[], object], timeout_s: float) -> None:
    """Do something that may fail or hang with the cluster, and continue after the time limit either way."""
    with suppress(Exception):
        within(timeout_s, work)
