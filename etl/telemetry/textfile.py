"""Metrics in a textfile for node_exporter: replaced whole, and shared by all commands."""

from __future__ import annotations

import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etl.domain.errors import Misconfigured
from etl.telemetry.metrics import RUN, Sample, of_run, of_snapshot, registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from etl.telemetry.metrics import Run
    from etl.telemetry.warehouse_snapshot import WarehouseSnapshot

# Another command has the textfile for milliseconds, unless its process is suspended or its disk hangs.
_LOCK_TIMEOUT_S: Final = 2.0
_LOCK_POLL_S: Final = 0.02
_READABLE: Final = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH  # node_exporter is another user


def write(path: Path, run: Run, snapshot: WarehouseSnapshot | None) -> None:
    """Write the textfile, whole or not at all; what it holds of the last run of another command stays.

    Raises:
        OSError: it cannot be written.
    """
    from prometheus_client import generate_latest  # noqa: PLC0415 - only where metrics are configured

    own = [*of_run(run), *(of_snapshot(snapshot) if snapshot else ())]
    # Beside the file, for os.replace; and under a name that node_exporter does not read.
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    # From reading to replacing: a command that ends in between would lose its figures.
    with _locked(path.with_name(f".{path.name}.lock")):
        try:
            fresh.write_bytes(generate_latest(registry([*own, *_of_other_commands(path, run.command)])))
            fresh.chmod(_READABLE)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def probe(name: str) -> str:
    """Look whether the textfile can be written, without writing it.

    Raises:
        Misconfigured: with what is amiss.
    """
    path = Path(name)
    if path.suffix != ".prom":
        raise Misconfigured(
            f"node_exporter reads *.prom files only, not {path.name}",
            next_step="set WATCH_TIME_METRICS_FILE to a *.prom file",
        )
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise Misconfigured(
            f"cannot write files to {path.absolute().parent}",
            next_step="create the folder, and grant this user write access: the file is replaced as a whole",
        )
    return f"{path.name} can be written to {path.absolute().parent}"


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock on `file`, which stays where it is: whoever removed it would let two in.

    Where another process does not let go of it within `_LOCK_TIMEOUT_S`, go on without: our figures are certain, and
    that theirs get lost is not.
    """
    # Of other users' runs too: reading is enough for the lock, and a file of theirs cannot be written to.
    lock = os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, _READABLE)
    try:
        with suppress(PermissionError):
            os.fchmod(lock, _READABLE)  # whatever the umask
        patient_until = time.monotonic() + _LOCK_TIMEOUT_S
        while not _taken(lock) and time.monotonic() < patient_until:
            time.sleep(_LOCK_POLL_S)
        yield
    finally:
        os.close(lock)


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _of_other_commands(path: Path, command: str) -> Iterator[Sample]:
    """What the file holds of the last run of other commands; nothing where it cannot be read."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - as above

    known = {metric.name: {*metric.labels, "command"} for metric in RUN}
    try:
        families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return
    for family in families:
        for sample in family.samples:
            if sample.labels.keys() == known.get(sample.name) and sample.labels["command"] != command:
                yield Sample(sample.name, dict(sample.labels), sample.value)
