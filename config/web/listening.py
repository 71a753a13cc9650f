"""The listening sockets of a process: who is let in, who has to leave, and how much of the disk they take."""

import socket
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer, UnixWSGIServer
from waitress.task import ThreadedTaskDispatcher

from config.web.connections import CHUNK_BYTES, Connection
from config.web.request import Request

# Bodies on disk. Only uploads are refused with a later time.
BODY_BYTES: Final = 1 << 30
# Answers on disk that are not read yet. A file that is sent is not counted: it is there anyway.
UNREAD_BYTES: Final = 1 << 28
MAX_HEADER_BYTES: Final = 65_536
_ALIVE: Final = "/health"
_BATCHES: Final = ("/api/v1/batches", "/api/v1/videos/batch")


class _Server:
    """A listening socket, shared with the other processes. It keeps at most `most` connections."""

    channel_class = Connection
    most: int
    alive_dispatcher: ThreadedTaskDispatcher
    batch_dispatcher: ThreadedTaskDispatcher
    # Those that are closed for others.
    leaving: list[Connection]
    _tidy_at = 0.0
    # Of waitress:
    active_channels: dict[int, Connection]

    def add_task(self, connection: Connection) -> None:
        """Hands the request to a thread. /health has a thread of its own, so it answers while the others are
        busy. So have calls that take seconds, so that nobody else waits for them."""
        request = connection.requests[0]
        if connection.total_outbufs_len:
            connection.awaits_reader = True
        elif request.error is None and request.path == _ALIVE:
            self.alive_dispatcher.add_task(connection)
        elif request.error is None and _is_about_whole_batch(request):
            self.batch_dispatcher.add_task(connection)
        else:
            super().add_task(connection)  # type: ignore[misc]

    def handle_accept(self) -> None:
        """Accepts a client. If there are too many, it replaces another one."""
        if len(self.active_channels) - len(self.leaving) < self.most or self._make_room():
            super().handle_accept()  # type: ignore[misc]

    def _make_room(self) -> bool:
        """Closes a connection that waits for its client: the oldest one of the address that has most."""
        waiting = [
            each for each in self.active_channels.values() if each.is_idle and each not in self.leaving
        ]
        if not waiting:
            return False
        by_address = Counter(str(each.addr[0]) for each in waiting)
        last = max(waiting, key=lambda each: (by_address[str(each.addr[0])], -each.request_began))
        self.leaving.append(last)
        return True

    def is_full(self) -> bool:
        """Whether bodies take so much room that no more are accepted."""
        return sum(each.body_bytes for each in self.active_channels.values()) > BODY_BYTES

    def _drop_unread(self) -> None:
        """Closes the connections with the longest unread answers while all together take too much room."""
        unread = {each: each.unread_bytes for each in self.active_channels.values()}
        kept = sum(unread.values())
        for connection in sorted(unread, key=lambda each: -unread[each]):
            if kept <= UNREAD_BYTES:
                break
            kept -= unread[connection]
            connection.handle_close()

    def maintenance(self, now: float) -> None:
        """Does nothing: waitress calls this within an iteration; see tidy."""

    def tidy(self) -> None:
        """Closes late and idle connections between two iterations. Within one, a new connection could get the
        number of a closed one, and its events."""
        for connection in self.leaving:
            # Unless its request has come to its end meanwhile.
            if connection.is_idle:
                connection.handle_close()
        self.leaving = []
        now = time.time()
        if now >= self._tidy_at:
            self._tidy_at = now + 1
            self._drop_unread()
            for connection in list(self.active_channels.values()):
                connection.end_if_late(now)


def _is_about_whole_batch(request: Request) -> bool:
    """Whether it reads or changes up to thousands of jobs."""
    path = request.path
    return path.startswith(_BATCHES) and (
        request.command not in {"GET", "HEAD"} or path.endswith("/manifest")
    )


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
    batch_threads: ThreadedTaskDispatcher,
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
        recv_bytes=CHUNK_BYTES,
        inbuf_overflow=CHUNK_BYTES,
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
    server.batch_dispatcher = batch_threads
    return server


def run_once(servers: Sequence[_Server], sockets: dict[int, Any], *, within: float) -> None:
    """Handles what is ready, and waits for at most `within` seconds if nothing is."""
    for server in servers:
        server.tidy()
    wasyncore.loop(timeout=within, use_poll=True, map=sockets, count=1)
