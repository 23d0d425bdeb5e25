"""psycopg's errors in our words: which of them pass, which want a person, and how much of them may be shown.

`database` catches them; here they are sorted. Source: Postgres manual, appendix A, "PostgreSQL Error Codes".
"""

from __future__ import annotations

import re
from typing import Final

import psycopg

from etl.domain.errors import CredentialsRefused, DatabaseUnavailable, DataRefused, Misconfigured, WatchTimeError

# SQLSTATE classes and codes after which the whole transaction is tried again. 57014 (a cancelled statement) is not
# among them: either we cancelled it, or it ran into the statement timeout and would again. After 25006 (read-only)
# connecting anew finds the writable one of several hosts.
_RETRIED: Final = (
    "08", "25006", "25P03", "25P04", "40001", "40P01", "53300", "53400", "55P03", "57P01", "57P02", "57P03", "57P05",
)  # fmt: skip


class TransientDatabaseError(DatabaseUnavailable):
    """Database trouble that may pass within seconds."""


def translate_error(error: psycopg.Error, where: str) -> WatchTimeError:
    """Sort a driver error. Its own text is shown only where it cannot hold a row's values."""
    state = error.sqlstate
    if not state:
        return _without_state(error, where)
    if node := _NODE_OUT_OF_REACH.match(error.diag.message_primary or ""):
        return TransientDatabaseError(f"{where} cannot reach its node {node[1]} (SQLSTATE {state})", next_step=_NODE)
    table = f" on {error.diag.table_name}" if error.diag.table_name else ""
    what = f"{where} failed with SQLSTATE {state} ({type(error).__name__}){table}"
    # With a context it comes from within a function or from COPY, and may quote a row all the same.
    if state.startswith(_NAMES_ARE_WRONG) and not error.diag.context:
        what = f"{what}: {error.diag.message_primary}"
    kind = next((kind for starts, kind in _KINDS if state.startswith(starts)), WatchTimeError)
    next_step = _NEXT_STEPS.get(state) or _NEXT_STEPS.get(state[:2]) or (_BUG if kind is WatchTimeError else _LATER)
    return kind(what, next_step=next_step)


# What Citus says of its own connections, sometimes as an internal error; there are no rows in it.
_NODE_OUT_OF_REACH: Final = re.compile(
    r"(?:connection to the remote node|failure on connection marked as essential:) (?:\S+@)?(\S+)"
)
# Missing rights, tables, databases or schemas, and what depends on them: the message names objects, never rows.
_NAMES_ARE_WRONG: Final = ("42", "3D", "3F", "0P", "2BP01")
# The first that fits. What is not here, cursors, savepoints, functions and the like, is a mistake of ours.
_KINDS: Final[tuple[tuple[tuple[str, ...], type[WatchTimeError]], ...]] = (
    (_RETRIED, TransientDatabaseError),
    # Rolled back, out of something, not ready, operators at work, the server's own system, a bug of the server.
    (("40", "53", "55", "57", "58", "72", "XX"), DatabaseUnavailable),
    (("28",), CredentialsRefused),
    # Values, constraints, check options, limits of size, triggers of the warehouse's owner.
    (("22", "23", "44", "54", "P0"), DataRefused),
    ((*_NAMES_ARE_WRONG, "0A", "F0"), Misconfigured),
)
_LATER: Final = "try again later; to check the connection: `watch-time doctor`"
_NODE: Final = "try again when the node is back; to see which nodes are unreachable: `watch-time doctor`"
_BUG: Final = "this is a bug in watch-time; nothing was committed; please report it"
_REFUSED: Final = "the tables reject a value of the report; keep the report file, and report this as a bug"
_NEXT_STEPS: Final = {
    "25006": "the server is read-only (a standby, or failing over): name the primary in WATCH_TIME_DATABASE_URL",
    "53100": "the server's disk is full: free space, then run again",
    "57014": "the statement was cancelled or timed out: check what else the server is doing",
    "0A": "Postgres 15 to 18 are supported; to see the server's version: `watch-time doctor`",
    "28": "check the user and password in WATCH_TIME_DATABASE_URL",
    **dict.fromkeys(("22", "23", "44", "54", "P0"), _REFUSED),
    **dict.fromkeys(_NAMES_ARE_WRONG, "to see what is missing: `watch-time doctor`"),
    "2BP01": "drop what depends on it, or make it depend on watch_time: partitions are replaced",
    "42P07": "rename or drop the object of that name: watch-time needs it",
}


# By way of pgbouncer a COPY on a connection that the server has ended gets two answers, the farewell and the broken
# connection. psycopg takes them for those to two statements, which we never send.
_TWO_ANSWERS: Final = "COPY cannot be mixed"


def _without_state(error: psycopg.Error, where: str) -> WatchTimeError:
    """Errors without SQLSTATE are the driver's own."""
    if isinstance(error, psycopg.OperationalError):
        return _connection_trouble(error, where)
    if isinstance(error, psycopg.ProgrammingError) and _TWO_ANSWERS in str(error):
        return TransientDatabaseError(f"{where} ended the connection", next_step=_LATER)
    what = f"{where}: {type(error).__name__} in the driver"
    if isinstance(error, psycopg.DataError):
        return DataRefused(what, next_step=_REFUSED)
    return WatchTimeError(what, next_step=_BUG)


def _connection_trouble(error: psycopg.OperationalError, where: str) -> WatchTimeError:
    """Trouble in connecting, or a connection that broke; only the text, which holds no rows, tells them apart."""
    text = str(error)
    first_line = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    for signs, kind, next_step in _BY_TEXT:
        if any(re.search(sign, text) for sign in signs):
            return kind(f"{where} refused the connection: {first_line}", next_step=next_step)
    return TransientDatabaseError(f"{where} cannot be reached: {first_line}", next_step=_LATER)


# As servers and libpq write them in English. A server that speaks another language gets its clients' trouble taken for
# passing: they try again for a while, and show the text.
_BY_TEXT: Final[tuple[tuple[tuple[str, ...], type[WatchTimeError], str], ...]] = (
    (
        ("authentication failed", "no pg_hba.conf entry", "no password supplied", 'role ".*" does not exist',
         "is not permitted to log in", "permission denied for database"),
        CredentialsRefused,
        "check the user and password in WATCH_TIME_DATABASE_URL, and the user's privileges",
    ),
    (
        ('database ".*" does not exist',),
        Misconfigured,
        "create the database, or correct its name in WATCH_TIME_DATABASE_URL",
    ),
    (
        ("certificate",),
        Misconfigured,
        "name the server as its certificate does, and in sslrootcert the file with its authority's certificate",
    ),
    (
        ("connection is bad: invalid", "invalid .* value", "does not support SSL", "weak sslmode",
         'definition of service ".*" not found', 'service file ".*" not found'),
        Misconfigured,
        "correct WATCH_TIME_DATABASE_URL: its port, or the parameters after the ?",
    ),
    (("session is read-only",), TransientDatabaseError, _NEXT_STEPS["25006"]),
)  # fmt: skip
