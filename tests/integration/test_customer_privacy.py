"""What the server says of a row that it refuses stays with us: no customer in messages, logs or the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

import psycopg
import pytest

from conftest import HEADER
from etl.warehouse import database as database_module
from etl.warehouse import driver_errors

if TYPE_CHECKING:
    from conftest import Warehouse
    from etl.domain.errors import WatchTimeError

REPORT = f"{HEADER}Title,c1,VOD,,customer-canary,1\n"
RESTATED = f"{HEADER}Title,c1,VOD,,customer-canary,2\nTitle,c2,VOD,,customer-canary,3\n"
TRIGGER: LiteralString = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'not for %', NEW.customer_id USING ERRCODE = '42501', DETAIL = NEW.customer_id;
    END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON watch_time FOR EACH ROW EXECUTE FUNCTION refuse()"""


@pytest.fixture
def server_said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the driver's errors held, to show that there was something to keep back."""
    said: list[str] = []
    sort = driver_errors.translate_error

    def listen(error: psycopg.Error, where: str) -> WatchTimeError:
        said.append(f"{error} {error.diag.message_detail} {error.diag.context}")
        return sort(error, where)

    monkeypatch.setattr(database_module, "translate_error", listen)
    return said


@pytest.mark.single_server("it takes no such obstacles, and a COPY loses its SQLSTATE")
@pytest.mark.parametrize(
    ("first", "obstacle", "then"),
    [
        pytest.param(
            None,
            "ALTER TABLE watch_time ADD CONSTRAINT c CHECK (customer_id <> 'customer-canary')",
            REPORT,
            id="DETAIL and CONTEXT of COPY",
        ),
        pytest.param(
            REPORT, "CREATE UNIQUE INDEX ON watch_time_20261116_vod (customer_id)", RESTATED, id="DETAIL, key"
        ),
        pytest.param(REPORT, TRIGGER, RESTATED, id="message of a trigger, in a class whose messages are shown"),
    ],
)
def test_a_refused_row_shows_in_no_output(
    *,
    warehouse: Warehouse,
    capfd: pytest.CaptureFixture[str],
    server_said: list[str],
    first: str | None,
    obstacle: LiteralString,
    then: str,
) -> None:
    if first:
        assert warehouse.sync(first).exit_code == 0
    with psycopg.connect(warehouse.url) as connection:
        connection.execute(obstacle)
    outcome = warehouse.sync(then)
    assert outcome.exit_code in (65, 78)
    assert "canary" in "".join(server_said)
    ledger = [warehouse.query(query) for query in ("TABLE report_slice", "TABLE report_check", "TABLE report_revision")]
    assert "SQLSTATE" in str(ledger)
    out, err = capfd.readouterr()
    assert "canary" not in f"{outcome!r} {outcome.message} {outcome.next_step} {ledger} {out} {err}"
