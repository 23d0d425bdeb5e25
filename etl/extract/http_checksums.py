"""The checksums that a storage host announces in its headers, and whether the bytes agree.

Read from the headers of a complete answer (200); those of a partial one may speak of the part. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import zlib
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...
    def digest(self) -> bytes: ...


class _Crc:
    """A CRC as the hosts send it, most significant byte first."""

    def __init__(self, continued: Callable[[bytes, int], int], size_bytes: int) -> None:
        self._continued = continued
        self._size_bytes = size_bytes
        self._value = 0

    def update(self, data: bytes) -> None:
        self._value = self._continued(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size_bytes, "big")


def _aws_crc(name: str, size_bytes: int) -> _Crc:
    from awscrt import checksums  # noqa: PLC0415 - 12 MB of machine code, only for hosts that announce it

    return _Crc(getattr(checksums, name), size_bytes)


# Protects against accidents, not forgery: anyone who could forge the body could forge the header.
_HASHES: Final[Mapping[str, Callable[[], _Hash]]] = {
    "md5": lambda: hashlib.md5(usedforsecurity=False),
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "sha256": hashlib.sha256,
    "crc64nvme": lambda: _aws_crc("crc64nvme", 8),
    "crc32c": lambda: _aws_crc("crc32c", 4),
    "crc32": lambda: _Crc(zlib.crc32, 4),
}


class Checksums:
    """The announced checksums of a body, computed while it arrives."""

    def __init__(self, expected: Mapping[str, bytes]) -> None:
        self._expected = {name: value for name, value in expected.items() if value and len(value) == _size(name)}
        self._hashes = {name: _HASHES[name]() for name in self._expected}

    @classmethod
    def announced_in(cls, headers: Mapping[str, str]) -> Checksums:
        """The checksums that `headers` announce for the bytes on the wire and that can be verified."""
        expected = {
            "md5": _decode(headers.get("content-md5", "")) or _google(headers, "md5") or _s3_etag_md5(headers),
            # An object that Google composed from others, or that was uploaded in parts, has only this one.
            "crc32c": _google(headers, "crc32c"),
        }
        # Those of an object uploaded in parts are checksums of checksums.
        if headers.get("x-amz-checksum-type", "").upper() != "COMPOSITE":
            for name in ("sha256", "sha1", "crc64nvme", "crc32c", "crc32"):
                if value := _decode(headers.get(f"x-amz-checksum-{name}", "")):
                    expected[name] = value
        return cls(expected)

    def update(self, data: bytes) -> None:
        """Take in the next bytes of the body, as they came over the wire."""
        for hash_ in self._hashes.values():
            hash_.update(data)

    def mismatch(self) -> str | None:
        """The name of a checksum that the bytes do not have; None when all agree, or none was announced."""
        return next((name for name, hash_ in self._hashes.items() if hash_.digest() != self._expected[name]), None)


def _size(name: str) -> int:
    return len(_HASHES[name]().digest())


def _decode(text: str) -> bytes:
    """The bytes of a base64 text; empty if it is not base64 (a composite checksum ends with `-<parts>`)."""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _google(headers: Mapping[str, str], name: str) -> bytes:
    """Google's checksum of this name; none if Google decompressed the object, as it covers the stored bytes."""
    stored = headers.get("x-goog-stored-content-encoding", "identity")
    if stored != "identity" and stored != headers.get("content-encoding"):
        return b""
    found = re.search(rf"(?:^|[,\s]){name}=([A-Za-z0-9+/=]+)", headers.get("x-goog-hash", ""))
    return _decode(found[1]) if found else b""


def _s3_etag_md5(headers: Mapping[str, str]) -> bytes:
    """S3's ETag is the MD5 of an object uploaded in one part, and not encrypted with a customer's key."""
    etag = re.fullmatch(r'"([0-9a-f]{32})"', headers.get("etag", ""))
    own_key = (
        headers.get("x-amz-server-side-encryption", "AES256") != "AES256"
        or "x-amz-server-side-encryption-customer-algorithm" in headers
    )
    if not etag or own_key or headers.get("server") != "AmazonS3":
        return b""
    return bytes.fromhex(etag[1])
