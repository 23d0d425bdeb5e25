"""Connections lead to checked addresses, and certificates are verified against names."""

from __future__ import annotations

import shutil
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import httpcore
import httpx
import pytest
from pydantic import SecretStr

from etl.domain.errors import Misconfigured, SourceUnavailable
from etl.domain.pipeline_values import ReportAddress
from etl.extract.download import Downloader
from etl.extract.http_clients import CheckedBackend, api_client, storage_client
from etl.extract.transport_errors import explain
from etl.extract.url_policy import UrlPolicy
from etl.runtime.cancellation import Stop
from raw_server import CSV, TOKEN, FakeTime, RawServer, in_turn, raw_server, reply

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC = UrlPolicy(api_on_loopback=False)
SANDBOX = UrlPolicy(api_on_loopback=True)

# Made for these tests, for the name localhost; it opens nothing.
SELF_SIGNED = Path(__file__).with_name("self_signed.pem")


@pytest.fixture
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        server.answer = in_turn(reply(200, CSV))
        yield server


@pytest.fixture
def tls_server() -> Iterator[RawServer]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(SELF_SIGNED)
    with raw_server(context) as server:
        server.answer = in_turn(reply(200, CSV))
        yield server


def fetch(url: str, folder: Path) -> bytes:
    with storage_client(SANDBOX, proxies={}) as client:
        tools = Downloader(client, SANDBOX, FakeTime().retry_policy(), Stop())
        address = ReportAddress(url, asks=1)
        return tools.download(address, renew=lambda: address, folder=folder).path.read_bytes()


def test_the_storage_client_itself_refuses_a_private_address(server: RawServer) -> None:
    """Even a URL that came past the policy: the check stands where the connection is made."""
    with storage_client(PUBLIC, proxies={}) as client, pytest.raises(Misconfigured, match="no public address"):
        client.get(f"http://localhost:{server.port}/")
    assert server.requests == []


@pytest.mark.parametrize(
    ("host", "addresses", "policy"),
    [
        pytest.param("storage.example.com", ["10.0.0.1", "fd00::1"], PUBLIC, id="private"),
        pytest.param("storage.example.com", ["127.0.0.1"], SANDBOX, id="public name of loopback, in the sandbox"),
        pytest.param("localhost", ["93.184.216.34"], SANDBOX, id="localhost that leads outside"),
        pytest.param("storage.example.com", [], PUBLIC, id="no address"),
    ],
)
def test_a_name_without_an_allowed_address_is_not_connected_to(
    host: str, addresses: list[str], policy: UrlPolicy
) -> None:
    with pytest.raises(Misconfigured, match="no connection was made"):
        CheckedBackend(policy, resolve=lambda _host, _port: addresses).connect_tcp(host, 443)


def test_of_several_addresses_only_the_allowed_ones_are_tried_until_one_answers(server: RawServer) -> None:
    asked = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["10.0.0.1", "127.0.0.2", "127.0.0.1"]

    backend = CheckedBackend(SANDBOX, resolve=resolve)
    stream = backend.connect_tcp("localhost", server.port, timeout=5)
    stream.close()
    assert asked == [("localhost", server.port)]


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: a name that is public when it is looked at, and loopback from then on."""
    answers = iter(["93.184.216.34"])
    connected: list[str] = []

    def connect(_sockets: httpcore.SyncBackend, host: str, *_: object) -> httpcore.NetworkStream:
        connected.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    backend = CheckedBackend(PUBLIC, resolve=lambda _host, _port: [next(answers, "127.0.0.1")])
    with pytest.raises(httpcore.ConnectError):
        backend.connect_tcp("storage.example.com", 443)
    with pytest.raises(Misconfigured, match=r"no public address \(127\.0\.0\.1\)"):
        backend.connect_tcp("storage.example.com", 443)
    assert connected == ["93.184.216.34"]


def test_a_name_that_does_not_resolve_is_trouble_that_may_pass() -> None:
    def resolve(_host: str, _port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with pytest.raises(Exception, match="Temporary failure") as caught:
        CheckedBackend(PUBLIC, resolve=resolve).connect_tcp("storage.example.com", 443)
    assert type(caught.value).__name__ == "ConnectError"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(reply(407), Misconfigured, id="proxy wants a login"),
        pytest.param(reply(502), SourceUnavailable, id="proxy reaches nobody"),
    ],
)
def test_a_proxy_on_a_private_address_is_used(answer: bytes, error: type[Exception], server: RawServer) -> None:
    server.answer = in_turn(answer)
    with storage_client(PUBLIC, proxies={"https": server.url}) as client, pytest.raises(httpx.ProxyError) as caught:
        client.get("https://storage.example.com/r.csv")
    assert server.requests[0].target == "storage.example.com:443"
    assert type(explain(caught.value, "the host")) is error


def test_hosts_exempt_from_the_proxy_are_checked(server: RawServer) -> None:
    proxies = {"https": server.url, "no": "10.0.0.1"}
    with storage_client(PUBLIC, proxies=proxies) as client, pytest.raises(Misconfigured, match="no public address"):
        client.get("https://10.0.0.1/r.csv")
    assert server.requests == []


def test_loopback_is_never_reached_through_a_proxy(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with raw_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with storage_client(SANDBOX) as storage, api_client(server.url, token=SecretStr(TOKEN), org_id="o") as api:
            assert storage.get(f"{server.url}/r.csv").content == CSV
            assert api.get("/").content == CSV
        assert proxy.requests == []


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "nonsense://x", "http://x:port"])
def test_a_proxy_that_cannot_be_used_is_named(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    with pytest.raises(Misconfigured, match="proxy"):
        storage_client(PUBLIC)
    with pytest.raises(Misconfigured, match="proxy"):
        api_client("https://api.example.com", token=SecretStr(TOKEN), org_id="o")


def test_an_unknown_certificate_is_for_a_person(tls_server: RawServer, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="certificate that cannot be verified"):
        fetch(f"https://localhost:{tls_server.port}/r.csv", tmp_path)


def test_a_certificate_of_another_name_is_for_a_person(
    tls_server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(SELF_SIGNED))
    with pytest.raises(Misconfigured, match="certificate that cannot be verified"):
        fetch(f"https://127.0.0.1:{tls_server.port}/r.csv", tmp_path)


def test_a_certificate_authority_of_ones_own_is_trusted(
    tls_server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is made to a checked address; the certificate is still that of the name."""
    monkeypatch.setenv("SSL_CERT_FILE", str(SELF_SIGNED))
    assert fetch(f"https://localhost:{tls_server.port}/r.csv", tmp_path) == CSV


def test_a_file_of_authorities_that_is_replaced_is_read_again(
    tls_server: RawServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Dask worker lives for months."""
    file = tmp_path / "authorities.pem"
    shutil.copy(certifi.where(), file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(Misconfigured, match="certificate that cannot be verified"):
        fetch(f"https://localhost:{tls_server.port}/r.csv", tmp_path)
    shutil.copy(SELF_SIGNED, file)
    assert fetch(f"https://localhost:{tls_server.port}/r.csv", tmp_path) == CSV


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("SSL_CERT_FILE", None, "No such file or directory"),
        ("SSL_CERT_FILE", "no certificate", "it contains none"),
        ("SSL_CERT_DIR", None, "No such file or directory"),
    ],
)
def test_authorities_that_cannot_be_read_are_for_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str | None, why: str
) -> None:
    place = tmp_path / "authorities"
    if text is not None:
        place.write_text(text)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv(name, str(place))
    with pytest.raises(Misconfigured) as refused:
        storage_client(PUBLIC)
    assert str(refused.value) == f"no certificates can be read from {place}, which {name} names: {why}"
    assert f"or unset {name}" in (refused.value.next_step or "")


@pytest.mark.parametrize("base", ["http://api.example.com", "https://[::zz]", "https://h:99999", "ftp://localhost"])
def test_the_token_is_not_sent_over_a_base_that_cannot_keep_it(base: str) -> None:
    with pytest.raises(Misconfigured, match="WATCH_TIME_API_BASE_URL"):
        api_client(base, token=SecretStr(TOKEN), org_id="o")
