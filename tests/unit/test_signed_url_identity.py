"""Two URLs name one file where they differ in nothing but a signature of a known kind."""

from __future__ import annotations

import hashlib
import re

import httpx
import pytest

from etl.extract.signed_url_identity import source_of

HOST = "https://reports.example.com"
CANARY = "canary-3f1e"

# A URL of each kind, as the libraries make them, and another one of the same file an hour later.
SIGNED = [
    pytest.param(
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A1%2F20261119%2Feu-west-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20261119T100000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature=aa",
        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=B2%2F20261120%2Feu-west-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20261120T100000Z&X-Amz-Expires=3599&X-Amz-SignedHeaders=host&X-Amz-Security-Token=t"
        "&X-Amz-Signature=bb",
        id="S3, version 4",
    ),
    pytest.param(
        "AWSAccessKeyId=A1&Signature=a%3D&x-amz-security-token=t&Expires=1795082400",
        "AWSAccessKeyId=B2&Signature=b%3D&x-amz-security-token=u&Expires=1795086000",
        id="S3, version 2",
    ),
    pytest.param(
        "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a%2F20261119%2Fauto%2Fstorage%2Fgoog4_request"
        "&X-Goog-Date=20261119T100000Z&X-Goog-Expires=3600&X-Goog-SignedHeaders=host&X-Goog-Signature=aa",
        "X-Goog-Algorithm=GOOG4-RSA-SHA256&X-Goog-Credential=a%2F20261120%2Fauto%2Fstorage%2Fgoog4_request"
        "&X-Goog-Date=20261120T100000Z&X-Goog-Expires=3600&X-Goog-SignedHeaders=host&X-Goog-Signature=bb",
        id="Google, version 4",
    ),
    pytest.param(
        "Expires=1795082400&GoogleAccessId=a%40example.com&Signature=a%3D",
        "Expires=1795086000&GoogleAccessId=a%40example.com&Signature=b%3D",
        id="Google, version 2",
    ),
    pytest.param(
        "Expires=1795082400&Signature=a~&Key-Pair-Id=K1",
        "Expires=1795086000&Signature=b~&Key-Pair-Id=K2&Hash-Algorithm=SHA256",
        id="CloudFront, canned policy",
    ),
    pytest.param(
        "Policy=eyJhIjoxfQ__&Signature=a~&Key-Pair-Id=K1",
        "Policy=eyJhIjoyfQ__&Signature=b~&Key-Pair-Id=K1",
        id="CloudFront, custom policy",
    ),
    pytest.param(
        "sv=2024-11-04&se=2026-11-19T10%3A00Z&sr=b&sp=r&sig=a%3D",
        "sv=2025-01-05&st=2026-11-20T09%3A00Z&se=2026-11-20T10%3A00Z&sr=b&sp=r&spr=https&skoid=o&sktid=t"
        "&skt=2026-11-20T09%3A00Z&ske=2026-11-21T09%3A00Z&sks=b&skv=2025-01-05&sig=b%3D",
        id="Azure",
    ),
    pytest.param(
        "x-oss-credential=A&x-oss-date=20261119T100000Z&x-oss-expires=3600&x-oss-signature-version=OSS4-HMAC-SHA256"
        "&x-oss-signature=aa",
        "x-oss-credential=A&x-oss-date=20261120T100000Z&x-oss-expires=3600&x-oss-signature-version=OSS4-HMAC-SHA256"
        "&x-oss-security-token=t&x-oss-additional-headers=host&x-oss-signature=bb",
        id="Alibaba, version 4",
    ),
    pytest.param(
        "OSSAccessKeyId=A&Expires=1795082400&Signature=a%3D",
        "OSSAccessKeyId=B&Expires=1795086000&Signature=b%3D&security-token=t",
        id="Alibaba, version 1",
    ),
    pytest.param(
        "q-sign-algorithm=sha1&q-ak=A&q-sign-time=1;2&q-key-time=1;2&q-header-list=host&q-url-param-list=&q-signature=a",
        "q-sign-algorithm=sha1&q-ak=A&q-sign-time=3;4&q-key-time=3;4&q-header-list=host&q-url-param-list=&q-signature=b"
        "&x-cos-security-token=t",
        id="Tencent",
    ),
    pytest.param(
        "AccessKeyId=A&Expires=1795082400&Signature=a%3D",
        "AccessKeyId=A&Expires=1795086000&Signature=b%3D&x-obs-security-token=t",
        id="Huawei",
    ),
]


@pytest.mark.parametrize(("query", "later"), SIGNED)
def test_a_new_signature_names_the_same_file(query: str, later: str) -> None:
    sources = {source_of(httpx.URL(f"{HOST}/r.csv?{each}")) for each in (query, later)}
    assert sources == {"reports.example.com/r.csv"}


@pytest.mark.parametrize(("query", "later"), SIGNED)
@pytest.mark.parametrize(
    ("one", "another"),
    [
        pytest.param("object=r1", "object=r2", id="a name of one's own"),
        pytest.param("versionId=1", "versionId=2", id="S3's version"),
        pytest.param("generation=1", "generation=2", id="Google's version"),
        pytest.param("snapshot=1", "snapshot=2", id="Azure's version"),
        pytest.param("x-oss-process=a", "x-oss-process=b", id="Alibaba's processing"),
        pytest.param("response-content-disposition=a", "response-content-disposition=b", id="how it is sent"),
        pytest.param("", "object", id="nothing but a name"),
    ],
)
def test_all_that_is_no_signature_names_the_file(query: str, later: str, one: str, another: str) -> None:
    urls = [f"{HOST}/d?{asked}&{signed}" for asked, signed in ((one, query), (one, later), (another, later))]
    first, signed_later, other = (source_of(httpx.URL(url)) for url in urls)
    assert first == signed_later != other


@pytest.mark.parametrize(
    ("one", "another"),
    [
        pytest.param("https://a.example.com/r.csv", "https://b.example.com/r.csv", id="host"),
        pytest.param("https://a.example.com/r.csv", "https://a.example.com/R.csv", id="path"),
        pytest.param("http://127.0.0.1:8080/r.csv", "http://127.0.0.1:8081/r.csv", id="port"),
        pytest.param("http://127.0.0.1/r.csv", "https://127.0.0.1/r.csv", id="scheme"),
        pytest.param("https://[::1]/r.csv", "https://[::1]:1/r.csv", id="port of an IPv6 address"),
        pytest.param(f"{HOST}/d?a=1&b=2", f"{HOST}/d?b=2&a=1", id="order"),
        # Words of a signature without the signature may be anything.
        pytest.param(f"{HOST}/d?sr=1&st=2", f"{HOST}/d?sr=2&st=2", id="short names"),
        pytest.param(f"{HOST}/d?sig=1&se=2", f"{HOST}/d?sig=2&se=2", id="half an Azure signature"),
        pytest.param(f"{HOST}/d?Policy=1", f"{HOST}/d?Policy=2", id="a policy alone"),
        pytest.param(f"{HOST}/d?Expires=1&Signature=a", f"{HOST}/d?Expires=2&Signature=a", id="nobody's signature"),
        pytest.param(f"{HOST}/d?X-Amz-Date=1", f"{HOST}/d?X-Amz-Date=2", id="a date alone"),
        pytest.param(
            f"{HOST}/d?X-Amz-Signature=a&X-Goog-Date=1",
            f"{HOST}/d?X-Amz-Signature=a&X-Goog-Date=2",
            id="mixed",
        ),
        pytest.param(f"{HOST}/d?X%2DAmz-Signature=a", f"{HOST}/d?X%2DAmz-Signature=b", id="an odd way of writing"),
    ],
)
def test_these_are_two_files(one: str, another: str) -> None:
    assert source_of(httpx.URL(one)) != source_of(httpx.URL(another))


def test_what_remains_of_the_query_is_hashed_as_it_stands() -> None:
    """So that somebody who wants to know can compare."""
    url = httpx.URL(f"{HOST}/d?object=r%201&X-Amz-Date=1&X-Amz-Signature=a&token={CANARY}")
    digest = hashlib.sha256(f"object=r%201&token={CANARY}".encode()).hexdigest()
    assert source_of(url) == f"reports.example.com/d?sha256={digest}"


@pytest.mark.parametrize(("query", "_later"), SIGNED)
def test_no_value_of_a_query_shows(query: str, _later: str) -> None:
    url = httpx.URL(f"{HOST}/d?{re.sub(r'=[^&]*', f'={CANARY}', query)}&password={CANARY}&{CANARY}")
    assert re.fullmatch(r"reports\.example\.com/d\?sha256=[0-9a-f]{64}", source_of(url))


def test_the_port_of_https_goes_without_saying() -> None:
    assert source_of(httpx.URL("https://A.example.com:443/r.csv")) == "a.example.com/r.csv"
