"""The command with its limits brought down, for tests that wait for them; the product has no settings for most.

python impatient.py '{"extract.download._TOTAL_S": 3}' FILE backfill ...

Writes the greatest memory that the process has had, in bytes, into FILE.
"""

from __future__ import annotations

import atexit
import importlib
import json
import re
import resource
import sys
from pathlib import Path

import httpx

SHORT: dict[str, object] = {
    "extract.retry._BACKOFF_S": 0.05,
    "extract.retry._PACE_WINDOW_S": 0.5,
    "extract.http_clients.STORAGE_TIMEOUT": httpx.Timeout(0.5),
    "extract.http_clients.API_TIMEOUT": httpx.Timeout(0.5),
    "warehouse.connection._LONGEST_PAUSE_S": 0.05,
}


def peak_bytes() -> int:
    """Of this program. Linux counts what the process had before it, a fork of pytest, into ru_maxrss."""
    status = Path("/proc/self/status")
    if status.exists():
        (kilobytes,) = re.findall(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE)
        return int(kilobytes) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    limits, peak = json.loads(sys.argv.pop(1)), Path(sys.argv.pop(1))
    atexit.register(lambda: peak.write_text(f"{peak_bytes()}"))
    for name, value in (SHORT | limits).items():
        module, _, constant = name.rpartition(".")
        of = importlib.import_module(f"etl.{module}")
        before = getattr(of, constant)
        setattr(of, constant, before | value if isinstance(before, dict) else value)
    from etl.cli.main import main

    main()
