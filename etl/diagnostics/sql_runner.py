"""SQL typed by a person against the configured warehouse, read-only unless asked otherwise.

One statement goes through the driver, whose extended protocol takes no second one; sessions and files go through psql.
Neither shows a password to other users of the machine.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg import RawCursor, pq

from etl.domain.errors import ExitCode, Misconfigured, WatchTimeError, WrongUsage
from etl.warehouse import embedded_postgres, schema
from etl.warehouse.database import open_warehouse

if TYPE_CHECKING:
    from pathlib import Path

    from etl.config.settings import Settings
    from etl.warehouse.database import Database

# Of psql: its own trouble, a bad connection, an error in a script.
_CODES_OF_PSQL = {0: ExitCode.OK, 2: ExitCode.TRY_LATER, 3: ExitCode.USAGE}


@dataclass(frozen=True, slots=True)
class Result:
    """What a statement returned.

    Attributes:
        columns: names; None where the statement returns no rows.
        rows: values as Python has them.
        status: what the server says was done, such as `SELECT 5`.
    """

    columns: tuple[str, ...] | None
    rows: list[tuple[Any, ...]]
    status: str

    def as_json(self) -> list[dict[str, Any]] | dict[str, str]:
        """For `--json`: an object for each row."""
        if self.columns is None:
            return {"status": self.status}
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


def run(settings: Settings, text: str, *, writable: bool) -> Result:
    """Run one statement in a transaction.

    Raises:
        WrongUsage: it is wrong, or writes without being allowed to.
        WatchTimeError: the database cannot be used.
    """
    with open_warehouse(settings) as database:
        _require_tables(database)
        try:
            with database.transaction(writable=writable) as connection, RawCursor(connection) as cursor:
                if not writable:
                    cursor.execute("SET TRANSACTION READ ONLY")
                # With a parameter, though none is used: without one, the driver would let several statements pass.
                cursor.execute(text.encode(), [0])
                columns = tuple(column.name for column in cursor.description) if cursor.description else None
                return Result(columns, cursor.fetchall() if columns is not None else [], cursor.statusmessage or "")
        except WatchTimeError as error:
            raise _in_terms_of_the_statement(error) from None


def psql(settings: Settings, file: Path | None, *, writable: bool) -> ExitCode:
    """Open psql, or have it run a file up to the first error; returns what its end means.

    Raises:
        Misconfigured: there is no psql.
    """
    with open_warehouse(settings) as database:
        _require_tables(database)
        program = (embedded_postgres.program("psql") if database.is_embedded else None) or shutil.which("psql")
        if program is None:
            raise Misconfigured(
                "psql is not installed",
                next_step="install your system's package of Postgres clients, or give one statement: "
                '`watch-time sql "SELECT count(*) FROM content"`',
            )
        arguments = ["--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--file", str(file)] if file else []
        environment = os.environ | _variables(database, writable=writable)
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends a query of psql, not this process
        try:
            done = subprocess.run([program, *arguments], env=environment, check=False)  # noqa: S603 - psql
        finally:
            signal.signal(signal.SIGINT, before)
    return _CODES_OF_PSQL.get(done.returncode, ExitCode.USAGE)


def _require_tables(database: Database) -> None:
    with database.transaction(writable=database.is_embedded) as connection:
        schema.require_head(database, connection)


def _variables(database: Database, *, writable: bool) -> dict[str, str]:
    """The connection as libpq's variables: an argument could be read by other users."""
    parameters = database.parameters()
    session = f"-c search_path={database.schema}" + ("" if writable else " -c default_transaction_read_only=on")
    parameters["options"] = f"{parameters.get('options', '')} {session}".strip()
    names = {option.keyword.decode(): option.envvar for option in pq.Conninfo.get_defaults()}
    return {name.decode(): str(value) for keyword, value in parameters.items() if (name := names.get(keyword))}


def _in_terms_of_the_statement(error: WatchTimeError) -> WatchTimeError:
    if "SQLSTATE 25006" in error.message:
        return WrongUsage(
            "the statement changes data, but the session is read-only", next_step="to allow changes, add --write"
        )
    if re.search(r"SQLSTATE (22|23|25|42|0A|P0)", error.message):
        return WrongUsage(error.message, next_step="correct the statement; docs/data-dictionary.md lists the tables")
    return error
