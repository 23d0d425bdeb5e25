"""Misbehaviour, declared: what to answer instead of the truth, and how to hand out a file badly. Values only."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - the remote control has pydantic read the annotations
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from pydantic import ConfigDict


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, given as it stands, before any check of token or signature, as a proxy in front would give it.

    Examples: `Answer(429, headers={"Retry-After": "1"})`, `Answer(200, "<html>Log in</html>", media_type="text/html")`,
    `Answer(200, '{"url": "ftp://elsewhere.example/report.csv"}')`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    status: int
    body: bytes | str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    latency_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How the storage host hands out a report; without arguments, faultlessly.

    Attributes:
        body: exactly these bytes, instead of the generated report.
        headers: to send as well or instead; None leaves one out: `{"etag": None}`, `{"etag": 'W/"1"'}`, and
            `{"content-length": None}`, which makes the transfer chunked.
        media_type: of the body.
        gzip: `encoding`: compressed, and Content-Encoding says so; `file`: the object itself is a `.csv.gz`, in an
            override also by name.
        ranges: whether Range is understood; if not, every answer is the whole file.
        expired: the signed URL is refused as expired.
        cut_after_bytes: of the body, then the connection is dropped, whatever was promised.
        bytes_per_s: a slow drip.
        latency_s: before the first byte.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    body: bytes | str | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    media_type: str = "text/csv"
    gzip: Literal["no", "encoding", "file"] = "no"
    ranges: bool = True
    expired: bool = False
    cut_after_bytes: int | None = None
    bytes_per_s: float | None = None
    latency_s: float = 0.0


FAULTLESS = Delivery()
