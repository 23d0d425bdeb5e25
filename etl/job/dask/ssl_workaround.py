"""Keeps a TLS connection that fails from breaking others: a defect of Python's `ssl`, seen with 3.13.5 and OpenSSL 3.5.

OpenSSL keeps errors in a queue per thread. When the peer of a connection is gone, `ssl` may leave the error (EPIPE)
there, and the next healthy connection that has nothing to read appears to have failed with it: a scheduler would lose
workers because another one left. See https://github.com/python/cpython/issues/148594.

The command does this for itself and for local workers; `dask scheduler` and `dask worker` do it if they
are started with `--preload etl.job.dask.ssl_workaround`.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

from tornado.iostream import SSLIOStream

_CONTEXT: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_close_fd: Final = SSLIOStream.close_fd


def isolate_connections() -> None:
    """From now on, discard the errors of each of tornado's TLS connections with it; all failures end in `close_fd`."""
    SSLIOStream.close_fd = _close_and_forget  # type: ignore[method-assign, assignment]  # no setting does it


def dask_setup(_server: object) -> None:
    """Dask calls this in a process that preloads the module."""
    isolate_connections()


def _close_and_forget(stream: SSLIOStream) -> None:
    try:
        _close_fd(stream)
    finally:
        # `ssl` has no function that empties the queue, but refusing ciphers does.
        with suppress(ssl.SSLError):
            _CONTEXT.set_ciphers("none")
