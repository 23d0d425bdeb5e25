"""A folder for a run's downloads: removed at its end, and by a later run when this one was killed."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_PREFIX: Final = "watch-time-run-"
_LOCK_NAME: Final = "lock"


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder under TMPDIR, for this process alone."""
    _sweep(Path(tempfile.gettempdir()))
    with (
        tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as name,
        (Path(name) / f"{_LOCK_NAME}.new").open("w") as lock,
    ):
        # Held as long as the process lives, however it ends: that is how a later run knows. It gets its name when it
        # is held already, so that no run starting at this moment finds it free.
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(lock.name).rename(Path(name) / _LOCK_NAME)
        yield Path(name)


def _sweep(parent: Path) -> None:
    """Remove the folders of killed runs: those whose lock nobody holds."""
    for left_over in parent.glob(f"{_PREFIX}*"):
        try:
            with (left_over / _LOCK_NAME).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left_over, ignore_errors=True)
        except OSError:
            continue  # in use, just being made, or somebody else's
