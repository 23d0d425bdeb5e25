"""What Prometheus is told: the figures of the last run, and where the warehouse stands after it.

`textfile` and `pushgateway` carry it there. Labels are few and bounded: never an id. What cannot be known
after a run is left out rather than repeated: an old figure must not look like a fresh one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final

from etl import __version__
from etl.domain.outcome import Result
from etl.domain.slices import ReportType, Slice, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import date

    from prometheus_client import CollectorRegistry

    from etl.domain.outcome import Outcome
    from etl.telemetry.warehouse_snapshot import WarehouseSnapshot

_NEVER_TRIED: Final = "never_tried"
_TYPE: Final = ("report_type",)


@dataclass(frozen=True, slots=True)
class Metric:
    """A gauge."""

    name: str
    meaning: str
    labels: tuple[str, ...] = ()


# Each has the label `command` besides: a backfill by hand must not hide how the daily run ended.
RUN: Final = (
    Metric("watch_time_build_info", "Always 1; the label has the program's version.", ("version",)),
    Metric("watch_time_run_last_finish_timestamp_seconds", "When the last run ended."),
    Metric("watch_time_run_duration_seconds", "How long the last run took."),
    Metric("watch_time_run_exit_code", "Exit code of the last run; 0: success."),
    Metric("watch_time_run_slices", "Slices that the last run processed, by result.", (*_TYPE, "result")),
    Metric("watch_time_run_loaded_rows", "Rows that the last run inserted or updated.", _TYPE),
    Metric("watch_time_run_report_bytes", "Decompressed size of the reports that the last run downloaded.", _TYPE),
    Metric("watch_time_run_retries", "Number of requests and downloads that the last run retried.", _TYPE),
    Metric("watch_time_run_rejected_lines", "Report lines that the last run rejected.", _TYPE),
    Metric("watch_time_run_slices_duration_seconds", "Total time that the last run spent on slices.", _TYPE),
    Metric(
        "watch_time_run_slowest_slice_duration_seconds", "Time that the last run spent on its slowest slice.", _TYPE
    ),
)
STANDING: Final = (
    Metric(
        "watch_time_last_loaded_report_date_timestamp_seconds",
        "Midnight UTC of the newest stored report date; absent if none is stored.",
        _TYPE,
    ),
    Metric(
        "watch_time_complete_up_to_timestamp_seconds",
        "Midnight UTC of the newest report date up to which no slice is missing; absent if the first one is.",
        _TYPE,
    ),
    Metric("watch_time_slices", "Slices from the first known date to the newest due one, by state.", (*_TYPE, "state")),
    Metric("watch_time_late_slices", "Slices that should have been loaded by now.", _TYPE),
    Metric(
        "watch_time_presumed_empty_slices",
        "Slices that count as empty because of 404 responses, although no report has confirmed it.",
        _TYPE,
    ),
    Metric("watch_time_stored_rows", "Rows of the newest stored report date.", _TYPE),
    Metric("watch_time_stored_watch_seconds", "Watch time of the newest stored report date.", _TYPE),
    Metric(
        "watch_time_publication_lag_median_seconds",
        "Time from the end of a report date to its report, as seen by runs; median of half a year.",
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


def of_snapshot(snapshot: WarehouseSnapshot) -> Iterator[Sample]:
    """Where the warehouse stands; what there is nothing to say of is left out."""
    overview = snapshot.overview
    for fresh in overview.freshness:
        report_type = fresh.report_type
        labels = {"report_type": report_type.value}
        records = {
            slice_: record
            for slice_, record in snapshot.known.items()
            if slice_.report_type is report_type and overview.first <= slice_.report_date <= overview.newest_due
        }
        if fresh.newest_stored:
            name = "watch_time_last_loaded_report_date_timestamp_seconds"
            yield Sample(name, labels, _midnight(fresh.newest_stored))
            newest = snapshot.known[Slice(fresh.newest_stored, report_type)]
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
        presumed = sum(1 for slice_ in overview.presumed if slice_.report_type is report_type)
        yield Sample("watch_time_presumed_empty_slices", labels, presumed)
        if fresh.lag:
            yield Sample("watch_time_publication_lag_median_seconds", labels, fresh.lag.median.total_seconds())
            yield Sample("watch_time_publication_lag_p99_seconds", labels, fresh.lag.p99.total_seconds())


def registry(samples: Iterable[Sample]) -> CollectorRegistry:
    """A registry of its own, with these samples and no others: the library's global one has the process's figures."""
    from prometheus_client import CollectorRegistry, Gauge  # noqa: PLC0415 - only where metrics are configured

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


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()
