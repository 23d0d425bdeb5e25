"""The storage host: hands a report's file to whoever brings a signed URL, in the manner of S3.

A URL signs its method, path and expiry. Errors are XML. A request that brings an Authorization header as well is
refused with that header in the body, as S3 does: what a client logs of it is then seen in the tests.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from etl.domain.slices import ReportType, Slice
from etl.sandbox import demo_extra
from etl.sandbox.faults import Answer, Delivery

with demo_extra():
    from starlette.responses import FileResponse, Response

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.requests import Request
    from starlette.types import Message, Receive, Scope, Send

    from etl.sandbox.file_cache import Stored
    from etl.sandbox.sandbox import Sandbox

_TIME_FORMAT = "%Y%m%dT%H%M%SZ"
_DRIPS_PER_S = 20

_NAME = re.compile(r"(?P<day>\d{8})_(?P<type>live|vod)\.csv(\.gz)?")


class Signer:
    """Makes and checks signed URLs with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def signed_query(self, path: str, *, now: datetime, lifetime_s: int) -> str:
        """The query string with which `path` can be got until the lifetime is over."""
        terms = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Credential": f"SANDBOX/{now:%Y%m%d}/us-east-1/s3/aws4_request",
            "X-Amz-Date": now.strftime(_TIME_FORMAT),
            "X-Amz-Expires": str(lifetime_s),
            "X-Amz-SignedHeaders": "host",
        }
        return urlencode({**terms, "X-Amz-Signature": self._signature("GET", path, terms)})

    def _signature(self, method: str, path: str, terms: Mapping[str, str]) -> str:
        signed = "\n".join((method, path, urlencode(sorted(terms.items()))))
        return hmac.digest(self._secret, signed.encode(), "sha256").hex()

    def refusal(self, request: Request, *, now: datetime) -> Answer | None:
        """Why the request may not have the file; None: it may."""
        if header := request.headers.get("authorization"):
            message = (
                "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
                "parameter or the Authorization header should be specified"
            )
            return s3_error(400, "InvalidArgument", message, ArgumentName="Authorization", ArgumentValue=header)
        terms = dict(request.query_params)
        signature = terms.pop("X-Amz-Signature", None)
        if signature is None:
            return s3_error(403, "AccessDenied", "Access Denied")
        if not hmac.compare_digest(signature, self._signature(request.method, request.url.path, terms)):
            message = (
                "The request signature we calculated does not match the signature you provided. "
                "Check your key and signing method."
            )
            return s3_error(403, "SignatureDoesNotMatch", message, SignatureProvided=signature)
        signed_at = datetime.strptime(terms["X-Amz-Date"], _TIME_FORMAT).replace(tzinfo=UTC)
        expires_at = signed_at + timedelta(seconds=int(terms["X-Amz-Expires"]))
        return expired(expires_at, now=now) if now >= expires_at else None


def expired(expires_at: datetime, *, now: datetime) -> Answer:
    """The answer to a URL that was good until `expires_at`."""
    return s3_error(
        403, "AccessDenied", "Request has expired", Expires=f"{expires_at:%FT%TZ}", ServerTime=f"{now:%FT%TZ}"
    )


def s3_error(status: int, code: str, message: str, **details: str) -> Answer:
    """An error in S3's own form."""
    elements = {"Code": code, "Message": message, **details, "RequestId": "SANDBOX"}
    content = "".join(f"<{name}>{escape(text)}</{name}>" for name, text in elements.items())
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{content}</Error>'
    return Answer(status, body, media_type="application/xml")


def path_of(slice_: Slice, *, org_id: str, delivery: Delivery) -> str:
    """Where the report of a slice lies. A restated report replaces the old one there."""
    suffix = ".gz" if delivery.gzip == "file" else ""
    return f"/storage/{org_id}/{slice_.report_date:%Y%m%d}_{slice_.report_type.lower()}.csv{suffix}"


def slice_at(name: str) -> Slice | None:
    """The slice whose report has this file name."""
    if not (match := _NAME.fullmatch(name)):
        return None
    try:
        return Slice(date.fromisoformat(match["day"]), ReportType(match["type"].upper()))
    except ValueError:
        return None


async def download(sandbox: Sandbox, signer: Signer, request: Request) -> Response | Answer:
    """Answer a request for a report's file."""
    slice_ = slice_at(request.path_params["name"])
    delivery = sandbox.next_delivery(slice_)
    if isinstance(delivery, Answer):
        return delivery
    now = sandbox.config.now()
    if refusal := signer.refusal(request, now=now):
        return refusal
    if delivery.expired:
        return expired(now, now=now)
    if slice_ is None or request.path_params["org_id"] != sandbox.config.org_id or not sandbox.offers(slice_):
        return s3_error(404, "NoSuchKey", "The specified key does not exist.")
    stored = await asyncio.to_thread(sandbox.stored, slice_, delivery)
    await asyncio.sleep(delivery.latency_s)
    etag = {"etag": stored.etag, **{name.lower(): value for name, value in delivery.headers.items()}}["etag"]
    if etag is not None and request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return _Download(stored, delivery)


class _Cut(Exception):
    """The connection is to be dropped here."""


class _Download(FileResponse):
    """A file with Range and If-Range, sent as well or as badly as the delivery says."""

    chunk_size = 1 << 20

    def __init__(self, stored: Stored, delivery: Delivery) -> None:
        headers = {"etag": stored.etag}
        if delivery.gzip == "encoding":
            headers["content-encoding"] = "gzip"
        headers |= {name.lower(): value for name, value in delivery.headers.items() if value is not None}
        media_type = "application/gzip" if delivery.gzip == "file" else delivery.media_type
        super().__init__(stored.path, headers=headers, media_type=media_type)
        self._delivery = delivery
        self._left_out = {name.lower() for name, value in delivery.headers.items() if value is None}
        if not delivery.ranges:
            self._left_out.add("accept-ranges")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._delivery.ranges:
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
        wire = _Wire(send, self._delivery, self._left_out)
        # An answer that is left unfinished makes the server drop the connection.
        with suppress(_Cut):
            await super().__call__(scope, receive, wire.send)


class _Wire:
    """The way of an answer to the client: leaves headers out, drips, and ends early, as the delivery says."""

    def __init__(self, send: Send, delivery: Delivery, left_out: Collection[str]) -> None:
        self._send = send
        self._left_out = left_out
        self._bytes_per_s = delivery.bytes_per_s
        self._room = delivery.cut_after_bytes

    async def send(self, message: Message) -> None:
        """Pass on a message of the answer."""
        if message["type"] == "http.response.start":
            headers = [(name, value) for name, value in message["headers"] if name.decode() not in self._left_out]
            await self._send({**message, "headers": headers})
            return
        body = message.get("body", b"")
        step = max(1, int(self._bytes_per_s / _DRIPS_PER_S)) if self._bytes_per_s else max(1, len(body))
        for begin in range(0, len(body), step):
            await self._send_piece(body[begin : begin + step])
        if not message.get("more_body"):
            await self._send({"type": "http.response.body"})

    async def _send_piece(self, piece: bytes) -> None:
        cut = self._room is not None and len(piece) > self._room
        await self._send({"type": "http.response.body", "body": piece[: self._room], "more_body": True})
        if cut:
            raise _Cut
        if self._room is not None:
            self._room -= len(piece)
        if self._bytes_per_s:
            await asyncio.sleep(len(piece) / self._bytes_per_s)
