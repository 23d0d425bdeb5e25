"""The kinds of stores: a folder, and whatever fsspec speaks to. Their errors are translated in `timeout_store`.

A file is there whole under its name or not at all, also when the process is killed while it writes.
"""

# ruff: noqa: D102 - `TimedStore` has the same methods, and says of each what it does.

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from etl.archive.layout import PART
from etl.domain.errors import Misconfigured
from etl.runtime.redaction import redact

# Parts of a large file, of which one or two are in memory. S3 wants at least 5 MB, Google multiples of 256 kB.
PART_BYTES: Final = 8 << 20
# The packages of this project's that bring a scheme's library.
_EXTRAS: Final = {"s3": "archive", "gs": "archive-gs", "abfs": "archive-azure"}
# Enough of what a library says of an error.
TEXT_CHARACTERS: Final = 200


class Store(Protocol):
    """What a kind of store can do; errors come as they are."""

    def put(self, source: BinaryIO, size_bytes: int, name: str) -> None: ...
    def read(self, name: str) -> bytes: ...
    def fetch(self, name: str, file: Path) -> None: ...
    def copy(self, source: str, target: str) -> None: ...
    def names(self, prefix: str) -> dict[str, int]: ...
    def modified(self, name: str) -> datetime: ...
    def remove(self, name: str) -> None: ...
    def open(self, name: str) -> BinaryIO: ...


class Folder:
    """Files below a folder; durable once they are there, as far as the file system is."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, source: BinaryIO, _: int, name: str) -> None:
        target = self._root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PART}")
        try:
            with part.open("xb") as whole:
                shutil.copyfileobj(source, whole, PART_BYTES)
                whole.flush()
                os.fsync(whole.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        for parent in (target.parent, *target.parent.parents):
            _sync_folder(parent)
            if parent == self._root:
                break

    def read(self, name: str) -> bytes:
        return (self._root / name).read_bytes()

    def fetch(self, name: str, file: Path) -> None:
        shutil.copyfile(self._root / name, file)

    def copy(self, source: str, target: str) -> None:
        with (self._root / source).open("rb") as file:
            self.put(file, 0, target)

    def names(self, prefix: str) -> dict[str, int]:
        found = {}
        for folder, _, files in os.walk(self._root / prefix):
            for file in files:
                path = Path(folder, file)
                try:
                    found[path.relative_to(self._root).as_posix()] = path.stat().st_size
                except FileNotFoundError:  # another run's, gone meanwhile
                    continue
        return found

    def modified(self, name: str) -> datetime:
        return datetime.fromtimestamp((self._root / name).stat().st_mtime, UTC)

    def remove(self, name: str) -> None:
        (self._root / name).unlink(missing_ok=True)

    def open(self, name: str) -> BinaryIO:
        return (self._root / name).open("rb")


class Objects:
    """Objects below a prefix: the store itself shows an object whole or not at all."""

    def __init__(self, fs: Any, root: str) -> None:
        self._fs = fs
        self._root = root

    def put(self, source: BinaryIO, size_bytes: int, name: str) -> None:
        path = self._path(name)
        if size_bytes <= PART_BYTES:
            data = source.read(PART_BYTES)
            if len(data) != size_bytes:
                raise OSError(f"{len(data)} of {size_bytes} bytes can be read")
            # In one request: on Azure two who write the same file in parts, as two first loads do, end in an error.
            self._fs.pipe_file(path, data)
            return
        # Part by part: `put_file` of some stores takes half a gigabyte of memory.
        target = self._fs.open(path, "wb", block_size=PART_BYTES)
        try:
            shutil.copyfileobj(source, target, PART_BYTES)
            target.close()
        except BaseException:
            # Closing it would keep what came so far, as if that were all; so would Python, when it clears it away.
            target.closed = True
            with contextlib.suppress(Exception):
                target.discard()
            raise
        arrived = self._fs.info(path)["size"]
        if arrived != size_bytes:
            raise OSError(f"{arrived} of {size_bytes} bytes arrived")

    def read(self, name: str) -> bytes:
        return bytes(self._fs.cat_file(self._path(name)))

    def fetch(self, name: str, file: Path) -> None:
        self._fs.get_file(self._path(name), str(file))

    def copy(self, source: str, target: str) -> None:
        self._fs.cp_file(self._path(source), self._path(target))

    def names(self, prefix: str) -> dict[str, int]:
        try:
            found = self._fs.find(self._path(prefix), detail=True)
        except FileNotFoundError:
            return {}
        return {name.removeprefix(f"{self._root}/"): int(entry["size"]) for name, entry in found.items()}

    def modified(self, name: str) -> datetime:
        at: datetime = self._fs.modified(self._path(name))
        return at

    def remove(self, name: str) -> None:
        try:
            self._fs.rm_file(self._path(name))
        except FileNotFoundError:
            return

    def open(self, name: str) -> BinaryIO:
        file: BinaryIO = self._fs.open(self._path(name), "rb", block_size=PART_BYTES, cache_type="readahead")
        return file

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class AzureBlobs(Objects):
    """Blobs of Azure, whose own copy is done some time after it was asked for, and is an empty file until then."""

    def copy(self, source: str, target: str) -> None:
        with self.open(source) as file:
            self.put(file, self._fs.info(self._path(source))["size"], target)


def open_backend(url: str) -> Store:
    """The store of `WATCH_TIME_ARCHIVE_URL`; nothing is asked of it yet.

    Raises:
        Misconfigured: the library for this kind of store is not installed, or does not take the address.
    """
    if "://" not in url:
        return Folder(Path(url).expanduser().absolute())
    scheme = url.partition("://")[0]
    try:
        import fsspec  # noqa: PLC0415 - only where it is needed

        # What the package offers asks another API of what kind the bucket is, which takes rights of its own.
        fsspec.register_implementation("gs", "gcsfs.core.GCSFileSystem", clobber=True)
        # Listings that are remembered would not know of other runs' files, nor of our own.
        fs, root = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        raise Misconfigured(
            f"the archive {url} needs a package that is not installed ({error})",
            next_step=f"install it: `pip install 'watch-time[{_EXTRAS[scheme]}]'`",
        ) from None
    except ValueError as error:
        raise Misconfigured(
            f"the archive {url} cannot be opened ({redact(str(error))[:TEXT_CHARACTERS]})",
            next_step="correct WATCH_TIME_ARCHIVE_URL, or set what the store's library asks for in the environment",
        ) from None
    return (AzureBlobs if scheme == "abfs" else Objects)(fs, root.rstrip("/"))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
