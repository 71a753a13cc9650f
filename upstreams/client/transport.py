"""HTTP with a wall-clock deadline, and with proof that a request was not sent.

`requests` bounds each single recv, so a server that drips bytes can keep a call open for ever. Its
ConnectionError covers both *refused* and *sent, then dropped*. Here a watch shuts down a call's sockets at
its deadline, and the connection classes record whether the call ever had a connection.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

_current: ContextVar["Watch | None"] = ContextVar("upstreams.client.watch", default=None)


class Watch:
    """One exchange's deadline and its record of connections.

    `handed`: the real transport took the request, not something that stands in for it. `connected`: at some
    time there was a connection on which the request could leave. `permits`: whether an address of the host
    may be connected to; None allows any. The name is resolved once, so the addresses that are checked are
    those that are connected to. Through a proxy it is not called, because the proxy resolves the name. Only
    name resolution can outlast the deadline (it cannot be interrupted), and nothing is sent after that.
    `peer`: the address of the last connection; None if that was to a proxy.
    """

    def __init__(self, seconds: float) -> None:
        self.handed = False
        self.connected = False
        self.permits: Callable[[str], bool] | None = None
        self.peer: str | None = None
        self._ends = time.monotonic() + seconds
        self._expired = seconds <= 0
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(max(seconds, 0), self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def expired(self) -> bool:
        return self._expired

    @property
    def proves_unsent(self) -> bool:
        """Whether the call provably never had a connection."""
        return self.handed and not self.connected

    def remaining(self) -> float:
        return 0.0 if self._expired else max(self._ends - time.monotonic(), 0.0)

    def add(self, connection: socket.socket) -> bool:
        """Shuts this connection down at the deadline; False if that has passed."""
        # A duplicate, because wrapping in TLS takes the file descriptor away from the socket object, and
        # because SSLSocket.shutdown() drops its TLS state first: another thread might then send in the clear.
        duplicate = socket.socket(fileno=os.dup(connection.fileno()))
        with self._lock:
            self._sockets.append(duplicate)
            if self._expired:
                _shut_down(duplicate)
            return not self._expired

    def prolong(self, seconds: float) -> None:
        """Moves the deadline to so many seconds from now, unless it has passed."""
        with self._lock:
            if self._expired:
                return
            self._timer.cancel()
            self._ends = time.monotonic() + seconds
            self._timer = threading.Timer(max(seconds, 0), self._expire)
            self._timer.daemon = True
            self._timer.start()

    def close(self) -> None:
        self._timer.cancel()
        with self._lock:
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()
        self._timer.join()

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """While it is active, connections of this thread belong to this watch."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def _expire(self) -> None:
        with self._lock:
            self._expired = True
            for duplicate in self._sockets:
                _shut_down(duplicate)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class AddressNotAllowed(NewConnectionError):
    """The host has an address that the watch does not permit; nothing was sent."""


class _WatchedConnection(HTTPConnection):
    _watch: Watch | None = None

    def _new_conn(self) -> socket.socket:
        watch = _current.get()
        if watch is None:
            return super()._new_conn()
        allowance = min(self.timeout or watch.remaining(), watch.remaining())
        ends = time.monotonic() + allowance
        try:
            addresses = socket.getaddrinfo(
                self._dns_host.strip("[]"), self.port, allowed_gai_family(), socket.SOCK_STREAM
            )
        except (socket.gaierror, UnicodeError) as error:
            reason = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
            raise NameResolutionError(self.host, self, reason) from error
        if watch.permits and not self.proxy and not all(watch.permits(str(each[4][0])) for each in addresses):
            raise AddressNotAllowed(self, f"{self.host} has an address that is not allowed")
        failure: OSError | None = None
        # urllib3 would allow the connect timeout to each address; here they share it.
        for family, kind, protocol, _, address in addresses:
            if (left := ends - time.monotonic()) <= 0:
                failure = failure or TimeoutError("no time left to connect")
                break
            try:
                connection = socket.socket(family, kind, protocol)
            except OSError as error:
                failure = error
                continue
            try:
                for option in self.socket_options or ():
                    connection.setsockopt(*option)
                connection.settimeout(left)
                connection.connect(address)
                if not watch.add(connection):
                    raise TimeoutError("the deadline passed while connecting")
                self._watch = watch
                watch.peer = None if self.proxy else str(address[0])
                return connection
            except OSError as error:
                connection.close()
                failure = error
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, f"Connection to {self.host} timed out") from failure
        raise NewConnectionError(self, f"Failed to establish a new connection: {failure}") from failure

    def connect(self) -> None:
        # A proxy's tunnel and the TLS handshake are part of this: until it returns, no request can have left.
        super().connect()
        if (watch := _current.get()) is not None:
            # By the clock: in a process that was frozen, the timer may run only after this.
            if watch.remaining() <= 0:
                raise TimeoutError("the deadline passed while connecting")
            watch.connected = True

    def request(self, *args: Any, **kwargs: Any) -> None:
        watch = _current.get()
        if watch is not None and self.sock is not None and self._watch is not watch:
            # A kept-alive connection from an earlier exchange.
            watch.peer = None if self.proxy else str(self.sock.getpeername()[0])
            if watch.permits and watch.peer and not watch.permits(watch.peer):
                raise AddressNotAllowed(self, f"{self.host} has an address that is not allowed")
            watch.connected = True
            self._watch = watch
            if not watch.add(self.sock):
                raise TimeoutError("the deadline passed before sending")
        super().request(*args, **kwargs)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


class WatchedAdapter(HTTPAdapter):
    """Every socket that it opens belongs to the current watch."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _watch_all(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.lower().startswith("socks"):
            # Its connections would not be ours, so neither deadline nor proof would hold.
            raise requests.exceptions.InvalidSchema("SOCKS proxies are not supported")
        return _watch_all(super().proxy_manager_for(proxy, **kwargs))

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        if (watch := _current.get()) is not None:
            watch.handed = True
        return super().get_connection_with_tls_context(*args, **kwargs)


def _watch_all(manager: PoolManager) -> PoolManager:
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}
    return manager
