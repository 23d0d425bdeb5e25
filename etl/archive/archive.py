"""What a load does with the archive: write a revision's files before the commit, publish them after it.

A revision's files lie under names that nothing refers to until the ledger does, so that a crash leaves at most files
that nobody reads. What readers read, and the marker that says "committed", come after the commit; whoever finds them
missing makes them from the ledger, under the slice's lock.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

from etl.archive import layout, manifests, timeout_store
from etl.archive.layout import Key
from etl.archive.manifests import Marker, key_of
from etl.domain.errors import ArchiveDamaged, Misconfigured, ReconciliationFailed
from etl.domain.plurals import plural
from etl.extract.scratch_folder import needs_room
from etl.warehouse import ledger, revisions, schema
from etl.warehouse.transactions import idle_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from psycopg.abc import Buffer

    from etl.archive.timeout_store import TimedStore
    from etl.config.settings import Settings
    from etl.domain.pipeline_values import ReportFile
    from etl.domain.slices import Slice
    from etl.runtime.cancellation import Stop
    from etl.warehouse.ledger import SliceRecord
    from etl.warehouse.revisions import Accepted
    from etl.warehouse.transactions import Connection

# A few small operations; each of them is bounded by itself.
SETTLING_S: Final = 600.0


class Archive:
    """The archive of one organization's warehouse. Safe to use from several threads.

    Attributes:
        store: where it lies.
    """

    def __init__(self, store: TimedStore, org_id: str, stop: Stop, *, names: Collection[str], is_claimed: bool) -> None:
        self.store = store
        self._org_id = org_id
        self._stop = stop
        self._names = names
        self._is_claimed = is_claimed
        self._newest = {key.slice: key for key in sorted(filter(None, map(layout.parse_key, names)))}

    def is_complete(self, slice_: Slice, revision: int, sha256: str) -> bool:
        """Whether all of a revision was there when the archive was opened, and the slice's file for readers with it."""
        key = Key(slice_, revision, sha256)
        return all(name in self._names for name in (key.raw, key.parquet, key.marker, layout.published(slice_)))

    def check_history(self, slice_: Slice, known: SliceRecord | None) -> Key | None:
        """The committed revision that the ledger lacks, where it is the one after the stored one; None: it lacks none.

        Raises:
            Misconfigured: it lacks more than that one, or has another in its place.
        """
        newest = self._newest.get(slice_)
        revision, sha256 = (known.revision, known.report_sha256) if known else (0, None)
        if newest is None or newest.revision < revision or (newest.revision, newest.sha256) == (revision, sha256):
            return None
        if newest.revision == revision + 1:
            return newest
        if newest.revision > revision:
            raise self.unknown_revision(newest)
        raise Misconfigured(
            f"the archive {self.store.url} and this warehouse have different reports for {newest}",
            next_step="if this is the same warehouse, set WATCH_TIME_SCHEMA to an empty schema and rebuild it there: "
            "`watch-time migrate` `watch-time backfill --from-archive` If the archive belongs to another "
            "warehouse, set WATCH_TIME_ARCHIVE_URL to a different one",
        )

    def unknown_revision(self, key: Key) -> Misconfigured:
        """The refusal to write beside a committed revision that the ledger lacks."""
        return Misconfigured(
            f"the archive {self.store.url} has {key}, which is not in this warehouse",
            next_step="if this database has lost that revision, or is a new one for the same data, restore the "
            f"revision, then run again: `watch-time backfill --from-archive {key.slice.as_options()}` "
            "If you omit dates and type, the whole archive is restored. If the archive belongs to another warehouse, "
            "set WATCH_TIME_ARCHIVE_URL to a different one",
        )

    def store_revision(
        self,
        connection: Connection,
        slice_: Slice,
        revision: int,
        report: ReportFile,
        lines: Iterable[Buffer],
        *,
        expected: tuple[int, Decimal],
        read_as: str,
    ) -> None:
        """Store a revision's raw bytes and rows, before its transaction commits.

        The transaction is idle meanwhile, for as long as the report's size allows; docs/decisions/0023-archive.md. The
        report's folder takes the files before they are sent. `lines` are those of `SliceLoad.stored_rows`, `expected`
        how many they must be and the sum of their seconds; `read_as` says how the report's columns were named.

        Raises:
            ArchiveUnavailable, CredentialsRefused, Misconfigured: not stored.
            ReconciliationFailed: the rows are not those of the report.
            TryLater: the local disk is full.
        """
        key = Key(slice_, revision, report.sha256)
        packed, written = report.path.with_name("report.csv.zst"), report.path.with_name("facts.parquet")
        # Two files are written, then sent; neither is larger than the report but for a few kilobytes.
        timeout_s = SETTLING_S + 4 * timeout_store.timeout_s(report.size_bytes)
        try:
            with idle_for(connection, timeout_s):
                about = {"revision": str(key.revision), "report_sha256": key.sha256, "read_as": read_as}
                found = _write_files(report.path, lines, about, written=written, packed=packed)
                if found != expected:
                    raise ReconciliationFailed(
                        f"{key}: the report has {plural(expected[0], 'row')} and {expected[1]:,f} s, "
                        f"but the file for the archive has {plural(found[0], 'row')} and {found[1]:,f} s; rolled back",
                        next_step="keep the report file and report this as a bug; the stored data is unchanged",
                    )
                self._claim()
                self.store.put(packed, key.raw)
                self.store.put(written, key.parquet)
        finally:
            packed.unlink(missing_ok=True)
            written.unlink(missing_ok=True)

    def publish(self, connection: Connection, slice_: Slice) -> bool:
        """Show readers a slice's newest committed revision, and mark what is committed; whether there was need.

        In a transaction of its own, which only keeps the slice's lock meanwhile: who publishes later, publishes newer.
        """
        ledger.lock(connection, slice_, sleep=self._stop.sleep)
        accepted, claimed_at = revisions.read(connection, slice_), schema.claimed_at(connection)
        with idle_for(connection, SETTLING_S):
            names = self.store.names(layout.folder(layout.REVISIONS, slice_), layout.folder(layout.FACTS, slice_))
        with idle_for(connection, SETTLING_S + timeout_store.timeout_s(max(names.values(), default=0))):
            return self._publish(slice_, accepted, claimed_at, names)

    def _publish(
        self, slice_: Slice, accepted: Sequence[Accepted], claimed_at: datetime | None, names: Mapping[str, int]
    ) -> bool:
        written = {key: each for each in accepted if (key := key_of(each)).parquet in names}
        unmarked = [key for key in written if key.marker not in names]
        newest = key_of(accepted[-1]) if accepted else None
        has_published = False
        if newest in written and (unmarked or not self.is_published(newest, names)):
            self.store.copy(newest.parquet, layout.published(slice_), size_bytes=names[newest.parquet])
            has_published = True
        # Last: a marker says that all the rest was done.
        for key in unmarked:
            about = self._footer(key.parquet)
            if about.get("report_sha256") != key.sha256:
                raise ArchiveDamaged(
                    f"{key.parquet} in the archive {self.store.url} does not belong to {key}",
                    next_step=f"load it again: `watch-time backfill {slice_.as_options()} --refresh`",
                )
            marker = Marker(manifests.LAYOUT, self._org_id, about["read_as"], written[key], claimed_at)
            manifests.write_marker(self.store, marker)
        return has_published or bool(unmarked)

    def is_published(self, newest: Key, names: Collection[str]) -> bool:
        """Whether readers read this revision; `names` are those of the slice's published file, if any."""
        if layout.published(newest.slice) not in names:
            return False
        about = self._footer(layout.published(newest.slice))
        return (about.get("revision"), about.get("report_sha256")) == (str(newest.revision), newest.sha256)

    def _footer(self, name: str) -> dict[str, str]:
        """What the footer of a Parquet file says of it."""
        from etl.archive import parquet  # noqa: PLC0415 - as above

        return self.store.read_with(name, parquet.read_footer)

    def marker(self, key: Key) -> Marker:
        """What the archive says of a committed revision; raises as `manifests.read_marker` does."""
        return manifests.read_marker(self.store, key, self._org_id)

    def probe(self) -> None:
        """Write, list, copy, read and remove a small file, as loads and sweeps do.

        Raises:
            ArchiveUnavailable, CredentialsRefused, Misconfigured, ArchiveDamaged: one of these cannot be done.
        """
        name = f"{layout.PROBES}/{uuid.uuid4().hex}"
        twin, data = f"{name}-copy", name.encode()
        self.store.write(data, name)
        try:
            self.store.copy(name, twin, size_bytes=len(data))
            if self.store.read(twin) != data or not {name, twin} <= self.store.names(layout.PROBES).keys():
                raise ArchiveDamaged(
                    f"the archive {self.store.url} does not list a file that was just written",
                    next_step="use a store with consistent listings: S3, Google Cloud Storage, Azure, or a folder",
                )
        finally:
            self.store.remove(twin)
            self.store.remove(name)

    def _claim(self) -> None:
        """Say whose the archive is, before the first file of it."""
        if not self._is_claimed:
            manifests.write_owner(self.store, self._org_id)
            self._is_claimed = True


def _write_files(
    report: Path, lines: Iterable[Buffer], about: Mapping[str, str], *, written: Path, packed: Path
) -> tuple[int, Decimal]:
    """Write the files of a revision here; returns how many rows there are, and the sum of their seconds."""
    from etl.archive import parquet, raw  # noqa: PLC0415 - pyarrow: an unchanged report needs none of it

    with needs_room(report.parent, "the files that go to the archive"):
        found = parquet.write(written, lines, about)
        raw.pack(report, packed)
    return found


def open_archive(settings: Settings, stop: Stop) -> Archive:
    """The configured archive, its names listed once.

    Raises:
        ArchiveUnavailable, CredentialsRefused, Misconfigured: it cannot be looked at.
        WrongOrganization: it is another organization's.
    """
    org_id = settings.require("org_id")
    store = timeout_store.open_store(settings.require("archive_url"), stop)
    is_claimed = manifests.is_owned(store, org_id)
    names = store.names(layout.FACTS, layout.REVISIONS, layout.RAW)
    return Archive(store, org_id, stop, names=frozenset(names), is_claimed=is_claimed)
