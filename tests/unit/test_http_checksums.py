"""Announced checksums are verified where they speak of the bytes on the wire, and left alone where they do not."""

from __future__ import annotations

import base64
import hashlib
import zlib

import httpx
import pytest

from etl.extract.http_checksums import Checksums

BODY = b"a,b\n1,2\n"
OTHER = b"something else"


def b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def md5(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


def crc(body: bytes, *, polynomial: int, bits: int) -> bytes:
    """A reflected CRC by its definition, bit by bit."""
    ones = (1 << bits) - 1
    value = ones
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
    return (value ^ ones).to_bytes(bits // 8, "big")


def crc32c(body: bytes) -> bytes:
    return crc(body, polynomial=0x82F63B78, bits=32)


def crc64nvme(body: bytes) -> bytes:
    return crc(body, polynomial=0x9A6C9329AC4BC9B5, bits=64)


def test_the_definitions_have_the_check_values_of_the_catalogue_of_crcs() -> None:
    assert (crc32c(b"123456789").hex(), crc64nvme(b"123456789").hex()) == ("e3069283", "ae8b14860a799888")


def verdict(headers: dict[str, str]) -> str | None:
    checksums = Checksums.announced_in(httpx.Headers(headers))
    checksums.update(BODY[:3])
    checksums.update(BODY[3:])
    return checksums.mismatch()


def announced(body: bytes) -> dict[str, dict[str, str]]:
    s3 = {"Server": "AmazonS3", "ETag": f'"{md5(body).hex()}"'}
    return {
        "Content-MD5": {"Content-MD5": b64(md5(body))},
        "Google's MD5": {"x-goog-hash": f"crc32c={b64(crc32c(BODY))}, md5={b64(md5(body))}"},
        "Google's CRC-32C": {"x-goog-hash": f"crc32c={b64(crc32c(body))}, md5={b64(md5(BODY))}"},
        "Google, composed of others": {"x-goog-hash": f"crc32c={b64(crc32c(body))}"},
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
        "S3 CRC-32C": {"x-amz-checksum-crc32c": b64(crc32c(body)), "x-amz-checksum-type": "FULL_OBJECT"},
        "S3 CRC-64/NVME": {
            "Server": "AmazonS3",
            "ETag": f'"{md5(body).hex()}-3"',
            "x-amz-checksum-crc64nvme": b64(crc64nvme(body)),
            "x-amz-checksum-type": "FULL_OBJECT",
        },
    }


@pytest.mark.parametrize("headers", [pytest.param(headers, id=name) for name, headers in announced(BODY).items()])
def test_bytes_with_the_announced_checksum_are_accepted(headers: dict[str, str]) -> None:
    assert verdict(headers) is None


@pytest.mark.parametrize("headers", [pytest.param(headers, id=name) for name, headers in announced(OTHER).items()])
def test_bytes_with_another_checksum_are_noticed(headers: dict[str, str]) -> None:
    assert verdict(headers) in {"md5", "sha1", "sha256", "crc32", "crc32c", "crc64nvme"}


S3_ETAG = {"Server": "AmazonS3", "ETag": f'"{md5(OTHER).hex()}"'}


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="none announced"),
        pytest.param({"Content-MD5": "???"}, id="not base64"),
        pytest.param({"Content-MD5": b64(b"short")}, id="not an MD5"),
        pytest.param({"x-goog-hash": "crc32c=AAAA"}, id="not a CRC-32C"),
        pytest.param({"x-ms-content-crc64": b64(crc64nvme(OTHER))}, id="Azure's CRC-64, of another polynomial"),
        pytest.param(
            {
                "x-goog-hash": f"crc32c={b64(crc32c(OTHER))},md5={b64(md5(OTHER))}",
                "x-goog-stored-content-encoding": "gzip",
            },
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
        pytest.param(
            {"x-amz-checksum-crc32c": b64(crc32c(OTHER)), "x-amz-checksum-type": "COMPOSITE"},
            id="CRC-32C of CRC-32Cs",
        ),
        pytest.param({"x-amz-checksum-crc32": "AAAAAA==-2"}, id="checksum of checksums, old style"),
    ],
)
def test_what_does_not_speak_of_these_bytes_is_left_alone(headers: dict[str, str]) -> None:
    assert verdict(headers) is None
