"""A proxy between the program and Postgres that counts the messages of the wire protocol and cuts at one of them.

It knows how messages begin and end, and nothing of what they say (manual, chapter "Frontend/Backend Protocol"). Clients
come by TCP on loopback, without TLS.
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import select
import socket
import struct
import termios
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from psycopg import conninfo

if TYPE_CHECKING:
    from collections.abc import Iterator

Sender = Literal["client", "server"]
Passed = Literal["nothing", "half", "all"]
Manner = Literal["reset", "close", "silence", "vanish", "vanish before the answer"]

SENDERS: Final[tuple[Sender, ...]] = ("client", "server")
PASSED: Final[tuple[Passed, ...]] = ("nothing", "half", "all")
# A client vanishes on Linux only, and from servers on TCP.
MANNERS: Final[tuple[Manner, ...]] = ("reset", "close", "silence")

_SSL_REQUEST: Final = 80877103
_GSS_REQUEST: Final = 80877104
_CANCEL_REQUEST: Final = 80877102
# Closing sends a reset instead of an orderly end.
_RESET: Final = struct.pack("ii", 1, 0)
# Of asm-generic/socket.h. The filter is one instruction of linux/filter.h: keep no byte of what comes in.
_SO_ATTACH_FILTER: Final = 26
_DROP_ALL: Final = struct.pack("HBBI", 0x06, 0, 0, 0)
_ACKNOWLEDGED_WITHIN_S: Final = 10.0


@dataclass(frozen=True)
class Cut:
    """Where to cut, and how.

    Attributes:
        sender: whose messages are counted.
        number: of the message, from 1, over all connections since the proxy was armed.
        passed: how much of the message still gets through.
        manner: what both ends see of it; `silence` is followed by a reset, as by a firewall that has forgotten. Where
            the client vanishes, the server hears nothing of it any more: neither an end nor an answer to a probe. It
            may owe nothing by then, or the acknowledgement of what the server answers to this message.
        kind: only messages of this type are counted.
        text: only messages that contain it are counted.
        named: only messages of this kind, as `Proxy.kinds` names them, are counted.
    """

    sender: Sender
    number: int
    passed: Passed = "nothing"
    manner: Manner = "reset"
    kind: bytes | None = None
    text: bytes = b""
    named: str | None = None

    def counts(self, sender: Sender, kind: bytes, message: bytes) -> bool:
        is_of_kind = self.kind in {None, kind} and self.named in {None, _kind(sender, kind, message)}
        return self.sender == sender and is_of_kind and self.text in message


class Proxy:
    """Passes everything on, until the cut that it was armed with; then everything again."""

    def __init__(self, url: str, listener: socket.socket, *, silence_s: float) -> None:
        self._upstream = conninfo.conninfo_to_dict(url)
        self._listener = listener
        self._silence_s = silence_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._cut: Cut | None = None
        self._counted = 0
        self._vanished: list[socket.socket] = []
        self.kinds: dict[Sender, list[str]] = {"client": [], "server": []}
        """Of the messages since the proxy was armed: their type, and the command where they name one."""
        self.cut_at: bytes | None = None
        """The type of the message at which the cut was made; None: not yet."""

    @property
    def url(self) -> str:
        """The same database, by way of the proxy."""
        user, database = self._upstream.get("user") or "", self._upstream.get("dbname") or ""
        return f"postgresql://{user}@127.0.0.1:{self._listener.getsockname()[1]}/{database}?sslmode=disable"

    def arm(self, cut: Cut | None) -> None:
        """Count from 0 again, and make this cut, once."""
        with self._lock:
            self._cut, self._counted, self.cut_at = cut, 0, None
            self.kinds = {"client": [], "server": []}

    def serve(self) -> None:
        """Until `close`."""
        while not self._closing.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                threading.Thread(target=self._link, args=(client,), daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        for server in self._vanished:
            server.close()

    def _link(self, client: socket.socket) -> None:
        with client, self._connected() as server:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ends: dict[socket.socket, _End] = {
                client: _End("client", server, bytearray(), is_starting=True),
                server: _End("server", client, bytearray()),
            }
            with suppress(OSError):
                while not self._closing.is_set():
                    for ready in select.select(list(ends), [], [], 0.1)[0]:
                        data = ready.recv(65536)
                        manner = self._passed_on(ends[ready], data)
                        if manner:
                            self._end(client, server, manner)
                        if manner or not data:
                            return

    def _connected(self) -> socket.socket:
        host, port = str(self._upstream.get("host")), self._upstream.get("port") or 5432
        if host.startswith("/"):
            server = socket.socket(socket.AF_UNIX)
            server.connect(f"{host}/.s.PGSQL.{port}")
            return server
        return socket.create_connection((host, int(port)))

    def _passed_on(self, end: _End, data: bytes) -> Manner | None:
        """Pass on the messages that are complete; gives the manner of the cut where it is to be made now."""
        end.held += data
        whole = bytearray()
        while message := end.next_message():
            if end.is_starting and self._answered_here(message, end):
                continue
            cut = self._due(end.sender, message[:1] if message[0] else b"", message)
            if cut is None:
                whole += message
                continue
            whole += {"nothing": b"", "half": message[: len(message) // 2], "all": message}[cut.passed]
            if cut.manner == "vanish before the answer":
                _deafen(end.other)
            end.other.sendall(whole)
            return cut.manner
        end.other.sendall(whole)
        return None

    def _answered_here(self, message: bytes, end: _End) -> bool:
        """Deal with what comes before the first message proper: no, there is no encryption."""
        (code,) = struct.unpack("!i", message[4:8])
        if code in {_SSL_REQUEST, _GSS_REQUEST}:
            raise NotImplementedError("the proxy wants sslmode=disable and gssencmode=disable")
        end.is_starting = False
        end.is_counted = code != _CANCEL_REQUEST
        if not end.is_counted:
            end.other.sendall(message)
        return not end.is_counted

    def _due(self, sender: Sender, kind: bytes, message: bytes) -> Cut | None:
        with self._lock:
            self.kinds[sender].append(_kind(sender, kind, message))
            cut = self._cut
            if cut is None or not cut.counts(sender, kind, message):
                return None
            self._counted += 1
            if self._counted < cut.number:
                return None
            self._cut, self.cut_at = None, kind
            return cut

    def _end(self, client: socket.socket, server: socket.socket, manner: Manner) -> None:
        if manner == "silence":
            self._closing.wait(self._silence_s)
        if manner == "vanish":
            # What is sent again would be a sign of life.
            _until_acknowledged(server)
            _deafen(server)
        if manner.startswith("vanish"):
            # Open until the proxy is closed: nothing says goodbye.
            self._vanished.append(socket.socket(fileno=server.detach()))
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        elif manner != "close":
            for end in (client, server):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _kind(sender: Sender, kind: bytes, message: bytes) -> str:
    """The type of a message; and of a statement, or of the answer that it is done, the command. No type: the first."""
    body = message[5:]
    if sender == "client" and kind in {b"P", b"Q"}:
        lines = body.lstrip(b"\0").decode(errors="replace").splitlines()
        words = " ".join(line for line in lines if not line.startswith("--")).split()
        return f"{kind.decode()} {words[0].rstrip(chr(0))}"
    if sender == "server" and kind == b"C":
        return f"C {body.decode().split()[0].rstrip(chr(0))}"
    return kind.decode()


def _until_acknowledged(end: socket.socket) -> None:
    deadline, left = time.monotonic() + _ACKNOWLEDGED_WITHIN_S, array.array("i", [1])
    while left[0]:
        assert time.monotonic() < deadline, "the server acknowledges nothing"
        fcntl.ioctl(end, termios.TIOCOUTQ, left)
        time.sleep(0.001)


def _deafen(end: socket.socket) -> None:
    """From now on the kernel drops what comes in for this socket before TCP looks at it, and acknowledges nothing."""
    instructions = ctypes.create_string_buffer(_DROP_ALL)
    program = struct.pack("HP", 1, ctypes.addressof(instructions))
    end.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)


@dataclass
class _End:
    """What came from one end of a connection and is not passed on yet."""

    sender: Sender
    other: socket.socket
    held: bytearray
    is_starting: bool = False
    is_counted: bool = True

    def next_message(self) -> bytes | None:
        """The next message, if all of it is there: a type, but in the first of a client; then its length; the rest."""
        begin = 0 if self.is_starting else 1
        if len(self.held) < begin + 4:
            return None
        (length,) = struct.unpack_from("!i", self.held, begin)
        if len(self.held) < begin + length:
            return None
        message = bytes(self.held[: begin + length])
        del self.held[: begin + length]
        return message


@contextmanager
def proxied(url: str, *, silence_s: float = 0.3) -> Iterator[Proxy]:
    """A proxy in front of the server of `url`."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        listener.settimeout(0.1)
        proxy = Proxy(url, listener, silence_s=silence_s)
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.close()
            thread.join()
