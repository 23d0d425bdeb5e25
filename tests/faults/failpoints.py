"""Named points of a load and of a compaction, and what can be made to happen there; put in from outside.

The product knows nothing of this: its functions, its statements and psycopg's COPY and COMMIT are wrapped in a process
that was started for it. `arm` does that for one point; what happens there happens once.
"""

from __future__ import annotations

import errno
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import wraps
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import psycopg
from psycopg import sql
from psycopg.transaction import BaseTransaction

from etl.warehouse.database import Database
from etl.warehouse.transactions import _TRANSACTION_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Where a point is: after a function or method; before, within or after a statement of a folder `sql`; around COMMIT. A
# third word is the point that must have been passed before.
_LOAD: Final = {
    "connected": "call etl.warehouse.database:Database._connected",
    "address-known": "call etl.extract.report_api:ReportApi.ask_once",
    "first-piece-stored": "call etl.extract.download_writer:DownloadWriter.write",
    "downloaded": "call etl.extract.download:Downloader.download",
    "begun": "call etl.warehouse.database:configure downloaded",
    "locked": "after try_lock_slice",
    "ledger-read": "after read_slices locked",
    "rejects-forgotten": "after delete_rejects",
    "contents-made": "after create_incoming_content",
    "first-block-sent": "within copy_facts",
    "copied": "after copy_facts",
    "contents-copied": "after copy_content",
    "reconciled": "call etl.load.load_steps:SliceLoad._reconcile",
    "contents-written": "after upsert_content",
    "revision-noted": "after record_revision",
    "slice-noted": "after record_loaded",
    "claimed": "after claim_warehouse",
    "check-noted": "after record_check",
    "before-commit": "commit - check-noted",
    "after-commit": "committed - check-noted",
    "between-slices": "call etl.pipeline.slice_sync:Pipeline.sync_slice",
    "closed": "call etl.warehouse.database:Database.close",
}
_FIRST: Final = {
    "partition-made": "after create_partition",
    "key-built": "after build_unique",
    "before-attach": "before attach_partition",
    "attached": "after attach_partition",
}
_RESTATED: Final = {
    "incoming-made": "after create_incoming",
    "compared": "after compare_slice",
    "differences-counted": "after count_differences",
    "applied": "after apply_differences",
}
_COMPACTION: Final = {
    "facts-compared": "after list_unequal_slices",
    "month-made": "after create_month",
    "month-half-copied": "within copy_month_in",
    "month-copied": "after copy_month_in",
    "month-keyed": "after key_month",
    "month-compared": "after list_unequal_slices month-keyed",
    "readers-out": "after lock_readers_out month-keyed",
    "swapped": "after attach_month",
    "swap-before-commit": "commit - swapped",
    "swap-after-commit": "committed - swapped",
}
_ARCHIVE: Final = {
    "half-stored": "call shutil:copyfileobj",
    "raw-stored": "call etl.archive.timeout_store:TimedStore.put",
    "files-stored": "call etl.archive.archive:Archive.store_revision",
    "published": "call etl.archive.timeout_store:TimedStore.copy",
    "marked": "call etl.archive.timeout_store:TimedStore.write published",
}
# What a slow disk or store takes long for, while the transaction says nothing.
_SLOW: Final = {
    "rows-written": "call etl.archive.parquet:write",
    "report-packed": "call etl.archive.raw:pack",
    "archive-claimed": "call etl.archive.archive:Archive._claim",
    "listed": "call etl.archive.timeout_store:TimedStore.names files-stored",
}
SLOW: Final = (*_SLOW, "raw-stored", "published", "marked")
FIRST_LOAD: Final = (*_LOAD, *_FIRST)
RESTATED: Final = (*_LOAD, *_RESTATED)
COMPACTION: Final = tuple(_COMPACTION)
ARCHIVE: Final = tuple(_ARCHIVE)
_POINTS: Final = _LOAD | _FIRST | _RESTATED | _COMPACTION | _ARCHIVE | _SLOW

# Long enough for the main thread to begin to give up, while the point's own thread stands still.
_TERM_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
# How long the server lets a transaction say nothing, where the program pauses for longer.
SHORT_IDLE_S: Final = 1
_NAMES: Final = {
    file.read_text(encoding="utf-8").partition("\n")[0]: file.name.removesuffix(".sql")
    for file in Path(str(files("etl"))).rglob("sql/**/*.sql")
}


def arm(spec: str, fired: str) -> None:
    """Put the failpoint `<point>:<action>[:<nth>]` into this process; the file `fired` appears when it is reached."""
    point, action, *nth = spec.split(":")
    if action == "linger":
        _TRANSACTION_SETTINGS["idle_in_transaction_session_timeout"] = f"{SHORT_IDLE_S}s"
    armed = _Armed(_ALL_ACTIONS[action], Path(fired), left=int(nth[0]) if nth else 1)
    _keep_track(armed.databases)
    where, what, *needed = _POINTS[point].split()
    passed = [_mark(needed[0]) if needed else None]
    watched = _Watched(where, what, lambda: armed.pass_by() if passed[0] is None or passed[0].is_set() else None)
    watched.install()


def _mark(point: str) -> threading.Event:
    """An event that is set when the point is passed."""
    event = threading.Event()
    where, what, *needed = _POINTS[point].split()
    assert not needed, point
    _Watched(where, what, event.set).install()
    return event


@dataclass
class _Armed:
    """What happens, once, at the point."""

    action: Callable[[_Armed], None]
    fired: Path
    left: int
    databases: list[tuple[Database, psycopg.Connection[Any]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_by(self) -> None:
        with self._lock:
            self.left -= 1
            if self.left != 0:
                return
            self.fired.touch()
        self.action(self)


def _keep_track(opened: list[tuple[Database, psycopg.Connection[Any]]]) -> None:
    """Note every connection that the program opens."""
    original = Database._connected

    @wraps(original)
    def connected(self: Database, *, writable: bool = True) -> psycopg.Connection[Any]:
        connection = original(self, writable=writable)
        opened.append((self, connection))
        return connection

    _replace(Database, "_connected", connected)


def _kill(_: _Armed) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _term(_: _Armed) -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_TERM_PAUSE_S)


def _bug(_: _Armed) -> None:
    raise RuntimeError("failpoint")


def _disk_full(_: _Armed) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _pause(armed: _Armed) -> None:
    """Stand still until the file `go` lies beside the one that tells of the point."""
    deadline = time.monotonic() + _LONGEST_PAUSE_S
    while not armed.fired.with_name("go").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def _terminate(armed: _Armed) -> None:
    """As an administrator would end the program's backends."""
    for database, connection in armed.databases:
        if not connection.closed:
            parameters = database._parameters | {"application_name": "failpoint"}
            with psycopg.connect(autocommit=True, **parameters) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])


def _shut(armed: _Armed) -> None:
    """As a network that is gone between two packets."""
    for _, connection in armed.databases:
        if not connection.closed:
            with socket.socket(fileno=os.dup(connection.fileno())) as its, suppress(OSError):
                its.shutdown(socket.SHUT_RDWR)


_ACTIONS: Final = {
    "kill": _kill,
    "term": _term,
    "bug": _bug,
    "disk-full": _disk_full,
    "terminate": _terminate,
    "shut": _shut,
}
ACTIONS: Final = tuple(_ACTIONS)
_ALL_ACTIONS: Final = _ACTIONS | {"pause": _pause, "linger": _pause}


@dataclass
class _Watched:
    """A place in the program, and what to call when it is passed."""

    where: str
    what: str
    tell: Callable[[], None]

    def install(self) -> None:
        if self.where == "call":
            self._after_call()
        elif self.where in {"commit", "committed"}:
            self._around_commit()
        else:
            self._at_statement()

    def _after_call(self) -> None:
        module, _, path = self.what.partition(":")
        holder = import_module(module)
        *parents, name = path.split(".")
        for parent in parents:
            holder = getattr(holder, parent)
        original = getattr(holder, name)

        @wraps(original)
        def wrapped(*arguments: Any, **more: Any) -> Any:
            result = original(*arguments, **more)
            self.tell()
            return result

        _replace(holder, name, wrapped)

    def _around_commit(self) -> None:
        original = BaseTransaction._get_commit_commands

        def commands(transaction: Any) -> Iterator[bytes]:
            outer = transaction._outer_transaction
            if outer and self.where == "commit":
                self.tell()
            yield from original(transaction)
            if outer and self.where == "committed":
                self.tell()

        _replace(BaseTransaction, "_get_commit_commands", commands)

    def _at_statement(self) -> None:
        execute, copy = psycopg.Cursor.execute, psycopg.Cursor.copy

        def executed(cursor: psycopg.Cursor[Any], query: Any, *arguments: Any, **more: Any) -> Any:
            with self._around(cursor, query):
                return execute(cursor, query, *arguments, **more)

        @contextmanager
        def copied(cursor: psycopg.Cursor[Any], query: Any, *arguments: Any, **more: Any) -> Iterator[Any]:
            with self._around(cursor, query) as is_it, copy(cursor, query, *arguments, **more) as running:
                yield _Telling(running, self.tell) if is_it and self.where == "within" else running

        _replace(psycopg.Cursor, "execute", executed)
        _replace(psycopg.Cursor, "copy", copied)

    @contextmanager
    def _around(self, cursor: psycopg.Cursor[Any], query: Any) -> Iterator[bool]:
        text = query.as_string(cursor) if isinstance(query, sql.Composable) else ""
        is_it = _NAMES.get(text.partition("\n")[0]) == self.what
        if is_it and self.where == "before":
            self.tell()
        yield is_it
        if is_it and self.where == "after":
            self.tell()


@dataclass
class _Telling:
    """A COPY that tells of every block that was sent."""

    copy: Any
    tell: Callable[[], None]

    def write(self, data: Any) -> None:
        self.copy.write(data)
        self.tell()


def _replace(holder: Any, name: str, by: Any) -> None:
    """For the rest of the process."""
    patch.object(holder, name, by).start()
