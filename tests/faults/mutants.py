"""The program with one safeguard taken away, by a patch from outside: what the fault tests must notice."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Final
from unittest.mock import patch

import httpx
import psycopg
from psycopg import sql

from etl.domain.contract import CUSTOMER_ID, FACTS
from etl.extract import download, gunzip, storage_headers
from etl.load import load_steps, month_merge, partition_bounds
from etl.pipeline import guards, outcome_recorder, slice_sync
from etl.runtime.redaction import Redactor
from etl.transform import copy_encoder, copy_format, normalise, record_parser
from etl.warehouse import ledger
from etl.warehouse.transactions import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

_NA: Final = ["NA", "N/A", "null", "nan", "None"]


def _no_slice_lock() -> None:
    _replace(ledger, "lock", lambda *_, **__: None)


def _ledger_apart() -> None:
    """The ledger's rows are committed in a transaction of their own."""
    original = ledger.record_revision

    def apart(connection: psycopg.Connection[Any], *arguments: Any, **more: Any) -> int:
        known = connection.info
        with Connection.connect(known.dsn, password=known.password, application_name="watch-time") as another:
            another.execute("SELECT set_config('search_path', %s, true)", [_search_path(connection)])
            return original(another, *arguments, **more)

    _replace(ledger, "record_revision", apart)


def _search_path(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("SHOW search_path").fetchone()
    return str(row and row[0])


def _no_length_check() -> None:
    """What came before the connection broke is taken for the file."""
    original = download._Download._read

    def lenient(self: Any, response: httpx.Response) -> None:
        try:
            original(self, response)
        except httpx.HTTPError:
            self.total_bytes = None

    _replace(download._Download, "_read", lenient)


def _blind_to_sources() -> None:
    """A part, or a known ETag, is taken for one of any file."""
    _replace(storage_headers, "source_of", lambda _: "reports.example.com/r.csv")


def _no_gzip_end() -> None:
    _replace(gunzip.Gunzip, "finish", lambda _: None)


def _na_is_nothing() -> None:
    """Ids that look like missing values are taken for such, as pandas does unless it is told not to."""
    original = record_parser.parse

    @wraps(original)
    def parsed(*arguments: Any) -> Any:
        rows, faults = original(*arguments)
        rows[CUSTOMER_ID] = rows[CUSTOMER_ID].where(~rows[CUSTOMER_ID].isin(_NA), "")
        return rows, faults

    _replace(normalise, "parse", parsed)


def _mutilated() -> None:
    """A line of each block of facts gets lost on its way into the database."""
    original = copy_format.encode

    def shorter(table: Any, columns: Any) -> memoryview:
        text = original(table, columns)
        return memoryview(bytes(text).partition(b"\n")[2]) if columns == FACTS else text

    _replace(copy_encoder, "encode", shorter)


def _mutilated_unreconciled() -> None:
    _mutilated()
    _replace(load_steps.SliceLoad, "_reconcile", lambda *_: None)


def _rollup_left_alone() -> None:
    """Facts are written, and what each content was watched is not summed again."""
    original = load_steps.SliceLoad._execute

    def without_rollup(self: Any, name: str, **more: Any) -> None:
        if name not in {"load/store_sums", "load/insert_sums"}:
            original(self, name, **more)

    _replace(load_steps.SliceLoad, "_execute", without_rollup)


def _rollup_left_alone_unreconciled() -> None:
    _rollup_left_alone()
    _replace(load_steps.SliceLoad, "_reconcile", lambda *_: None)


def _no_redaction() -> None:
    _replace(Redactor, "__call__", lambda _, text: text)


def _no_shrink_guard() -> None:
    _replace(guards, "check_shrinking", lambda *_, **__: None)


def _attached_without_key() -> None:
    """A partition is attached as it was filled, and ATTACH is left to find out about keys."""
    original = partition_bounds.Partition.render

    def without_key(self: Any, name: str, *arguments: Any, **more: Any) -> sql.Composed:
        if name != "load/key_partition":
            return original(self, name, *arguments, **more)
        return sql.SQL("ALTER TABLE {} ALTER COLUMN report_date DROP DEFAULT").format(sql.Identifier(self.name))

    _replace(partition_bounds.Partition, "render", without_key)


def _overtaking() -> None:
    """A run goes on with what it asked for before another one committed."""
    _replace(outcome_recorder.SliceAttempt, "require_fresh_baseline", lambda *_: None)


def _blind_to_hashes() -> None:
    _replace(slice_sync.Pipeline, "_is_current", lambda *_: False)
    _replace(slice_sync.Pipeline, "_has_been_read_so", lambda *_: False)


def _swapping_blindly() -> None:
    """A month takes its slices' place whatever was loaded while it was put together."""
    _replace(month_merge.MonthMerge, "_facts_versions", lambda *_: {})


_MUTANTS: Final[dict[str, Callable[[], None]]] = {
    "no-slice-lock": _no_slice_lock,
    "ledger-apart": _ledger_apart,
    "no-length-check": _no_length_check,
    "blind-to-sources": _blind_to_sources,
    "no-gzip-end": _no_gzip_end,
    "na-is-nothing": _na_is_nothing,
    "mutilated": _mutilated,
    "mutilated-unreconciled": _mutilated_unreconciled,
    "rollup-left-alone": _rollup_left_alone,
    "rollup-left-alone-unreconciled": _rollup_left_alone_unreconciled,
    "no-redaction": _no_redaction,
    "no-shrink-guard": _no_shrink_guard,
    "attached-without-key": _attached_without_key,
    "overtaking": _overtaking,
    "blind-to-hashes": _blind_to_hashes,
    "swapping-blindly": _swapping_blindly,
}


def mutate(name: str) -> None:
    """Take the safeguard away from this process."""
    _MUTANTS[name]()


def _replace(holder: Any, name: str, by: Any) -> None:
    patch.object(holder, name, by).start()
