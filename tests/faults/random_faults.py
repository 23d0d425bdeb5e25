"""Random faults for a soak: of the source; kills, ended connections, crashes of the server."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psycopg

from etl.sandbox.faults import Answer, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from disposable_server import DisposableServer
    from etl.domain.slices import Slice
    from etl.sandbox.sandbox import Sandbox
    from job_environment import Ended, Run

Strike = Literal["kill", "connection", "crash"]

_STRIKES: tuple[tuple[Strike, int], ...] = (("kill", 5), ("connection", 4), ("crash", 1))
_LOOK_S = 0.02
_PACKED: tuple[Literal["no", "encoding", "file"], ...] = ("no", "no", "encoding", "file")
_EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
IN_FLIGHT = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watch-time' AND backend_xid IS NOT NULL"
_TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'watch-time'"


@dataclass
class RandomFaults:
    """Chance, how often a slice meets a fault, and what has happened so far."""

    seed: int
    rate: float
    server: DisposableServer
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - to be repeated

    def compress_some(self, sandbox: Sandbox, slices: Iterable[Slice]) -> None:
        """Some reports come compressed, and some of those as `.csv.gz`."""
        for slice_ in slices:
            sandbox.override(slice_, Delivery(gzip=random.Random(f"{self.seed} {slice_}").choice(_PACKED)))  # noqa: S311

    def script_source(self, sandbox: Sandbox, slices: Iterable[Slice]) -> None:
        """The next answers about some of the slices go wrong."""
        for slice_ in slices:
            if self.chance.random() < self.rate:
                sandbox.script(slice_, api=[self._answer()])
                self.counts["faults of the source"] += 1
            if self.chance.random() < self.rate:
                sandbox.script(slice_, storage=[self._delivery(sandbox, slice_)])
                self.counts["faults of the source"] += 1

    def _answer(self) -> Answer:
        return self.chance.choice([
            Answer(429, headers={"Retry-After": "0"}),
            Answer(500),
            Answer(503, "<html>busy</html>", media_type="text/html"),
            Answer(502, latency_s=0.3),
        ])  # fmt: skip

    def _delivery(self, sandbox: Sandbox, slice_: Slice) -> Answer | Delivery:
        packed = sandbox.overridden(slice_).gzip
        cut = self.chance.randrange(4_000)
        ways: list[Answer | Delivery] = [
            Answer(500),
            Answer(403, _EXPIRED, media_type="application/xml"),
            Delivery(gzip=packed, expired=True),
            Delivery(gzip=packed, cut_after_bytes=cut),
            Delivery(gzip=packed, cut_after_bytes=cut, ranges=False, headers={"etag": None}),
            Delivery(gzip=packed, cut_after_bytes=cut, headers={"content-length": None}),
            Delivery(gzip=packed, latency_s=0.3),
            Delivery(gzip=packed, bytes_per_s=20_000),
        ]
        return self.chance.choice(ways)

    def plan(
        self, slices: Sequence[Slice], usual_s: float, *, but: tuple[Strike, ...] = ()
    ) -> list[tuple[float, Strike]]:
        """When in a run about these slices something strikes that is no fault of the source, and what."""
        kinds = [(kind, weight) for kind, weight in _STRIKES if kind not in but]
        count = sum(self.chance.random() < self.rate for _ in slices)
        picked = self.chance.choices([kind for kind, _ in kinds], [weight for _, weight in kinds], k=count)
        return sorted((self.chance.uniform(0, usual_s), kind) for kind in picked)

    def strike(self, run: Run, strikes: Sequence[tuple[float, Strike]], deadline: float) -> tuple[Ended, list[int]]:
        """Strike a run as planned; returns how it ended, and its memory in kB from the first look to the last.

        A run that goes on beyond the deadline gets SIGTERM.
        """
        began, left, memory = time.monotonic(), list(strikes), []
        told = False
        while kilobytes := _memory_of(run.pid):
            memory.append(kilobytes)
            now = time.monotonic()
            if left and now - began >= left[0][0]:
                _, kind = left.pop(0)
                if kind == "kill":
                    return self._kill(run), memory
                self._end_connections() if kind == "connection" else self._crash()
            if now > deadline and not told:
                told = True
                with suppress(ProcessLookupError):
                    os.kill(run.pid, signal.SIGTERM)
            time.sleep(_LOOK_S)
        return run.wait(), memory

    def _kill(self, run: Run) -> Ended:
        in_flight = self._in_flight()
        ended = run.kill(signal.SIGKILL)
        if ended.code == -signal.SIGKILL:
            self.counts["kills"] += 1
            self.counts["kills with a load in flight"] += bool(in_flight)
        return ended

    def _end_connections(self) -> None:
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            self.counts["connections to Postgres ended"] += len(connection.execute(_TERMINATE).fetchall())

    def _crash(self) -> None:
        self.counts["crashes and stops of the server, loads in flight"] += self._in_flight()
        self.counts["crashes and stops of the server"] += 1
        self.server.stop("immediate")
        self.server.start()

    def _in_flight(self) -> int:
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            row = connection.execute(IN_FLIGHT).fetchone()
        return int(row[0]) if row else 0


def _memory_of(pid: int) -> int:
    """Resident memory of a process that runs, in kB; 0 of one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, _, after = status.partition("VmRSS:")
    return int(after.split()[0]) if after else 0
