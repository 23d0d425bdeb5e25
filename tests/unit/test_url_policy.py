"""The rules for download URLs, as tables."""

from __future__ import annotations

import pytest

from etl.domain.errors import Misconfigured
from etl.extract.url_policy import UrlPolicy, is_public

PUBLIC = UrlPolicy(api_on_loopback=False)
SANDBOX = UrlPolicy(api_on_loopback=True)
LISTED = UrlPolicy(api_on_loopback=False, download_hosts=("storage.example.com",))
SECRET = "/reports/r.csv?X-Signature=canary"


@pytest.mark.parametrize(
    ("policy", "url"),
    [
        pytest.param(PUBLIC, "https://storage.example.com/r.csv?sig=a%2Fb", id="plain case"),
        pytest.param(PUBLIC, "https://storage.example.com:443/r.csv", id="port spelled out"),
        pytest.param(PUBLIC, "https://storage.example.com:/r.csv", id="port left empty"),
        pytest.param(PUBLIC, "HTTPS://TimedStore.Example.COM/r.csv", id="capitals"),
        pytest.param(PUBLIC, "https://my_bucket.s3.eu-west-1.amazonaws.com/r.csv", id="underscore in a bucket"),
        pytest.param(PUBLIC, "https://xn--bcher-kva.example/r.csv", id="international name"),
        pytest.param(PUBLIC, "https://7.storage.example.com/r.csv", id="label of digits"),
        pytest.param(PUBLIC, "https://storage.example.com?@127.0.0.1/r.csv", id="an address after the host"),
        pytest.param(PUBLIC, "https://127.0.0.1.example.com/r.csv", id="a name that begins like an address"),
        pytest.param(LISTED, "https://storage.example.com/r.csv", id="listed"),
        pytest.param(LISTED, "https://STORAGE.example.com/r.csv", id="listed, in capitals"),
        pytest.param(LISTED, "https://eu.storage.example.com/r.csv", id="subdomain of a listed one"),
        pytest.param(SANDBOX, "http://127.0.0.1:8080/r.csv", id="sandbox"),
        pytest.param(SANDBOX, "http://localhost:1/r.csv", id="sandbox by name"),
        pytest.param(SANDBOX, "http://[::1]:65535/r.csv", id="sandbox by IPv6"),
        pytest.param(SANDBOX, "https://storage.example.com/r.csv", id="public host of an API behind a tunnel"),
        pytest.param(
            UrlPolicy(True, ("storage.example.com",)), "http://127.0.0.1:8080/r.csv", id="sandbox with a list"
        ),
    ],
)
def test_these_are_fetched(policy: UrlPolicy, url: str) -> None:
    assert policy.check(url).scheme in url.lower()


@pytest.mark.parametrize(
    ("policy", "origin"),
    [
        pytest.param(PUBLIC, "http://storage.example.com", id="plain http"),
        pytest.param(PUBLIC, "ftp://storage.example.com", id="ftp"),
        pytest.param(PUBLIC, "file://", id="file"),
        pytest.param(PUBLIC, "", id="relative"),
        pytest.param(PUBLIC, "//storage.example.com", id="without scheme"),
        pytest.param(PUBLIC, "https:storage.example.com", id="without slashes"),
        pytest.param(PUBLIC, "https://", id="without host"),
        pytest.param(PUBLIC, "https://storage.example.com:8443", id="other port"),
        pytest.param(PUBLIC, "https://storage.example.com:80", id="port of http"),
        pytest.param(PUBLIC, "https://storage.example.com:65979", id="port that wraps to 443"),
        pytest.param(PUBLIC, "https://storage.example.com:0", id="port 0"),
        pytest.param(PUBLIC, "https://storage.example.com:-443", id="negative port"),
        pytest.param(PUBLIC, "https://storage.example.com:x", id="port in letters"),
        pytest.param(PUBLIC, "https://user@storage.example.com", id="user"),
        pytest.param(PUBLIC, "https://user:canary@storage.example.com", id="user and password"),
        pytest.param(PUBLIC, "https://storage.example.com@evil.example", id="host as user"),
        pytest.param(PUBLIC, "https://evil.example\\@storage.example.com", id="backslash"),
        pytest.param(PUBLIC, "https://sto rage.example.com", id="blank"),
        pytest.param(PUBLIC, "https://sto\trage.example.com", id="tab"),
        pytest.param(PUBLIC, "https://storage.example.com\r\nHost: evil", id="line end"),
        pytest.param(PUBLIC, " https://storage.example.com", id="blank before"),
        pytest.param(PUBLIC, "https://storage.example.com%2e", id="percent in host"),
        pytest.param(PUBLIC, "https://storage.example.com.", id="dot at the end"),
        pytest.param(PUBLIC, "https://storage..example.com", id="empty label"),
        pytest.param(PUBLIC, "https://-storage.example.com", id="dash first"),
        pytest.param(PUBLIC, f"https://{'a' * 64}.example.com", id="label too long"),
        pytest.param(PUBLIC, f"https://{'a.' * 130}com", id="name too long"),
        pytest.param(PUBLIC, "https://stör.example", id="not ASCII"),
        pytest.param(PUBLIC, "https://xn--", id="broken international name"),
        pytest.param(PUBLIC, "https://xn--a.com", id="international name of nothing"),
        pytest.param(PUBLIC, "https://93.184.216.34", id="IPv4"),
        pytest.param(PUBLIC, "https://2130706433", id="IPv4 as a number"),
        pytest.param(PUBLIC, "https://0x7f.1", id="IPv4 in hex and short"),
        pytest.param(PUBLIC, "https://0x7f000001", id="IPv4 in hex"),
        pytest.param(PUBLIC, "https://0177.0.0.1", id="IPv4 in octal"),
        pytest.param(PUBLIC, "https://127.1", id="IPv4 short"),
        pytest.param(PUBLIC, "https://127.0.0.0x1", id="IPv4 with a hex end"),
        pytest.param(PUBLIC, "https://0", id="zero"),
        pytest.param(PUBLIC, "https://[::1]", id="IPv6"),
        pytest.param(PUBLIC, "https://[::ffff:127.0.0.1]", id="IPv4 in IPv6"),
        pytest.param(PUBLIC, "https://[2606:4700::1]", id="public IPv6"),
        pytest.param(PUBLIC, "https://017700000001", id="IPv4 as an octal number"),
        pytest.param(PUBLIC, "https://0x7F.0.0.1", id="IPv4, partly in hex"),
        pytest.param(PUBLIC, "https://127.0.0.1.", id="IPv4 with a dot at the end"),
        pytest.param(PUBLIC, "https://169.254.169.254", id="metadata by address"),
        pytest.param(PUBLIC, "https://[::ffff:7f00:1]", id="IPv4 in IPv6, in hex"),
        pytest.param(PUBLIC, "https://[::]", id="IPv6's zero"),
        pytest.param(PUBLIC, "https://[fe80::1%25eth0]", id="IPv6 with a zone"),
        pytest.param(PUBLIC, "https://[::1", id="IPv6 without its end"),
        pytest.param(PUBLIC, "https://user@127.0.0.1", id="user before an address"),
        pytest.param(PUBLIC, "https://storage.example.com:443@127.0.0.1", id="host and port as user"),
        pytest.param(PUBLIC, "https://@storage.example.com:80", id="empty user, other port"),
        pytest.param(PUBLIC, "https://storage\u3002example.com", id="ideographic full stop"),
        pytest.param(PUBLIC, "https://\uff11\uff12\uff17.0.0.1", id="digits of full width"),
        pytest.param(PUBLIC, "https://stor%61ge.example.com", id="escaped letter in host"),
        pytest.param(PUBLIC, "https://localhost.", id="localhost with a dot"),
        pytest.param(PUBLIC, "https://metadata.google.internal.", id="metadata by name, with a dot"),
        pytest.param(LISTED, "https://storage.example.com.", id="listed, with a dot"),
        pytest.param(LISTED, "https://xn--strage-k1a.example.com", id="listed but for a letter"),
        pytest.param(PUBLIC, "https://localhost", id="localhost"),
        pytest.param(PUBLIC, "https://storage", id="single label"),
        pytest.param(PUBLIC, "https://metadata.google.internal", id="metadata by name"),
        pytest.param(PUBLIC, "https://postgres.default.svc", id="Kubernetes service"),
        pytest.param(PUBLIC, "https://a.localhost", id="under localhost"),
        pytest.param(PUBLIC, "http://127.0.0.1:8080", id="loopback without sandbox"),
        pytest.param(LISTED, "https://evil.example", id="not listed"),
        pytest.param(LISTED, "https://evilstorage.example.com", id="listed only as an ending"),
        pytest.param(LISTED, "https://storage.example.com.evil.example", id="listed only as a beginning"),
        pytest.param(SANDBOX, "http://storage.example.com", id="sandbox, plain http to outside"),
        pytest.param(SANDBOX, "https://10.0.0.1", id="sandbox, private address"),
        pytest.param(SANDBOX, "ftp://127.0.0.1", id="sandbox, ftp"),
        pytest.param(SANDBOX, "http://user@127.0.0.1", id="sandbox, user"),
        pytest.param(SANDBOX, "http://127.0.0.1:102145", id="sandbox, port that wraps"),
        pytest.param(SANDBOX, "http://127.0.0.1:0", id="sandbox, port 0"),
        pytest.param(SANDBOX, "http://127.1", id="sandbox, loopback in another notation"),
    ],
)
def test_these_are_refused_without_showing_more_than_scheme_host_and_port(policy: UrlPolicy, origin: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        policy.check(origin + SECRET)
    told = caught.value.message + caught.value.next_step
    assert "canary" not in told
    assert "reports/r.csv" not in told


def test_a_host_that_is_not_listed_comes_with_the_line_that_allows_it() -> None:
    with pytest.raises(Misconfigured) as caught:
        LISTED.check("https://cdn.example.net/r.csv")
    assert "https://cdn.example.net" in caught.value.message
    assert caught.value.next_step.endswith("WATCH_TIME_DOWNLOAD_HOSTS=storage.example.com,cdn.example.net`")


@pytest.mark.parametrize(
    ("base", "is_sandbox"),
    [
        ("http://127.0.0.1:8080", True),
        ("http://localhost:8080/prefix", True),
        ("https://[::1]:8080", True),
        ("https://api.one.blendvision.com", False),
        ("https://10.1.2.3", False),
    ],
)
def test_only_an_api_on_loopback_makes_a_sandbox(base: str, is_sandbox: bool) -> None:
    assert UrlPolicy.beside(base).api_on_loopback is is_sandbox


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111", "64:ff9b::5db8:d822"])
def test_these_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
        "0.0.0.0",  # noqa: S104 - nothing is bound to it
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.0.192", "168.63.129.16", "192.88.99.1",
        "198.18.0.1", "192.0.2.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1",
        "ff02::1", "::ffff:8.8.8.8", "::ffff:127.0.0.1", "::127.0.0.1", "2002:7f00:1::", "2001::1", "2001:db8::1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
    ],
)  # fmt: skip
def test_these_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert not PUBLIC.allows_address("storage.example.com", address)
