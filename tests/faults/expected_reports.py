"""What the warehouse must hold, read from the sandbox's report files with nothing but the standard library."""

from __future__ import annotations

import csv
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from etl.domain.slices import Slice
    from etl.sandbox.sandbox import Sandbox

Key = tuple[str, str, str]  # content, customer, streaming type
Naming = tuple[str, datetime]  # title, creation time

_STREAMING_TYPES = {"VOD": "VOD", "Live": "LIVE", "Live-to-VOD": "LIVE_TO_VOD"}


@dataclass(frozen=True)
class ExpectedReport:
    """One report file: its bytes' hash and number, its lines, and what they say."""

    sha256: str
    size_bytes: int
    lines: int
    facts: Mapping[Key, Decimal]
    contents: Mapping[str, Naming]

    @property
    def seconds(self) -> Decimal:
        return sum(self.facts.values(), Decimal(0))


def expected_report(sandbox: Sandbox, slice_: Slice, revision: int) -> ExpectedReport:
    """What that revision of the slice's report says."""
    report = sandbox.report(slice_, revision)
    return _read(report.path, report.etag)


def expected_by_hash(sandbox: Sandbox, slice_: Slice) -> dict[str, ExpectedReport]:
    """Every revision of the slice's report that the sandbox has had so far."""
    numbers = range(sandbox.revision(slice_) + 1)
    return {truth.sha256: truth for truth in (expected_report(sandbox, slice_, number) for number in numbers)}


@lru_cache(maxsize=4_096)
def _read(path: Path, _etag: str) -> ExpectedReport:
    data = path.read_bytes()
    facts: defaultdict[Key, Decimal] = defaultdict(Decimal)
    contents: dict[str, Naming] = {}
    lines = 0
    with path.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file, strict=True):
            lines += 1
            content_id = line["Content ID"]
            key = (content_id, line["Customer ID"], _STREAMING_TYPES[line["Streaming Type"]])
            facts[key] += Decimal(line["Watch Time (sec.)"])
            contents[content_id] = (line["Content Title"], datetime.fromisoformat(line["Created At"]))
    return ExpectedReport(sha256(data).hexdigest(), len(data), lines, facts, contents)
