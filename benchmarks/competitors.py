r"""Who is compared: each way of bringing a day's CSV into Postgres, as a command, and what it must leave behind.

Tables exist before the clock starts, as they do on the second day; a way that makes its own table makes it on the
clock. Those with `\copy`, pandas and SQLAlchemy keep the CSV's six columns and the two of the day in one table, under
the same key as ours; dlt and sling choose their own types and keys.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from importlib import util
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

JOBS: Final = Path(__file__).parent / "jobs"

LIMIT: Final = "limit"
OURS: Final = "watch-time"
OUR_LOAD_STAGE: Final = "load-stage"
BY_HAND: Final = "by-hand"

_COLUMNS: Final = """
    title          text NOT NULL,
    content_id     text COLLATE "C" NOT NULL,
    streaming_type text COLLATE "C" NOT NULL,
    created_at     timestamptz,
    customer_id    text COLLATE "C" NOT NULL,
    watch_seconds  numeric NOT NULL,
    report_date    date NOT NULL DEFAULT '2026-01-05',
    report_type    text COLLATE "C" NOT NULL DEFAULT 'VOD'
"""
_KEY: Final = "PRIMARY KEY (customer_id, content_id, streaming_type, report_date, report_type)"
_KEYED: Final = f"CREATE TABLE report ({_COLUMNS}, {_KEY})"
_PARTITIONED: Final = f"CREATE TABLE report ({_COLUMNS}, {_KEY}) PARTITION BY RANGE (report_date, report_type)"
_SLING_SECONDS: Final = "watch_time__sec"


@dataclass(frozen=True, slots=True)
class Load:
    """One load to be done.

    Attributes:
        url: of the database.
        csv: the report, with its hash.
        prepared: its rows as COPY text, the columns of the key that vary and the seconds.
        folder: for scratch files; the same for the loads that follow one another in one database.
        psql: the program.
        others: the folder of programs of the virtual environment that has dlt and sling.
    """

    url: str
    csv: Path
    sha256: str
    prepared: Path
    folder: Path
    psql: Path
    others: Path


@dataclass(frozen=True, slots=True)
class Competitor:
    """A way to load.

    Attributes:
        name: to choose it by.
        label: what it does, for the table.
        command: the command of a load; it may write files into the load's folder.
        create: SQL that makes its tables.
        table: where the rows are afterwards.
        seconds: its column of seconds.
        is_migrated: whether its database is one of ours, migrated.
        keeps_vanished: whether rows that a new report no longer has stay stored.
        has_own_clock: whether it prints its seconds, to be taken instead of the command's.
        by_default: whether it takes part when no names are given; the slower one of two similar ways does not.
        missing: what it lacks here, given the other virtual environment's programs; None when it can run.
    """

    name: str
    label: str
    command: Callable[[Load], list[str]]
    create: str = ""
    table: str = "report"
    seconds: str = "watch_seconds"
    is_migrated: bool = False
    keeps_vanished: bool = False
    has_own_clock: bool = False
    by_default: bool = True
    missing: Callable[[Path], str | None] = lambda _: None


def _python(job: str, *arguments: str) -> Callable[[Load], list[str]]:
    return lambda load: [sys.executable, str(JOBS / f"{job}.py"), load.url, str(load.csv), *arguments]


def _psql(job: str) -> Callable[[Load], list[str]]:
    def command(load: Load) -> list[str]:
        script = (JOBS / f"{job}.sql").read_text()
        file = load.folder / "load.sql"
        # psql puts no variables into a \copy.
        file.write_text(script.replace("@csv@", str(load.csv).replace("'", "''")))
        return [str(load.psql), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file), load.url]

    return command


def _by_hand(load: Load) -> list[str]:
    *_, file, _ = _psql("freeze")(replace(load, csv=load.folder / "report.csv"))
    return ["sh", str(JOBS / "by_hand.sh"), str(load.psql), file, load.url]


def _limit(load: Load) -> list[str]:
    return [sys.executable, str(JOBS / "copy_prepared.py"), load.url, str(load.prepared)]


def _load_stage(load: Load) -> list[str]:
    return [sys.executable, str(JOBS / "load_stage.py"), load.url, str(load.csv), load.sha256]


def _end_to_end(_: Load) -> list[str]:
    day = ("--start", "2026-01-05", "--end", "2026-01-05", "--type", "VOD")
    return [sys.executable, "-m", "etl", "backfill", *day, "--refresh"]


def _dlt(load: Load) -> list[str]:
    return [str(load.others / "python"), str(JOBS / "merge_with_dlt.py"), load.url, str(load.csv), "delete-insert"]


def _dlt_missing(others: Path) -> str | None:
    found = any(others.parent.glob("lib/python*/site-packages/dlt/__init__.py"))
    return None if found else "dlt is not installed (make benchmarks)"


def _sling(load: Load) -> list[str]:
    # The headers as sling writes them as column names.
    names = ("content_title", "content_id", "streaming_type", "created_at", "customer_id", _SLING_SECONDS)
    columns = dict.fromkeys(names, "text") | {"created_at": "timestampz", _SLING_SECONDS: "decimal"}
    replication = {
        "source": "LOCAL",
        "target": "COMPARED",
        "streams": {
            f"file://{load.csv}": {
                "mode": "incremental",
                "object": "public.report",
                "primary_key": ["content_id", "customer_id", "streaming_type"],
                "columns": columns,
                "source_options": {"format": "csv", "header": True},
            }
        },
        "env": {"SLING_LOADED_AT_COLUMN": "false"},
    }
    file = load.folder / "replication.json"
    file.write_text(json.dumps(replication))
    # sling wants a password in the address.
    address = f"{load.url.replace('postgres:@/', 'postgres:none@/', 1)}&sslmode=disable"
    program = str(_sling_program(load.others))
    return ["env", f"COMPARED={address}", f"SLING_HOME_DIR={load.folder}", program, "run", "-r", str(file)]


def _sling_program(others: Path) -> Path | None:
    return next(iter(others.parent.glob("lib/python*/site-packages/sling_*/bin/sling-*")), None)


def _sling_missing(others: Path) -> str | None:
    return None if _sling_program(others) else "sling's program is not installed (make benchmarks)"


def _demo_missing(_: Path) -> str | None:
    return None if util.find_spec("uvicorn") else "the extra 'demo' is not installed"


ALL: Final = (
    Competitor(
        LIMIT,
        "the limit: COPY of prepared rows, then key and sums",
        _limit,
        has_own_clock=True,
    ),
    Competitor(
        OUR_LOAD_STAGE,
        "watch-time, load stage alone: file to commit",
        _load_stage,
        table="watch_time",
        is_migrated=True,
        has_own_clock=True,
    ),
    Competitor(
        OURS,
        "watch-time, end to end with HTTP and hash",
        _end_to_end,
        table="watch_time",
        is_migrated=True,
        missing=_demo_missing,
    ),
    Competitor(
        BY_HAND,
        "the same job by hand: curl, sha256sum, \\copy FREEZE, key, sums, swap",
        _by_hand,
        _PARTITIONED,
        missing=lambda _: None if which("curl") else "curl is not installed",
    ),
    Competitor("freeze", "from a local file: \\copy FREEZE, key, sums, swap", _psql("freeze"), _PARTITIONED),
    Competitor("copy", "psql \\copy into a table with the primary key", _psql("copy"), _KEYED),
    Competitor("upsert", "psql \\copy into staging, ON CONFLICT", _psql("upsert"), _KEYED, keeps_vanished=True),
    Competitor("pandas", "pandas to_sql, default settings", _python("to_sql", "rows"), _KEYED),
    Competitor("pandas-multi", 'pandas to_sql, method="multi"', _python("to_sql", "multi"), _KEYED, by_default=False),
    Competitor("pandas-copy", "pandas to_sql, COPY callable", _python("to_sql", "copy"), _KEYED),
    Competitor(
        "sqlalchemy",
        "SQLAlchemy on_conflict_do_update, executemany",
        _python("insert_on_conflict", "executemany"),
        _KEYED,
        keeps_vanished=True,
    ),
    Competitor(
        "sqlalchemy-values",
        "SQLAlchemy on_conflict_do_update, values()",
        _python("insert_on_conflict", "values"),
        _KEYED,
        keeps_vanished=True,
        by_default=False,
    ),
    Competitor("dlt", "dlt, merge, Arrow", _dlt, table="dlt_report.report", keeps_vanished=True, missing=_dlt_missing),
    Competitor(
        "sling",
        "sling, incremental",
        _sling,
        seconds=_SLING_SECONDS,
        keeps_vanished=True,
        missing=_sling_missing,
    ),
)
