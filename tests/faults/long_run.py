"""The fault suites and the year's soak for as long as there is time: python tests/faults/long_run.py --minutes 15.

The suites run in rounds, each from the next seed, with as much effort as fits. Every failure is told with the command
that repeats it; the last line sums up what was tried. Ends with 1 where anything failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

from tally import summary, totals

HERE = Path(__file__).parent
_SOAK_SHARE = 0.35
# A round with effort 1 on two cores; the first one that is run says how long it takes here.
_ROUND_S = 400.0
_LEAST_EFFORT, _GREATEST_EFFORT = 0.1, 20.0
# So that a long time is not spent on one seed and one server.
_LONGEST_ROUND_S = 900.0
# What a suite does once, whatever the effort: servers, processes to fork from.
_FIXED_SHARE = 0.5
# After which a round that hangs is ended.
_TIMEOUT_S = 120.0


@dataclass
class LongRun:
    """The time there is, and what came of it."""

    seed: int
    minutes: float
    tally: Path
    servers: tuple[str, ...]
    began: float = field(default_factory=time.monotonic)
    seeds: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        return self.began + self.minutes * 60 - time.monotonic()

    def soak(self, source: str) -> None:
        """A year under faults, for its share of the time; of fewer days where that is short."""
        minutes = max(0.5, self.minutes * _SOAK_SHARE)
        days = min(365, max(10, round(minutes * 75)))
        command = [
            sys.executable, str(HERE / "soak.py"), "--minutes", f"{minutes:.1f}", "--days", f"{days}",
            "--seed", f"{self.seed}", "--postgres", source,
        ]  # fmt: skip
        code, _ = self._call(command, {}, minutes * 60 * 1.5 + _TIMEOUT_S)
        if code:
            self.failures.append(f"the soak ended with {code}; repeat: {shlex.join(command)}")

    def rounds(self) -> None:
        """Rounds of all suites until another one would not fit."""
        whole_s = _ROUND_S
        while self.left_s > 0:
            # Whatever the time, each suite runs once.
            effort = _effort(min(self.left_s / self._rounds_to_come, _LONGEST_ROUND_S), whole_s)
            if self.seeds and self._would_take(effort, whole_s) > self.left_s:
                return
            began = time.monotonic()
            self._round(self.seed + len(self.seeds), effort)
            whole_s = (time.monotonic() - began) / (_FIXED_SHARE + (1 - _FIXED_SHARE) * effort)

    @property
    def _rounds_to_come(self) -> int:
        """So that each server has its round: the suites that run on one take the next one with each round."""
        return max(1, len(self.servers) - len(self.seeds))

    @staticmethod
    def _would_take(effort: float, whole_s: float) -> float:
        return whole_s * (_FIXED_SHARE + (1 - _FIXED_SHARE) * effort)

    def _round(self, seed: int, effort: float) -> None:
        server = self.servers[-1 - len(self.seeds) % len(self.servers)]
        self.seeds.append(seed)
        known = {
            "WATCH_TIME_TEST_SEED": f"{seed}",
            "WATCH_TIME_TEST_EFFORT": f"{effort:g}",
            "WATCH_TIME_TEST_EXHAUSTIVE": "1",
            "WATCH_TIME_TEST_SERVER": server,
        }
        print(f"round {len(self.seeds)}: seed {seed}, effort {effort:g}, one server: {server}", flush=True)
        report = self.tally.with_name(f"round-{len(self.seeds)}.xml")
        command = [
            sys.executable, "-m", "pytest", str(HERE), "-n", "2", "-q", "-p", "no:cacheprovider", "--tb=short",
            f"--timeout={round(180 * max(1, effort))}", f"--junitxml={report}",
        ]  # fmt: skip
        code, is_late = self._call(command, known, max(self.left_s, _ROUND_S) * 2 + _TIMEOUT_S)
        variables = " ".join(f"{name}={value}" for name, value in known.items())
        failed = failures(report) if report.exists() else []
        self.failures += [f"{what}; repeat: {variables} pytest {where}" for where, what in failed]
        if is_late or (code and not failed):
            how = "did not end and was stopped" if is_late else f"ended with {code}"
            self.failures.append(f"a round {how}; repeat: {variables} {shlex.join(command)}")

    def _call(self, command: list[str], known: dict[str, str], timeout_s: float) -> tuple[int, bool]:
        """Run it in a group of its own; its exit code, and whether it had to be stopped."""
        environment = {**os.environ, **known, "WATCH_TIME_TEST_TALLY": str(self.tally)}
        with subprocess.Popen(command, cwd=HERE.parents[1], env=environment, start_new_session=True) as process:
            try:
                return process.wait(timeout_s), False
            except subprocess.TimeoutExpired:
                return _stopped(process), True
            except KeyboardInterrupt:
                _stopped(process)
                raise

    def summary(self, postgres: str) -> str:
        """What was tried, in one line."""
        tried = summary(totals(self.tally.read_text(encoding="utf-8").splitlines() if self.tally.exists() else []))
        seeds = f"{self.seed}" if len(self.seeds) < 2 else f"{self.seeds[0]}-{self.seeds[-1]}"
        minutes = f"{(time.monotonic() - self.began) / 60:.0f} min"
        return (
            f"{tried}: {len(self.failures)} violations (seeds {seeds}, {minutes}, {postgres}; "
            f"repeat: make soak MINUTES={self.minutes:g} SEED={self.seed})"
        )


def _effort(seconds: float, whole_s: float) -> float:
    """How much effort fills so many seconds, if effort 1 takes `whole_s`."""
    effort = (seconds / whole_s - _FIXED_SHARE) / (1 - _FIXED_SHARE)
    return round(min(_GREATEST_EFFORT, max(_LEAST_EFFORT, effort)), 1)


def _stopped(process: subprocess.Popen[bytes]) -> int:
    """End it and what it started; its exit code."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            return process.wait(60)
    return process.wait()


def failures(report: Path) -> list[tuple[str, str]]:
    """Of a JUnit report: which tests failed, as pytest takes them on its command line, and how."""
    found = []
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - pytest has just written it
        for bad in (*case.findall("failure"), *case.findall("error")):
            where = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}"
            found.append((shlex.quote(where), (bad.get("message") or "").partition("\n")[0][:300]))
    return found


def main() -> int:
    """Run, and say in one line what was tried."""
    sys.path.append(str(HERE.parent))
    import postgres

    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1_000_000)
    asked = parser.parse_args()
    majors = [source.partition("-")[2] or source for source in postgres.SOURCES]
    with tempfile.TemporaryDirectory(prefix="watch-time-long-run-") as folder:
        run = LongRun(asked.seed, asked.minutes, Path(folder, "tally"), postgres.SOURCES)
        own = [source for source in postgres.SOURCES if source.startswith(("debian", "wheel"))]
        run.soak(own[asked.seed % len(own)] if own else "wheel-18")
        run.rounds()
        for failure in run.failures:
            print(f"failed: {failure}")
        print(run.summary(f"Postgres {', '.join(majors)}"))
    return int(bool(run.failures))


if __name__ == "__main__":
    sys.exit(main())
