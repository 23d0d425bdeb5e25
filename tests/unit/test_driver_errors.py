"""What each of the driver's errors becomes: no SQLSTATE is left to chance, and no row's values are shown."""

from __future__ import annotations

import re

import psycopg
import pytest
from psycopg import errors

from etl.domain.errors import CredentialsRefused, DataRefused, Misconfigured, WatchTimeError
from etl.warehouse.database import Database
from etl.warehouse.driver_errors import TransientDatabaseError, translate_error

STATES = sorted(code for code in errors._sqlcodes if re.fullmatch(r"[0-9A-Z]{5}", code))

# The exit code by class; in all others no outside trouble is possible: a mistake of ours, 70.
CODES = {
    "08": 75, "0A": 78, "0P": 78, "22": 65, "23": 65, "28": 77, "3D": 78, "3F": 78, "40": 75, "42": 78, "44": 65,
    "53": 75, "54": 65, "55": 75, "57": 75, "58": 75, "72": 75, "F0": 78, "P0": 65, "XX": 75,
    "25006": 75, "2BP01": 78, "25P03": 75, "25P04": 75,
}  # fmt: skip

# Connection lost, serialization, deadlock, lock timeout, shutdown and start, timeouts of the session, no room for one
# more connection, and a server that turned read-only. Not a full disk, not a cancelled statement.
RETRIED = {
    "08000", "08001", "08003", "08004", "08006", "08007", "08P01", "25006", "25P03", "25P04", "40001", "40P01",
    "53300", "53400", "55P03", "57P01", "57P02", "57P03", "57P05",
}  # fmt: skip


def words(error: psycopg.Error) -> WatchTimeError:
    return translate_error(error, "db.example.com/warehouse")


@pytest.mark.parametrize("state", STATES)
def test_every_sqlstate_has_its_exit_code_and_its_next_step(state: str) -> None:
    error = words(errors.lookup(state)("(customer_id)=(canary)"))
    assert error.exit_code == CODES.get(state, CODES.get(state[:2], 70))
    assert isinstance(error, TransientDatabaseError) is (state in RETRIED)
    assert state in error.message
    assert "canary" not in error.message
    assert error.next_step


def test_the_list_of_sqlstates_is_not_empty() -> None:
    assert len(STATES) > 240
    assert set(STATES) >= RETRIED


def test_an_unheard_of_sqlstate_goes_by_its_class() -> None:
    class OutOfSomething(psycopg.OperationalError):
        sqlstate = "53999"

    assert words(OutOfSomething()).exit_code == 75


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('connection failed: connection to server at "h" (10.0.0.1), port 5432 failed: Connection refused\n\tIs it up?',
         TransientDatabaseError),
        ("failed to resolve host 'h': [Errno -2] Name or service not known", TransientDatabaseError),
        ("connection failed: FATAL:  the database system is starting up", TransientDatabaseError),
        ("connection failed: FATAL:  sorry, too many clients already", TransientDatabaseError),
        ("connection failed: session is read-only", TransientDatabaseError),
        ("consuming input failed: server closed the connection unexpectedly", TransientDatabaseError),
        ("the connection is lost", TransientDatabaseError),
        ("", TransientDatabaseError),
        ('connection failed: FATAL:  password authentication failed for user "u"', CredentialsRefused),
        ("connection failed: fe_sendauth: no password supplied", CredentialsRefused),
        ('connection failed: FATAL:  no pg_hba.conf entry for host "h"', CredentialsRefused),
        ('connection failed: FATAL:  role "u" does not exist', CredentialsRefused),
        ('connection failed: FATAL:  database "d" does not exist', Misconfigured),
        ('connection is bad: invalid sslmode value: "x"', Misconfigured),
        ('connection is bad: weak sslmode "require" may not be used with sslrootcert=system', Misconfigured),
        ('connection is bad: definition of service "x" not found', Misconfigured),
        ('connection failed: root certificate file "/x.pem" does not exist', Misconfigured),
        ('connection failed: server certificate for "a" does not match host name "b"', Misconfigured),
        ('connection is bad: invalid port number: "99999"', Misconfigured),
        ("connection failed: SSL error: certificate verify failed", Misconfigured),
        ("connection failed: server does not support SSL, but SSL was required", Misconfigured),
    ],
)  # fmt: skip
def test_connection_trouble_is_told_by_its_text(text: str, kind: type[WatchTimeError]) -> None:
    error = words(psycopg.OperationalError(text))
    assert type(error) is kind
    assert "\n" not in error.message
    assert "db.example.com/warehouse" in error.message


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (psycopg.DataError, 65),
        (psycopg.ProgrammingError, 70),
        (psycopg.InterfaceError, 70),
        (psycopg.NotSupportedError, 70),
        (psycopg.IntegrityError, 70),
        (psycopg.InternalError, 70),
    ],
)
def test_what_the_driver_itself_refuses_is_not_tried_again(kind: type[psycopg.Error], code: int) -> None:
    error = words(kind("can't adapt canary"))
    assert error.exit_code == code
    assert "canary" not in error.message
    assert type(error) in {DataRefused, WatchTimeError}


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@db.example.com:5433/warehouse?sslmode=require", "db.example.com/warehouse"),
        ("postgresql+psycopg://me@db.example.com/warehouse", "db.example.com/warehouse"),
        ("postgres://me@/warehouse?host=/run/postgresql", "/run/postgresql/warehouse"),
        ("postgresql:///warehouse", "the local socket/warehouse"),
        ("postgresql://me@db.example.com", "db.example.com/me"),
    ],
)
def test_a_database_is_shown_by_host_and_name_alone(url: str, shown: str) -> None:
    assert str(Database(url, schema="public")) == shown


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("postgresql://me:canary@db/warehouse?no_such=option", id="unknown option"),
        pytest.param("postgresql://me:ca%nary@db/warehouse", id="stray per cent sign"),
        pytest.param("canary", id="word"),
        pytest.param("", id="nothing"),
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(Misconfigured, match="is not a valid Postgres URL") as refused:
        Database(url, schema="public")
    assert "canary" not in f"{refused.value} {refused.value.__cause__} {refused.value.next_step}"
