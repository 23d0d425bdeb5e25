"""The two HTTP clients.

The API client has the token; the storage client has no credentials, and connects to checked addresses only. Neither
follows redirects. Both honour the usual proxy variables and `SSL_CERT_FILE`, but never for loopback.

With a proxy the storage client's address check does not apply: it is the proxy that resolves the host and connects to
it, and the proxy itself usually has a private address. A proxy is chosen by the operator; the URL
policy, which checks the host by its name, applies with and without one.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
import urllib.request
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpcore
import httpx

from etl import __version__
from etl.domain.errors import Misconfigured
from etl.domain.loopback import is_loopback
from etl.extract.url_policy import UrlPolicy, parse_api_base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import SecretStr

# Connecting takes a round trip or two, and a lost packet is repeated within three seconds: ten leave room for that.
# The API looks up a report, and may create its URL while we wait. Nobody waits for a pooled connection.
API_TIMEOUT: Final = httpx.Timeout(connect=10, read=60, write=30, pool=None)
# Storage answers at once; half a minute of silence is a broken connection, and resuming it is cheap.
STORAGE_TIMEOUT: Final = httpx.Timeout(connect=10, read=30, write=30, pool=None)

# A thread has one request under way at a time, so there are as many connections as threads: MAX_CONCURRENCY of them in
# a run, and in a Dask worker as many as its machine has cores. A pool with a maximum of its own would have threads wait
# for each other's downloads, and report that as the host's fault.
_MAX_CONNECTIONS: Final = None
_LIMITS: Final = httpx.Limits(max_connections=_MAX_CONNECTIONS)

_USER_AGENT = f"watch-time/{__version__}"


def api_client(base_url: str, *, token: SecretStr, org_id: str) -> httpx.Client:
    """A client for the report API, with the organization's credentials.

    Raises:
        Misconfigured: the base URL is invalid, or would send the token in plain text; the proxy cannot be used.
    """
    _silence_httpx()
    base = parse_api_base(base_url)
    headers = {
        "Authorization": f"Bearer {token.get_secret_value()}",
        "x-bv-org-id": org_id,
        "Accept": "application/json",
        "User-Agent": _USER_AGENT,
    }
    try:
        return httpx.Client(
            base_url=base,
            headers=headers,
            timeout=API_TIMEOUT,
            limits=_LIMITS,
            follow_redirects=False,
            verify=ssl_context(),
            trust_env=not is_loopback(base.host),
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        raise _unusable_proxy() from None


def storage_client(policy: UrlPolicy, *, proxies: Mapping[str, str] | None = None) -> httpx.Client:
    """A bare client for downloads: no credentials, no transfer compression, checked addresses.

    Args:
        policy: which addresses may be connected to.
        proxies: scheme (or `all`) to proxy URL; None: those of the environment.

    Raises:
        Misconfigured: the proxy cannot be used.
    """
    _silence_httpx()
    chosen = urllib.request.getproxies() if proxies is None else proxies
    return httpx.Client(
        # The body must arrive as it is stored: its length and checksums describe those bytes.
        headers={"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": _USER_AGENT},
        timeout=STORAGE_TIMEOUT,
        follow_redirects=False,
        transport=_StorageTransport(policy, chosen),
        trust_env=False,
    )


def ssl_context() -> ssl.SSLContext:
    """The TLS context of both clients, with the certificate authorities that are configured now.

    All clients of a process share it: reading the usual authorities takes longer than connecting.

    Raises:
        Misconfigured: the variable that names the authorities names none.
    """
    name = next((name for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(name)), "")
    place = os.environ.get(name)
    try:
        return _read_ssl_context(place, Path(place).stat().st_mtime_ns if place else 0)
    except OSError as error:
        why = "it contains none" if isinstance(error, ssl.SSLError) else error.strerror
        raise Misconfigured(
            f"no certificates can be read from {place}, which {name} names: {why}",
            next_step=f"name the PEM file of your network's certificate authorities in SSL_CERT_FILE, or unset {name}",
        ) from None


@lru_cache(maxsize=1)
def _read_ssl_context(_place: str | None, _modified_ns: int) -> ssl.SSLContext:
    return httpx.create_ssl_context()


class _StorageTransport(httpx.BaseTransport):
    """Connects through the host's proxy if there is one, otherwise directly to a checked address."""

    def __init__(self, policy: UrlPolicy, proxies: Mapping[str, str]) -> None:
        context = ssl_context()
        self._proxies = dict(proxies)
        self._direct = _CheckedTransport(policy, context)
        try:
            self._proxied = {
                scheme: httpx.HTTPTransport(verify=context, proxy=proxy, limits=_LIMITS)
                for scheme in ("http", "https")
                if (proxy := proxies.get(scheme) or proxies.get("all"))
            }
        except (ImportError, ValueError, httpx.InvalidURL):
            raise _unusable_proxy() from None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host, proxied = request.url.host, self._proxied.get(request.url.scheme)
        if proxied is None or is_loopback(host) or _is_exempt(host, self._proxies):
            return self._direct.handle_request(request)
        return proxied.handle_request(request)

    def close(self) -> None:
        for transport in (self._direct, *self._proxied.values()):
            transport.close()


class _CheckedTransport(httpx.HTTPTransport):
    """httpx's transport over a pool that connects through `CheckedBackend`.

    httpx offers no way to hand the backend in, so its pool is replaced; a test over a real connection notices should
    another version of httpx keep its pool elsewhere.
    """

    def __init__(self, policy: UrlPolicy, context: ssl.SSLContext) -> None:
        super().__init__(verify=context, trust_env=False)
        self._pool = httpcore.ConnectionPool(
            ssl_context=context, network_backend=CheckedBackend(policy), max_connections=_MAX_CONNECTIONS
        )


class CheckedBackend(httpcore.NetworkBackend):
    """Resolves a host, checks each address, and connects to one that was checked.

    Checking the very address that is connected to is what defeats DNS rebinding: a name that is public when it is
    looked at and private when it is used. TLS still verifies the certificate against the name.
    """

    def __init__(self, policy: UrlPolicy, resolve: Callable[[str, int], Iterable[str]] | None = None) -> None:
        self._policy = policy
        self._resolve = resolve or _resolve
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first allowed address that answers."""
        try:
            addresses = list(self._resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        allowed = [address for address in addresses if self._policy.allows_address(host, address)]
        if not allowed:
            raise Misconfigured(
                f"{host} resolves to no public address ({', '.join(addresses[:3]) or 'none'}): no connection was made",
                next_step="reports are downloaded from public hosts only; check this machine's name servers",
            )
        for address in allowed[:-1]:
            try:
                return self._sockets.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._sockets.connect_tcp(allowed[-1], port, timeout, local_address, socket_options)


def _resolve(host: str, port: int) -> list[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_exempt(host: str, proxies: Mapping[str, str]) -> bool:
    """Whether NO_PROXY, which is among `proxies` as `no`, covers the host."""
    return bool(urllib.request.proxy_bypass_environment(host, proxies))  # type: ignore[attr-defined]  # not in the stubs


def _unusable_proxy() -> Misconfigured:
    return Misconfigured(
        "the proxy that HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names cannot be used",
        next_step="name an http:// or https:// proxy there, or exempt the hosts with NO_PROXY",
    )


def _silence_httpx() -> None:
    """Keep httpx from logging whole URLs, signatures included, at INFO, and httpcore response headers at DEBUG."""
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
