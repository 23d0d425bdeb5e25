"""Which hosts are this machine, by name or by address. Pure: nothing is resolved."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether `host` is `localhost` or a loopback address, written as usual.

    IPv4-mapped addresses do not count: only some versions of Python treat them as loopback.
    """
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return ip.is_loopback and not (isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped)
