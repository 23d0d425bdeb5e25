"""What a test needs of the machine, and what happens where it is missing."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def skip_missing(reason: str) -> NoReturn:
    """Skip the test for this reason; fail it where WATCH_TIME_TEST_ALL=1 says that none may be skipped."""
    if os.environ.get("WATCH_TIME_TEST_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
