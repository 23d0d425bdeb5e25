"""The year's soak on a few days, with many faults, so that it cannot rot."""

from __future__ import annotations

import pytest

import postgres
from effort import SEED
from year_backfill import soak

SOURCE = "wheel-18"


@pytest.mark.skipif(not postgres.SOURCES[-1].startswith("wheel"), reason="only a server of our own can be crashed")
def test_days_filled_under_faults_of_every_kind_are_those_filled_without() -> None:
    found = soak(minutes=1.5, seed=SEED, days=4, source=SOURCE, rate=0.2)
    assert found.violations == [], f"seed {SEED}"
    assert not found.is_short
    assert found.verified == found.slices
    assert found.counts.total() > 0
