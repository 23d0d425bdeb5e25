"""The tables of a comparison, and what it was measured on."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TypeAlias

from competitors import LIMIT, OURS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from competitors import Competitor
    from measure import Cost


class Scenario(StrEnum):
    """What a load finds in the database."""

    FIRST = "first"
    UNCHANGED = "unchanged"
    RESTATED = "restated"


_TITLES = {
    Scenario.FIRST: "First load",
    Scenario.UNCHANGED: "The same report again",
    Scenario.RESTATED: "A restated report",
}

# What a load cost, round by round.
Figures: TypeAlias = "dict[tuple[str, Scenario], list[Cost]]"

_HEADER = (
    "", "seconds", "times the limit", "times watch-time", "client MB", "client CPU s",
    "server CPU s", "WAL MB",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured.

    Attributes:
        not_run: why a competitor has no figures, by name.
        settings: the server's own, and its version.
    """

    rows: int
    rounds: int
    competitors: Sequence[Competitor]
    figures: Figures
    not_run: Mapping[str, str]
    settings: Mapping[str, str]
    others: Path

    @property
    def failed(self) -> bool:
        """Whether a competitor that is installed has no figures."""
        return any(not each.missing(self.others) for each in self.competitors if each.name in self.not_run)

    def text(self, *, markdown: bool) -> str:
        """The tables, one a scenario, below what they were measured on."""
        blocks = [self._measured_on(markdown=markdown)]
        for scenario, title in _TITLES.items():
            lines = [line for each in self.competitors if (line := self._line(each, scenario))]
            if lines:
                table = _markdown([_HEADER, *lines]) if markdown else _plain([_HEADER, *lines])
                blocks.append(f"{'### ' if markdown else ''}{title}, {self.rows:,} rows\n\n{table}")
        blocks += [
            f"not run: {each.label}: {self.not_run[each.name]}"
            for each in self.competitors
            if each.name in self.not_run
        ]
        if any(each.keeps_vanished for each in self.competitors):
            keeping = ", ".join(each.name for each in self.competitors if each.keeps_vanished)
            blocks.append(f"These leave rows stored that a restated report no longer has: {keeping}.")
        return "\n\n".join(blocks)

    def _line(self, competitor: Competitor, scenario: Scenario) -> tuple[str, ...] | None:
        spent = self.figures.get((competitor.name, scenario))
        if not spent:
            return None
        return (
            competitor.label,
            _spread([each.elapsed_s for each in spent], "{:.2f}"),
            self._ratio(spent, self.figures.get((LIMIT, scenario)), lambda theirs, limit: theirs / limit),
            self._ratio(spent, self.figures.get((OURS, scenario)), lambda theirs, ours: theirs / ours),
            f"{max(each.peak_mb for each in spent):.0f}",
            _spread([each.client_cpu_s for each in spent], "{:.1f}", only_median=True),
            _spread([each.server_cpu_s for each in spent], "{:.1f}", only_median=True),
            _spread([each.wal_mb for each in spent], "{:.0f}", only_median=True),
        )

    def _ratio(self, these: list[Cost], those: list[Cost] | None, of: Callable[[float, float], float]) -> str:
        if not those:
            return "-"
        return _spread([of(a.elapsed_s, b.elapsed_s) for a, b in zip(these, those, strict=True)], "{:.2f}")

    def _measured_on(self, *, markdown: bool) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items() if name != "server_version")
        facts = {
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            "command": shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
            "machine": f"{_cpu_model()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}",
            "versions": ", ".join(f"{name} {version}" for name, version in self._versions().items()),
            "server settings": settings or "all as Postgres has them",
            "rounds": f"{self.rounds}; medians, and the range in brackets; memory is the highest",
        }
        mark = "- " if markdown else ""
        return "\n".join(f"{mark}{name}: {value}" for name, value in facts.items())

    def _versions(self) -> dict[str, str]:
        return (
            {"Postgres": self.settings["server_version"], "Python": platform.python_version()}
            | {name: metadata.version(name) for name in ("pandas", "pyarrow", "psycopg", "sqlalchemy")}
            | _others_versions(self.others)
        )


def log_progress(words: str) -> None:
    """To whoever waits."""
    print(words, file=sys.stderr, flush=True)


def _others_versions(others: Path) -> dict[str, str]:
    """Of dlt and sling, in their own virtual environment."""
    packages = others.parent.glob("lib/python*/site-packages")
    found = [each for folder in packages for each in metadata.distributions(path=[str(folder)])]
    return {
        each.name.partition("_")[0].partition("-")[0]: each.version
        for each in found
        if each.name == "dlt" or each.name.startswith(("sling-", "sling_"))
    }


def _cpu_model() -> str:
    if sys.platform == "darwin":
        return subprocess.check_output(["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], text=True).strip()
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _spread(values: Sequence[float], shape: str, *, only_median: bool = False) -> str:
    middle = shape.format(median(values))
    if only_median or len(values) == 1:
        return middle
    return f"{middle} ({shape.format(min(values))}-{shape.format(max(values))})"


def _plain(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))]
        )
        for line in lines
    )


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    rows = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([rows[0], "| --- " + "| ---: " * (len(lines[0]) - 1) + "|", *rows[1:]])
