"""Answers of the report API and of storage hosts, byte by byte, as docs/internals/api-responses.md names them.

A list is given in turn, its last answer for ever. Bodies are those that the hosts are known to send.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from typing import TYPE_CHECKING, Final, TypeAlias

from raw_server import CSV, GZIPPED, TOKEN, grpc_error, reply, url_answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Bytes: TypeAlias = "bytes | list[bytes]"

HTML: Final = b"\xef\xbb\xbf \n<!DOCTYPE html><html><body>Sign in</body></html>"
WHOLE: Final = reply(200, CSV)


def xml(code: str, message: str = "as it says") -> bytes:
    """An error body as S3, Google and Azure write it."""
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()


def headed(body: bytes = CSV, **headers: str) -> bytes:
    """A 200 with these headers; underscores stand for dashes."""
    return reply(200, body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def retry_after(status: int, value: str, **headers: str) -> bytes:
    return reply(status, headers={"Retry-After": value, **headers})


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def _squeezed(body: bytes) -> bytes:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, 31)
    return squeeze.compress(body) + squeeze.flush()


def of_the_api(report_url: str) -> Mapping[str, Bytes]:
    """What the report API may answer; `report_url` is where the report lies, whole."""
    good = url_answer(report_url)
    return {
        "200 with a URL": good,
        "200 with a URL, after a byte-order mark": reply(200, b"\xef\xbb\xbf" + good.partition(b"\r\n\r\n")[2]),
        "200 with a URL, no length given": reply(200, good.partition(b"\r\n\r\n")[2], framing="as it is"),
        "102 before the 200": b"HTTP/1.1 102 Processing\r\n\r\n" + good,
        "503, 429, dropped connection, 500, then a URL": [
            reply(503),
            grpc_error(429, 8),
            b"",
            grpc_error(500, 13),
            good,
        ],
        "HTML once, then a URL": [reply(200, HTML), good],
        "404 with the API's error body": grpc_error(404, 5, "report not found"),
        "404 with HTML": reply(404, HTML),
        "404 without a body": reply(404),
        "404 with another code": grpc_error(404, 12),
        "404 without a message": reply(404, b'{"code": 5}'),
        "400": grpc_error(400, 3),
        "401": grpc_error(401, 16),
        "401 with HTML": reply(401, HTML),
        "403": grpc_error(403, 7),
        "403 with HTML": reply(403, HTML),
        "301": reply(301, headers={"Location": "https://elsewhere.example/"}),
        "302 to a login page": reply(302, headers={"Location": "/login?x"}),
        "405": reply(405, HTML),
        "407": reply(407),
        "409": grpc_error(409, 10),
        "410": reply(410),
        "418": reply(418),
        "451": reply(451),
        "408": reply(408),
        "429": grpc_error(429, 8),
        "429, Retry-After: 60": retry_after(429, "60"),
        "429, Retry-After: 86400": retry_after(429, "86400"),
        "429, Retry-After as a date on the server's clock": retry_after(
            429, "Tue, 04 Jul 2023 10:01:40 GMT", Date="Tue, 04 Jul 2023 10:00:00 GMT"
        ),
        "429, Retry-After as a past date": retry_after(
            429, "Tue, 04 Jul 2023 09:00:00 GMT", Date="Tue, 04 Jul 2023 10:00:00 GMT"
        ),
        "500": grpc_error(500, 13),
        "501": reply(501),
        "502 with HTML": reply(502, HTML),
        "503": reply(503),
        "503, Retry-After: 0": retry_after(503, "0"),
        "503, Retry-After: -5": retry_after(503, "-5"),
        "503, Retry-After: 1.5": retry_after(503, "1.5"),
        "503, Retry-After: soon": retry_after(503, "soon"),
        "503, Retry-After: 1 followed by 300 zeros": retry_after(503, "1" + "0" * 300),
        "504": reply(504),
        "520 with HTML": reply(520, HTML),
        "dropped connection": b"",
        "not HTTP": b"SSH-2.0-OpenSSH\r\n\r\n",
        "truncated header": good[:30],
        "truncated body": good[:-5],
        "two different lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}    ",
        "declared gzip, but is not": reply(200, b"\x1f\x8bxx", headers={"Content-Encoding": "gzip"}),
        "200 with HTML": reply(200, HTML),
        "200 with an error body": grpc_error(200, 13),
        "200 without a URL": reply(200, b"{}"),
        "200 with a list": reply(200, b"[]"),
        "200 with JSON nested too deeply": reply(200, b"[" * 60_000),
        "200 with a body that is too large": reply(
            200, json.dumps({"padding": "x" * 200_000, "url": report_url}).encode()
        ),
        "200 with invalid UTF-8": reply(200, b"\xff\xfe"),
        "200, the URL is null": url_answer(None),
        "200, the URL is empty": url_answer(""),
        "200, the URL is a list": url_answer([report_url]),
        "204": reply(204),
        "a URL with plain http": url_answer("http://storage.example.com/r.csv?sig=1"),
        "a URL with an internal address": url_answer("https://169.254.169.254/r.csv"),
        "a URL with a user name": url_answer("https://user:secret@storage.example.com/r.csv"),
        "an invalid URL": url_answer("report.csv"),
    }


def of_storage(report_url: str) -> Mapping[str, Bytes]:
    """What a storage host may answer; `report_url` is its own address."""
    elsewhere = {"Location": report_url.replace("/reports/", "/elsewhere/")}
    return {
        "200": WHOLE,
        "200 in chunks": reply(200, CSV, framing="chunked"),
        "gzip, not declared": headed(GZIPPED),
        "gzip, declared": headed(GZIPPED, Content_Encoding="gzip"),
        "declared gzip, but plain": headed(CSV, Content_Encoding="gzip"),
        "identity": headed(CSV, Content_Encoding="identity"),
        "correct MD5": headed(CSV, Content_MD5=_md5(CSV)),
        "302, then complete": [reply(302, headers=elsewhere), WHOLE],
        "307 three times, then complete": [*[reply(307, headers=elsewhere)] * 3, WHOLE],
        "503, dropped connection, 429, 500, then complete": [reply(503), b"", reply(429), reply(500), WHOLE],
        "expired twice, then complete": [reply(403, xml("AccessDenied")), reply(400, xml("ExpiredToken")), WHOLE],
        "missing once, then complete": [reply(404, xml("NoSuchKey")), WHOLE],
        "HTML once, then complete": [headed(HTML), WHOLE],
        "wrong MD5 once, then complete": [headed(CSV, Content_MD5=_md5(b"")), WHOLE],
        "S3: 403 Request has expired": reply(403, xml("AccessDenied", "Request has expired")),
        "S3: 403 SignatureDoesNotMatch": reply(403, xml("SignatureDoesNotMatch")),
        "S3: 403 RequestTimeTooSkewed": reply(403, xml("RequestTimeTooSkewed")),
        "S3: 400 ExpiredToken": reply(400, xml("ExpiredToken")),
        "S3: 400 InvalidArgument, repeating a token": reply(400, xml("InvalidArgument", f"Bearer {TOKEN}")),
        "S3: 404 NoSuchKey": reply(404, xml("NoSuchKey")),
        "S3: 301 PermanentRedirect, no Location": reply(301, xml("PermanentRedirect")),
        "S3: 503 SlowDown": reply(503, xml("SlowDown")),
        "S3: 500 InternalError": reply(500, xml("InternalError")),
        "Google: 400 ExpiredToken": reply(400, xml("ExpiredToken")),
        "Google: 429": reply(429, xml("TooManyRequests")),
        "Azure: 403 AuthenticationFailed": reply(403, xml("AuthenticationFailed")),
        "Azure: 404 BlobNotFound": reply(404, xml("BlobNotFound")),
        "Azure: 409 BlobArchived": reply(409, xml("BlobArchived")),
        "CloudFront: 403 AccessDenied": reply(403, xml("AccessDenied")),
        "R2: 400 ExpiredRequest": reply(400, xml("ExpiredRequest")),
        "401": reply(401),
        "410": reply(410),
        "408": reply(408),
        "503, Retry-After: 77": retry_after(503, "77"),
        "503, Retry-After: 86400": retry_after(503, "86400"),
        "dropped connection": b"",
        "truncated body": WHOLE[:-5],
        "203": reply(203, CSV),
        "204": reply(204),
        "206, not requested": reply(206, CSV),
        "302 in a loop": reply(302, headers=elsewhere),
        "302 without Location": reply(302),
        "302 to an internal address": reply(302, headers={"Location": "https://10.0.0.1/r.csv"}),
        "304": reply(304),
        "405": reply(405),
        "412": reply(412),
        "416, not requested": reply(416),
        "no length given": reply(200, CSV, framing="as it is"),
        "longer than declared": headed(CSV + b"more", Content_Length=f"{len(CSV)}").replace(
            f"Content-Length: {len(CSV) + 4}\r\n".encode(), b""
        ),
        "chunked, and a length": reply(200, CSV, framing="chunked", headers={"Content-Length": "5"}),
        "two different lengths": headed(CSV, Content_Length="5"),
        "wrong MD5": headed(CSV, Content_MD5=_md5(b"")),
        "brotli": headed(CSV, Content_Encoding="br"),
        "aws-chunked": headed(CSV, Content_Encoding="aws-chunked"),
        "two encodings": headed(CSV, Content_Encoding="gzip, gzip"),
        "declared HTML": headed(CSV, Content_Type="text/html; charset=utf-8"),
        "HTML": headed(HTML),
        "XML": headed(xml("AccessDenied")),
        "JSON": headed(b'\n {"code": 5}'),
        "gzip in gzip": headed(_squeezed(GZIPPED)),
        "gzip followed by other bytes": headed(GZIPPED + b"garbage"),
        "gzip with a wrong checksum": headed(GZIPPED[:-8] + bytes(8)),
        "gzip stored truncated": headed(GZIPPED[:-20]),
        "gzip header only": headed(b"\x1f\x8b\x08"),
        "an empty file": reply(200),
        "a zip file": headed(b"PK\x03\x04" + bytes(60)),
        "plain CSV truncated inside a quoted field": headed(CSV[: CSV.index(b", no. 9")]),
    }


OF: Final[Mapping[str, Callable[[str], Mapping[str, Bytes]]]] = {"api": of_the_api, "storage": of_storage}
