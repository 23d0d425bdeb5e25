"""Archives for the tests: a folder, and buckets of moto's S3 server; and reading them as others would, with DuckDB."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import boto3
import duckdb
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = tuple[Any, ...]

# What the tables hold, from the lake: the columns of `IN_THE_WAREHOUSE`, in the same order.
IN_THE_LAKE = """
    SELECT content_id, customer_id, streaming_type, report_date, report_type, watch_seconds
    FROM read_parquet(?, hive_partitioning = true)
    ORDER BY ALL
"""
IN_THE_WAREHOUSE = (
    "SELECT content_id, customer_id, streaming_type, report_date, report_type, watch_seconds FROM watch_time "
    "ORDER BY 1, 2, 3, 4, 5, 6"
)


@dataclass(frozen=True)
class Place:
    """An archive's address, and its files as somebody else finds them."""

    url: str
    copies: Path

    def files(self) -> dict[str, bytes]:
        """Every file, by its name."""
        if "://" not in self.url:
            root = Path(self.url)
            return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        bucket, _, prefix = self.url.partition("://")[2].partition("/")
        client = boto3.client("s3")
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{prefix}/")
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return {
            key.removeprefix(f"{prefix}/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys
        }

    def remove(self, name: str) -> None:
        """As somebody would who should not."""
        if "://" not in self.url:
            (Path(self.url) / name).unlink()
            return
        bucket, _, prefix = self.url.partition("://")[2].partition("/")
        boto3.client("s3").delete_object(Bucket=bucket, Key=f"{prefix}/{name}")

    def put(self, name: str, data: bytes) -> None:
        """A file from somewhere else."""
        if "://" not in self.url:
            path = Path(self.url) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            return
        bucket, _, prefix = self.url.partition("://")[2].partition("/")
        boto3.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=data)

    def copied(self) -> Path:
        """A copy in a folder, for readers that do not speak S3 here."""
        folder = self.copies / uuid.uuid4().hex
        for name, data in self.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def facts(self) -> list[Row]:
        """All rows that readers of the lake see."""
        folder = self.copied()
        return query(IN_THE_LAKE, str(folder / "facts" / "**" / "*.parquet")) if any(folder.glob("facts")) else []


def query(text: str, *parameters: str) -> list[Row]:
    """Ask DuckDB."""
    with duckdb.connect() as connection:
        return connection.execute(text, list(parameters)).fetchall()


@contextlib.contextmanager
def s3() -> Iterator[None]:
    """A server of the S3 protocol, and the environment of its clients."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    with mock.patch.dict(os.environ, environment):
        try:
            yield
        finally:
            server.stop()


def bucket() -> str:
    """The address of an archive in a bucket of its own."""
    name = f"lake-{uuid.uuid4().hex}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}/watch-time"


@contextlib.contextmanager
def stalling(*, on: bytes, for_s: float | None = None) -> Iterator[str]:
    """The S3 server behind a wire that holds all from a request with these bytes on; returns its address.

    It holds it for so many seconds; None: for good.
    """
    host, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").split(":")
    with contextlib.ExitStack() as opened, socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def carry(source: socket.socket, target: socket.socket, stop_at: bytes | None) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65_536):
                    if stop_at and stop_at in data:
                        over.wait(for_s)
                    target.sendall(data)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client = opened.enter_context(listener.accept()[0])
                    server = opened.enter_context(socket.create_connection((host, int(port))))
                    for ends in ((client, server, on), (server, client, None)):
                        threading.Thread(target=carry, args=ends, daemon=True).start()

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        serving.join()
        over.set()
