"""The command as a process of its own, forked from one that has imported everything and run nothing.

Importing costs more than most of what the tests ask of the command. A forked process has its own arguments, variables,
folder and streams, and runs `etl/__main__.py` from the first line to the exit code. Where a variable differs that the
interpreter or a library may have read before the fork, and wherever a test asks for it, a new interpreter is started.
It can also be started on a terminal, and typed in a shell that a test runs.

Before the command begins, a forked process can be given smaller limits, and functions to call: failpoints, mutants.

    python prefork.py FD [MODULE ...]       the process that forks, having imported these modules too; it ends when
                                            nobody holds the other end of the socket
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self, TextIO

from etl.config.environment import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

# What the commands import when they run.
_IMPORTED: Final = (
    "etl.cli.main", "etl.job.plan_runner", "etl.load.compaction", "etl.warehouse.schema",
    "etl.warehouse.embedded_postgres", "etl.telemetry.run_telemetry", "etl.telemetry.notifier",
    "etl.display.progress", "etl.display.run_tables", "etl.display.terminal", "etl.display.explain_screen",
    "etl.diagnostics.status", "etl.diagnostics.explain", "etl.diagnostics.verify_against_source",
    "etl.diagnostics.doctor", "etl.diagnostics.page_reader", "etl.archive.archive", "etl.archive.audit",
    "etl.archive.parquet", "etl.archive.raw", "etl.transform.normalise", "etl.transform.prefetch",
    "etl.display.archive_screen", "etl.display.status_screen", "alembic.config", "alembic.command", "pandas",
    "pyarrow.csv", "pyarrow.compute", "pyarrow.dataset", "pyarrow.pandas_compat", "pyarrow.parquet",
    "encodings.idna", "importlib.resources.readers", "rich._emoji_codes", "s3fs", "typer._adapters",
    "typer._click.decorators",
)  # fmt: skip
# What it imports with `--dask`, which costs as much again: another process forks those.
_IMPORTED_FOR_DASK: Final = ("etl.job.dask.client", "etl.job.dask.executor", "etl.job.dask.worker", "tornado.netutil")
# Read by the command itself, or where they are needed. Any other one may have been read by what is imported.
_READ_LATE: Final = (
    PREFIX, "COLUMNS", "TERM", "PYTEST_", "SSL_CERT_FILE", "TMPDIR", "AWS_", "AZURE_STORAGE_", "STORAGE_EMULATOR_HOST",
    "DASK_", "PWD", "OLDPWD",
)  # fmt: skip
# As it was when the tests began.
_ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
# Where functions are that may be called before the command: modules of the tests.
_TESTS: Final = (str(Path(__file__).parent), str(Path(__file__).parent / "faults"))
# A fork would lose the threads that are started by imports: of numpy's algebra, and of an allocator that is not used.
_WITHOUT_THREADS: Final = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


Call = tuple[str, str, list[str]]
"""A function of a module of the tests, and its arguments."""


class Started:
    """A process of the command: what `subprocess.Popen` offers, as far as tests want it.

    Attributes:
        peak_bytes: the greatest memory that it has had; known when it has ended.
    """

    def __init__(self, arguments: Sequence[str], status: TextIO) -> None:
        self.args = arguments
        self.pid = int(status.readline())
        self.returncode: int | None = None
        self.peak_bytes = 0
        self._status = status

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; nothing while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        if self.returncode is None:
            with selectors.DefaultSelector() as selector:
                selector.register(self._status, selectors.EVENT_READ)
                if not selector.select(timeout):
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode, self.peak_bytes = map(int, self._status.readline().split())
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Nothing happens where it has ended already."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it."""
        self.send_signal(signal.SIGKILL)

    def end(self) -> None:
        """End it if it runs."""
        self.kill()
        self.wait()


class Process(Started):
    """A process whose output is text that is read here."""

    def __init__(
        self, arguments: Sequence[str], stdout: TextIO, stderr: TextIO, status: TextIO, *, to_files: bool
    ) -> None:
        super().__init__(arguments, status)
        self.stdout = stdout
        self.stderr = stderr
        self._to_files = to_files
        self._read = {stdout: b"", stderr: b""}

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Read what it prints until it ends. After a time-out it can be asked again, and nothing is lost."""
        if self._to_files:
            self.wait(timeout)
            return self._file_text(self.stdout), self._file_text(self.stderr)
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for stream in self._read:
                if not stream.closed:
                    selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left < 0:
                    raise subprocess.TimeoutExpired(self.args, timeout or 0)
                for key, _ in selector.select(left):
                    stream = self.stdout if key.fileobj is self.stdout else self.stderr
                    more = os.read(key.fd, 1 << 16)
                    self._read[stream] += more
                    if not more:
                        selector.unregister(stream)
                        stream.close()
        self.wait(None if deadline is None else max(0, deadline - time.monotonic()))
        out, err = (self._read[stream].decode() for stream in (self.stdout, self.stderr))
        return out, err

    @staticmethod
    def _file_text(stream: TextIO) -> str:
        stream.seek(0)
        return stream.read()

    def result(self, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        """Wait for its end."""
        out, err = self.communicate(timeout)
        return subprocess.CompletedProcess(self.args, self.wait(), out, err)

    def end(self) -> None:
        """End it if it runs, and let go of its streams."""
        super().end()
        self.stdout.close()
        self.stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for it; it does not outlive a test that fails while it runs."""
        if kind:
            self.kill()
        self.stdout.close()
        self.stderr.close()
        self.wait()


def start(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    *,
    limits: Mapping[str, object] | None = None,
    before: Sequence[Call] = (),
    to_files: bool = False,
    new_interpreter: bool = False,
) -> Process:
    """Start the command. It ends with the test at the latest.

    Args:
        arguments: of its command line.
        environment: all of its variables.
        folder: where it runs.
        limits: constants of the command by module, from etl on, and name: what they are in this process.
        before: what is called in the process before the command begins.
        to_files: whether it prints into files and not into pipes, which are full when nobody reads them.
        new_interpreter: for tests about that.
    """
    order = _Order(arguments, environment, folder, limits or {}, before, new_interpreter=new_interpreter)
    (out, out_end), (err, err_end) = (_file() if to_files else os.pipe() for _ in range(2))
    nothing = os.open(os.devnull, os.O_RDONLY)
    statuses = _send(order, (nothing, out_end, err_end))
    for end in (nothing, out_end, err_end):
        os.close(end)
    stdout, stderr = (os.fdopen(stream, encoding="utf-8") for stream in (out, err))
    process = Process(arguments, stdout, stderr, statuses, to_files=to_files)
    _started.append(process)
    return process


def start_on_terminal(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    terminal: int,
    *,
    before: Sequence[Call] = (),
    forked_with: Mapping[str, str] | None = None,
) -> Started:
    """Start the command on a terminal. It ends with the test at the latest.

    Args:
        arguments: as of `start`.
        environment: as of `start`.
        folder: as of `start`.
        terminal: what it reads and prints on.
        before: as of `start`.
        forked_with: all variables of the process that is forked; none: those of the tests.
    """
    order = _Order(arguments, environment, folder, {}, before, new_interpreter=False)
    process = Started(arguments, _send(order, (terminal,) * 3, forked_with))
    _started.append(process)
    return process


@contextmanager
def typed_in_shells(folder: Path) -> Iterator[str]:
    """Write a script `watch-time` into the folder that starts the command as `start` does; gives the PATH with it.

    It has the streams, the variables and the folder of the shell that it is typed in, which waits for it.
    """
    script, path = folder / "watch-time", os.environ["PATH"]
    # A variable that the tests have otherwise would want a new interpreter.
    client = f'"{sys.executable}" -I -S "{Path(__file__).with_name("prefork_client.py")}" "{folder}/orders"'
    script.write_text(f"#!/bin/sh\nPATH='{path}' exec {client} \"$@\"\n")
    script.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/orders")
        listener.listen()
        passing_on = threading.Thread(target=_pass_on, args=(listener,))
        passing_on.start()
        try:
            yield f"{folder}:{path}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            passing_on.join()


def _pass_on(listener: socket.socket) -> None:
    """Start what is typed, until nobody listens any more."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            message, ends, _, _ = socket.recv_fds(client, 1, 4)
            with client.makefile("rb") as rest:
                arguments, environment, folder = json.loads(message + rest.read())
        order = _Order(arguments, environment, Path(folder), {}, (), new_interpreter=False)
        _send_with_status(order, ends)
        for end in ends:
            os.close(end)


def end_all() -> None:
    """End the processes that run, and forget those that have ended."""
    while _started:
        _started.pop().end()


@dataclass(frozen=True)
class _Order:
    """What is to be started, and how: as the arguments of `start`."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    limits: Mapping[str, object]
    before: Sequence[Call]
    new_interpreter: bool


_ordering = threading.Lock()
_started: list[Started] = []


def _send(order: _Order, streams: Sequence[int], forked_with: Mapping[str, str] | None = None) -> TextIO:
    """Have a process started with these streams; gives where its process id is told, and in the end its exit code."""
    status, status_end = os.pipe()
    _send_with_status(order, (*streams, status_end), forked_with)
    os.close(status_end)
    return os.fdopen(status, encoding="ascii")


def _send_with_status(order: _Order, ends: Sequence[int], forked_with: Mapping[str, str] | None = None) -> None:
    document = json.dumps(vars(order) | {"folder": str(order.folder)})
    with _ordering:
        imported = _IMPORTED_FOR_DASK if "--dask" in order.arguments else ()
        server = _server(frozenset((_ENVIRONMENT if forked_with is None else forked_with).items()), imported)
        socket.send_fds(server, [b"{"], list(ends))
        server.sendall(document.encode()[1:] + b"\n")


def _file() -> tuple[int, int]:
    """Two descriptors of a new file without a name."""
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno()), os.dup(file.fileno())


@cache
def _server(variables: frozenset[tuple[str, str]], imported: tuple[str, ...]) -> socket.socket:
    """The process that forks; one for all tests of this process that want these variables and these modules."""
    ours, theirs = socket.socketpair()
    server = subprocess.Popen(
        [sys.executable, __file__, f"{theirs.fileno()}", *imported],
        env=dict(variables),
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    theirs.close()

    def end() -> None:
        ours.close()
        server.wait()

    atexit.register(end)
    return ours


def _serve(orders: socket.socket, *imported: str) -> None:
    from etl.extract import http_clients
    from etl.runtime import process_tuning

    before = dict(os.environ)
    os.environ |= _WITHOUT_THREADS
    process_tuning.settle()
    for name in (*_IMPORTED, *imported):
        importlib.import_module(name)
    http_clients.ssl_context()
    sys.path.extend(_TESTS)
    tasks = Path("/proc/self/task")
    assert not tasks.exists() or len(list(tasks.iterdir())) == 1, "a fork would lose the other threads"
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    ended, wakeup = os.pipe()
    for end in (ended, wakeup):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wakeup)
    statuses: dict[int, int] = {}
    with selectors.DefaultSelector() as selector:
        selector.register(orders, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is not orders:
                    os.read(ended, 1 << 16)
                elif not _start_what_is_ordered(orders, statuses, before):
                    return
            _report_the_ended(statuses)


def _start_what_is_ordered(orders: socket.socket, statuses: dict[int, int], before: Mapping[str, str]) -> bool:
    """Start a command, and report its process id; whether anybody still orders."""
    message, ends, _, _ = socket.recv_fds(orders, 1, 4)
    if not message:
        return False
    while not message.endswith(b"\n"):
        message += orders.recv(1 << 16)
    *streams, status = ends
    child = os.fork()
    if child == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        orders.close()
        for other in (status, *statuses.values()):
            os.close(other)
        _run_command(json.loads(message), streams, before)
    statuses[child] = status
    for stream in streams:
        os.close(stream)
    with suppress(BrokenPipeError):
        os.write(status, f"{child}\n".encode())
    return True


def _report_the_ended(statuses: dict[int, int]) -> None:
    """Report the exit code and the peak memory of each command that has ended."""
    while statuses:
        child, how, usage = os.wait4(-1, os.WNOHANG)
        if child == 0:
            return
        peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        with suppress(BrokenPipeError), os.fdopen(statuses.pop(child), "w", encoding="ascii") as status:
            status.write(f"{os.waitstatus_to_exitcode(how)} {peak_bytes}\n")


def _run_command(order: dict[str, Any], streams: Sequence[int], before: Mapping[str, str]) -> None:
    """What the process of the command does, from its first moment to its last."""
    arguments, environment, folder, limits = (order[name] for name in ("arguments", "environment", "folder", "limits"))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, opened in enumerate(streams):
        os.dup2(opened, number)
        os.close(opened)
    if os.isatty(1):
        # Of a session of its own, as the first program of a terminal; and each line is printed when it is whole.
        os.setsid()
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    os.chdir(folder)
    differ = {name for name in before.keys() | environment.keys() if before.get(name) != environment.get(name)}
    if order["new_interpreter"] or not all(name.startswith(_READ_LATE) for name in differ):
        assert not limits, "a new interpreter knows nothing of them"
        assert not order["before"], "as above"
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.execve(sys.executable, [sys.executable, "-m", "etl", *arguments], environment)  # noqa: S606 - no shell wanted
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["etl", *arguments]
    sys.path[0] = folder
    tempfile.tempdir = None
    if dask := sys.modules.get("dask.config"):
        dask.refresh()
    set_limits(limits)
    for module, function, values in order["before"]:
        getattr(importlib.import_module(module), function)(*values)
    code = 0
    try:
        runpy.run_module("etl.__main__", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        sys.excepthook(*sys.exc_info())
        code = 1
    # As the interpreter ends, but for taking down all that was imported.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def set_limits(limits: Mapping[str, Any]) -> None:
    """Change constants of the command in this process, each to a value of its type; of a table, some entries."""
    for name, value in limits.items():
        module, _, constant = name.rpartition(".")
        of = importlib.import_module(f"etl.{module}")
        before = getattr(of, constant)
        setattr(of, constant, before | value if isinstance(before, dict) else type(before)(value))


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])), *sys.argv[2:])
