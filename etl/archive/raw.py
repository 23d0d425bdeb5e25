"""A report's bytes as the archive keeps them: the CSV that was hashed, compressed with zstd. No network."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from etl.domain.errors import ArchiveDamaged

if TYPE_CHECKING:
    from pathlib import Path

_PIECE_BYTES: Final = 1 << 20


def pack(csv: Path, packed: Path) -> None:
    """Compress the report at `csv` into the file `packed`."""
    with csv.open("rb") as source, pa.CompressedOutputStream(pa.OSFile(str(packed), "wb"), "zstd") as target:
        while piece := source.read(_PIECE_BYTES):
            target.write(piece)


def unpack(packed: Path, csv: Path, *, sha256: str) -> None:
    """Restore the report's bytes.

    Raises:
        ArchiveDamaged: they are not those of that hash.
    """
    digest = hashlib.sha256()
    try:
        with pa.CompressedInputStream(pa.OSFile(str(packed), "rb"), "zstd") as source, csv.open("wb") as target:
            while piece := source.read(_PIECE_BYTES):
                digest.update(piece)
                target.write(piece)
    except pa.ArrowException as error:
        raise _damaged(sha256, f"cannot be decompressed ({type(error).__name__})") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise _damaged(sha256, "cannot be decompressed") from None  # Arrow's own, of a broken stream
    if digest.hexdigest() != sha256:
        raise _damaged(sha256, "does not match the hash in its name")


def _damaged(sha256: str, what: str) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"the archived report {sha256} {what}",
        next_step="restore the file from the store's versions or backups; nothing was loaded",
    )
