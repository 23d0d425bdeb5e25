"""For clients of servers that speak plain HTTP: httpx reads all authorities for each client, which takes 30 ms."""

from __future__ import annotations

import ssl

EMPTY_TRUST_STORE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""To be passed as `verify`. It trusts nobody."""
