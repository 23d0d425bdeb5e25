"""forwarder.py HOST PORT DELAY_S: passes on what comes to this port of loopback to that port of HOST, each piece late.

The job speaks plain HTTP on loopback only. With this beside it in its container's network, the source may be a host of
its own, and the way to it a network that can be cut.
"""

from __future__ import annotations

import socket
import sys
import threading
import time
from contextlib import suppress


def _pass_on(source: socket.socket, sink: socket.socket, delay_s: float) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            time.sleep(delay_s)
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, host: str, port: int, delay_s: float) -> None:
    with client, suppress(OSError), socket.create_connection((host, port), timeout=10) as server:
        server.settimeout(None)
        back = threading.Thread(target=_pass_on, args=(server, client, delay_s), daemon=True)
        back.start()
        _pass_on(client, server, delay_s)
        back.join()


def main() -> None:
    host, port, delay_s = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, host, port, delay_s), daemon=True).start()


if __name__ == "__main__":
    main()
