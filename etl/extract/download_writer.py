"""The file that a download is written to: received as sent, stored on disk as plain CSV.

One pass does everything: decompress, detect the content, limit the size, hash, write. Nothing is kept in memory.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, BinaryIO, Final

from etl.domain.errors import MalformedReport
from etl.extract.gunzip import MAGIC, Gunzip
from etl.extract.scratch_folder import needs_room

if TYPE_CHECKING:
    from pathlib import Path

# Twenty million lines of 250 bytes are 5 GB. Three times that cannot be a report.
_MAX_PLAIN_BYTES: Final = 16 << 30
# Repetitive CSV shrinks twenty- to fiftyfold; gzip's limit, reached by bombs, is a thousandfold.
_MAX_RATIO: Final = 200
# Below this size, the ratio is harmless and not meaningful.
_RATIO_FROM_BYTES: Final = 64 << 20

# Enough for the first line of any page or error body.
_SNIFFED_BYTES: Final = 512
# How web pages and error bodies begin, after whitespace and a byte-order mark. A header line never does.
_NO_CSV: Final = {b"<": "a web page or an XML document", b"{": "a JSON document", MAGIC: "gzip in gzip"}


class DownloadWriter:
    """A report's file on local disk.

    Attributes:
        path: of the file.
        received_bytes: since the last (re)start: the offset at which to resume.
        size_bytes: written, decompressed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None
        self.restart()

    def restart(self) -> None:
        """Start again with an empty file."""
        self.close()
        self.received_bytes = 0
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()
        self._undecided = b""  # the first bytes, while they are too few to tell gzip
        self._gunzip: Gunzip | None = None
        self._is_decided = False
        self._beginning = b""
        with needs_room(self.path.parent, "a download"):
            self.path.touch(mode=0o600)  # a report names people: only the owner may read it, whatever the umask
            # Unbuffered: the pieces are large, and a full disk is reported by the write, not by a later close.
            self._file = self.path.open("wb", buffering=0)

    def close(self) -> None:
        """Close the file; it stays where it is, and its folder's owner removes it."""
        if self._file:
            self._file.close()

    def write(self, received: bytes) -> None:
        """Write the next bytes as received.

        Raises:
            MalformedReport: not CSV, damaged, or impossibly large.
            TryLater: the disk is full.
        """
        self.received_bytes += len(received)
        if not self._is_decided:
            received = self._undecided + received
            if len(received) < len(MAGIC):
                self._undecided = received
                return
            self._decide(received)
        self._unpack(received)

    def finish(self) -> str:
        """Complete the file; returns the SHA-256 of its decompressed bytes, in hex.

        Raises:
            MalformedReport: it is not.
        """
        if not self._is_decided:
            self._decide(self._undecided)
            self._unpack(self._undecided)
        if self._gunzip:
            self._gunzip.finish()
        self._refuse_what_is_no_csv()
        self.close()
        return self._sha256.hexdigest()

    def _decide(self, beginning: bytes) -> None:
        """Detect gzip from the bytes: Content-Encoding is often wrong."""
        self._is_decided = True
        self._gunzip = Gunzip() if beginning.startswith(MAGIC) else None

    def _unpack(self, received: bytes) -> None:
        for plain in self._gunzip.feed(received) if self._gunzip else (received,):
            self._keep(plain)

    def _keep(self, plain: bytes) -> None:
        self.size_bytes += len(plain)
        if self.size_bytes > min(_MAX_PLAIN_BYTES, max(_RATIO_FROM_BYTES, _MAX_RATIO * self.received_bytes)):
            raise MalformedReport(
                f"the download decompresses from {self.received_bytes} to over {self.size_bytes} bytes, far more than "
                "a report would",
                next_step="ask BlendVision about the file",
            )
        if len(self._beginning) < _SNIFFED_BYTES:
            self._beginning += plain[:_SNIFFED_BYTES]
            self._refuse_what_is_no_csv()
        self._sha256.update(plain)
        self._write(plain)

    def _refuse_what_is_no_csv(self) -> None:
        beginning = self._beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
        for sign, kind in _NO_CSV.items():
            if beginning.startswith(sign):
                raise MalformedReport(
                    f"the download is {kind}, not a CSV file",
                    next_step="run again later; if it persists, ask BlendVision about the report",
                )

    def _write(self, plain: bytes) -> None:
        if self._file is None:
            raise ValueError("the file is closed")
        left = memoryview(plain)
        with needs_room(self.path.parent, f"a download of {self.size_bytes} bytes and more"):
            while left:  # the last write before a disk is full takes a part
                left = left[self._file.write(left) :]
