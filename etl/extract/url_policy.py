"""Which URLs and which addresses a report may be downloaded from.

The host of the reports is not documented, so the address in the API's response is not trusted: https on
port 443 of a public DNS name, within `DOWNLOAD_HOSTS` if that is set, and at connect time a public IP address.
Plain http, other ports and loopback are for the sandbox: they need an API base on loopback, and lead to loopback only.

Pure: no I/O. A refusal names scheme, host and port, never the path or the signed query.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import httpx

from etl.domain.errors import Misconfigured
from etl.domain.loopback import is_loopback

if TYPE_CHECKING:
    from collections.abc import Iterable

HOSTS_SETTING: Final = "WATCH_TIME_DOWNLOAD_HOSTS"
BASE_SETTING: Final = "WATCH_TIME_API_BASE_URL"

# RFC 3986 allows no other characters; URL parsers disagree about the backslash and the space.
_URL_TEXT = re.compile(r"[\x21-\x5b\x5d-\x7e]+")

# At least two labels, and a last one that begins with a letter: that shuts out IP addresses in every notation
# (`2130706433`, `0x7f.1`, `127.1`, `::1`), since a host whose last label is a number is what parsers take for one.
_DNS_NAME = re.compile(r"(?=.{1,253}\Z)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?")

# Names that always resolve to private networks, if at all: RFC 6761, RFC 6762 appendix G, Kubernetes.
# The check at connect time covers them too, but not behind a proxy, which resolves names itself.
_PRIVATE_ENDINGS: Final = ("arpa", "corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost",
                           "onion", "private", "svc")  # fmt: skip

_NAT64 = ipaddress.ip_network("64:ff9b::/96")

# Not public either, whatever `ipaddress` says: Azure's metadata host, Oracle's, 6to4 relays.
_NEVER = tuple(map(ipaddress.ip_network, ("168.63.129.16/32", "192.0.0.0/24", "192.88.99.0/24", "2002::/16")))

_HTTPS_PORT = 443
_LAST_PORT = 65_535


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """The rules for download URLs.

    Attributes:
        api_on_loopback: whether the API base is on loopback, so that downloads may be too.
        download_hosts: hosts that, with their subdomains, may be downloaded from; empty: any public one.
    """

    api_on_loopback: bool
    download_hosts: tuple[str, ...] = ()

    @classmethod
    def beside(cls, api_base_url: str, download_hosts: Iterable[str] = ()) -> UrlPolicy:
        """The policy for reports of the API at `api_base_url`."""
        return cls(is_loopback(parse_api_base(api_base_url).host), tuple(download_hosts))

    def check(self, text: str) -> httpx.URL:
        """Parse and check a download URL; request only the returned value.

        Raises:
            Misconfigured: the URL must not be fetched.
        """
        url = _parse(text)
        if url is None:
            raise Misconfigured(
                "the report's URL is ambiguous and is not fetched",
                next_step="ask BlendVision about the URLs of its reports",
            )
        is_sandbox = self.api_on_loopback and is_loopback(url.host)
        reason = _why_not_on_loopback(url) if is_sandbox else _why_not_public(url)
        if reason:
            raise Misconfigured(
                f"the report's URL leads to {redacted_url(url)}, which is not fetched: {reason}",
                next_step="reports are downloaded by HTTPS on port 443 from a public host name; "
                f"if the API is not BlendVision's own, check {BASE_SETTING}",
            )
        if self.download_hosts and not is_sandbox and not self._is_listed(url.host):
            raise Misconfigured(
                f"the report's URL leads to {redacted_url(url)}, which is not one of the hosts in {HOSTS_SETTING}",
                next_step="if your reports are stored there, allow it: "
                f"`{HOSTS_SETTING}={','.join((*self.download_hosts, url.host))}`",
            )
        return url

    def allows_address(self, host: str, address: str) -> bool:
        """Whether a connection for `host` may be made to the IP address `address`, as the resolver gave it."""
        if self.api_on_loopback and is_loopback(host):
            return ipaddress.ip_address(address).is_loopback
        return is_public(address)

    def _is_listed(self, host: str) -> bool:
        return any(host == listed or host.endswith(f".{listed}") for listed in self.download_hosts)


def parse_api_base(text: str) -> httpx.URL:
    """Parse the API's base URL: https, or plain http on loopback, since every request carries the token.

    Raises:
        Misconfigured: neither, or not a URL.
    """
    url = _parse(text)
    if url is None or not url.host or not _port_is_real(url):
        raise Misconfigured(f"{BASE_SETTING} is not a valid URL", next_step="set it to https://host")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise Misconfigured(
            f"{BASE_SETTING} is {redacted_url(url)}: the token would travel in plain text",
            next_step="use https; plain http is for the sandbox on loopback",
        )
    return url


def is_public(address: str) -> bool:
    """Whether an IP address belongs to a host of the public internet.

    An IPv4 address inside NAT64's prefix is judged by itself: on networks that have IPv6 only, that is how public
    hosts appear. IPv4-mapped addresses never come from honest DNS and are refused.
    """
    ip = ipaddress.ip_address(address)
    if ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if isinstance(ip, ipaddress.IPv6Address) and (ip.ipv4_mapped or ip.is_site_local):
        return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or any(ip in network for network in _NEVER))


def redacted_url(url: httpx.URL) -> str:
    """Scheme, host and port of a URL: the part that may be shown."""
    host = url.raw_host.decode("ascii")
    return f"{url.scheme[:20]}://{host[:253]}" + (f":{url.port}" if url.port is not None else "")


def _parse(text: str) -> httpx.URL | None:
    """The URL, or None if it has invalid characters or does not parse, so that httpx cannot fail on it later."""
    if not _URL_TEXT.fullmatch(text):
        return None
    try:
        url = httpx.URL(text)
        _ = url.host  # decodes international names, which can fail: `https://xn--/`
    except (httpx.InvalidURL, UnicodeError):
        return None
    return url


def _port_is_real(url: httpx.URL) -> bool:
    """Whether the port is valid. The operating system wraps larger ones: 65536 + 80 would reach port 80."""
    return url.port is None or 0 < url.port <= _LAST_PORT


def _why_not_on_loopback(url: httpx.URL) -> str | None:
    if url.scheme not in ("http", "https"):
        return "the scheme is neither https nor http"
    if url.userinfo:
        return "it contains a user name"
    return None if _port_is_real(url) else "its port is invalid"


def _why_not_public(url: httpx.URL) -> str | None:
    host = url.raw_host.decode("ascii")
    if url.scheme != "https":
        return "the scheme is not https"
    if url.userinfo:
        return "it contains a user name"
    if url.port not in (None, _HTTPS_PORT):
        return "the port is not 443"
    if not _DNS_NAME.fullmatch(host):
        return "the host is not a public DNS name"
    if any(host.endswith(f".{ending}") for ending in _PRIVATE_ENDINGS):
        return "the host's name is one of a private network"
    return None
