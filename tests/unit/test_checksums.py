"""Announced checksums are verified where they speak of the bytes on the wire, and left alone where they do not."""

from __future__ import annotations

import base64
import hashlib
import zlib

import httpx
import pytest

from etl.checksums import Checksums

BODY = b"a,b\n1,2\n"
OTHER = b"something else"


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def md5(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


def verdict(headers: dict[str, str]) -> str | None:
    checksums = Checksums.announced_in(httpx.Headers(headers))
    checksums.update(BODY[:3])
    checksums.update(BODY[3:])
    return checksums.mismatch()


def announced(body: bytes) -> dict[str, dict[str, str]]:
    s3 = {"Server": "AmazonS3", "ETag": f'"{md5(body).hex()}"'}
    return {
        "Content-MD5": {"Content-MD5": b64(md5(body))},
        "Google": {"x-goog-hash": f"crc32c=AAAAAA==, md5={b64(md5(body))}"},
        "Google, gzip as stored": {
            "x-goog-hash": f"md5={b64(md5(body))}",
            "x-goog-stored-content-encoding": "gzip",
            "Content-Encoding": "gzip",
        },
        "S3's ETag": s3,
        "S3's ETag, encrypted by S3": {**s3, "x-amz-server-side-encryption": "AES256"},
        "S3 SHA-256": {"x-amz-checksum-sha256": b64(hashlib.sha256(body).digest())},
        "S3 SHA-1": {"x-amz-checksum-sha1": b64(hashlib.sha1(body, usedforsecurity=False).digest())},
        "S3 CRC-32": {
            "x-amz-checksum-crc32": b64(zlib.crc32(body).to_bytes(4, "big")),
            "x-amz-checksum-type": "FULL_OBJECT",
        },
    }


@pytest.mark.parametrize("headers", [pytest.param(headers, id=name) for name, headers in announced(BODY).items()])
def test_bytes_with_the_announced_checksum_are_accepted(headers: dict[str, str]) -> None:
    assert verdict(headers) is None


@pytest.mark.parametrize("headers", [pytest.param(headers, id=name) for name, headers in announced(OTHER).items()])
def test_bytes_with_another_checksum_are_noticed(headers: dict[str, str]) -> None:
    assert verdict(headers) in {"md5", "sha1", "sha256", "crc32"}


S3_ETAG = {"Server": "AmazonS3", "ETag": f'"{md5(OTHER).hex()}"'}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none announced"),
        pytest.param({"Content-MD5": "???"}, id="not base64"),
        pytest.param({"Content-MD5": b64(b"short")}, id="not an MD5"),
        pytest.param({"x-goog-hash": "crc32c=AAAAAA=="}, id="Google's crc32c alone"),
        pytest.param(
            {"x-goog-hash": f"md5={b64(md5(OTHER))}", "x-goog-stored-content-encoding": "gzip"},
            id="Google unpacked the object",
        ),
        pytest.param({**S3_ETAG, "x-amz-server-side-encryption": "aws:kms"}, id="S3 object under a KMS key"),
        pytest.param({**S3_ETAG, "x-amz-server-side-encryption": "aws:kms:dsse"}, id="S3 object under two KMS keys"),
        pytest.param(
            {**S3_ETAG, "x-amz-server-side-encryption-customer-algorithm": "AES256"}, id="S3 object, customer's key"
        ),
        pytest.param({"Server": "AmazonS3", "ETag": f'"{md5(OTHER).hex()}-3"'}, id="S3 object in parts"),
        pytest.param({"Server": "AmazonS3", "ETag": f'W/"{md5(OTHER).hex()}"'}, id="weak ETag"),
        pytest.param({"Server": "nginx", "ETag": f'"{md5(OTHER).hex()}"'}, id="ETag of somebody else"),
        pytest.param(
            {"x-amz-checksum-sha256": b64(hashlib.sha256(OTHER).digest()), "x-amz-checksum-type": "COMPOSITE"},
            id="checksum of checksums",
        ),
        pytest.param({"x-amz-checksum-crc32": "AAAAAA==-2"}, id="checksum of checksums, old style"),
    ],
)
def test_what_does_not_speak_of_these_bytes_is_left_alone(headers: dict[str, str]) -> None:
    assert verdict(headers) is None
