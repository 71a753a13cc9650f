"""A server on a real socket that misbehaves as told."""

import contextlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from functools import cache
from typing import Self

import trustme

from tests.timeouts import TIMEOUT

VIDEO = {"id": "video_1", "object": "video", "status": "queued", "progress": 0}

Handler = Callable[["Upstream", socket.socket], None]


@cache
def authority() -> trustme.CA:
    """Signs the certificate of servers with TLS; nobody trusts it unless told to."""
    return trustme.CA()


@cache
def _certificate() -> trustme.LeafCert:
    return authority().issue_cert("localhost")


class Upstream:
    """Accepts connections, reads one request at a time, and lets its handler answer or not."""

    def __init__(self, handler: Handler, *, tls: bool = False) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.stopping = threading.Event()
        self._handler = handler
        self._tls: ssl.SSLContext | None = None
        if tls:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            _certificate().configure_cert(self._tls)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def url(self) -> str:
        scheme, host = ("https", "localhost") if self._tls else ("http", "127.0.0.1")
        return f"{scheme}://{host}:{self.port}/v1"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join(5)
        for connection in self._open:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join(5)
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self.stopping.is_set():
                connection, _ = self._listener.accept()
                self.connections += 1
                thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _converse(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
            while request := read_request(connection):
                self.requests.append(request)
                self._handler(self, connection)
        connection.close()


def read_request(connection: socket.socket) -> bytes:
    """One whole request; empty when the connection ends first."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (chunk := connection.recv(65536)):
            return b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def reply(status: int = 200, payload: object = VIDEO, **headers: str) -> Handler:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return raw(f"HTTP/1.1 {status} Whatever\r\n{head}\r\n".encode() + body)


def raw(data: bytes) -> Handler:
    """These bytes, and the connection stays open."""
    return lambda upstream, connection: connection.sendall(data)


def then_close(data: bytes = b"") -> Handler:
    def handler(upstream: Upstream, connection: socket.socket) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_RDWR)

    return handler


def then_reset(upstream: Upstream, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def silence(upstream: Upstream, connection: socket.socket) -> None:
    upstream.stopping.wait(TIMEOUT)


def drip(start: bytes, forever: bytes, every: float = 0.02) -> Handler:
    """The start at once, then the rest again and again until the other side has gone."""

    def handler(upstream: Upstream, connection: socket.socket) -> None:
        connection.sendall(start)
        while not upstream.stopping.wait(every):
            connection.sendall(forever)

    return handler


def refused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
