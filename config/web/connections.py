"""Each connection costs a socket. Only when a request has arrived completely does one of a few threads take
it."""

import time
from typing import Any, Final

from waitress.buffers import ReadOnlyFileBasedBuffer
from waitress.channel import HTTPChannel

from config.web.request import Refusal, Request, RequestTimeout, TooManyUploads

# A client that sends a byte now and then has no more time than one that sends nothing.
HEADER_SECONDS: Final = 10.0
BODY_SECONDS: Final = 30.0
# An upload has so much longer.
SLOWEST_BYTES_PER_SECOND: Final = 32_768
# A connection without a request, or whose answer is not read.
IDLE_SECONDS: Final = 30.0
UNREAD_SECONDS: Final = 60.0
LARGE_BYTES: Final = 1 << 20
# A large one does not pay: a client that reads slowly takes little of it, and the rest is read again.
CHUNK_BYTES: Final = 65_536


def _expected(request: Request) -> int:
    """The length of a body. Of one in chunks it is not known, so what has come so far counts."""
    return int(request.content_length or request.body_bytes_received)


class Connection(HTTPChannel):  # type: ignore[misc]
    """The connection of one client."""

    # The next request has arrived, and the answer to the last one is not read yet. Served at once, a client
    # that sends many and reads nothing would have an open file or a copy on disk for each.
    awaits_reader = False
    # Of waitress:
    request: Request | None = None
    requests: list[Request]
    will_close: bool = False
    parser_class = Request
    error_task_class = Refusal

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.request_began = time.time()
        super().__init__(*args, **kwargs)
        self.sendbuf_len = CHUNK_BYTES

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

    def writable(self) -> bool:
        """Whether to wait until the client can be sent something."""
        return self.awaits_reader or bool(super().writable())

    def handle_write(self) -> None:
        """Sends what the client takes. Once it has taken everything, its next request is served."""
        super().handle_write()
        if self.awaits_reader and self.connected and not self.total_outbufs_len:
            with self.requests_lock:
                self.awaits_reader = False
                self.server.add_task(self)

    @property
    def is_idle(self) -> bool:
        """Whether no thread serves it, nor will before its client does something."""
        return not self.requests or self.awaits_reader

    @property
    def unread_bytes(self) -> int:
        """What is kept on disk of its answers."""
        return sum(len(each) for each in list(self.outbufs) if not isinstance(each, ReadOnlyFileBasedBuffer))

    @property
    def body_bytes(self) -> int:
        """What is kept on disk of its requests."""
        return sum(each.body_bytes_received for each in (self.request, *self.requests) if each is not None)

    def handle_close(self) -> None:
        """Drops the connection, and the requests that no thread has with it."""
        # The caller may hold the lock.
        dropped = [self.request] if self.request is not None else []
        if self.awaits_reader:
            dropped += self.requests
            self.requests = []
        for each in dropped:
            each.close()
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
            allowed += BODY_SECONDS + _expected(request) / SLOWEST_BYTES_PER_SECOND
        if now - self.request_began > allowed:
            late = f"The request did not come to its end within {allowed:.0f} s; send it again."
            self._refuse(request, RequestTimeout(late))
