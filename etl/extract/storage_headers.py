"""Headers of requests to storage hosts, and of their responses: which file, how long, and whether its end is certain.

Pure.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from etl.domain.pipeline_values import Origin
from etl.extract.signed_url_identity import source_of

if TYPE_CHECKING:
    import httpx

_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]+"')
_ENCODINGS: Final = frozenset({"", "identity", "gzip", "x-gzip"})


def signed_headers(url: httpx.URL) -> dict[str, str]:
    """The header that S3 requires for a URL signed with it; S3 then announces its own checksum.

    It must not be sent if it was not signed: S3 refuses that too.
    """
    names = url.params.get("X-Amz-SignedHeaders", "").lower().split(";")
    return {"x-amz-checksum-mode": "ENABLED"} if "x-amz-checksum-mode" in names else {}


def conditions(url: httpx.URL, *, begun: Origin | None, received_bytes: int, known: Origin | None) -> dict[str, str]:
    """The headers that request the rest of a partial file, or no file if it is unchanged.

    Only if the URL names the file that the ETag belongs to: a host whose ETags are version numbers gives the second
    version of every file the same ETag.
    """
    source = source_of(url)
    if received_bytes and begun and begun.source == source:
        return {"Range": f"bytes={received_bytes}-", "If-Range": begun.etag}
    return {"If-None-Match": known.etag} if known and known.source == source else {}


def origin_of(response: httpx.Response) -> Origin | None:
    """The origin of a complete response; None if the host sends no strong ETag."""
    etag = response.headers.get("etag", "")
    return Origin(source_of(response.url), etag) if _STRONG_ETAG.fullmatch(etag) else None


def is_unmodified(response: httpx.Response) -> bool:
    """Whether a "not modified" response answers the request that was sent."""
    asked = response.request.headers.get("if-none-match")
    return asked is not None and response.headers.get("etag", asked) == asked


def is_for_the_rest(response: httpx.Response) -> bool:
    """Whether a response answers a request for the rest of a file."""
    return "range" in response.request.headers


def total_of_rest(response: httpx.Response, *, received_bytes: int) -> int | None:
    """The length of the whole file; None if a partial response is not the rest, from the next byte to the last."""
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", response.headers.get("content-range", ""), re.ASCII)
    asked = response.request.headers["if-range"]
    if not found or response.headers.get("etag", asked) != asked:
        return None
    first, last, total = map(int, found.groups())
    return total if (first, last) == (received_bytes, total - 1) else None


def why_unverifiable(headers: httpx.Headers) -> str | None:
    """Why the end of this body, or its encoding, is uncertain; None if it is certain."""
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in _ENCODINGS:
        return "sends the report in an encoding that was not requested"
    if "content-length" not in headers and "transfer-encoding" not in headers:
        # A body that ends where the connection ends looks the same whether it was sent or cut.
        return "sends the report without its length or an end marker, so a truncated file could not be detected"
    if headers.get("content-type", "").lower().startswith("text/html"):
        return "sends a web page instead of the report"
    return None
