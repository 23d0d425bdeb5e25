"""Stores of each kind: a file is there whole or not at all, refusals are named, and other engines read the facts."""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import duckdb
import fsspec
import pyarrow.dataset as ds
import pytest
from azure.storage.blob import BlobServiceClient

import archives
import store_emulators
from archives import IN_THE_LAKE, IN_THE_WAREHOUSE, ArchiveFiles
from conftest import ARCHIVE_KINDS, DAY, HEADER, Program, Warehouse
from etl.archive import timeout_store
from etl.archive.layout import published
from etl.domain.errors import CredentialsRefused, Misconfigured
from etl.domain.slices import ReportType, Slice
from etl.runtime.cancellation import Stop
from raw_server import Request, raw_server, reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from etl.archive.timeout_store import TimedStore

pytestmark = pytest.mark.usefixtures("store_servers")

REPORT = HEADER + "A,c1,VOD,2026-01-02T03:04:05Z,007,12.5\nA,c1,VOD,2026-01-02T03:04:05Z,,3\n"

LIVE = Slice(DAY, ReportType.LIVE)


class Breaking(io.BytesIO):
    """A file of which the disk gives no more than the first half."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError("the disk is broken")
        return data


# aiohttp's, of the parts that the libraries send.
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("size_bytes", [1000, 20 << 20], ids=["in one piece", "in parts"])
def test_a_file_that_breaks_off_while_it_is_sent_is_not_there(archive: ArchiveFiles, size_bytes: int) -> None:
    """Nor when Python clears away what it was sent through, which would finish it, in place of the whole one."""
    backend = timeout_store.open_store(archive.url, Stop())._backend
    backend.put(io.BytesIO(b"whole"), 5, "raw/whole")
    for name in ("raw/whole", "raw/new"):
        with pytest.raises(OSError, match=r"the disk is broken|bytes can be read"):
            backend.put(Breaking(bytes(size_bytes)), 2 * size_bytes, name)
    gc.collect()
    assert archive.files() == {"raw/whole": b"whole"}


def test_a_file_of_a_folder_is_on_disk_before_it_has_its_name_and_its_folders_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a power cut after the commit could leave the name without the bytes, or without its folder."""
    lake = tmp_path / "lake"
    file = lake / "raw" / "a" / "file"
    synced, fsync = list[tuple[int, bool]](), os.fsync

    def note(handle: int) -> None:
        synced.append((os.fstat(handle).st_ino, file.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    timeout_store.open_store(str(lake), Stop()).write(b"bytes", "raw/a/file")
    folders = [(folder.stat().st_ino, True) for folder in (file.parent, file.parent.parent, lake)]
    assert synced == [(file.stat().st_ino, False), *folders]


def test_two_who_write_the_same_file_at_once_both_succeed(archive: ArchiveFiles) -> None:
    """As the first loads into an archive do with its organization.json."""
    store = timeout_store.open_store(archive.url, Stop())
    with ThreadPoolExecutor(8) as threads:
        for _ in threads.map(lambda _: store.write(b"whose it is", "organization.json"), range(64)):
            pass
    assert archive.files() == {"organization.json": b"whose it is"}


def _operations(store: TimedStore) -> list[Callable[[], object]]:
    """All that is asked of a store."""
    return [
        lambda: store.names("facts"),
        lambda: store.read("organization.json"),
        lambda: store.write(b"x", "raw/x"),
        lambda: store.copy("raw/x", "raw/y", size_bytes=1),
        lambda: store.modified("raw/x"),
        lambda: store.read_with("raw/x", lambda file: file.read()),
        lambda: store.remove("raw/x"),
    ]


@pytest.mark.stores
def test_where_azure_refuses_the_credentials_all_operations_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    url = archives.bucket("abfs")
    port = urlsplit(os.environ["AZURE_STORAGE_CONNECTION_STRING"].partition("BlobEndpoint=")[2].rstrip(";")).port
    wrong = base64.b64encode(bytes(64)).decode()
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", store_emulators.connection_string(port or 0, wrong))
    for operation in _operations(timeout_store.open_store(url, Stop())):
        with pytest.raises(CredentialsRefused):
            operation()


@pytest.mark.parametrize("status", [401, 403])
def test_where_google_refuses_the_credentials_all_operations_say_so(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """The emulator asks nobody who they are."""
    refused = {"error": {"code": status, "message": "does not have storage.objects.list access"}}
    with raw_server() as server:
        server.answer = lambda _: reply(status, json.dumps(refused).encode())
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        for operation in _operations(timeout_store.open_store("gs://lake/prefix", Stop())):
            with pytest.raises(CredentialsRefused):
                operation()


@pytest.mark.parametrize("kind", ARCHIVE_KINDS[1:])
def test_a_bucket_that_is_not_there_is_named(newest_warehouse: Warehouse, kind: str) -> None:
    archives.bucket(kind)
    with pytest.raises(Misconfigured, match="no-such-bucket"):
        timeout_store.open_store(f"{kind}://no-such-bucket/prefix", Stop()).write(b"x", "raw/x")


@pytest.mark.stores
def test_azure_shows_readers_no_file_that_it_is_still_copying(newest_warehouse: Warehouse, tmp_path: Path) -> None:
    """Its own copy is done some time after it was asked for, and an empty file until then; Azurite's at once."""
    archive = archives.new_archive("abfs", tmp_path)
    newest_warehouse.sync(REPORT, archive_url=archive.url)
    container, _, prefix = archive.url.removeprefix("abfs://").partition("/")
    facts = next(name for name in archive.files() if name.startswith("facts/"))
    with BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"]) as client:
        blob = client.get_blob_client(container, f"{prefix}/{facts}").get_blob_properties()
    assert blob.size > 0
    assert blob.copy.id is None


@pytest.mark.stores
@pytest.mark.parametrize("kind", ["gs", "abfs"])
def test_the_stores_libraries_have_nothing_to_say_to_people(program: Program, tmp_path: Path, kind: str) -> None:
    """Google's would ask another API of what kind the bucket is, at each operation, and complain that it may not."""
    url = archives.new_archive(kind, tmp_path).url
    for command in (["backfill", "--start", f"{DAY}", "--end", f"{DAY}"], ["archive", "--sweep"], ["doctor"]):
        done = program(*command, ARCHIVE_URL=url)
        assert done.returncode == 0, done.stdout + done.stderr
        loggers = {json.loads(line).get("logger", "etl") for line in done.stderr.splitlines() if line.startswith("{")}
        assert {name.partition(".")[0] for name in loggers} <= {"etl"}, done.stderr


def test_pyarrow_and_duckdb_read_the_facts_where_they_lie(newest_warehouse: Warehouse, archive: ArchiveFiles) -> None:
    newest_warehouse.sync(archive_url=archive.url)
    expected = newest_warehouse.query(IN_THE_WAREHOUSE)
    fs, root = fsspec.core.url_to_fs(archive.url, skip_instance_cache=True)
    table = ds.dataset(f"{root}/facts", filesystem=fs, partitioning="hive").to_table()
    assert table.num_rows == len(expected)
    assert sorted(map(str, table["watch_seconds"].to_pylist())) == sorted(f"{row[5]:.18f}" for row in expected)
    scheme = "file" if "://" not in archive.url else archive.url.partition("://")[0]
    with duckdb.connect() as connection:
        if scheme != "file":
            connection.register_filesystem(fs)
        assert connection.execute(IN_THE_LAKE, [f"{archive.url}/facts/**/*.parquet"]).fetchall() == expected


@pytest.mark.stores
@pytest.mark.timeout(400)
def test_spark_reads_what_the_warehouse_holds(newest_warehouse: Warehouse, tmp_path: Path) -> None:
    python = store_emulators.STORES / "bin" / "python"
    if not python.exists() or shutil.which("java") is None:
        store_emulators.skip_missing("Spark or a Java is not installed")
    archive = archives.new_archive("folder", tmp_path)
    report = REPORT + 'T,"c,2",LIVE,0001-01-01T00:00:00Z,u,0.000000000000000001\nT,c3,VOD,,u,999999999999.5\n'
    newest_warehouse.sync(report, archive_url=archive.url)
    newest_warehouse.sync(archive_url=archive.url, slice_=LIVE)
    reads = Path(__file__).parents[1] / "spark_reader.py"
    with contextlib.chdir(tmp_path):
        done = subprocess.run(
            [python, reads, f"{archive.url}/facts"], capture_output=True, text=True, timeout=360, check=False
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found = sorted(tuple(row) for row in json.loads(done.stdout))
    assert found == sorted(
        tuple(str(value) for value in row)
        for row in newest_warehouse.query(
            "SELECT content_id, customer_id, streaming_type, report_date, report_type, watch_seconds::numeric(38, 18) "
            "FROM watch_time"
        )
    )
    assert published(LIVE) in archive.files()


def test_a_store_that_refuses_the_credentials_ends_the_run(
    newest_warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It shows its files while the run begins, and takes none."""

    def answer(request: Request) -> bytes:
        path = urlsplit(request.target).path
        if path.startswith("/upload/"):
            return reply(403, b'{"error": {"code": 403, "message": "does not have storage.objects.create access"}}')
        return reply(200, b'{"items": []}') if path.endswith("/o") else reply(404, b'{"error": {"code": 404}}')

    with raw_server() as server:
        server.answer = answer
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        monkeypatch.setitem(fsspec.config.conf, "gs", {"token": "anon"})
        with newest_warehouse.job(archive_url="gs://lake/prefix", concurrency=1) as opened:
            plan = opened.planner.backfill(DAY - timedelta(days=4), DAY)
            refused = opened.run(plan)
    assert [int(outcome.exit_code) for outcome in refused] == [77]
    assert (opened.is_refused, opened.not_tried) == (True, len(plan) - 1)
    assert newest_warehouse.query("SELECT count(*) FROM watch_time") == [(0,)]
    assert newest_warehouse.query("SELECT count(*) FROM report_slice") == [(1,)]
