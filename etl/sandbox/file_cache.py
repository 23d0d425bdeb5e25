"""Files on disk: each made once, in bounded memory, and handed out from there.

A report of 20 million lines is gigabytes of text; it must not sit in memory, and its length and ETag must be known
before the first byte is sent. Only files are kept here; who gets them is decided elsewhere.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
import zlib
from collections import OrderedDict, defaultdict
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# Files beyond this are deleted, the longest unused first, and made again when they are asked for again.
_KEPT_BYTES = 8 << 30

_READ_BYTES = 1 << 20


class GivenUp(Exception):
    """The sandbox was closed while a file was being made."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as the storage host has it.

    Attributes:
        etag: as S3 makes it: the MD5 of the bytes, in quotes.
    """

    path: Path
    size_bytes: int
    etag: str


class FileCache:
    """A folder of files, safe to use from any thread; it goes when it is cleared, or with the object or the process."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="watch-time-sandbox-"))
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        self._files: OrderedDict[str, Stored] = OrderedDict()
        self._lock = threading.Lock()
        self._being_made: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._cleared = threading.Event()

    def file(self, name: str, pieces: Callable[[], Iterable[bytes | memoryview]]) -> Stored:
        """The file of this name; made from `pieces` by whoever asks first, while the others wait.

        Raises:
            GivenUp: the cache was cleared meanwhile.
        """
        with self._lock:
            being_made, cleared = self._being_made[name], self._cleared
        with being_made:
            with self._lock:
                if name in self._files:
                    self._files.move_to_end(name)
                    return self._files[name]
            stored = _write(self._folder / name, pieces(), cleared)
            with self._lock:
                if cleared.is_set():
                    stored.path.unlink(missing_ok=True)
                    raise GivenUp
                self._files[name] = stored
                self._drop_unused()
            return stored

    def _drop_unused(self) -> None:
        while len(self._files) > 1 and sum(file.size_bytes for file in self._files.values()) > _KEPT_BYTES:
            _, unused = self._files.popitem(last=False)
            unused.path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Give up what is being made and delete everything; the cache can be used again afterwards."""
        with self._lock:
            self._cleared.set()
            self._cleared = threading.Event()
            self._files.clear()
            shutil.rmtree(self._folder, ignore_errors=True)


def _write(path: Path, pieces: Iterable[bytes | memoryview], cleared: threading.Event) -> Stored:
    """Write the file next to its place and move it there when it is whole."""
    path.parent.mkdir(exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    digest = md5(usedforsecurity=False)
    size_bytes = 0
    try:
        with part.open("wb") as out:
            for piece in pieces:
                if cleared.is_set():
                    raise GivenUp
                size_bytes += out.write(piece)
                digest.update(piece)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return Stored(path, size_bytes, f'"{digest.hexdigest()}"')


def read_pieces(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a piece at a time."""
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces as one gzip member, without a time in it: equal input, equal bytes."""
    compressor = zlib.compressobj(level=1, wbits=31)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()
