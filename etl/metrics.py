"""What Prometheus is told: the figures of the last run, and where the warehouse stands after it.

By a textfile for node_exporter, and by a Pushgateway. Labels are few and bounded: never an id. What cannot be known
after a run is left out rather than repeated: an old figure must not look like a fresh one.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time as clock
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from etl import __version__
from etl.errors import Misconfigured
from etl.outcome import Result
from etl.reach import request, require_http
from etl.slices import ReportType, Slice, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import date

    from prometheus_client import CollectorRegistry

    from etl.outcome import Outcome
    from etl.standing import Standing

_JOB: Final = "watch_time"
_WHERE: Final = "the Pushgateway"
# Both pushes and their names' resolution share it.
PUSH_S: Final = 5.0
# Another command has the textfile for milliseconds, unless its process is suspended or its disk hangs.
_LOCK_PATIENCE_S: Final = 2.0
_LOCK_POLL_S: Final = 0.02
_NEVER_TRIED: Final = "never_tried"
_READABLE: Final = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH  # node_exporter is another user

_TYPE: Final = ("report_type",)


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


# Each has the label `command` besides: a backfill by hand must not hide how the daily run ended.
RUN: Final = (
    Metric("watch_time_build_info", "1; the label has the program's version.", ("version",)),
    Metric("watch_time_run_last_finish_timestamp_seconds", "When the last run ended."),
    Metric("watch_time_run_duration_seconds", "How long the last run took."),
    Metric("watch_time_run_exit_code", "Exit code of the last run; 0: all is well."),
    Metric("watch_time_run_slices", "Slices that the last run worked on, by how that ended.", (*_TYPE, "result")),
    Metric("watch_time_run_loaded_rows", "Rows that the last run inserted or updated.", _TYPE),
    Metric("watch_time_run_report_bytes", "Size of the reports that the last run fetched, decompressed.", _TYPE),
    Metric("watch_time_run_retries", "How often the last run had to ask or fetch again.", _TYPE),
    Metric("watch_time_run_rejected_lines", "Lines of reports that the last run did not load.", _TYPE),
    Metric("watch_time_run_slices_duration_seconds", "Time that the last run's slices took, added up.", _TYPE),
    Metric("watch_time_run_slowest_slice_duration_seconds", "Time that the last run's slowest slice took.", _TYPE),
)
STANDING: Final = (
    Metric(
        "watch_time_last_loaded_report_date_timestamp_seconds",
        "Midnight UTC of the newest report date that is stored; absent: none is.",
        _TYPE,
    ),
    Metric(
        "watch_time_complete_up_to_timestamp_seconds",
        "Midnight UTC of the newest report date up to which none is missing; absent: not even the first is there.",
        _TYPE,
    ),
    Metric("watch_time_slices", "Slices from the first known date to the newest due one, by state.", (*_TYPE, "state")),
    Metric("watch_time_late_slices", "Slices that should be there by now and are not.", _TYPE),
    Metric("watch_time_stored_rows", "Rows of the newest report date that is stored.", _TYPE),
    Metric("watch_time_stored_watch_seconds", "Watch time of the newest report date that is stored.", _TYPE),
    Metric(
        "watch_time_publication_lag_median_seconds",
        "From the end of a report date to its report, as seen by runs: median of half a year.",
        _TYPE,
    ),
    Metric("watch_time_publication_lag_p99_seconds", "The same, 99th percentile.", _TYPE),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A figure: the metric's name, its labels, its value."""

    name: str
    labels: dict[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has ended."""

    command: str
    exit_code: int
    duration_s: float
    finished_at: datetime
    outcomes: Sequence[Outcome]


def of_run(run: Run) -> Iterator[Sample]:
    """The figures of a run; those of both types, also where it touched only one."""
    command = {"command": run.command}
    yield Sample("watch_time_build_info", {"version": __version__, **command}, 1)
    yield Sample("watch_time_run_last_finish_timestamp_seconds", command, run.finished_at.timestamp())
    yield Sample("watch_time_run_duration_seconds", command, run.duration_s)
    yield Sample("watch_time_run_exit_code", command, run.exit_code)
    for report_type in ReportType:
        labels = {"report_type": report_type.value, **command}
        done = [outcome for outcome in run.outcomes if outcome.slice.report_type is report_type]
        results = Counter(outcome.result for outcome in done)
        for result in Result:
            yield Sample("watch_time_run_slices", {**labels, "result": result.value}, results[result])
        changes = [outcome.change for outcome in done if outcome.change]
        durations = [outcome.elapsed_s for outcome in done]
        yield Sample("watch_time_run_loaded_rows", labels, sum(each.inserted + each.updated for each in changes))
        yield Sample("watch_time_run_report_bytes", labels, sum(outcome.report_bytes for outcome in done))
        yield Sample("watch_time_run_retries", labels, sum(outcome.retries for outcome in done))
        yield Sample("watch_time_run_rejected_lines", labels, sum(outcome.rejected for outcome in done))
        yield Sample("watch_time_run_slices_duration_seconds", labels, sum(durations))
        yield Sample("watch_time_run_slowest_slice_duration_seconds", labels, max(durations, default=0))


def of_standing(standing: Standing) -> Iterator[Sample]:
    """Where the warehouse stands; what there is nothing to say of is left out."""
    overview = standing.overview
    for fresh in overview.freshness:
        report_type = fresh.report_type
        labels = {"report_type": report_type.value}
        records = {
            slice_: record
            for slice_, record in standing.known.items()
            if slice_.report_type is report_type and overview.first <= slice_.report_date <= overview.newest_due
        }
        if fresh.newest_stored:
            name = "watch_time_last_loaded_report_date_timestamp_seconds"
            yield Sample(name, labels, _midnight(fresh.newest_stored))
            newest = standing.known[Slice(fresh.newest_stored, report_type)]
            yield Sample("watch_time_stored_rows", labels, newest.rows_stored)
            yield Sample("watch_time_stored_watch_seconds", labels, float(newest.watch_seconds))
        if fresh.complete_up_to:
            yield Sample("watch_time_complete_up_to_timestamp_seconds", labels, _midnight(fresh.complete_up_to))
        states = Counter(record.state.value for record in records.values())
        states[_NEVER_TRIED] = sum(1 for gap in overview.gaps if gap.report_type is report_type and gap not in records)
        for state in (*(state.value for state in State), _NEVER_TRIED):
            yield Sample("watch_time_slices", {**labels, "state": state}, states[state])
        late = sum(1 for slice_ in overview.late if slice_.report_type is report_type)
        yield Sample("watch_time_late_slices", labels, late)
        if fresh.lag:
            yield Sample("watch_time_publication_lag_median_seconds", labels, fresh.lag.median.total_seconds())
            yield Sample("watch_time_publication_lag_p99_seconds", labels, fresh.lag.p99.total_seconds())


def write(path: Path, run: Run, standing: Standing | None) -> None:
    """Write the textfile, whole or not at all; what it holds of the last run of another command stays.

    Raises:
        OSError: it cannot be written.
    """
    from prometheus_client import generate_latest  # noqa: PLC0415 - only where metrics are configured

    own = [*of_run(run), *(of_standing(standing) if standing else ())]
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


def push(url: str, run: Run, standing: Standing | None) -> None:
    """Replace the run's group on a Pushgateway, and that of the warehouse, which all commands share.

    Where nothing is known of the warehouse its group is deleted: a Pushgateway keeps what it has for ever.

    Raises:
        WatchTimeError: the gateway cannot be reached, or refuses.
    """
    from prometheus_client import delete_from_gateway, push_to_gateway  # noqa: PLC0415 - as above

    require_http(url, _WHERE)
    own = registry(of_run(run))
    push_to_gateway(url, _JOB, own, {"command": run.command}, timeout=PUSH_S, handler=_by_httpx)
    if standing:
        push_to_gateway(url, _JOB, registry(of_standing(standing)), timeout=PUSH_S, handler=_by_httpx)
    else:
        delete_from_gateway(url, _JOB, timeout=PUSH_S, handler=_by_httpx)


def registry(samples: Iterable[Sample]) -> CollectorRegistry:
    """A registry of its own, with these samples and no others: the library's global one has the process's figures."""
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 - as above

    made = CollectorRegistry()
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    for metric in (*RUN, *STANDING):
        found = by_name.get(metric.name)
        if found:
            names = sorted(found[0].labels)
            gauge = Gauge(metric.name, metric.meaning, names, registry=made)
            for sample in found:
                (gauge.labels(**sample.labels) if names else gauge).set(sample.value)
    return made


def examine_file(name: str) -> str:
    """Look whether the textfile can be written, without writing it.

    Raises:
        Misconfigured: with what is amiss.
    """
    path = Path(name)
    if path.suffix != ".prom":
        raise Misconfigured(
            f"node_exporter reads *.prom only, not {path.name}",
            next_step="name a file *.prom in WATCH_TIME_METRICS_FILE",
        )
    if not os.access(path.absolute().parent, os.W_OK | os.X_OK):
        raise Misconfigured(
            f"no files can be written to {path.absolute().parent}",
            next_step="make the folder, and let this user write to it: the file is replaced whole",
        )
    return f"{path.name} can be written to {path.absolute().parent}"


def examine_gateway(url: str) -> str:
    """Ask a Pushgateway whether it is ready.

    Raises:
        WatchTimeError: with what is amiss.
    """
    request("GET", f"{url.rstrip('/')}/-/ready", where=_WHERE, timeout_s=PUSH_S)
    return "ready"


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """Hold the lock on `file`, which stays where it is: whoever removed it would let two in.

    Where another process does not let go of it within `_LOCK_PATIENCE_S`, go on without: our figures are certain, and
    that theirs get lost is not.
    """
    # Of other users' runs too: reading is enough for the lock, and a file of theirs cannot be written to.
    lock = os.open(file, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, _READABLE)
    try:
        with suppress(PermissionError):
            os.fchmod(lock, _READABLE)  # whatever the umask
        patient_until = clock.monotonic() + _LOCK_PATIENCE_S
        while not _taken(lock) and clock.monotonic() < patient_until:
            clock.sleep(_LOCK_POLL_S)
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


def _by_httpx(
    url: str, method: str, timeout: float | None, headers: list[tuple[str, str]], data: bytes
) -> Callable[[], None]:
    """The library's way to bring one's own client: ours uses no proxy for loopback, and passwords in URLs."""
    return lambda: request(method, url, where=_WHERE, timeout_s=timeout or PUSH_S, content=data, headers=dict(headers))
