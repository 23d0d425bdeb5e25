"""The sandbox as an object: what it has, and what can be changed while it runs. Knows nothing of HTTP's details.

    sandbox = Sandbox(SandboxConfig(vod_rows=10_000))
    with running(sandbox) as base_url:
        sandbox.report(slice_).rows                                  # what must be in the warehouse, and
        sandbox.report(slice_).watch_seconds                         # to the second
        sandbox.restate(slice_).rows_vanished                        # a new revision, and what it changed
        sandbox.script(slice_, api=[Answer(500), None])              # the next answers; None: the true one
        sandbox.script(None, storage=[Delivery(cut_after_bytes=999)])  # None: whichever slice comes
        sandbox.override(slice_, Delivery(body=b"..."))              # every download from now on
        sandbox.requests("api")[-1].status                           # what was asked, and answered

All methods are safe to call from any thread while the server runs.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Literal, TypeVar

from etl.sandbox.deterministic_random import seed_of
from etl.sandbox.faults import FAULTLESS, Answer, Delivery
from etl.sandbox.file_cache import FileCache, Stored, gzipped, read_pieces
from etl.sandbox.report_generator import HEADER, Restatement, Viewing
from etl.sandbox.sandbox_config import SandboxConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from etl.domain.slices import Slice

T = TypeVar("T")
Kind = Literal["api", "storage"]

# Enough for any test; a sandbox that runs for weeks must not grow.
_LOGGED_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class Report(Stored):
    """A generated report on disk, until the sandbox is closed, and what it sums up to, counted while it was made.

    Attributes:
        rows: data lines, the header not counted.
        watch_seconds: their exact sum.
    """

    rows: int
    watch_seconds: Decimal


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request and the status it got. Neither the token nor a signature is kept.

    Attributes:
        query: of a request to the API; a signed URL's is left out.
        headers: those that a test may ask about, in lower case; of `authorization` only the scheme.
    """

    kind: Kind
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int


class Sandbox:
    """The state of a stand-in: reports and their revisions, scripts and overrides, and the log of requests."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._files = FileCache()
        self._lock = threading.RLock()
        self._counted: dict[tuple[Slice, int], tuple[int, Decimal]] = {}
        self._log: deque[LoggedRequest] = deque(maxlen=_LOGGED_REQUESTS)
        self.reset()

    def reset(self) -> None:
        """Forget every change and request: revisions, withdrawals, scripts, overrides, the log."""
        with self._lock:
            self._revisions: Counter[Slice] = Counter()
            self._withdrawn: set[Slice] = set()
            self._answers: defaultdict[Slice | None, deque[Answer | None]] = defaultdict(deque)
            self._deliveries: defaultdict[Slice | None, deque[Answer | Delivery | None]] = defaultdict(deque)
            self._overrides: dict[Slice | None, Delivery] = {}
            self._log.clear()

    def close(self) -> None:
        """Delete the generated files and give up those being made; they are made again if they are asked for again."""
        self._files.clear()

    # What there is

    def has_history(self, slice_: Slice) -> bool:
        """Whether anything was watched: not before the first day, nor on one of the quiet days."""
        one_day_in = self.config.quiet_one_day_in
        quiet = one_day_in > 0 and seed_of(self.config.seed, slice_, "quiet") % one_day_in == 0
        return slice_.report_date >= self.config.first_day and not quiet

    def offers(self, slice_: Slice) -> bool:
        """Whether the API has a URL for the slice now."""
        with self._lock:
            withdrawn = slice_ in self._withdrawn
        return not withdrawn and self.has_history(slice_) and self.config.is_published(slice_.report_date)

    def revision(self, slice_: Slice) -> int:
        """How often the slice was restated."""
        with self._lock:
            return self._revisions[slice_]

    def report(self, slice_: Slice, revision: int | None = None) -> Report:
        """The generated report of a slice, offered or not; the current revision if none is named.

        The first call generates it, a million lines or more in a second. Call this before a test with a large one,
        or its HTTP client may time out.
        """
        number = self.revision(slice_) if revision is None else revision
        key = (slice_, number)
        stored = self._files.file(f"{slice_} r{number}.csv", lambda: self._generate(key))
        rows, watch_seconds = self._counted[key]
        return Report(stored.path, stored.size_bytes, stored.etag, rows, watch_seconds)

    def _generate(self, key: tuple[Slice, int]) -> Iterator[bytes | memoryview]:
        rows = watch_ms = 0
        yield HEADER
        for lines in Viewing(self.config, *key).lines():
            rows += lines.rows
            watch_ms += lines.watch_ms
            yield memoryview(lines.csv)
        self._counted[key] = rows, Decimal(watch_ms).scaleb(-3)

    def stored(self, slice_: Slice, delivery: Delivery) -> Stored:
        """The file that a download with this delivery gets."""
        if delivery.body is None:
            plain: Stored = self.report(slice_)
        else:
            body = delivery.body.encode() if isinstance(delivery.body, str) else delivery.body
            plain = self._files.file(f"override {blake2b(body, digest_size=16).hexdigest()}", lambda: [body])
        if delivery.gzip == "no":
            return plain
        return self._files.file(f"{plain.path.name}.gz", lambda: gzipped(read_pieces(plain.path)))

    # What can be changed

    def restate(self, slice_: Slice) -> Restatement:
        """Replace the report of a slice by its next revision, and say what changed."""
        with self._lock:
            self._revisions[slice_] += 1
            return Viewing(self.config, slice_, self._revisions[slice_]).restatements[-1]

    def withdraw(self, slice_: Slice) -> None:
        """Offer the slice no longer: the API returns 404 from now on, and storage too."""
        with self._lock:
            self._withdrawn.add(slice_)

    def script(
        self,
        slice_: Slice | None,
        *,
        api: Iterable[Answer | None] = (),
        storage: Iterable[Answer | Delivery | None] = (),
    ) -> None:
        """Lay down what the next requests get, one item each; None as an item is the true answer.

        `api` is for requests of a report's URL, `storage` for downloads. None as the slice means requests of any, also
        malformed ones, after the slice's own script.
        """
        with self._lock:
            self._answers[slice_].extend(api)
            self._deliveries[slice_].extend(storage)

    def override(self, slice_: Slice | None, delivery: Delivery) -> None:
        """Hand out the report of a slice like this from now on; None: of every slice without an override of its own."""
        with self._lock:
            self._overrides[slice_] = delivery

    # What the server asks and tells

    def next_answer(self, slice_: Slice | None) -> Answer | None:
        """The scripted answer of the API to the request at hand; None: the true one."""
        with self._lock:
            return _next(self._answers, slice_)

    def next_delivery(self, slice_: Slice | None) -> Answer | Delivery:
        """How to treat the download at hand."""
        with self._lock:
            return _next(self._deliveries, slice_) or self.overridden(slice_)

    def overridden(self, slice_: Slice | None) -> Delivery:
        """How the slice's report is handed out when no script says otherwise."""
        with self._lock:
            return self._overrides.get(slice_) or self._overrides.get(None, FAULTLESS)

    def record(self, request: LoggedRequest) -> None:
        """Note a request; the oldest are forgotten in the end."""
        with self._lock:
            self._log.append(request)

    def requests(self, kind: Kind | None = None) -> list[LoggedRequest]:
        """The requests so far, oldest first: of the API, of storage, or both."""
        with self._lock:
            return [request for request in self._log if kind in (None, request.kind)]

    def statuses(self, kind: Kind | None = None) -> Counter[int]:
        """How often each status was answered."""
        return Counter(request.status for request in self.requests(kind))


def _next(scripts: Mapping[Slice | None, deque[T | None]], slice_: Slice | None) -> T | None:
    for whose in (slice_, None):
        if scripts[whose]:
            return scripts[whose].popleft()
    return None
