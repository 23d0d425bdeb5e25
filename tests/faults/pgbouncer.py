"""Debian's pgbouncer in front of a server, pooling by transaction."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import conninfo

from http_listeners import free_port
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

# /usr/sbin is not on everybody's path.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@contextmanager
def pgbouncer(url: str, *, server_connections: int) -> Iterator[str]:
    """The same database by way of a pgbouncer that keeps so many connections to it; its URL."""
    if PGBOUNCER is None:
        skip_missing("there is no pgbouncer on this machine (Debian: apt install pgbouncer)")
    known, port = conninfo.conninfo_to_dict(url), free_port()
    # It refuses to be root, and has to reach the server's socket.
    host = str(known["host"])
    user = None if os.getuid() else Path(host).owner() if host.startswith("/") else "nobody"
    with tempfile.TemporaryDirectory(prefix="watch-time-pgbouncer-") as name:
        folder = Path(name)
        (folder / "users").write_text('"postgres" ""\n')
        (folder / "ini").write_text(
            f"""
            [databases]
            * = host={host} port={known.get("port") or 5432} user=postgres
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = {server_connections}
            server_reset_query_always = 0
            """.replace(" " * 12, "")
        )
        if user:
            shutil.chown(folder, user)
        # Into a file: it says much, and would stand still when a pipe that nobody reads is full.
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen([PGBOUNCER, folder / "ini"], user=user, cwd="/", stderr=log) as process,
        ):
            try:
                through = f"postgresql://postgres@127.0.0.1:{port}/{known['dbname']}"
                _until_ready(through, process, folder / "log")
                yield through
            finally:
                process.kill()


def _until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "pgbouncer does not start"
            time.sleep(0.05)
        else:
            return
