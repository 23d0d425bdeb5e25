"""The server ends a connection between two statements, as administrators and timeouts do: no bug of ours.

By way of pgbouncer the driver is told of it in another manner than by the server itself.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from capped_stop import CappedStop
from conftest import TODAY, VOD, Warehouse
from etl.domain.errors import ExitCode
from etl.domain.outcome import FetchOptions
from etl.domain.slices import ReportType, Slice
from etl.job import plan_runner
from etl.load import compaction
from etl.load.load_steps import SliceLoad
from etl.load.month_merge import MonthMerge
from etl.runtime.cancellation import Stop
from etl.warehouse.database import open_database
from pgbouncer import pgbouncer
from warehouse_checker import violations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from etl.warehouse.transactions import Connection

OLD = (TODAY - timedelta(days=150)).replace(day=10)


@contextmanager
def _reached(warehouse: Warehouse, *, through_pool: bool) -> Iterator[str]:
    if not through_pool:
        yield warehouse.url
        return
    with pgbouncer(warehouse.url, server_connections=4) as through:
        yield through


def _end_before(
    warehouse: Warehouse,
    monkeypatch: pytest.MonkeyPatch,
    where: Any,
    name: str,
    connection_of: Callable[..., Connection],
) -> list[int]:
    """Have the server end the connection of the first call, just before it; gives whose were ended."""
    real, ended = getattr(where, name), list[int]()

    def after_the_end(*arguments: Any) -> Any:
        if not ended:
            # Not what the driver knows: that may be pgbouncer's.
            ended.extend(connection_of(*arguments).execute("SELECT pg_backend_pid()").fetchone() or ())
            assert warehouse.query("SELECT pg_terminate_backend(%s, 10000)", ended[0]) == [(True,)]
        return real(*arguments)

    monkeypatch.setattr(where, name, after_the_end)
    return ended


@pytest.mark.parametrize("through_pool", [False, True], ids=["direct", "pooled"])
def test_a_connection_that_ended_before_a_copy_is_opened_again(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, through_pool: bool
) -> None:
    ended = _end_before(
        newest_warehouse, monkeypatch, SliceLoad, "_copy_facts", lambda loading, *_: loading._connection
    )
    with _reached(newest_warehouse, through_pool=through_pool) as url:
        settings = newest_warehouse.configured(database_url=url)
        with plan_runner.open_job(settings, stop=CappedStop(0.05)) as opened:
            outcome = opened.context.pipeline.sync_slice(VOD, FetchOptions())
    assert len(ended) == 1
    assert (outcome.exit_code, outcome.revision) == (ExitCode.OK, 1), outcome
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, [VOD]) == []


@pytest.mark.parametrize("through_pool", [False, True], ids=["direct", "pooled"])
def test_a_month_whose_writing_connection_ended_is_put_together_again(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, through_pool: bool
) -> None:
    slice_ = Slice(OLD, ReportType.VOD)
    newest_warehouse.sync(slice_=slice_)
    ended = _end_before(newest_warehouse, monkeypatch, MonthMerge, "_copy", lambda merge: merge._connection)
    with (
        _reached(newest_warehouse, through_pool=through_pool) as url,
        open_database(url, schema="public", stop=CappedStop(0.05)) as database,
    ):
        (month,) = compaction.settled_months(database, newest_warehouse.configured(), today=TODAY)
        assert compaction.compact(database, month, Stop()) == compaction.Compacted(month, 1)
    assert len(ended) == 1
    assert violations(newest_warehouse.url, newest_warehouse.sandbox, [slice_]) == []
