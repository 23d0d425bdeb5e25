"""The names of the archive's files. All can be told from the ledger, and the ledger's words from them. Pure.

    facts/report_date=D/report_type=T/facts.parquet                         what readers read: the newest revision
    revisions/report_date=D/report_type=T/revision=N/<sha256>.parquet       each revision; may be uncommitted
    revisions/report_date=D/report_type=T/revision=N/<sha256>.json          its ledger row: it is committed
    raw/report_date=D/report_type=T/<sha256>.csv.zst                        the report's bytes
    organization.json                                                       whose data this is

The hash is that of the report's CSV. Dates and types are spelled as Hive's partitions, which every reader knows.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Final

from etl.domain.slices import ReportType, Slice

FACTS: Final = "facts"
REVISIONS: Final = "revisions"
RAW: Final = "raw"
ORGANIZATION: Final = "organization.json"
# What `doctor` writes and removes.
PROBES: Final = "probes"

# A file that is being written into a folder; object stores have no such thing.
PART: Final = ".part"

_FOLDER: Final = r"report_date=(?P<date>\d{4}-\d{2}-\d{2})/report_type=(?P<type>LIVE|VOD)"
_SHAPES: Final = {
    FACTS: re.compile(rf"{FACTS}/{_FOLDER}/(?P<name>facts\.parquet)"),
    REVISIONS: re.compile(
        rf"{REVISIONS}/{_FOLDER}/revision=(?P<revision>[1-9]\d*)/(?P<sha256>[0-9a-f]{{64}})\.(?P<kind>parquet|json)"
    ),
    RAW: re.compile(rf"{RAW}/{_FOLDER}/(?P<sha256>[0-9a-f]{{64}})\.csv\.zst"),
    PART: re.compile(rf"(?:{FACTS}|{REVISIONS}|{RAW})/{_FOLDER}/(?:revision=\d+/)?\.[^/]+\{PART}"),
}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which revision: what the ledger and the names have in common."""

    slice: Slice
    revision: int
    sha256: str

    @property
    def parquet(self) -> str:
        """The name of its rows."""
        return f"{_revision_folder(self)}/{self.sha256}.parquet"

    @property
    def marker(self) -> str:
        """The name of its ledger row, which is there once it is committed and published."""
        return f"{_revision_folder(self)}/{self.sha256}.json"

    @property
    def raw(self) -> str:
        """The name of the report's bytes."""
        return f"{folder(RAW, self.slice)}/{self.sha256}.csv.zst"

    def __str__(self) -> str:
        return f"{self.slice} revision {self.revision}"


def folder(tree: str, slice_: Slice) -> str:
    """The folder of a slice in `facts`, `revisions` or `raw`."""
    return f"{tree}/report_date={slice_.report_date:%Y-%m-%d}/report_type={slice_.report_type}"


def published(slice_: Slice) -> str:
    """The name under which readers find a slice's newest revision."""
    return f"{folder(FACTS, slice_)}/facts.parquet"


def slice_of(name: str) -> Slice | None:
    """Whose file this is; None: it is none of ours."""
    for shape in _SHAPES.values():
        if found := shape.fullmatch(name):
            try:
                return Slice(date.fromisoformat(found["date"]), ReportType(found["type"]))
            except ValueError:
                return None
    return None


def parse_key(marker: str) -> Key | None:
    """The revision that a marker's name speaks of; None: it is no marker."""
    found, slice_ = _SHAPES[REVISIONS].fullmatch(marker), slice_of(marker)
    if not found or slice_ is None or found["kind"] != "json":
        return None
    return Key(slice_, int(found["revision"]), found["sha256"])


def _revision_folder(key: Key) -> str:
    return f"{folder(REVISIONS, key.slice)}/revision={key.revision}"
