"""The program as a process of its own, forked from one that has imported everything: hundreds of them in a minute.

A forked process is the whole program, from its command line to its exit code; what it is spared are the imports.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import certifi

from etl.config.environment import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_IMPORTED = (
    "etl.cli.load_commands", "etl.job.runner", "etl.load.slice_load", "etl.transform.normalise", "etl.load.compaction",
    "etl.telemetry.run_telemetry", "etl.display.progress", "etl.display.terminal", "etl.config.settings", "launcher",
    "pandas", "pyarrow.csv", "pyarrow.compute", "psycopg", "httpx", "psycopg_binary", "mutants",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str
    has_fired: bool


@dataclass
class Started:
    """A process that runs."""

    pid: int
    forks: Forks

    def wait(self) -> Ended:
        return self.forks.ended()

    def kill(self, number: int) -> Ended:
        """Send the signal, if it runs still, and wait."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return self.forks.ended()


class Forks:
    """A prepared process; the programs that are forked from it run one at a time."""

    def __init__(self, server: subprocess.Popen[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._server = server
        self._folder = folder
        self._environment = environment

    def start(
        self, *arguments: str, failpoint: str | None = None, mutant: str | None = None, **settings: str
    ) -> Started:
        """Start the program; `settings` without their prefix."""
        for name in ("fired", "go"):
            (self._folder / name).unlink(missing_ok=True)
        named = {f"{PREFIX}{name}": value for name, value in settings.items()}
        self._tell({
            "arguments": arguments,
            "environment": {**self._environment, **named},
            "folder": str(self._folder),
            "failpoint": failpoint,
            "mutant": mutant,
        })  # fmt: skip
        return Started(self._answer(), self)

    def __call__(
        self, *arguments: str, failpoint: str | None = None, mutant: str | None = None, **settings: str
    ) -> Ended:
        """Run the program to its end."""
        return self.start(*arguments, failpoint=failpoint, mutant=mutant, **settings).wait()

    def ended(self) -> Ended:
        """Wait for the program that runs."""
        code = self._answer()
        out, err = ((self._folder / name).read_text(encoding="utf-8") for name in ("out", "err"))
        return Ended(code, out, err, (self._folder / "fired").exists())

    def wait_until_fired(self, patience_s: float) -> None:
        """Wait until the failpoint of the program that runs is reached."""
        deadline = time.monotonic() + patience_s
        while not (self._folder / "fired").exists():
            assert time.monotonic() < deadline, "the failpoint was not reached"
            time.sleep(0.01)

    def let_go(self) -> None:
        """Let the program go on that stands still at its failpoint."""
        (self._folder / "go").touch()

    def _tell(self, order: Mapping[str, object]) -> None:
        assert self._server.stdin
        self._server.stdin.write(json.dumps(order) + "\n")
        self._server.stdin.flush()

    def _answer(self) -> int:
        assert self._server.stdout
        line = self._server.stdout.readline()
        assert line, "the process that forks has ended"
        return int(line)


@contextmanager
def prepared(folder: Path) -> Iterator[Forks]:
    """A process to fork from; the programs run in `folder`, without any setting but those that they are given."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | {"COLUMNS": "160"}
    # Reading all the certificates of the world, for a sandbox without TLS, takes longer than a load.
    plain["SSL_CERT_FILE"] = str(one_certificate(folder))
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain
    ) as server:
        yield Forks(server, folder, plain)
        assert server.stdin
        server.stdin.close()


def one_certificate(folder: Path) -> Path:
    """A file in the folder with one of the certificates that are trusted."""
    file = folder / "one.pem"
    if not file.exists():
        first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----\n")
        file.write_text(first + end, encoding="utf-8")
    return file


def _child(order: Mapping[str, str], arguments: list[str], environment: dict[str, str]) -> NoReturn:
    """What the forked process is."""
    folder = Path(order["folder"])
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for name, number, mode in (
        (os.devnull, 0, os.O_RDONLY),
        ("out", 1, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ("err", 2, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(name, mode, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    if order["mutant"]:
        from mutants import mutate

        mutate(order["mutant"])
    from launcher import start

    try:
        start(arguments, failpoint=order["failpoint"], fired=folder / "fired")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    else:
        code = 0
    # As the interpreter ends, but for taking down all that was imported, which would cost as much as a load.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _serve() -> None:
    import importlib

    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    for line in iter(sys.stdin.readline, ""):
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            answers.close()
            _child(order, order["arguments"], order["environment"])
        print(child, file=answers, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
