"""dlt: Arrow tables from the CSV, merged by primary key, handed to Postgres as CSV files, which dlt calls its fastest.

    merge_with_dlt.py URL CSV delete-insert|upsert

Rows that the new report does not have stay. Runs in a virtual environment that has dlt, and without this project.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import dlt  # type: ignore[import-not-found]  # an extra of the benchmark
import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Iterator

_COLUMNS = ["title", "content_id", "streaming_type", "created_at", "customer_id", "watch_seconds"]
_BLOCK_BYTES = 16 << 20


def _tables(path: str) -> Iterator[pa.Table]:
    types = dict.fromkeys(_COLUMNS, pa.string()) | {
        "created_at": pa.timestamp("us", tz="UTC"),
        "watch_seconds": pa.decimal128(38, 9),
    }
    reader = csv.open_csv(
        path,
        read_options=csv.ReadOptions(column_names=_COLUMNS, skip_rows=1, block_size=_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=cast("Any", types), strings_can_be_null=False),
    )
    for batch in reader:
        yield pa.Table.from_batches([batch])


def main(url: str, path: str, strategy: str) -> None:
    """Load once, over what is there."""
    # dlt wants a host and a password in the address; the socket's folder among its parameters has the last word.
    address = url.replace("@/", ":none@localhost:5432/", 1) if "@/" in url else url
    key = ["content_id", "customer_id", "streaming_type"]
    pipeline = dlt.pipeline(
        pipeline_name="compare",
        pipelines_dir=str(Path.cwd() / "dlt"),
        destination=dlt.destinations.postgres(address),
        dataset_name="dlt_report",
    )
    disposition: Any = {"disposition": "merge", "strategy": strategy}
    resource = dlt.resource(_tables(path), name="report", write_disposition=disposition, primary_key=key)
    pipeline.run(resource, loader_file_format="csv").raise_on_failed_jobs()


if __name__ == "__main__":
    main(*sys.argv[1:])
