"""The program as a process that need not import anything: forked from one that has, so that hundreds can be run."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest import mock

from forks import one_certificate

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Mapping, Sequence
    from multiprocessing.process import BaseProcess
    from pathlib import Path

# What `run`, `backfill`, `compact`, `migrate` and those that look at what is there import when they run.
_IMPORTED = [
    "etl.cli.main",
    "etl.cli.load_commands",
    "etl.job.runner",
    "etl.transform.normalise",
    "etl.load.slice_load",
    "etl.load.compaction",
    "etl.archive.archive",
    "etl.telemetry.run_telemetry",
    "etl.display.progress",
    "etl.display.terminal",
    "etl.diagnostics.status",
    "etl.diagnostics.verify",
    "etl.diagnostics.doctor",
    "alembic.config",
    "alembic.command",
    "pandas",
    "pyarrow.csv",
    "pyarrow.compute",
    "pyarrow.parquet",
    "psycopg_binary",
    "httpx",
]

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(_IMPORTED)


@dataclass(frozen=True)
class Run:
    """A run of the program under way or ended, and where its streams went."""

    process: BaseProcess
    out: Path
    err: Path

    def send(self, number: signal.Signals) -> None:
        """Nothing happens where it has ended already."""
        assert self.process.pid
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)

    def ended(self, patience_s: float = 60) -> int:
        """Wait for its end; gives the exit code, negative for a signal that it did not handle."""
        self.process.join(patience_s)
        assert self.process.exitcode is not None, f"still running after {patience_s} s: {self.err.read_text()}"
        return self.process.exitcode

    def document(self) -> dict[str, Any]:
        """What `--json` gave."""
        found = json.loads(self.out.read_text())
        assert isinstance(found, dict)
        return found


@dataclass
class Forked:
    """Starts runs of the program."""

    folder: Path
    environment: Mapping[str, str]
    started: int = 0

    def start(self, *arguments: str, **settings: str) -> Run:
        self.started += 1
        out, err = self.folder / f"{self.started}.out", self.folder / f"{self.started}.err"
        # Reading all the certificates of the world, for a sandbox without TLS, takes longer than a load.
        certificate = {"SSL_CERT_FILE": str(one_certificate(self.folder))}
        named = {f"WATCH_TIME_{name}": value for name, value in settings.items()}
        environment = {**self.environment, **certificate, **named}
        process = _forks.Process(target=_run, args=(arguments, environment, self.folder, out, err))
        with _no_main():
            process.start()
        return Run(process, out, err)


@contextmanager
def _no_main() -> Iterator[None]:
    """Children would import the main module again, which is pytest."""
    with mock.patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
        yield


def _run(arguments: Sequence[str], environment: Mapping[str, str], folder: Path, out: Path, err: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    sys.argv = ["watch-time", *arguments]
    from etl.cli import main

    main.main()
