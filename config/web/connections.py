"""Each connection costs a socket. Only when a request has arrived completely does one of a few threads take
it."""

import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher

from config.web.request import Refusal, Request, RequestTimeout, TooManyUploads

# A client that sends a byte now and then has no more time than one that sends nothing.
HEADER_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
# An upload has so much longer.
SLOWEST_BYTES_PER_SECOND: Final = 32_768
# A connection without a request, or whose answer is not read.
IDLE_SECONDS: Final = 30.0
UNREAD_SECONDS: Final = 60.0
# Unfinished bodies on disk. Only uploads are refused with a later time.
UNFINISHED_BYTES: Final = 1 << 30
LARGE_BYTES: Final = 1 << 20
# A large one does not pay: a client that reads slowly takes little of it, and the rest is read again.
_CHUNK_BYTES: Final = 65_536
_ALIVE: Final = "/health"
MAX_HEADER_BYTES: Final = 65_536


class Connection(HTTPChannel):  # type: ignore[misc]
    """The connection of one client."""

    # Of waitress:
    request: Request | None = None
    will_close: bool = False
    parser_class = Request
    error_task_class = Refusal

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.request_began = time.time()
        super().__init__(*args, **kwargs)
        self.sendbuf_len = _CHUNK_BYTES

    def received(self, data: bytes) -> bool:
        """Receives bytes of one or several requests."""
        if self.request is None:
            self.request_began = time.time()
        taken = bool(super().received(data))
        request = self.request
        if request is not None and request.body_bytes_received > LARGE_BYTES and self.server.is_full():
            self._refuse(request, TooManyUploads(""))
        return taken

    def _refuse(self, request: Request, error: Any) -> None:
        with self.requests_lock:
            request.error = error
            request.completed = True
            self.request = None
            self.requests.append(request)
            if len(self.requests) == 1:
                self.server.add_task(self)

    def handle_close(self) -> None:
        """Drops the connection, and the incomplete request with it."""
        # The caller may hold the lock, and the request stays with the thread that reads it.
        if self.request is not None:
            self.request.close()
        super().handle_close()

    def end_if_late(self, now: float) -> None:
        """Refuses a request that does not finish in time, and closes an idle connection."""
        silent = now - self.last_activity
        if self.total_outbufs_len:
            if silent > UNREAD_SECONDS:
                self.handle_close()
            return
        if self.requests:
            return
        request = self.request
        if request is None:
            if silent > IDLE_SECONDS:
                self.handle_close()
            return
        allowed = HEADER_SECONDS
        if request.headers_finished:
            allowed += BODY_SECONDS + request.content_length / SLOWEST_BYTES_PER_SECOND
        if now - self.request_began > allowed:
            late = f"The request did not come to its end within {allowed:.0f} s; send it again."
            self._refuse(request, RequestTimeout(late))


class _Server:
    """A listening socket, shared with the other processes. It keeps at most `most` connections."""

    channel_class = Connection
    most: int
    alive_dispatcher: ThreadedTaskDispatcher
    # Those that are closed for others.
    leaving: list[Connection]
    _tidy_at = 0.0
    # Of waitress:
    active_channels: dict[int, Connection]

    def add_task(self, connection: Connection) -> None:
        """Hands the request to a thread. /health has a thread of its own, so it answers while the others are
        busy."""
        if connection.requests[0].error is None and connection.requests[0].path == _ALIVE:
            self.alive_dispatcher.add_task(connection)
        else:
            super().add_task(connection)  # type: ignore[misc]

    def handle_accept(self) -> None:
        """Accepts a client. If there are too many, it replaces another one."""
        if len(self.active_channels) - len(self.leaving) < self.most or self._make_room():
            super().handle_accept()  # type: ignore[misc]

    def _make_room(self) -> bool:
        """Closes a connection that waits for its client: the oldest one of the address that has most."""
        waiting = [
            each for each in self.active_channels.values() if not each.requests and each not in self.leaving
        ]
        if not waiting:
            return False
        by_address = Counter(str(each.addr[0]) for each in waiting)
        last = max(waiting, key=lambda each: (by_address[str(each.addr[0])], -each.request_began))
        self.leaving.append(last)
        return True

    def is_full(self) -> bool:
        """Whether unfinished bodies take so much room that no more are accepted."""
        unfinished = (each.request for each in self.active_channels.values())
        kept: int = sum(each.body_bytes_received for each in unfinished if each is not None)
        return kept > UNFINISHED_BYTES

    def maintenance(self, now: float) -> None:
        """Does nothing: waitress calls this within an iteration; see tidy."""

    def tidy(self) -> None:
        """Closes late and idle connections between two iterations. Within one, a new connection could get the
        number of a closed one, and its events."""
        for connection in self.leaving:
            # Unless its request has come to its end meanwhile.
            if not connection.requests:
                connection.handle_close()
        self.leaving = []
        now = time.time()
        if now >= self._tidy_at:
            self._tidy_at = now + 1
            for connection in list(self.active_channels.values()):
                connection.end_if_late(now)


class TCPServer(_Server, TcpWSGIServer):  # type: ignore[misc]
    """On an address and a port."""


class UnixServer(_Server, UnixWSGIServer):  # type: ignore[misc]
    """On a path."""


def listen(
    application: Any,
    listener: socket.socket,
    *,
    sockets: dict[int, Any],
    threads: ThreadedTaskDispatcher,
    alive_thread: ThreadedTaskDispatcher,
    most: int,
) -> _Server:
    """Serves an application to the clients of a listening socket. `run_once` does the work."""
    adjustments = Adjustments(
        # The application judges forwarded headers by TRUSTED_PROXIES.
        clear_untrusted_proxy_headers=False,
        ident=None,
        # Room is made for those beyond `most`.
        connection_limit=1 << 30,
        max_request_header_size=MAX_HEADER_BYTES,
        # By path, in config.web.request.
        max_request_body_size=1 << 62,
        recv_bytes=_CHUNK_BYTES,
        inbuf_overflow=_CHUNK_BYTES,
        # A thread waits for no client that reads slowly: what is beyond a megabyte is kept on disk.
        outbuf_high_watermark=1 << 32,
        log_socket_errors=False,
    )
    kind = UnixServer if listener.family == socket.AF_UNIX else TCPServer
    server = kind(
        application,
        sockets,
        True,
        listener,
        dispatcher=threads,
        adj=adjustments,
        sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
        bind_socket=False,
    )
    server.most = most
    server.leaving = []
    server.alive_dispatcher = alive_thread
    return server


def run_once(servers: Sequence[_Server], sockets: dict[int, Any], *, within: float) -> None:
    """Handles what is ready, and waits for at most `within` seconds if nothing is."""
    for server in servers:
        server.tidy()
    wasyncore.loop(timeout=within, use_poll=True, map=sockets, count=1)
