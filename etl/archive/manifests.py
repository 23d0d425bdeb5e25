"""The archive's own JSON files: whose archive it is, and which revisions were committed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - pydantic reads it
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter, ValidationError

from etl.archive import layout
from etl.archive.layout import Key
from etl.domain.errors import ArchiveDamaged, Misconfigured, WrongOrganization
from etl.warehouse.revisions import Accepted  # noqa: TC001 - pydantic reads it

if TYPE_CHECKING:
    from etl.archive.timeout_store import TimedStore

# Of the files, not of the program: readers of another layout must not misread this one.
LAYOUT: Final = 1


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
        return key_of(self.accepted)


_MARKERS: Final = TypeAdapter(Marker)


def key_of(accepted: Accepted) -> Key:
    """Under which names an accepted revision's files lie."""
    return Key(accepted.slice, accepted.revision, accepted.report_sha256)


def write_marker(store: TimedStore, marker: Marker) -> None:
    """Say that a revision was committed."""
    store.write(_MARKERS.dump_json(marker, indent=2), marker.key.marker)


def read_marker(store: TimedStore, key: Key, org_id: str) -> Marker:
    """What the archive says of a committed revision.

    Raises:
        ArchiveDamaged: the file is missing, or says something else.
        WrongOrganization: it is another organization's.
    """
    try:
        marker = _MARKERS.validate_json(store.read(key.marker))
    except ValidationError:
        marker = None
    if marker is None or marker.key != key or marker.layout != LAYOUT:
        raise ArchiveDamaged(
            f"the content of {key.marker} in the archive {store.url} does not match its name",
            next_step="restore the file from the store's versions or backups",
        )
    _require_organization(store, marker.org_id, org_id)
    return marker


def write_owner(store: TimedStore, org_id: str) -> None:
    """Say whose the archive is."""
    store.write(json.dumps({"layout": LAYOUT, "org_id": org_id}, indent=2).encode(), layout.ORGANIZATION)


def is_owned(store: TimedStore, org_id: str) -> bool:
    """Whether the archive is this organization's; False where it is nobody's yet.

    Raises:
        WrongOrganization: it is another organization's.
        Misconfigured: it is that of another version.
    """
    try:
        whose = json.loads(store.read(layout.ORGANIZATION))
        owner, found = str(whose["org_id"]), whose["layout"]
    except ArchiveDamaged:
        return False
    except (ValueError, KeyError, TypeError):
        owner, found = "", None
    if found != LAYOUT:
        raise Misconfigured(
            f"{layout.ORGANIZATION} in {store.url} was written in another version of the archive format",
            next_step="correct WATCH_TIME_ARCHIVE_URL, or install the watch-time version that wrote it",
        )
    _require_organization(store, owner, org_id)
    return True


def _require_organization(store: TimedStore, found: str, org_id: str) -> None:
    if found != org_id:
        raise WrongOrganization(
            f"the archive {store.url} contains data for organization {found}, not {org_id}",
            next_step=f"set WATCH_TIME_ORG_ID={found}, or set WATCH_TIME_ARCHIVE_URL to an archive for {org_id}",
        )
