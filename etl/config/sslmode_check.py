"""Whether a database URL demands enough of TLS for where it leads.

libpq's default, `prefer`, goes on in plain text with a server that has no TLS, or with whoever says so in its place;
and below `verify-full` nobody looks whether the certificate is that server's. For a host on this machine that does not
matter.

What counts is what libpq makes of the URL together with PGSSLMODE, PGHOST, PGSERVICE and its other variables and files,
so libpq itself is asked. Makes no connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, get_args

from etl.domain.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

# As libpq has them, the weakest first.
Sslmode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_MODES: Final = get_args(Sslmode)

# A folder, or an abstract name: sockets of this machine.
_SOCKETS: Final = ("/", "@")
# libpq refuses it before it looks for any host.
_NO_CONNECTION: Final[dict[str, Any]] = {"channel_binding": "none at all"}


def too_weak(url: str, weakest: Sslmode) -> str | None:
    """What is wrong with `url`, in words that follow the variable's name; None when nothing is.

    A URL that libpq cannot read is left to the one who connects.
    """
    known = _as_libpq_sees_it(url)
    mode, hosts = known.get("sslmode", ""), _hosts_elsewhere(known.get("host", ""), known.get("hostaddr", ""))
    if not hosts or mode not in _MODES or _MODES.index(mode) >= _MODES.index(weakest):
        return None
    stated = f"sslmode={mode}" if "sslmode=" in url else f"sslmode={mode} (the default)"
    return (
        f"connects to {', '.join(hosts)} with {stated}, which is weaker than {weakest}: "
        f"{_what_to_write(url, weakest)}; or, on a private network, set WATCH_TIME_WEAKEST_SSLMODE={mode}"
    )


def _what_to_write(url: str, weakest: Sslmode) -> str:
    separator = "&" if "?" in url else "?"
    if weakest.startswith("verify"):
        # Not `system` alone: the OpenSSL that comes with psycopg's wheel has a folder of its own, and that is empty.
        return (
            f"append {separator}sslmode={weakest}&sslrootcert=FILE, where FILE contains the certificate of the CA that "
            "signed the server's certificate (for a public CA, the system's CA bundle)"
        )
    return f"append {separator}sslmode={weakest}"


def _as_libpq_sees_it(url: str) -> Mapping[str, str]:
    import psycopg  # noqa: PLC0415 - slow to import, and not every command has a database
    from psycopg import conninfo, pq  # noqa: PLC0415

    scheme, separator, rest = url.partition("://")
    try:
        stated = conninfo.conninfo_to_dict(f"{scheme.partition('+')[0]}{separator}{rest}")
    except psycopg.ProgrammingError:
        return {}
    options = conninfo.make_conninfo(**(stated | _NO_CONNECTION))
    resolved = pq.PGconn.connect_start(options.encode())
    try:
        return {option.keyword.decode(): option.val.decode() for option in resolved.info if option.val is not None}
    finally:
        resolved.finish()


def _hosts_elsewhere(hosts: str, addresses: str) -> list[str]:
    """Those of a list that are not on this machine, by name or by address.

    An address on loopback under another host's name is a tunnel's end, behind which the way goes on.
    """
    names = (*hosts.split(","), *addresses.split(","))
    return [name for name in names if name and not name.startswith(_SOCKETS) and not is_loopback(name)]
