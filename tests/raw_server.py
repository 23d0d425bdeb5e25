"""A server on loopback that says exactly what it is told to, byte by byte: wrong framings, cuts and all.

It answers one request per connection. What it was sent is kept, so that tests can see what reached it.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from etl.extract.retry import RetryPolicy

if TYPE_CHECKING:
    import ssl

TOKEN = "token-canary-8d1f"
SIGNATURE = "signature-canary-77aa"


@dataclass(frozen=True)
class Request:
    target: str
    headers: Mapping[str, str]


# Bytes, or pieces made while they are sent.
Answer = Callable[[Request], bytes | Iterator[bytes]]


@dataclass
class RawServer:
    """`answer` makes the bytes of each answer; `requests` are those that came.

    With `resets` a connection ends with RST instead of FIN, as when a machine or a firewall on the way gives up.
    """

    answer: Answer = lambda _: reply(500)
    requests: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    resets: bool = False

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._is_open = True
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def report_url(self) -> str:
        return self.signed_url("/reports/20230703.csv")

    def signed_url(self, target: str, signature: str = SIGNATURE) -> str:
        """A URL of this host, signed in the manner of S3; the same file has a new signature each time."""
        sign = "&" if "?" in target else "?"
        return f"{self.url}{target}{sign}X-Amz-Expires=3600&X-Amz-Signature={signature}"

    def close(self) -> None:
        self._is_open = False
        socket.create_connection(("127.0.0.1", self.port)).close()  # wakes accept
        self._thread.join(5)
        self._listener.close()

    def _serve(self) -> None:
        while self._is_open:
            connection, _ = self._listener.accept()
            connection.settimeout(5)
            with contextlib.suppress(OSError), connection if self.tls is None else self._greet(connection) as stream:
                if request := _read(stream):
                    self.requests.append(request)
                    answer = self.answer(request)
                    for piece in (answer,) if isinstance(answer, bytes) else answer:
                        stream.sendall(piece)
                    if self.resets:
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    else:
                        stream.shutdown(socket.SHUT_WR)

    def _greet(self, connection: socket.socket) -> socket.socket:
        assert self.tls
        with connection:
            return self.tls.wrap_socket(connection, server_side=True)


def _read(connection: socket.socket) -> Request | None:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            return None
        received += piece
    first, *lines = received.decode("latin-1").partition("\r\n\r\n")[0].split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Request(first.split()[1], {name.lower(): value.strip() for name, _, value in pairs})


@contextlib.contextmanager
def raw_server(tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    server = RawServer(tls=tls)
    try:
        yield server
    finally:
        server.close()


def in_turn(*replies: bytes) -> Callable[[Request], bytes]:
    """Each answer once; the last one for ever."""
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def reply(
    status: int = 200,
    body: bytes = b"",
    *,
    headers: Mapping[str, str] | None = None,
    framing: str = "length",
    cut: int | None = None,
) -> bytes:
    """An answer as it goes over the wire; `cut`: only so many bytes of what follows the header."""
    lines = [f"HTTP/1.1 {status} Whatever", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if framing == "length":
        lines.append(f"Content-Length: {len(body)}")
    if framing == "chunked":
        lines.append("Transfer-Encoding: chunked")
        body = chunked(body)
    return "\r\n".join([*lines, "", ""]).encode() + body[:cut]


def grpc_error(status: int, code: int, message: str = "said so", **headers: str) -> bytes:
    """An answer of the report API in its own form."""
    return reply(status, json.dumps({"code": code, "message": message, "details": []}).encode(), headers=headers)


def url_answer(url: object) -> bytes:
    """The report API's answer with an address."""
    return reply(200, json.dumps({"url": url}).encode())


def chunked(body: bytes, size: int = 100) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def resumable(body: bytes, etag: str, *, first: bytes) -> Callable[[Request], bytes]:
    """A storage host that understands ranges, and whose first answer is `first`."""
    is_first = True

    def answer(request: Request) -> bytes:
        nonlocal is_first
        if is_first:
            is_first = False
            return first
        if "range" not in request.headers or request.headers.get("if-range") != etag:
            return reply(200, body, headers={"ETag": etag})
        start = int(request.headers["range"].removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            return reply(416, headers={"Content-Range": f"bytes */{len(body)}"})
        part = {"ETag": etag, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        return reply(206, body[start:], headers=part)

    return answer


@dataclass
class FakeTime:
    """A clock that only sleep moves; every pause is as long as it may be."""

    now_s: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now_s += seconds

    def retry_policy(self) -> RetryPolicy:
        midnight = datetime(2023, 7, 5, tzinfo=UTC)
        return RetryPolicy(
            sleep=self.sleep,
            clock=lambda: self.now_s,
            now=lambda: midnight + timedelta(seconds=self.now_s),
            chance=lambda: 1.0,
        )


CSV = b"Content Title,Content ID,Streaming Type,Created At,Customer ID,Watch Time (sec.)\n" + b"".join(
    b'"A title, no. %d",id-%d,VOD,2023-07-01T00:00:00Z,customer-%d,%d.5\n' % (n, n, n, n * 7) for n in range(10)
)
GZIPPED = gzip.compress(CSV, mtime=0)
