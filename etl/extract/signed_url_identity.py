"""Which file a download URL names, regardless of its signature and expiry.

An ETag applies to one file only. Two URLs of one file differ in their signatures; the URLs of two files may differ only
in the query. So a file is identified by its URL without the signature.

Only the parameters of a complete signature of a known kind are ignored. All others count, also those that only change
how the file is sent (`response-content-disposition`): one too many costs a download, one too few would hide a
restatement, or splice two files.

Pure: no I/O. It must not return a query in plain text: an unlisted parameter may be a secret.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx

# Kinds of signed URLs: the parameters that each URL of a kind has, and those that it may have beside them. Sources:
# botocore's auth.py (S3 2, 4, 4A and Express; R2 and MinIO sign alike), python-storage's _signing.py (Google 2 and 4),
# CloudFront's Developer Guide, azure-storage-blob's shared_access_signature.py, the manuals of OSS, COS and OBS.
_KINDS: Final = {
    "x-amz-signature": (
        "x-amz-algorithm x-amz-content-sha256 x-amz-credential x-amz-date x-amz-expires x-amz-region-set "
        "x-amz-s3session-token x-amz-security-token x-amz-signedheaders"
    ),
    "awsaccesskeyid expires signature": "x-amz-security-token",
    "x-goog-signature": "x-goog-algorithm x-goog-credential x-goog-date x-goog-expires x-goog-signedheaders",
    "googleaccessid expires signature": "",
    "key-pair-id expires signature": "hash-algorithm",
    "key-pair-id policy signature": "hash-algorithm",
    "sig sv": "saoid scid sdd se ses si sip skdutid ske skoid sks skt sktid skv sp spr sr srt ss st sduoid suoid",
    "x-oss-signature": (
        "x-oss-access-key-id x-oss-additional-headers x-oss-credential x-oss-date x-oss-expires "
        "x-oss-security-token x-oss-signature-version"
    ),
    "ossaccesskeyid expires signature": "security-token",
    "q-signature": "q-ak q-header-list q-key-time q-sign-algorithm q-sign-time q-url-param-list x-cos-security-token",
    "accesskeyid expires signature": "x-obs-security-token",
}
_SIGNING: Final = tuple(
    (frozenset(required.split()), frozenset(f"{required} {optional}".split())) for required, optional in _KINDS.items()
)


def source_of(url: httpx.URL) -> str:
    """Host and path, then `?sha256=` and the SHA-256 of the query without its signature, unless nothing is left of it.

    The host has its port, except for 443 of https.
    """
    path, _, query = url.raw_path.decode("ascii").partition("?")
    host = url.netloc.decode("ascii") + (":80" if url.scheme == "http" and url.port is None else "")
    rest = _without_signature(query)
    return f"{host}{path}" + (f"?sha256={hashlib.sha256(rest.encode()).hexdigest()}" if rest else "")


def _without_signature(query: str) -> str:
    """What remains of a query string, as it stands there, in its order."""
    given = [(pair.partition("=")[0].lower(), pair) for pair in query.split("&")]
    names = {name for name, _ in given}
    signing = frozenset[str]().union(*(parameters for required, parameters in _SIGNING if required <= names))
    return "&".join(pair for name, pair in given if name not in signing)
