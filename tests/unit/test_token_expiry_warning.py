"""Tokens that say when they expire."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from etl.extract import token_expiry_warning

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def jwt(claims: object) -> str:
    """A token as the API might give out; its signature is not looked at."""
    parts = ({"alg": "HS256", "typ": "JWT"}, claims, "signature")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


def expiring(after: timedelta) -> str:
    return jwt({"exp": int((NOW + after).timestamp()), "sub": "someone"})


@pytest.mark.parametrize(
    ("token", "warning"),
    [
        pytest.param(expiring(timedelta(days=15)), None, id="in time"),
        pytest.param(
            expiring(timedelta(days=3, hours=1)), "the API token expires in 3 days, on 2026-11-25 13:00 UTC", id="soon"
        ),
        pytest.param(
            expiring(timedelta(days=2)), "the API token expires in 2 days, on 2026-11-24 12:00 UTC", id="in two days"
        ),
        pytest.param(
            expiring(timedelta(days=1, hours=23)),
            "the API token expires in 1 day, on 2026-11-24 11:00 UTC",
            id="in one day",
        ),
        pytest.param(
            expiring(timedelta(hours=23)),
            "the API token expires within a day, on 2026-11-23 11:00 UTC",
            id="in less than a day",
        ),
        pytest.param(expiring(timedelta()), "the API token expired on 2026-11-22 12:00 UTC", id="at this moment"),
        pytest.param(expiring(-timedelta(hours=1)), "the API token expired on 2026-11-22 11:00 UTC", id="expired"),
        pytest.param("opaque-token", None, id="opaque"),
        pytest.param("a.b.c", None, id="not base64"),
        pytest.param(jwt({"sub": "someone"}), None, id="no exp"),
        pytest.param(jwt({"exp": "soon"}), None, id="exp is no number"),
        pytest.param(jwt({"exp": 1e300}), None, id="exp is beyond time"),
        pytest.param(jwt([1]), None, id="no claims"),
    ],
)
def test_a_token_is_warned_about_a_fortnight_ahead(token: str, warning: str | None) -> None:
    assert token_expiry_warning.warning(token, now=NOW) == warning
