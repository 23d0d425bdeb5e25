"""A folder for a run's downloads: removed at its end, or by a later run if this one is killed.

Also translates errors about a full disk, which are temporary.
"""

from __future__ import annotations

import errno
import fcntl
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etl.domain.errors import TryLater

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX: Final = "watch-time-run-"
_LOCK_NAME: Final = "lock"
# A full disk or no inode left; a quota; the size that a process may write.
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def needs_room(folder: Path, what: str) -> Iterator[None]:
    """Translate errors of a block that writes to `folder`, on this machine's disk.

    Raises:
        TryLater: there is no space left.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        raise TryLater(
            f"no space left in {folder} for {what}",
            next_step="free space there, or point TMPDIR to a larger disk, and run again",
        ) from None


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder under TMPDIR, for this process alone.

    Raises:
        TryLater: there is no space left.
    """
    parent = _parent()
    _sweep(parent)
    with ExitStack() as stack:
        with needs_room(parent, "downloads"):
            made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent, ignore_cleanup_errors=True)
            name = Path(stack.enter_context(made))
            lock = stack.enter_context((name / f"{_LOCK_NAME}.new").open("w"))
            # Locked while the process lives, however it ends, so that later runs can tell. It gets its name when
            # it is held already, so that no run starting at this moment finds it free.
            fcntl.flock(lock, fcntl.LOCK_EX)
            Path(lock.name).rename(name / _LOCK_NAME)
        yield name


@contextmanager
def folder_in(parent: Path) -> Iterator[Path]:
    """A new folder within that of the run, for one slice.

    Raises:
        TryLater: there is no space left.
    """
    with needs_room(parent, "downloads"):
        made = tempfile.TemporaryDirectory(dir=parent)
    with made as name:
        yield Path(name)


def _parent() -> Path:
    """TMPDIR, or the first of the usual folders that a file can be written to.

    Raises:
        TryLater: there is none; Python does not distinguish folders that are full, missing or not writable.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise TryLater(
            f"no usable folder for downloads: {error.strerror}",
            next_step="free space in one of these folders, or point TMPDIR to a larger disk, and run again",
        ) from None


def _sweep(parent: Path) -> None:
    """Remove the folders of killed runs: those that are not locked."""
    for left_over in parent.glob(f"{_PREFIX}*"):
        try:
            with (left_over / _LOCK_NAME).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left_over, ignore_errors=True)
        except OSError:
            continue  # in use, just being made, or somebody else's
