"""Mutation testing, `make mutants`: small changes to the program, one at a time, each of which a test must notice.

A first run of the tests records which of them run which line. Each mutant is then tested in a copy of the project, by
the quickest tests that run its line. Why a script of our own: docs/decisions/0028-mutation-testing.md.
"""

from __future__ import annotations

import argparse
import ast
import compileall
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT: Final = Path(__file__).parents[1]
LINES: Final = ROOT / "build" / "mutation-lines.json"
# Every module of pipeline, load and archive is in one part, which tests/unit/test_mutation.py checks; so is what
# decides that a download is complete, and that a slice's row is written.
_MODULES: Final = {
    "pipeline": ["pipeline: slice_sync report_reader archive_stage replay outcome_log"],
    "outcome recorder": ["pipeline: outcome_recorder", "load: refused_report_rejects", "warehouse: ledger revisions"],
    "guards": ["pipeline: guards guard_stage not_found_policy"],
    "load": ["load: difference_load load_steps load_strategy new_partition_load partition_bounds"],
    "compaction": ["load: compaction month_merge compact_command distinct_customers"],
    "archive": ["archive: archive audit layout manifests parquet raw store_backends timeout_store"],
    "download": ["extract: download download_writer gunzip http_checksums signed_url_identity storage_headers"],
}
PARTS: Final = {
    part: [
        f"etl/{package}/{module}.py"
        for package, _, modules in (each.partition(": ") for each in packages)
        for module in modules.split()
    ]
    for part, packages in _MODULES.items()
}
TESTS: Final = [
    *(
        f"tests/unit/test_{name}.py"
        for name in (
            "cancellation",
            "guards",
            "http_checksums",
            "not_found_policy",
            "signed_url_identity",
            "restored_revisions",
            "run_logging",
            "slices",
            "download_writer",
        )
    ),
    *(
        f"tests/integration/test_{name}.py"
        for name in (
            "loading",
            "states",
            "revisions_and_races",
            "compaction",
            "archive",
            "archive_stores",
            "bad_input",
            "rollups",
        )
    ),
    "tests/integration/source/test_storage_answers.py",
    "tests/integration/source/test_connections.py",
    "tests/faults/test_download_cuts.py",
]
# For survivors, and lines that no test runs in its own process: arguments of pytest.
_REPLAY: Final = ["tests/acceptance/test_replay.py", "-k", "not s3"]
BY_COMMAND: Final = {
    "etl/pipeline/replay.py": _REPLAY,
    "etl/archive/archive.py": [
        "tests/integration/test_archive.py::test_doctor_tries_the_archive_and_leaves_nothing",
        *_REPLAY,
    ],
    "etl/archive/audit.py": _REPLAY,
    "etl/archive/store_backends.py": _REPLAY,
    "etl/archive/parquet.py": _REPLAY,
    "etl/archive/raw.py": _REPLAY,
    "etl/load/compaction.py": ["tests/integration/test_compaction.py"],
    "etl/load/month_merge.py": ["tests/integration/test_compaction.py"],
    "etl/load/difference_load.py": ["tests/acceptance/test_verify.py"],
}
# Of the tests that run a line, so many seconds, as recorded, are tried first; a survivor gets the next ones too.
_FIRST_S: Final = 20.0
_NEXT_S: Final = 100.0
_FIRST_LIMIT_S: Final = 60.0
# Commands that start commands take longer.
_LIMIT_S: Final = 240.0
# A test that takes longer fails: what waits for ever is caught.
_TEST_LIMIT_S: Final = 30

_COMPARISONS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: `old`, which begins at that byte of the file, becomes `new`."""

    part: str
    file: str
    line: int
    function: str
    start: int
    old: str
    new: str

    def __str__(self) -> str:
        old, new = (" ".join(text.split()) for text in (self.old, self.new))
        return f"{self.file}:{self.line} {self.function}: {old}  ->  {new}"


def mutants(part: str, file: str) -> Iterator[Mutant]:
    """All mutants of the functions of a file. What a reader sees, texts of messages and logs, stays as it is."""
    source = (ROOT / file).read_bytes()
    line_starts = [0]
    for line in source.splitlines(keepends=True):
        line_starts.append(line_starts[-1] + len(line))

    def visit(node: ast.AST, names: tuple[str, ...]) -> Iterator[Mutant]:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            is_function = isinstance(node, ast.FunctionDef)
            for statement in node.body:
                yield from visit(statement, (*names, node.name, *(("<locals>",) if is_function else ())))
            return
        if isinstance(node, (ast.JoinedStr, ast.AnnAssign)) or ast.unparse(node).startswith("log."):
            return
        if "<locals>" in names:
            for old, new in _changes(node):
                start = line_starts[old.lineno - 1] + old.col_offset
                stop = line_starts[(old.end_lineno or old.lineno) - 1] + (old.end_col_offset or 0)
                text = source[start:stop].decode()
                yield Mutant(part, file, old.lineno, ".".join(names[:-1]), start, text, new)
        if isinstance(node, ast.Raise):
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child, names)

    yield from visit(ast.parse(source), ())


def _changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """What may change at a node: it, or its condition, and what becomes of that, as source."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
        ops = [_COMPARISONS[type(node.ops[0])](), *node.ops[1:]]
        yield node, f"({ast.unparse(ast.Compare(node.left, ops, node.comparators))})"
    elif isinstance(node, ast.BoolOp):
        other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
        yield node, f"({ast.unparse(ast.BoolOp(other, node.values))})"
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield node, f"({ast.unparse(ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right))})"
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield node, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield node, str(node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, f"({ast.unparse(node.operand)})"
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)) and not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
        yield node.test, f"(not ({ast.unparse(node.test)}))"
    elif isinstance(node, (ast.Raise, ast.AugAssign)) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, (ast.Constant, ast.Yield, ast.YieldFrom))
    ):
        yield node, "pass"


def drawn(known: Iterable[Mutant], seed: str) -> list[Mutant]:
    """The mutants in an order of the seed's own; a change of the program elsewhere does not change it."""
    order, earlier = dict[Mutant, bytes](), Counter[str]()
    for mutant in known:
        what = f"{seed} {mutant.file} {mutant.function} {mutant.old} {mutant.new}"
        order[mutant] = hashlib.sha256(f"{what} {earlier[what]}".encode()).digest()
        earlier[what] += 1
    return sorted(order, key=order.__getitem__)


class LinesPlugin:
    """For pytest: which lines of the program each test runs, and how long the test takes."""

    def __init__(self) -> None:
        self.lines: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}
        self._failed: set[str] = set()
        self._seen: set[str] = set()
        self._files = {str(ROOT / file): file for files in PARTS.values() for file in files}

    def _enter(self, frame: Any, _event: str, _: object) -> Any:
        return self._note if frame.f_code.co_filename in self._files else None

    def _note(self, frame: Any, event: str, _: object) -> Any:
        if event == "line":
            self._seen.add(f"{self._files[frame.f_code.co_filename]}:{frame.f_lineno}")
        return self._note

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._seen, began_s = set(), time.monotonic()
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            threading.settrace(None)
            self.lines[item.nodeid], self.seconds[item.nodeid] = sorted(self._seen), time.monotonic() - began_s

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self._failed.add(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        passed = [test for test in self.lines if test not in self._failed]
        known = {test: [self.seconds[test], self.lines[test]] for test in passed}
        LINES.parent.mkdir(exist_ok=True)
        LINES.write_text(json.dumps(known, indent=1), encoding="utf-8")


def tests_by_line() -> dict[str, tuple[list[str], list[str]]]:
    """For each line the tests that run it, the quickest first: those of a first try, and those for its survivors."""
    known = json.loads(LINES.read_text(encoding="utf-8"))
    tests, seconds = defaultdict[str, tuple[list[str], list[str]]](lambda: ([], [])), Counter[str]()
    for test, (took_s, lines) in sorted(known.items(), key=lambda each: each[1][0]):
        for line in lines:
            if seconds[line] < _FIRST_S + _NEXT_S:
                tests[line][seconds[line] >= _FIRST_S].append(test)
                seconds[line] += took_s
    return tests


def copy_project(folder: Path) -> Path:
    """A copy of what Git knows, as it is now, compiled once for all mutants."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout  # noqa: S607
    for name in names.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    compileall.compile_dir(folder, quiet=2)
    return folder


def verdict(mutant: Mutant, tests: list[str], folder: Path, *, limit_s: float) -> str:
    """What the tests, arguments of pytest, say of a mutant in that copy of the project."""
    file = folder / mutant.file
    source = file.read_bytes()
    stop = mutant.start + len(mutant.old.encode())
    file.write_bytes(source[: mutant.start] + mutant.new.encode() + source[stop:])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-n",
        "0",
        "-p",
        "no:cacheprovider",
        f"--timeout={_TEST_LIMIT_S}",
    ]
    process = subprocess.Popen(
        [*command, *tests], cwd=folder, env=os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0,
    )  # fmt: skip
    try:
        output, _ = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        # First as Ctrl-C does it, so that pytest stops the servers that it started.
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return "out of time"
    finally:
        file.write_bytes(source)
    if process.returncode not in {0, 1}:
        raise RuntimeError(output)
    return "killed" if process.returncode else "survived"


def sample_of(parts: Iterable[str], count: int, seed: str, only: Iterable[str]) -> list[Mutant]:
    """So many mutants of each part, of all parts in turn: a run that is out of time has tried some of each.

    `only` leaves out those whose printed line contains none of these texts.
    """
    sample = list[tuple[float, Mutant]]()
    for part in parts:
        known = drawn((mutant for file in PARTS[part] for mutant in mutants(part, file)), seed)
        chosen = known[:count]
        sample += [(number / len(chosen), mutant) for number, mutant in enumerate(chosen)]
        print(f"{part}: {len(chosen)} of {len(known)} mutants", flush=True)
    sample.sort(key=lambda each: each[0])
    return [mutant for _, mutant in sample if any(text in str(mutant) for text in only)]


def tries_of(mutant: Mutant, tests: Mapping[str, tuple[list[str], list[str]]]) -> list[tuple[list[str], float]]:
    """Which tests to try a mutant with, and how long; the next ones where it survives."""
    first, next_ones = tests.get(f"{mutant.file}:{mutant.line}", ([], []))
    tries = [(first, _FIRST_LIMIT_S), (next_ones, _LIMIT_S), (BY_COMMAND.get(mutant.file, []), _LIMIT_S)]
    return [(running, limit_s) for running, limit_s in tries if running]


def main() -> None:
    """Record which tests run which line, unless that is known; try a sample of mutants; print verdicts and scores."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20, help="mutants of each part")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--part", action="append", choices=PARTS, help="only these parts")
    parser.add_argument("--only", action="append", help="of the sample, those whose printed line contains this text")
    parser.add_argument("--keep-lines", action="store_true", help="use what the last run recorded of the tests")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no mutant after that")
    arguments = parser.parse_args()
    if not (arguments.keep_lines and LINES.exists()):
        os.chdir(ROOT)
        pytest.main(["-q", "-n", "0", "-p", "no:cacheprovider", *TESTS], plugins=[LinesPlugin()])
    tests = tests_by_line()
    sample = sample_of(arguments.part or list(PARTS), arguments.count, arguments.seed, arguments.only or [""])
    deadline_s = time.monotonic() + 60 * arguments.minutes
    counts = defaultdict[str, Counter[str]](Counter)
    with tempfile.TemporaryDirectory(prefix="watch-time-mutants-") as temporary, ThreadPoolExecutor(2) as pool:
        folders = SimpleQueue[Path]()
        for number in range(2):
            folders.put(copy_project(Path(temporary) / str(number)))

        def verdict_of(mutant: Mutant, *, tries: int | None = None) -> str:
            told, folder = "not run", folders.get()
            for running, limit_s in tries_of(mutant, tests)[:tries]:
                told = verdict(mutant, running, folder, limit_s=limit_s)
                if told != "survived":
                    break
            folders.put(folder)
            return told

        def tried(mutant: Mutant) -> None:
            if time.monotonic() > deadline_s:
                return
            told = verdict_of(mutant)
            counts[mutant.part][told] += 1
            print(f"{told}: {mutant}", flush=True)

        unchanged = [replace(mutant, new=mutant.old) for mutant in {each.part: each for each in sample}.values()]
        if "killed" in pool.map(partial(verdict_of, tries=1), unchanged):
            raise RuntimeError("tests fail on the program as it is: run them with pytest")
        list(pool.map(tried, sample))
    for part, told in counts.items():
        print(f"{part}: {told['killed']} of {told.total()} killed; {dict(told)}")


if __name__ == "__main__":
    main()
