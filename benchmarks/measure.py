"""What a command costs: its time, its processor, its peak memory, and what it made the database server do.

A command runs as the child of a launcher that is a few megabytes small: the kernel counts towards a process's peak
what its parent held when it was started.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from psycopg import conninfo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import psycopg

# Forked and not spawned, so that the command's peak begins with this little program's memory.
_LAUNCHER: Final = """
import json, os, sys, time
began = time.monotonic()
child = os.fork()
if not child:
    try:
        os.execvp(sys.argv[2], sys.argv[2:])
    finally:
        os._exit(127)
_, status, used = os.wait4(child, 0)
elapsed = time.monotonic() - began
with open(sys.argv[1], "w") as out:
    json.dump([elapsed, used.ru_utime + used.ru_stime, used.ru_maxrss], out)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
"""
_MAXRSS_IN_MB: Final = 1024 if sys.platform != "darwin" else 1 << 20

# As many characters of a failed command's own words as are worth showing.
_WORDS: Final = 1_500


class CommandFailed(Exception):
    """The command ended with an error, and with these last words."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command cost.

    Attributes:
        elapsed_s: from its start to its end.
        client_cpu_s: of its processes.
        peak_mb: of the one of its processes that held most.
        server_cpu_s: of all processes of the server, those that have ended included.
        wal_mb: what the server wrote to its log.
        output: what the command printed.
    """

    elapsed_s: float
    client_cpu_s: float
    peak_mb: float
    server_cpu_s: float
    wal_mb: float
    output: str


class Server:
    """A Postgres on this machine, to be watched through a connection of a superuser in autocommit mode."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        pid_file = Path(self.show("data_directory")) / "postmaster.pid"
        self._postmaster = psutil.Process(int(pid_file.read_text().split()[0]))

    def show(self, setting: str) -> str:
        """The value of a setting."""
        row = self._connection.execute("SELECT current_setting(%s)", [setting]).fetchone()
        return str(row[0]) if row else ""

    def settings_of_its_own(self) -> dict[str, str]:
        """The settings that bear upon speed, with their values, where those are not Postgres's own defaults."""
        return dict(
            self._connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE setting IS DISTINCT FROM boot_val "
                "AND source IN ('configuration file', 'command line', 'database', 'environment variable') "
                "AND category !~ 'Connections|Locale|Reporting|Preset|File Locations' ORDER BY name"
            ).fetchall()
        )

    def settle(self, database: str) -> None:
        """Wait for the database's sessions to end, so that what they used is counted; then a checkpoint."""
        for _ in range(200):
            row = self._connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_type = 'client backend'",
                [database],
            ).fetchone()
            if row == (0,):
                break
            time.sleep(0.02)
        self._connection.execute("CHECKPOINT")

    def cpu_s(self) -> float:
        """Processor seconds of the server so far: the postmaster, its children, and those that have ended."""
        own = self._postmaster.cpu_times()
        used = own.user + own.system + own.children_user + own.children_system
        for child in self._postmaster.children():
            with suppress(psutil.NoSuchProcess):
                times = child.cpu_times()
                used += times.user + times.system
        return float(used)

    def wal_bytes(self) -> int:
        """The log's position."""
        row = self._connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()
        return int(row[0]) if row else 0


def database_in(url: str) -> str:
    """The name of the database in a URL."""
    return str(conninfo.conninfo_to_dict(url)["dbname"])


def cost(
    command: Sequence[str], *, server: Server, database: str, environment: Mapping[str, str], folder: Path
) -> Cost:
    """Run a command against one of the server's databases.

    Raises:
        CommandFailed: it did not end with 0.
    """
    server.settle(database)
    cpu_s, wal_bytes = server.cpu_s(), server.wal_bytes()
    elapsed_s, client_cpu_s, peak_mb, output = _run(command, environment, folder)
    wal_mb = (server.wal_bytes() - wal_bytes) / 1e6
    server.settle(database)
    return Cost(elapsed_s, client_cpu_s, peak_mb, server.cpu_s() - cpu_s, wal_mb, output)


def _run(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> tuple[float, float, float, str]:
    with tempfile.NamedTemporaryFile(dir=folder) as figures:
        launched = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, figures.name, *command],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, complaints = launched.communicate()
        except BaseException:
            os.killpg(launched.pid, signal.SIGKILL)
            raise
        if launched.returncode:
            raise CommandFailed(f"exit {launched.returncode}: {(complaints or output)[-_WORDS:].strip()}")
        elapsed_s, client_cpu_s, maxrss = json.loads(Path(figures.name).read_text())
        return elapsed_s, client_cpu_s, maxrss / _MAXRSS_IN_MB, output
