"""Comparing the archive with the ledger: what is missing, what is unfinished, what nobody refers to; and mending that.

A file is removed under its slice's lock, and only if neither the ledger nor a marker refers to it then: a load writes
and commits under the same lock, so that no age has to be waited for.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from etl.archive import layout
from etl.archive.archive import SETTLING_S
from etl.archive.layout import Key
from etl.archive.manifests import key_of
from etl.domain.errors import ExitCode
from etl.runtime.progress_reporter import SILENT, ProgressReporter
from etl.warehouse import ledger, revisions
from etl.warehouse.transactions import idle_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from etl.archive.archive import Archive
    from etl.domain.slices import Slice
    from etl.warehouse.database import Database
    from etl.warehouse.transactions import Connection


@dataclass(frozen=True, slots=True)
class File:
    """A file of the archive.

    Attributes:
        age_s: since it was written.
    """

    name: str
    size_bytes: int
    age_s: float

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {"name": self.name, "size_bytes": self.size_bytes, "age_s": round(self.age_s)}


@dataclass(frozen=True, slots=True)
class Audit:
    """What the comparison found.

    Attributes:
        url: of the archive.
        revisions: the ledger's accepted revisions, in all.
        whole: those of which everything is there.
        unfinished: slices whose newest revision readers do not see yet, or that lack a marker: `--sweep` mends that.
        damaged: committed revisions of which a file is gone, and which.
        unarchived: slices' newest revisions that were loaded without the archive; asking again archives them.
        superseded: earlier revisions that were loaded without it, and that nothing brings back.
        unknown: committed revisions in the archive that the ledger does not know.
        unreferenced: files that nothing refers to: `--sweep` removes them.
        foreign: files that watch-time did not write; they stay.
    """

    url: str
    revisions: int
    whole: int
    unfinished: tuple[Slice, ...]
    damaged: tuple[tuple[Key, str], ...]
    unarchived: tuple[Key, ...]
    superseded: tuple[Key, ...]
    unknown: tuple[Key, ...]
    unreferenced: tuple[File, ...]
    foreign: tuple[str, ...]

    @property
    def exit_code(self) -> ExitCode:
        """65: something is lost; 78: it is another warehouse's; 75: a run or `--sweep` has to finish it."""
        if self.damaged:
            return ExitCode.DATA_REFUSED
        if self.unknown:
            return ExitCode.MISCONFIGURED
        return ExitCode.TRY_LATER if self.unfinished else ExitCode.OK

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "archive": self.url,
            "revisions": self.revisions,
            "whole": self.whole,
            "unfinished": [slice_.as_json() for slice_ in self.unfinished],
            "damaged": [{**_key_json(key), "missing": name} for key, name in self.damaged],
            "unarchived": [_key_json(key) for key in self.unarchived],
            "superseded": [_key_json(key) for key in self.superseded],
            "unknown": [_key_json(key) for key in self.unknown],
            "unreferenced": [file.as_json() for file in self.unreferenced],
            "foreign": list(self.foreign),
            "exit_code": int(self.exit_code),
        }


def audit_archive(database: Database, archive: Archive, progress: ProgressReporter = SILENT) -> Audit:
    """Compare; nothing is changed. Files that a load is just writing are among the unreferenced ones."""
    progress.begin(f"listing {archive.store.url}")
    # In this order: what is committed in between is in the ledger then.
    names = archive.store.names(layout.FACTS, layout.REVISIONS, layout.RAW)
    known = _known(database)
    whole = [key for key in known if {key.raw, key.parquet, key.marker} <= names.keys()]
    marked = [key for key in known if key.marker in names]
    newest = {key.slice: key for key in known}
    unarchived = [key for key in known if key.marker not in names and key.parquet not in names]
    now = datetime.now(UTC)
    return Audit(
        url=archive.store.url,
        revisions=len(known),
        whole=len(whole),
        unfinished=tuple(_unfinished(archive, newest, _pending(known, names), names, progress)),
        damaged=tuple((key, name) for key in marked for name in (key.raw, key.parquet) if name not in names),
        unarchived=tuple(key for key in unarchived if newest[key.slice] == key),
        superseded=tuple(key for key in unarchived if newest[key.slice] != key),
        unknown=tuple(sorted(_markers(names) - set(known))),
        unreferenced=tuple(
            File(name, names[name], (now - archive.store.modified(name)).total_seconds())
            for name in _unreferenced(known, names)
        ),
        foreign=tuple(sorted(name for name in names if layout.slice_of(name) is None)),
    )


def finish_pending(database: Database, archive: Archive, progress: ProgressReporter = SILENT) -> list[Slice]:
    """Publish and mark what is committed and was not, as after a crash between the two; gives the slices."""
    progress.begin(f"listing {archive.store.url}")
    names = archive.store.names(layout.FACTS, layout.REVISIONS)
    return _publish(database, archive, _pending(_known(database), names), progress)


def sweep(database: Database, archive: Archive, found: Audit, progress: ProgressReporter = SILENT) -> list[str]:
    """Finish what is unfinished, and remove what nothing refers to; gives the names that were removed."""
    _publish(database, archive, found.unfinished, progress)
    by_slice: defaultdict[Slice, list[str]] = defaultdict(list)
    for file in found.unreferenced:
        if owner := layout.slice_of(file.name):
            by_slice[owner].append(file.name)
    removed = []
    progress.expect(len(by_slice))
    for slice_, candidates in sorted(by_slice.items()):
        removed += _removed(database, archive, slice_, candidates)
        progress.advance(f"{slice_} cleaned up")
    return removed


def _publish(
    database: Database, archive: Archive, slices: Collection[Slice], progress: ProgressReporter
) -> list[Slice]:
    """Publish these slices, each in a transaction of its own; gives those that needed it."""
    progress.expect(len(slices))
    published = []
    for slice_ in slices:
        if database.run(partial(archive.publish, slice_=slice_)):
            published.append(slice_)
        progress.advance(f"{slice_} published")
    return published


def _removed(database: Database, archive: Archive, slice_: Slice, candidates: Collection[str]) -> list[str]:
    def remove(connection: Connection) -> list[str]:
        ledger.lock(connection, slice_, sleep=database.stop.sleep)
        known = [key_of(accepted) for accepted in revisions.read(connection, slice_)]
        with idle_for(connection, SETTLING_S):
            trees = (layout.FACTS, layout.REVISIONS, layout.RAW)
            names = archive.store.names(*(layout.folder(tree, slice_) for tree in trees))
            to_delete = [name for name in _unreferenced(known, names) if name in candidates]
            for name in to_delete:
                archive.store.remove(name)
        return to_delete

    return database.run(remove)


def _known(database: Database) -> list[Key]:
    return [Key(*row) for row in database.run(revisions.listed)]


def _markers(names: Iterable[str]) -> set[Key]:
    return set(filter(None, map(layout.parse_key, names)))


def _pending(known: Iterable[Key], names: Collection[str]) -> list[Slice]:
    """Slices with a committed revision whose rows are there, and whose marker or published file is not."""
    written = [key for key in known if key.parquet in names]
    newest = {key.slice: key for key in known}
    return sorted({
        key.slice
        for key in written
        if key.marker not in names or (newest[key.slice] == key and layout.published(key.slice) not in names)
    })  # fmt: skip


def _unfinished(
    archive: Archive,
    newest: Mapping[Slice, Key],
    pending: Collection[Slice],
    names: Collection[str],
    progress: ProgressReporter,
) -> Iterator[Slice]:
    """The pending ones, and those of which readers see another revision than the newest.

    Not where the archive is ahead: readers see a committed revision that the ledger lost, or that is another's.
    """
    archived = {key.slice: key for key in sorted(_markers(names))}
    progress.expect(len(newest))
    for slice_, key in newest.items():
        is_ahead = slice_ in archived and archived[slice_].revision > key.revision
        # Reads a footer: of all slices that takes long.
        if not is_ahead and (slice_ in pending or (key.parquet in names and not archive.is_published(key, names))):
            yield slice_
        progress.advance(f"{slice_} checked")


def _unreferenced(known: Collection[Key], names: Iterable[str]) -> list[str]:
    """The files that neither the ledger nor a marker refers to.

    A marker counts even where the ledger does not know it: before an empty database everything else would be garbage.
    """
    names = set(names)
    kept: set[str] = set()
    for key in {*known, *_markers(names)}:
        kept |= {key.raw, key.parquet, key.marker, layout.published(key.slice)}
    return sorted(name for name in names - kept if layout.slice_of(name))


def _key_json(key: Key) -> dict[str, object]:
    return {**key.slice.as_json(), "revision": key.revision, "report_sha256": key.sha256}
