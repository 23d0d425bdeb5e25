"""Archives for the tests: a folder, buckets of moto's S3 server, and of the emulators of Google's and Azure's stores.

And reading them as others would, with DuckDB.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import socket
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock
from urllib.parse import quote

import boto3
import duckdb
import httpx
from azure.storage.blob import ContainerClient
from moto.server import ThreadedMotoServer

import store_emulators
from plain_http import EMPTY_TRUST_STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


class Bucket(Protocol):
    """A bucket or container, as somebody else sees it: by the store's own library, or without any."""

    def names(self, prefix: str) -> list[str]: ...
    def read(self, name: str) -> bytes: ...
    def put(self, name: str, data: bytes) -> None: ...
    def remove(self, name: str) -> None: ...


@dataclass(frozen=True)
class _Folder:
    root: Path

    def names(self, prefix: str) -> list[str]:
        found = (path for path in self.root.rglob("*") if path.is_file())
        return [name for path in found if (name := path.relative_to(self.root).as_posix()).startswith(prefix)]

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def put(self, name: str, data: bytes) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def remove(self, name: str) -> None:
        (self.root / name).unlink()


def _s3() -> Any:
    """A client of the server that the environment names."""
    return _s3_client(os.environ["AWS_ENDPOINT_URL"])


@functools.cache
def _s3_client(endpoint: str) -> Any:
    """Making one takes longer than most of what it is asked."""
    return boto3.client("s3", endpoint_url=endpoint)


@dataclass(frozen=True)
class _S3:
    bucket: str

    def names(self, prefix: str) -> list[str]:
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def read(self, name: str) -> bytes:
        data: bytes = _s3().get_object(Bucket=self.bucket, Key=name)["Body"].read()
        return data

    def put(self, name: str, data: bytes) -> None:
        _s3().put_object(Bucket=self.bucket, Key=name, Body=data)

    def remove(self, name: str) -> None:
        _s3().delete_object(Bucket=self.bucket, Key=name)


@dataclass(frozen=True)
class _Google:
    """By its JSON API."""

    bucket: str

    def names(self, prefix: str) -> list[str]:
        found = json.loads(_ask("GET", f"/storage/v1/b/{self.bucket}/o?prefix={quote(prefix, safe='')}"))
        assert "nextPageToken" not in found
        return [item["name"] for item in found.get("items", [])]

    def read(self, name: str) -> bytes:
        return _ask("GET", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}?alt=media")

    def put(self, name: str, data: bytes) -> None:
        _ask("POST", f"/upload/storage/v1/b/{self.bucket}/o?uploadType=media&name={quote(name, safe='')}", data)

    def remove(self, name: str) -> None:
        _ask("DELETE", f"/storage/v1/b/{self.bucket}/o/{quote(name, safe='')}")


def _ask(method: str, path: str, data: bytes | None = None) -> bytes:
    url, headers = os.environ["STORAGE_EMULATOR_HOST"] + path, {"Content-Type": "application/json"}
    answer = httpx.request(method, url, content=data, headers=headers, timeout=30, verify=EMPTY_TRUST_STORE)
    return answer.raise_for_status().content


@dataclass(frozen=True)
class _Azure:
    container: str

    def names(self, prefix: str) -> list[str]:
        with self._client() as client:
            return list(client.list_blob_names(name_starts_with=prefix))

    def read(self, name: str) -> bytes:
        with self._client() as client:
            data: bytes = client.download_blob(name).readall()
        return data

    def put(self, name: str, data: bytes) -> None:
        with self._client() as client:
            client.upload_blob(name, data, overwrite=True)

    def remove(self, name: str) -> None:
        with self._client() as client:
            client.delete_blob(name)

    def create(self) -> None:
        with self._client() as client:
            client.create_container()

    def _client(self) -> ContainerClient:
        return ContainerClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"], self.container)


@dataclass(frozen=True)
class ArchiveFiles:
    """An archive's address, and its files as somebody else finds them."""

    url: str
    copies: Path

    def files(self) -> dict[str, bytes]:
        """Every file, by its name."""
        bucket, prefix = self._bucket()
        return {name.removeprefix(prefix): bucket.read(name) for name in bucket.names(prefix)}

    def remove(self, name: str) -> None:
        """As somebody would who should not."""
        bucket, prefix = self._bucket()
        bucket.remove(prefix + name)

    def put(self, name: str, data: bytes) -> None:
        """A file from somewhere else."""
        bucket, prefix = self._bucket()
        bucket.put(prefix + name, data)

    def _bucket(self) -> tuple[Bucket, str]:
        """The bucket, and how the names of the archive's files begin there."""
        scheme, _, rest = self.url.rpartition("://")
        if not scheme:
            return _Folder(Path(self.url)), ""
        name, _, prefix = rest.partition("/")
        kinds: dict[str, Callable[[str], Bucket]] = {"s3": _S3, "gs": _Google, "abfs": _Azure}
        return kinds[scheme](name), f"{prefix}/"

    def copied(self) -> Path:
        """A copy in a folder, for readers that do not speak the store's protocol here."""
        folder = self.copies / uuid.uuid4().hex
        for name, data in self.files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    def facts(self) -> list[Row]:
        """All rows that readers of the lake see."""
        folder = self.copied()
        return query(IN_THE_LAKE, str(folder / "facts" / "**" / "*.parquet")) if any(folder.glob("facts")) else []


def new_archive(kind: str, folder: Path) -> ArchiveFiles:
    """An empty archive in a store of this kind."""
    return ArchiveFiles(str(folder / "lake") if kind == "folder" else bucket(kind), folder / "copies")


def query(text: str, *parameters: str) -> list[Row]:
    """Ask DuckDB."""
    with duckdb.connect() as connection:
        return connection.execute(text, list(parameters)).fetchall()


@contextlib.contextmanager
def store_servers(folder: Path) -> Iterator[None]:
    """The servers of all stores that can be had on this machine, and the environment of their clients."""
    with s3(), store_emulators.google(folder), store_emulators.azure(folder):
        yield


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


def bucket(kind: str = "s3") -> str:
    """The address of an archive in a bucket of its own; the test is skipped where there is no store of this kind."""
    name = f"lake-{uuid.uuid4().hex}"
    if kind == "s3":
        _s3().create_bucket(Bucket=name)
    elif kind == "gs":
        if "STORAGE_EMULATOR_HOST" not in os.environ:
            store_emulators.skip_missing("no emulator of Google's store is installed")
        _ask("POST", "/storage/v1/b?project=tests", json.dumps({"name": name}).encode())
    else:
        if "AZURE_STORAGE_CONNECTION_STRING" not in os.environ:
            store_emulators.skip_missing("Azurite is not installed")
        _Azure(name).create()
    return f"{kind}://{name}/watch-time"


@contextlib.contextmanager
def stalled_s3(*, on: bytes, for_s: float | None = None) -> Iterator[str]:
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
