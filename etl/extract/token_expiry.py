"""When an API token expires, where it says so itself: as a JSON Web Token with an `exp` claim (RFC 7519).

The signature is the API's business and is not looked at; nothing but a warning depends on what is read here.
"""

from __future__ import annotations

import base64
import binascii
import json
from datetime import UTC, datetime, timedelta
from typing import Final

# Time to get a new token from somebody, weekends and holidays included.
_WARN_BEFORE: Final = timedelta(days=14)
_PARTS: Final = 3


def expires_at(token: str) -> datetime | None:
    """The moment in UTC from which the token is no longer valid; None when it does not say."""
    parts = token.split(".")
    if len(parts) != _PARTS:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (binascii.Error, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None


def warning(token: str, *, now: datetime) -> str | None:
    """What to say of a token that expires soon, or has; None when there is nothing to say."""
    end = expires_at(token)
    if end is None or end - now > _WARN_BEFORE:
        return None
    left = end - now
    if left <= timedelta(0):
        return f"the API token expired on {end:%Y-%m-%d %H:%M} UTC"
    when = {0: "within a day", 1: "in 1 day"}.get(left.days, f"in {left.days} days")
    return f"the API token expires {when}, on {end:%Y-%m-%d %H:%M} UTC"
