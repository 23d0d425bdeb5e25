"""The events of the log, collected from the program's calls, and what each of them means: docs/log-events.md."""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ETL: Final = Path(__file__).parents[1] / "etl"
_OUTPUT: Final = _ETL / "cli" / "output.py"
_LEVELS: Final = {"info": "info", "warning": "warning", "error": "error", "exception": "error", "critical": "critical"}

MEANINGS: Final = {
    "archive_finished": "a slice that a killed run left unfinished in the archive was finished",
    "archive_not_finished": "such a slice could not be finished; the next run tries again",
    "bug": "an unexpected error; please report it, with the traceback",
    "compacted": "a settled month was merged into one partition",
    "customers_counted": "the customers of the loaded periods were counted; `periods_left` remain for the next run",
    "customers_not_counted": "customers could not be counted; the next run tries again",
    "failure_not_recorded": "a slice failed, and the failure could not be written to the ledger",
    "fonts_missing": "`report`: no installed font has some letters, which the image shows as boxes",
    "identity_lock_lost": "`--dask`: the lock that identifies the database to workers was lost, and is reacquired",
    "metrics_file_failed": "the metrics file was not written",
    "no_worker": "`--dask`: the scheduler has no worker; the run waits for one",
    "not_compacted": "a month could not be compacted; the next run tries again",
    "not_found_not_reclassified": "the meaning of an earlier 404 could not be re-evaluated; the next run tries again",
    "notice_failed": "a notification was not sent",
    "notice_sent": "a notification was sent; the keys are numbers of slices",
    "ping_failed": "the dead man's switch could not be reached",
    "python_warning": "a warning from Python or a library",
    "push_failed": "the Pushgateway did not accept the metrics",
    "retrying": "a request or download failed and is retried",
    "run_done": "the run ended; also has a count for each result that occurred, and the `shard`",
    "run_started": "the run started; nothing has been requested yet",
    "secrets_open_to_others": "a file with secrets can be read or changed by other users",
    "slice_done": "a slice ended; a key without a value is left out",
    "slice_resubmitted": "`--dask`: the connection to the scheduler broke, and the slice was submitted again",
    "stopped": "the run was stopped; `unfinished` is the number of planned slices that were not finished",
    "table_distributed": "`migrate` distributed a table over the nodes of a Citus cluster",
    "telemetry_setting_ignored": "a setting of metrics, pings or notifications cannot be used",
    "telemetry_settings_unreadable": "the settings of metrics, pings and notifications could not be read",
    "token_expires": "the API token expires soon",
    "uncaught": "an uncaught error ended the command or one of its threads",
    "unknown_setting": "a variable that begins with `WATCH_TIME_` is not a setting",
    "unraisable": "an error in a place where Python cannot raise it, such as a finalizer",
    "waiting": "a report is not published yet (404); it will be requested again",
    "warehouse_snapshot_failed": "the ledger could not be read for metrics and notifications",
    "worker_unfit": "`--dask`: a worker could not process a slice, which is given to the others",
}


@dataclass
class LogEvent:
    """All calls that log an event."""

    levels: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)


def events() -> dict[str, LogEvent]:
    """Every event by its name: what is logged directly, and by functions whose argument is called `event`."""
    found: defaultdict[str, LogEvent] = defaultdict(LogEvent)
    trees = {file: ast.parse(file.read_text(encoding="utf-8")) for file in sorted(_ETL.rglob("*.py"))}
    # The commands' common output comes first: they log by its functions, as `out.warn`.
    shared: dict[str, tuple[LogEvent, int]] = {}
    for file in sorted(trees, key=lambda file: (file != _OUTPUT, file)):
        tree = trees[file]
        indirect: defaultdict[str, LogEvent] = defaultdict(LogEvent)
        place: dict[str, int] = {}
        for function, call, name in _log_calls(tree):
            is_argument = isinstance(name, ast.Name) and name.id == "event"
            event = indirect[function.name] if is_argument else found[str(ast.literal_eval(name))]
            if is_argument:
                place[function.name] = [argument.arg for argument in function.args.args].index("event")
            event.levels |= _levels(call)
            event.keys |= _keys(function, call)
        known = {name: (event, place[name]) for name, event in indirect.items()}
        if file == _OUTPUT:
            shared = {f"out.{name}": how for name, how in known.items()}
        known |= shared
        for call in (each for each in ast.walk(tree) if isinstance(each, ast.Call)):
            if ast.unparse(call.func) not in known:
                continue
            how, argument = known[ast.unparse(call.func)]
            name = call.args[argument]
            if isinstance(name, ast.Constant):
                event = found[str(name.value)]
                event.levels |= how.levels
                event.keys |= how.keys | {each.arg for each in call.keywords if each.arg}
    return dict(sorted(found.items()))


def _log_calls(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef, ast.Call, ast.expr]]:
    """Calls of a logger's methods, with the functions that they are in and the event's name."""
    for function in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)):
        for call in (each for each in ast.walk(function) if isinstance(each, ast.Call)):
            if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in _LOGGERS:
                yield function, call, call.args[_method(call) == "log"]


_LOGGERS: Final = {"log", "structlog.get_logger(_OURS)", "structlog.get_logger('watch_time')"}


def _levels(call: ast.Call) -> set[str]:
    if _method(call) == "log":
        level = ast.unparse(call.args[0])
        return {name.lower() for name in ("INFO", "WARNING", "ERROR") if f"logging.{name}" in level}
    return {_LEVELS[_method(call)]}


def _method(call: ast.Call) -> str:
    assert isinstance(call.func, ast.Attribute)
    return call.func.attr


def _keys(function: ast.FunctionDef, call: ast.Call) -> set[str]:
    """Those that are named in the call; where others are added (`**`), those of the dictionaries in its function."""
    names = {"exception" if keyword.arg == "exc_info" else keyword.arg for keyword in call.keywords if keyword.arg}
    if any(keyword.arg is None for keyword in call.keywords):
        dictionaries = (each for each in ast.walk(function) if isinstance(each, ast.Dict))
        names |= {str(key.value) for each in dictionaries for key in each.keys if isinstance(key, ast.Constant)}
    return names | ({"exception"} if _method(call) == "exception" else set())


_HEAD: Final = """# Log events

`make reference` generates this page. Each log line is a JSON object with `timestamp`, `level`, `event`, and the keys of
the event; on a terminal, log lines are text.

| event | level | keys | meaning |
| --- | --- | --- | --- |
"""


def log_events_page() -> str:
    """A line for each event."""
    found = events()
    assert found.keys() == MEANINGS.keys(), f"in tests/log_events.py: {found.keys() ^ MEANINGS.keys()}"
    lines = []
    for name, event in found.items():
        keys = ", ".join(f"`{key}`" for key in sorted(event.keys))
        lines.append(f"| `{name}` | {', '.join(sorted(event.levels))} | {keys} | {MEANINGS[name]} |")
    return _HEAD + "\n".join(lines) + "\n"
