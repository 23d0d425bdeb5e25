"""Where the archive's files lie: a folder, or an object store by way of fsspec. Knows names and bytes, nothing else.

Every operation is bounded in time: one that hangs is left behind with its thread, as a hanging worker is. The stores'
own libraries repeat what fails for a moment; here nothing is repeated. Credentials come from each store's usual
environment.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING, BinaryIO, Final, TypeVar

from etl.archive.store_backends import TEXT_CHARACTERS, open_backend
from etl.domain.errors import ArchiveDamaged, ArchiveUnavailable, CredentialsRefused, Misconfigured, WatchTimeError
from etl.extract.scratch_folder import needs_room
from etl.runtime.call_timeout import Background
from etl.runtime.redaction import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from etl.archive.store_backends import Store
    from etl.runtime.cancellation import Stop

T = TypeVar("T")

# An answer takes a fraction of a second; half a minute of none is a store that hangs.
_TIMEOUT_S: Final = 30.0
# A store to which a megabyte takes longer than a second is no store for files that are written while a slice is locked.
_SLOWEST_BYTES_PER_S: Final = 1 << 20
_POLL_S: Final = 0.2

# Named, not imported: each is of a library that only one kind of store needs.
_NO_CREDENTIALS: Final = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "TokenRetrievalError",
    "DefaultCredentialsError", "RefreshError", "ClientAuthenticationError",
}  # fmt: skip
_REFUSED: Final = {"401", "403"}


class TimedStore:
    """A store of files. Safe to use from several threads.

    Names are relative, with `/` between their parts. Every method raises `ArchiveUnavailable` where the store fails or
    hangs, `CredentialsRefused` and `Misconfigured` where a person must see to it, `Stopped` when that was asked for.
    """

    def __init__(self, url: str, backend: Store, stop: Stop) -> None:
        self.url = url
        self._backend = backend
        self._stop = stop

    def put(self, file: Path, name: str) -> None:
        """Store a local file, in place of one of that name."""

        def put() -> None:
            with file.open("rb") as source:
                self._backend.put(source, file.stat().st_size, name)

        self._run_bounded(f"writing {name}", put, timeout_s=timeout_s(file.stat().st_size))

    def write(self, data: bytes, name: str) -> None:
        """Store a small file, in place of one of that name."""
        self._run_bounded(f"writing {name}", lambda: self._backend.put(io.BytesIO(data), len(data), name))

    def read(self, name: str) -> bytes:
        """The bytes of a small file.

        Raises:
            ArchiveDamaged: it is not there.
        """
        return self._run_bounded(f"reading {name}", lambda: self._backend.read(name))

    def fetch(self, name: str, file: Path, *, size_bytes: int) -> None:
        """Copy a file to the local one.

        Raises:
            ArchiveDamaged: it is not there.
            TryLater: there is no room for it here.
        """

        def fetch() -> None:
            with needs_room(file.parent, "a file of the archive"):
                self._backend.fetch(name, file)

        self._run_bounded(f"reading {name}", fetch, timeout_s=timeout_s(size_bytes))

    def copy(self, source: str, target: str, *, size_bytes: int) -> None:
        """Give `target` the bytes of `source`, within the store, in place of those it had.

        Raises:
            ArchiveDamaged: `source` is not there.
        """
        self._run_bounded(
            f"copying {source}", lambda: self._backend.copy(source, target), timeout_s=timeout_s(size_bytes)
        )

    def names(self, *prefixes: str) -> dict[str, int]:
        """The names below these folders, with the sizes of their files."""
        found: dict[str, int] = {}
        for prefix in prefixes:
            found |= self._run_bounded(f"listing {prefix}", lambda prefix=prefix: self._backend.names(prefix))  # type: ignore[misc]
        return found

    def modified(self, name: str) -> datetime:
        """When a file was written."""
        return self._run_bounded(f"checking {name}", lambda: self._backend.modified(name))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._run_bounded(f"deleting {name}", lambda: self._backend.remove(name))

    def read_with(self, name: str, read: Callable[[BinaryIO], T]) -> T:
        """Read a file with a function of its own; only what that reads is fetched."""

        def opened() -> T:
            with self._backend.open(name) as file:
                return read(file)

        return self._run_bounded(f"reading {name}", opened)

    def _run_bounded(self, what: str, work: Callable[[], T], *, timeout_s: float | None = None) -> T:
        """Run it in a thread of its own, and give up on it in time."""
        timeout_s = _TIMEOUT_S if timeout_s is None else timeout_s
        running, deadline = Background(work), time.monotonic() + timeout_s
        while not running.is_done(_POLL_S):
            self._stop.check()
            if time.monotonic() >= deadline:
                raise self._unavailable(what, f"no response within {timeout_s:.0f} s")
        self._stop.check()
        try:
            return running.result(0)
        except Exception as error:  # noqa: BLE001 - translated, and raised
            raise self._translate_error(what, error) from None

    def _translate_error(self, what: str, error: Exception) -> Exception:
        if isinstance(error, WatchTimeError):
            return error
        kind = type(error).__name__
        text = redact(f"{kind}: {error}".replace("\n", " "))[:TEXT_CHARACTERS]
        if isinstance(error, PermissionError) and "://" not in self.url:
            return Misconfigured(
                f"the archive {self.url} denies access ({what}: {text})",
                next_step="grant this user write access to that folder, or correct WATCH_TIME_ARCHIVE_URL",
            )
        if any(map(_is_refusal, _causes(error))):
            return CredentialsRefused(
                f"the archive {self.url} refuses the credentials ({what}: {text})",
                next_step="set the credentials in the store's usual environment variables, with permission to list, "
                "read, write and delete below that address; to check them: `watch-time doctor`",
            )
        if any(map(_is_absence, _causes(error))):
            if what.startswith("writing"):
                return Misconfigured(
                    f"the archive {self.url} does not exist ({text})",
                    next_step="create the bucket or container, or correct WATCH_TIME_ARCHIVE_URL",
                )
            return ArchiveDamaged(
                f"the archive {self.url} is missing a file ({what})",
                next_step="list everything that is missing: `watch-time archive`",
            )
        return self._unavailable(what, text)

    def _unavailable(self, what: str, why: str) -> ArchiveUnavailable:
        return ArchiveUnavailable(
            f"the archive {self.url} failed ({what}: {why})",
            next_step="run again later; a slice that cannot be archived is not loaded; loaded data is unchanged",
        )


def timeout_s(size_bytes: int) -> float:
    """How long writing, reading or copying a file of this size may take."""
    return _TIMEOUT_S + size_bytes / _SLOWEST_BYTES_PER_S


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from: adlfs hides what Azure says behind an error of its own."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_refusal(error: BaseException) -> bool:
    """Whether these credentials may not do this: by the error's kind, by its HTTP status, or as gcsfs puts it."""
    statuses = {str(getattr(error, name, "")) for name in ("status_code", "code")}
    return (
        isinstance(error, PermissionError)
        or type(error).__name__ in _NO_CREDENTIALS
        or not statuses.isdisjoint(_REFUSED)
        or (isinstance(error, OSError) and str(error).startswith("Forbidden: "))
    )


def _is_absence(error: BaseException) -> bool:
    return isinstance(error, FileNotFoundError) or type(error).__name__ == "ResourceNotFoundError"


def open_store(url: str, stop: Stop) -> TimedStore:
    """The store of `WATCH_TIME_ARCHIVE_URL`; nothing is asked of it yet. Raises as `open_backend`."""
    return TimedStore(url, open_backend(url), stop)
