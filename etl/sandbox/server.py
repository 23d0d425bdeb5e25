"""Runs a sandbox on a port: in a thread of a test or a demo, or in the foreground for the command.

Nothing is printed and no logging is set up here; the requests are in the sandbox's own log.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from etl.domain.errors import Misconfigured
from etl.sandbox import demo_extra
from etl.sandbox.app import create_app

with demo_extra():
    import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.sandbox.sandbox import Sandbox


@contextmanager
def running(sandbox: Sandbox, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve `sandbox` from a thread; gives the base URL. Port 0 is any free one.

    At the end connections are dropped, whoever still hangs on them, and the sandbox is closed; it can be served again.
    """
    with closing(_listen(host, port)) as listener:
        server = _Server(sandbox)
        thread = threading.Thread(target=server.run, args=([listener],), name="sandbox", daemon=True)
        thread.start()
        try:
            yield _base_url(listener)
        finally:
            server.should_exit = True
            thread.join()


def serve(sandbox: Sandbox, host: str, port: int, *, on_ready: Callable[[str], None]) -> None:
    """Serve `sandbox` in the main thread until SIGTERM or Ctrl-C, then let the signal take its usual course.

    Port 0 is any free one. `on_ready` gets the base URL once connections are taken; `sandbox` is closed at the end.

    Raises:
        Misconfigured: the port is taken, or not ours to take.
        KeyboardInterrupt: after Ctrl-C. After SIGTERM: whatever the caller's handler raises.
    """
    with closing(_listen(host, port)) as listener:
        on_ready(_base_url(listener))
        _Server(sandbox).run([listener])


class _Server(uvicorn.Server):
    """uvicorn, quiet, and without patience for its clients at the end."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(
            uvicorn.Config(
                create_app(sandbox),
                http="h11",
                ws="none",
                loop="asyncio",
                lifespan="off",
                log_config=None,
                # Below this uvicorn complains of the connections that are dropped on purpose.
                log_level="critical",
                access_log=False,
            )
        )
        self._sandbox = sandbox

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Drop every connection, give up every answer, and close the sandbox."""
        for server in self.servers:
            server.close()
        connections: list[Any] = list(self.server_state.connections)
        for connection in connections:
            connection.transport.abort()
        tasks = list(self.server_state.tasks)
        for task in tasks:
            task.cancel()
        self._sandbox.close()
        await asyncio.gather(*tasks, return_exceptions=True)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used: {error.strerror}"
        raise Misconfigured(
            f"port {port} on {host} {reason}", next_step="choose another port; --port 0 takes a free one"
        ) from None


def _base_url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
