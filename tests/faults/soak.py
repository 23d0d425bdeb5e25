"""A year's backfill under faults against one without: python tests/faults/soak.py --minutes 15 --seed 1.

Ends with 1 where the two differ, or the checker finds anything; with 0 also where the time was short, and says so.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def main() -> int:
    """Soak, and say in one line what came of it."""
    sys.path.append(str(Path(__file__).parents[1]))
    from effort import SEED
    from tally import summary
    from year_backfill import soak

    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--postgres", default="wheel-18", help="wheel-16, wheel-18 or debian-15")
    parser.add_argument("--rate", type=float, default=0.05, help="how likely a slice is to meet a fault of each layer")
    asked = parser.parse_args()
    began = time.monotonic()
    found = soak(minutes=asked.minutes, seed=asked.seed, days=asked.days, source=asked.postgres, rate=asked.rate)
    short = " (short of time)" if found.is_short else ""
    first, last = (kilobytes // 1_000 for kilobytes in found.memory_kb)
    memory = (
        f"memory {first} MB in the first quarter of a long run and {last} MB in its last" if last else "no long run"
    )
    for violation in found.violations:
        print(f"violation: {violation}")
    print(
        f"soak: {found.compared} of {found.slices} slices of {found.days} days{short} "
        f"identical to a run without faults, {found.verified} verified, "
        f"{found.runs} runs, {found.restated} reports restated, {summary(found.counts)}, "
        f"tables {found.size_ratio:.2f} times as large, {memory}: {len(found.violations)} violations "
        f"(seed {asked.seed}, {(time.monotonic() - began) / 60:.1f} min, Postgres {asked.postgres})"
    )
    return int(bool(found.violations))


if __name__ == "__main__":
    sys.exit(main())
