"""What viewers watched: the lines of a report, revision for revision, and what they must sum up to.

A line's identity is (entry, viewer): an entry is a content played in one streaming type, its viewers are numbered. Each
entry has a window of viewers who watched it on the day. Everything on a line follows from its identity, so any part of
a report of any size can be made without the rest, and a restated report differs in the lines that were meant to differ:
a restatement moves the windows (some vanish at the lower end, some come at the upper) and corrects a stretch of them.

The header texts and the streaming types stand here as BlendVision's documentation has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from etl.domain.errors import Misconfigured
from etl.domain.slices import ReportType
from etl.sandbox.catalogue import ODD_CUSTOMERS, catalogue, customer_fields, quoted
from etl.sandbox.deterministic_random import mix, seed_of, stride

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from etl.domain.slices import Slice
    from etl.sandbox.sandbox_config import SandboxConfig

HEADER = b"Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n"

_STREAMING_TYPES = {ReportType.VOD: ("VOD",), ReportType.LIVE: ("Live", "Live-to-VOD")}

# Lines made at a time: about 20 MB of text, and long enough for numpy and Arrow to be at their speed.
_CHUNK_ROWS = 1 << 17

_LONGEST_VIEW_S = 7_200
_CORRECTION_MS = 60_000

# What follows the whole seconds: nothing for most lines, else up to three decimals.
_FRACTIONS = pa.array(
    [(f".{milliseconds:03}".rstrip("0") if milliseconds else "") + "\n" for milliseconds in range(1000)]
)


@dataclass(frozen=True, slots=True)
class Restatement:
    """What a new revision of a report changed, compared by key (content, customer, streaming type).

    Attributes:
        revision: the new one; the first report of a slice is revision 0.
        rows_added: keys that were not there before.
        rows_changed: keys whose seconds are others now.
        rows_vanished: keys that are there no more.
        content_id: of the content whose title changed (its seconds did not change by that).
        title: its new title.
    """

    revision: int
    rows_added: int
    rows_changed: int
    rows_vanished: int
    content_id: str
    title: str


@dataclass(frozen=True, slots=True)
class Lines:
    """A piece of a report: whole lines of CSV, how many, and the exact sum of their watch time."""

    csv: pa.Buffer
    rows: int
    watch_ms: int


class Viewing:
    """The viewing of one slice, as one revision of its report tells it."""

    def __init__(self, config: SandboxConfig, slice_: Slice, revision: int) -> None:
        self._config = config
        self._key = seed_of(config.seed, slice_, "viewing")
        self._shown = catalogue(config, slice_.report_type, slice_.report_date)
        self._played_as = _STREAMING_TYPES[slice_.report_type]
        rows = config.rows(slice_.report_type)

        # A day's viewers are fewer than its lines; no title is watched by all, so that windows have room to move.
        self._audience = min(config.customers, 5 * len(ODD_CUSTOMERS) + rows * 2 // 5)
        self._most = self._audience * 9 // 10
        lines = _share_out(rows, np.repeat(self._shown.weights, len(self._played_as)), self._most)
        views = lines * 4 // 100 if config.anonymous_line_per_view else 1
        self._anonymous = np.where(lines >= 2, views, 0)  # noqa: PLR2004 - the only viewer of a content is a customer
        self._start = np.zeros_like(lines)
        self._stop = lines - self._anonymous

        # An entry's viewers sit next to each other; with its first viewer on the first seat, the one that is watched
        # most has all the odd customers.
        self._favourite = int(np.argmax(lines))
        self._first = (mix(np.arange(len(lines)), self._key) % np.uint64(self._audience)).astype(np.int64)
        self._first[self._favourite] = 0

        self._titles = list(self._shown.titles)
        self._corrected: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self.restatements = [self._restate(number) for number in range(1, revision + 1)]

    def _restate(self, number: int) -> Restatement:
        """Move the windows on, note the stretch that is corrected, and give the most watched content another title."""
        watched = self._stop - self._start
        step = watched // 100
        step[self._favourite] = max(step[self._favourite], 1)
        vanished = np.minimum(step, watched)
        changed = np.minimum(2 * step, watched - vanished)
        added = np.minimum(3 * step, self._most - (watched - vanished))
        self._start = self._start + vanished
        self._stop = self._stop + added
        self._corrected.append((self._start, self._start + changed))
        content = self._favourite // len(self._played_as)
        self._titles[content] = f"{self._shown.titles[content]} (version {number + 1})"
        return Restatement(
            revision=number,
            rows_added=int(added.sum()),
            rows_changed=int(changed.sum()),
            rows_vanished=int(vanished.sum()),
            content_id=self._shown.content_ids[content],
            title=self._titles[content],
        )

    def lines(self) -> Iterator[Lines]:
        """The report's lines after the header, in pieces of bounded size.

        In no order: the source promises none, and sorted input would flatter whoever loads it.
        """
        per_entry = self._anonymous + self._stop - self._start
        ends = np.cumsum(per_entry)
        rows = int(ends[-1])
        step = stride(max(rows, 1))
        watched = np.flatnonzero(per_entry)
        prefixes = self._prefixes(watched)
        for begin in range(0, rows, _CHUNK_ROWS):
            seats = np.arange(begin, min(begin + _CHUNK_ROWS, rows)) * step % rows
            entries = np.searchsorted(ends, seats, side="right")
            seats -= (ends - per_entry)[entries]
            anonymous = seats < self._anonymous[entries]
            viewers = np.where(anonymous, -1 - seats, self._start[entries] + seats - self._anonymous[entries])
            yield self._render(prefixes.take(np.searchsorted(watched, entries)), entries, viewers)

    def _prefixes(self, entries: NDArray[np.int64]) -> pa.StringArray:
        """For each of these entries the fields that all its lines have in common, as CSV."""
        ids, created_at, played_as = self._shown.content_ids, self._shown.created_at, self._played_as
        return pa.array(
            [
                quoted(self._titles[content], ids[content], played_as[kind], created_at[content], "")
                for content, kind in (divmod(entry, len(played_as)) for entry in entries.tolist())
            ],
            pa.string(),
        )

    def _render(self, prefixes: pa.StringArray, entries: NDArray[np.int64], viewers: NDArray[np.int64]) -> Lines:
        watch_ms = self._watch_ms(entries, viewers)
        whole, fraction = np.divmod(watch_ms, 1_000)
        lines = pc.binary_join_element_wise(  # type: ignore[call-overload]  # the stubs know no separator
            prefixes,
            customer_fields(self._customers(entries, viewers), self._config.seed),
            pa.array(whole).cast(pa.string()),
            _FRACTIONS.take(fraction),
            "",
        )
        return Lines(csv=lines.buffers()[2], rows=len(lines), watch_ms=int(watch_ms.sum()))

    def _customers(self, entries: NDArray[np.int64], viewers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The customers' numbers, -1 for anonymous viewers. The odd ones have the first seats on every day."""
        seats = (self._first[entries] + viewers) % self._audience
        odd = len(ODD_CUSTOMERS)
        others = max(1, self._config.customers - odd)
        drawn = odd + (seats - odd + self._key % others) % others
        return np.where(viewers < 0, -1, np.where(seats < odd, seats, drawn))

    def _watch_ms(self, entries: NDArray[np.int64], viewers: NDArray[np.int64]) -> NDArray[np.int64]:
        bits = mix((entries << 40) + viewers, ~self._key & (1 << 64) - 1)
        low = np.uint64(0xFFFF)
        # The product of two even chances: many short views, few long ones.
        product = (bits & low) * (bits >> np.uint64(16) & low)
        seconds = (product * np.uint64(_LONGEST_VIEW_S) >> np.uint64(32)).astype(np.int64) + 1
        if not self._config.anonymous_line_per_view:
            views = (bits >> np.uint64(32) & np.uint64(63)).astype(np.int64) + 1
            seconds *= np.where(viewers < 0, views, 1)
        decimals = (bits >> np.uint64(40)) % np.uint64(1_000)
        has_decimals = bits >> np.uint64(61) == 0
        watch_ms = seconds * 1_000 + np.where(has_decimals, decimals, 0).astype(np.int64)
        for start, stop in self._corrected:
            watch_ms += _CORRECTION_MS * ((start[entries] <= viewers) & (viewers < stop[entries]))
        return watch_ms


def _share_out(rows: int, weights: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Share `rows` out by `weights`, none getting more than `most`; what is over goes to the others."""
    if rows > most * len(weights):
        raise Misconfigured(
            f"the sandbox cannot fill {rows:,} rows: its catalogue and customers give {most * len(weights):,} at most",
            next_step="ask for fewer rows, or for more titles or customers",
        )
    shares = np.zeros_like(weights)
    while (left := rows - int(shares.sum())) > 0:
        still_open = np.where(shares < most, weights, 0)
        edges = left * np.cumsum(still_open) // still_open.sum()
        shares = np.minimum(shares + np.diff(edges, prepend=0), most)
    return shares
