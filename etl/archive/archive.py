"""What a load does with the archive: write a revision's files before the commit, publish them after it.

A revision's files lie under names that nothing refers to until the ledger does, so that a crash leaves at most files
that nobody reads. What readers read, and the marker that says "committed", come after the commit; whoever finds them
missing makes them from the ledger, under the slice's lock.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from etl.archive import layout, timed_store
from etl.archive.layout import Key
from etl.domain.errors import ArchiveDamaged, Misconfigured, ReconciliationFailed, WrongOrganization
from etl.extract.scratch_folder import needs_room
from etl.warehouse import ledger, revisions, schema
from etl.warehouse.connection import idle_for
from etl.warehouse.revisions import Accepted  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from decimal import Decimal

    from psycopg.abc import Buffer

    from etl.archive.timed_store import TimedStore
    from etl.config.settings import Settings
    from etl.domain.report_values import ReportFile
    from etl.domain.slices import Slice
    from etl.runtime.cancellation import Stop
    from etl.warehouse.connection import Connection
    from etl.warehouse.ledger import SliceRecord

# Of the files, not of the program: readers of another layout must not misread this one.
LAYOUT: Final = 1

# A few small operations; each of them is bounded by itself.
SETTLING_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Marker:
    """What the archive says of a committed revision: all that brings it back.

    Attributes:
        read_as: how its columns were named by settings.
        claimed_at: of the warehouse that committed it, which no other warehouse of the organization shares.
    """

    layout: int
    org_id: str
    read_as: str
    accepted: Accepted
    claimed_at: datetime | None = None

    @property
    def key(self) -> Key:
        """Under which names its files lie."""
        return Key(self.accepted.slice, self.accepted.revision, self.accepted.report_sha256)


_MARKERS: Final = TypeAdapter(Marker)


class Archive:
    """The archive of one organization's warehouse. Safe to use from several threads.

    Attributes:
        storage: where it lies.
    """

    def __init__(self, store: TimedStore, org_id: str, stop: Stop, *, names: Collection[str], is_claimed: bool) -> None:
        self.storage = store
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
            raise self.unknown(newest)
        raise Misconfigured(
            f"the archive {self.storage.url} has {newest} with another report than this warehouse",
            next_step="if this is the same warehouse, name an empty schema in WATCH_TIME_SCHEMA and rebuild it there: "
            "`watch-time migrate` `watch-time backfill --from-archive` If it is another warehouse, give it an "
            "archive of its "
            "own in WATCH_TIME_ARCHIVE_URL",
        )

    def unknown(self, key: Key) -> Misconfigured:
        """The refusal to write beside a committed revision that the ledger lacks."""
        day = key.slice.report_date
        return Misconfigured(
            f"the archive {self.storage.url} has {key}, which this warehouse does not know",
            next_step="if this database lost it, or is a new one for the same data, restore it and run again: "
            f"`watch-time backfill --from-archive --start {day} --end {day} --type {key.slice.report_type}` Without "
            "dates "
            "and type the whole archive is restored. If it is another warehouse, give it an archive of its own in "
            "WATCH_TIME_ARCHIVE_URL",
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

        The transaction is idle meanwhile, for as long as the report's size allows; docs/decisions/0023-archive.md.

        Args:
            connection: of the transaction, which holds the slice's lock.
            slice_: whose revision.
            revision: its number.
            report: the raw bytes; its folder takes the files before they are sent.
            lines: `SliceLoad.stored_rows`.
            expected: how many they must be, and the sum of their seconds.
            read_as: how the report's columns were named by settings.

        Raises:
            ArchiveUnavailable, CredentialsRefused, Misconfigured: not stored.
            ReconciliationFailed: the rows are not those of the report.
            TryLater: the local disk is full.
        """
        key = Key(slice_, revision, report.sha256)
        packed, written = report.path.with_name("report.csv.zst"), report.path.with_name("facts.parquet")
        # Two files are written, then sent; neither is larger than the report but for a few kilobytes.
        timeout_s = SETTLING_S + 4 * timed_store.timeout_s(report.size_bytes)
        try:
            with idle_for(connection, timeout_s):
                from etl.archive import parquet, raw  # noqa: PLC0415 - pyarrow: an unchanged report needs none of it

                about = {"revision": str(key.revision), "report_sha256": key.sha256, "read_as": read_as}
                with needs_room(report.path.parent, "the files that go to the archive"):
                    found = parquet.write(written, lines, about)
                    raw.pack(report.path, packed)
                if found != expected:
                    raise ReconciliationFailed(
                        f"{key}: the report has {expected[0]} rows and {expected[1]} s, the file for the archive would "
                        f"have {found[0]} rows and {found[1]} s; rolled back",
                        next_step="keep the report file and report this as a bug; what was stored before is unchanged",
                    )
                self._claim()
                self.storage.put(packed, key.raw)
                self.storage.put(written, key.parquet)
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
            names = self.storage.names(layout.folder(layout.REVISIONS, slice_), layout.folder(layout.FACTS, slice_))
        with idle_for(connection, SETTLING_S + timed_store.timeout_s(max(names.values(), default=0))):
            return self._publish(slice_, accepted, claimed_at, names)

    def _publish(
        self, slice_: Slice, accepted: Sequence[Accepted], claimed_at: datetime | None, names: Mapping[str, int]
    ) -> bool:
        written = {key: each for each in accepted if (key := key_of(each)).parquet in names}
        unmarked = [key for key in written if key.marker not in names]
        newest = key_of(accepted[-1]) if accepted else None
        has_published = False
        if newest in written and (unmarked or not self.is_published(newest, names)):
            self.storage.copy(newest.parquet, layout.published(slice_), size_bytes=names[newest.parquet])
            has_published = True
        # Last: a marker says that all the rest was done.
        for key in unmarked:
            about = self.about(key.parquet)
            if about.get("report_sha256") != key.sha256:
                raise ArchiveDamaged(
                    f"{key.parquet} in the archive {self.storage.url} is not the file of {key}",
                    next_step=f"load it again: `watch-time backfill --start {slice_.report_date} --end "
                    f"{slice_.report_date} --type {slice_.report_type} --refresh`",
                )
            marker = Marker(LAYOUT, self._org_id, about["read_as"], written[key], claimed_at)
            self.storage.write(_MARKERS.dump_json(marker, indent=2), key.marker)
        return has_published or bool(unmarked)

    def is_published(self, newest: Key, names: Collection[str]) -> bool:
        """Whether readers read this revision; `names` are those of the slice's published file, if any."""
        if layout.published(newest.slice) not in names:
            return False
        about = self.about(layout.published(newest.slice))
        return (about.get("revision"), about.get("report_sha256")) == (str(newest.revision), newest.sha256)

    def about(self, name: str) -> dict[str, str]:
        """What the footer of a Parquet file says of it."""
        from etl.archive import parquet  # noqa: PLC0415 - as above

        return self.storage.look(name, parquet.read_about)

    def marker(self, key: Key) -> Marker:
        """What the archive says of a committed revision.

        Raises:
            ArchiveDamaged: the file is missing, or says something else.
            WrongOrganization: it is another organization's.
        """
        try:
            marker = _MARKERS.validate_json(self.storage.read(key.marker))
        except ValidationError:
            marker = None
        if marker is None or marker.key != key or marker.layout != LAYOUT:
            raise ArchiveDamaged(
                f"{key.marker} in the archive {self.storage.url} does not say what its name says",
                next_step="restore the file from the store's versions or backups",
            )
        if marker.org_id != self._org_id:
            raise _wrong_organization(self.storage.url, marker.org_id, self._org_id)
        return marker

    def probe(self) -> None:
        """Write, list, copy, read and remove a small file, as loads and sweeps do.

        Raises:
            ArchiveUnavailable, CredentialsRefused, Misconfigured, ArchiveDamaged: one of these cannot be done.
        """
        name = f"{layout.PROBES}/{uuid.uuid4().hex}"
        twin, data = f"{name}-copy", name.encode()
        self.storage.write(data, name)
        try:
            self.storage.copy(name, twin, size_bytes=len(data))
            if self.storage.read(twin) != data or not {name, twin} <= self.storage.names(layout.PROBES).keys():
                raise ArchiveDamaged(
                    f"the archive {self.storage.url} does not list what was just written",
                    next_step="use a store that is consistent: S3, Google Cloud Storage, Azure, or a local folder",
                )
        finally:
            self.storage.remove(twin)
            self.storage.remove(name)

    def _claim(self) -> None:
        """Say whose the archive is, before the first file of it."""
        if not self._is_claimed:
            whose = {"layout": LAYOUT, "org_id": self._org_id}
            self.storage.write(json.dumps(whose, indent=2).encode(), layout.ORGANIZATION)
            self._is_claimed = True


def key_of(accepted: Accepted) -> Key:
    """Under which names an accepted revision's files lie."""
    return Key(accepted.slice, accepted.revision, accepted.report_sha256)


def open_archive(settings: Settings, stop: Stop) -> Archive:
    """The configured archive, its names listed once.

    Raises:
        ArchiveUnavailable, CredentialsRefused, Misconfigured: it cannot be looked at.
        WrongOrganization: it is another organization's.
    """
    org_id = settings.require("org_id")
    store = timed_store.open_store(settings.require("archive_url"), stop)
    owner = _owner(store)
    if owner is not None and owner != org_id:
        raise _wrong_organization(store.url, owner, org_id)
    names = store.names(layout.FACTS, layout.REVISIONS, layout.RAW)
    return Archive(store, org_id, stop, names=frozenset(names), is_claimed=owner is not None)


def _owner(store: TimedStore) -> str | None:
    """The organization whose archive this is; None: nobody's yet."""
    try:
        whose = json.loads(store.read(layout.ORGANIZATION))
        owner, found = str(whose["org_id"]), whose["layout"]
    except ArchiveDamaged:
        return None
    except (ValueError, KeyError, TypeError):
        owner, found = "", None
    if found != LAYOUT:
        raise Misconfigured(
            f"{layout.ORGANIZATION} in {store.url} belongs to another version of the archive",
            next_step="correct WATCH_TIME_ARCHIVE_URL, or install the watch-time that wrote it",
        )
    return owner


def _wrong_organization(url: str, found: str, org_id: str) -> WrongOrganization:
    return WrongOrganization(
        f"the archive {url} holds the data of organization {found}, not of {org_id}",
        next_step=f"set WATCH_TIME_ORG_ID={found}, or name an archive for {org_id} in WATCH_TIME_ARCHIVE_URL",
    )
