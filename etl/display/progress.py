"""Draws the progress of long work on a terminal. A module of its own because rich's bar is slow to import."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from etl.display.number_format import duration
from etl.domain.outcome import Result
from etl.runtime.progress_reporter import ProgressReporter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from rich.console import Console, RenderableType

    from etl.domain.outcome import Outcome, Pause
    from etl.domain.slices import Slice

# The longest label there can be: what stands beside it must not jump.
_LABEL: Final = len("2026-11-28 LIVE ") + max(map(len, Result))
_SPEED: Final = len("9999.9/min")
# Of a narrower terminal the bar would get nothing.
_WIDE: Final = 80


class Speed(ProgressColumn):
    """Slices a second, or a minute where they are slow."""

    def render(self, task: Task) -> Text:
        """As measured so far; nothing at first."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min")


@dataclass(frozen=True, slots=True)
class _Standing:
    """A slice on which work stands still: why, and until when by `clock`."""

    slice: Slice
    pause: Pause
    next_s: float
    gives_up_at: datetime | None

    def line(self, now_s: float) -> Text:
        left_s = self.next_s - now_s
        left = duration(timedelta(seconds=left_s))
        pause = self.pause
        if self.gives_up_at is None:
            when = f"attempt {pause.attempt + 1} in {left}" if left_s > 0 else f"attempt {pause.attempt + 1}"
            return Text(f"retrying {self.slice}, {when}: {pause.reason}", no_wrap=True, overflow="ellipsis")
        when = f"next check in {left}" if left_s > 0 else "checking"
        text = f"{self.slice}: {pause.reason}, {when}, gives up at {self.gives_up_at:%H:%M}"
        return Text(text, style="yellow")


@dataclass(slots=True)
class _Task:
    """What is being worked on: since when by the clock, and how much of how much is done."""

    name: str
    began_s: float
    units: int
    done: int = 0

    def line(self, now_s: float) -> Text:
        share = f", {self.done:,} of {self.units:,}" if self.done else ""
        since_s = int(now_s - self.began_s)
        return Text(f"{self.name}{share}" + (f", {since_s} s" if since_s else ""), no_wrap=True, overflow="ellipsis")


class LiveProgress(ProgressReporter):
    """A bar, and below it what is being worked on, and each slice that is waited for or tried again.

    Nothing is drawn before there is something to tell, and no bar for work that has no steps. Where it is not shown at
    all, the log has a line for each slice. Its methods can be called from any thread.

    `clock` gives monotonic seconds, `now` the time in the zone in which times are shown.
    """

    def __init__(
        self,
        console: Console,
        *,
        is_shown: bool,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._clock = clock
        self._now = now
        self._standing: dict[Slice, _Standing] = {}
        self._working_on: _Task | None = None
        details: list[ProgressColumn] = []
        if console.width >= _WIDE:
            details = [Speed(table_column=Column(width=_SPEED, justify="right")), TimeElapsedColumn()]
        self._bar = _BarAndLines(
            self._lines,
            TextColumn("{task.description}", table_column=Column(width=_LABEL, no_wrap=True)),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            *details,
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
            disable=not is_shown,
            transient=True,
            expand=True,
        )
        self._task = self._bar.add_task("starting", total=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Take the lines away: a table follows."""
        self._bar.stop()

    def expect(self, steps: int) -> None:
        """So many more steps are to come."""
        (bar,) = self._bar.tasks
        self._bar.update(self._task, total=(bar.total or 0) + steps)
        if steps:
            self._bar.start()

    def begin(self, task: str, *, of: int = 0) -> None:
        """This is being worked on from now on, beside the slices that threads work on."""
        self._working_on = _Task(task, self._clock(), of)
        self._bar.start()
        self._bar.refresh()

    def reach(self, units: int) -> None:
        """So many units of it are done: the next refresh shows it."""
        if self._working_on:
            self._working_on.done = units

    def advance(self, done: str) -> None:
        """A step is done, and so is what was worked on."""
        self._working_on = None
        self._bar.update(self._task, advance=1, description=done)

    def done(self, outcome: Outcome) -> None:
        """A slice is done."""
        self._standing.pop(outcome.slice, None)
        self.advance(f"{outcome.slice} {outcome.result}")

    def pause(self, slice_: Slice, pause: Pause) -> None:
        """Work on a slice stands still."""
        gives_up = None if pause.gives_up_s is None else self._now() + timedelta(seconds=pause.gives_up_s)
        self._standing[slice_] = _Standing(slice_, pause, self._clock() + pause.seconds, gives_up)
        self._bar.refresh()

    def _lines(self) -> list[Text]:
        now_s = self._clock()
        task = [self._working_on.line(now_s)] if self._working_on else []
        return task + [standing.line(now_s) for _, standing in sorted(self._standing.copy().items())]


class _BarAndLines(Progress):
    def __init__(self, lines: Callable[[], list[Text]], *columns: ProgressColumn, **options: object) -> None:
        self._lines = lines
        super().__init__(*columns, **options)  # type: ignore[arg-type]  # as they are

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar first, where there are steps."""
        if any(task.total for task in self.tasks):
            yield from super().get_renderables()
        yield from self._lines()
