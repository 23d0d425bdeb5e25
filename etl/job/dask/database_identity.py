"""Identifies a database by an advisory lock, which only sessions of the same database can see.

Names are not enough: two machines may reach one database under different names, and a copy made for tests has its
original's name, content and identifiers. A lock exists only in the running server.
"""

from __future__ import annotations

import secrets
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog

from etl.domain.errors import WatchTimeError
from etl.warehouse.sql_files import statement

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection

log = structlog.get_logger("watch_time")

# Postgres numbers advisory locks with 64 bits, of which one is the sign.
_BITS: Final = 63
# Well below the time after which a transaction that says nothing is ended.
_WORD_EVERY_S: Final = 15.0
_RETRY_AFTER_S: Final = 1.0
_STARTS_WITHIN_S: Final = 30.0


@contextmanager
def hold(database: Database) -> Iterator[int]:
    """Hold a lock while this is open, on a separate connection; returns its number.

    A broken connection is reopened, so check for the lock more than once.
    """
    number = secrets.randbits(_BITS)
    out, held = threading.Event(), threading.Event()

    def hold_on() -> None:
        while not out.is_set():
            try:
                with database.transaction() as connection:
                    connection.execute(statement("job/hold_identity_lock"), {"number": number})
                    while not out.is_set():
                        # Also at once: what is left of a statement with parameters would keep rows from being vacuumed.
                        connection.execute("SELECT 1")
                        held.set()
                        out.wait(_WORD_EVERY_S)
            except WatchTimeError as error:
                if not out.is_set():
                    log.warning("identity_lock_lost", error=error)
                out.wait(_RETRY_AFTER_S)

    # A daemon: a database that hangs must not keep a stopped process alive.
    thread = threading.Thread(target=hold_on, name="identity-lock", daemon=True)
    thread.start()
    try:
        held.wait(_STARTS_WITHIN_S)
        yield number
    finally:
        out.set()
        thread.join(1.0)


def is_held(connection: Connection, number: int) -> bool:
    """Whether the lock with that number is held in the connection's database."""
    return connection.execute(statement("job/see_identity_lock"), {"number": number}).fetchone() == (True,)
