"""The command with its limits brought down, for tests that wait for them; the product has no settings for most.

python impatient.py '{"download._TOTAL_S": 3}' backfill ...
"""

from __future__ import annotations

import importlib
import json
import sys

import httpx

SHORT: dict[str, object] = {
    "patience._BACKOFF_S": 0.05,
    "patience._PACE_WINDOW_S": 0.5,
    "http_clients.STORAGE_TIMEOUT": httpx.Timeout(0.5),
    "http_clients.API_TIMEOUT": httpx.Timeout(0.5),
    "db._LONGEST_PAUSE_S": 0.05,
}

if __name__ == "__main__":
    for name, value in (SHORT | json.loads(sys.argv.pop(1))).items():
        module, _, constant = name.partition(".")
        of = importlib.import_module(f"etl.{module}")
        before = getattr(of, constant)
        setattr(of, constant, before | value if isinstance(before, dict) else value)
    from etl.cli import main

    main()
