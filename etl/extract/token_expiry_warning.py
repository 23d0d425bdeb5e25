"""When an API token expires, if it contains that: as a JSON Web Token with an `exp` claim (RFC 7519).

The signature is not checked, because only a warning depends on the result.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Final

# Enough time to get a new token, including weekends and holidays.
_WARN_BEFORE: Final = timedelta(days=14)
_PARTS: Final = 3


def expires_at(token: str) -> datetime | None:
    """When the token expires, in UTC; None if it does not contain that."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None


def warning(token: str, *, now: datetime) -> str | None:
    """A warning about a token that expires soon or has expired; otherwise None."""
    end = expires_at(token)
    if end is None or end - now > _WARN_BEFORE:
        return None
    left = end - now
    if left <= timedelta(0):
        return f"the API token expired on {end:%Y-%m-%d %H:%M} UTC"
    when = {0: "within a day", 1: "in 1 day"}.get(left.days, f"in {left.days} days")
    return f"the API token expires {when}, on {end:%Y-%m-%d %H:%M} UTC"
