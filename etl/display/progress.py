"""The progress bar of long work. A module of its own because rich's bar is slow to import, and few commands need it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

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
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from etl.domain.outcome import Outcome


class Speed(ProgressColumn):
    """Slices a second, or a minute where they are slow."""

    def render(self, task: Task) -> Text:
        """As measured so far; nothing at first."""
        speed = task.finished_speed or task.speed
        if not speed:
            return Text()
        return Text(f"{speed:.1f}/s" if speed >= 1 else f"{speed * 60:.1f}/min")


@contextmanager
def progress_bar(total: int, console: Console) -> Iterator[Callable[[Outcome], None]]:
    """A progress bar on a terminal, nothing elsewhere (there the log has a line per slice); call it per outcome."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Speed(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("slices", total=total)

        def advance(outcome: Outcome) -> None:
            bar.update(task, advance=1, description=f"{outcome.slice} {outcome.result}")

        yield advance
