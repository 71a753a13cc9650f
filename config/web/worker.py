"""A web process: gunicorn starts, watches and ends it; waitress has its connections and threads."""

import os
import resource
import time
from typing import Any, Final

from gunicorn.workers.base import Worker as GunicornWorker  # type: ignore[import-untyped]
from waitress.task import ThreadedTaskDispatcher

from config.web.listening import listen, run_once

# For the database, files, and bodies and answers that are kept on disk.
_OTHER_FILES: Final = 256
_TICK_SECONDS: Final = 0.5


class Worker(GunicornWorker):  # type: ignore[misc]
    """Takes connections in one thread, and serves whole requests in `threads` others."""

    def run(self) -> None:
        """Serves until it is told to end. Requests that have arrived by then are answered."""
        self._map: dict[int, Any] = {}
        self._threads = _threads(self.cfg.threads)
        self._alive_thread = _threads(1)
        # A quarter more, so a caller with many large uploads takes no thread and little time of others.
        self._batch_threads = _threads(max(1, self.cfg.threads // 4))
        self._servers: list[Any] = [
            listen(
                self.wsgi,
                getattr(each, "sock", each),
                sockets=self._map,
                threads=self._threads,
                alive_thread=self._alive_thread,
                batch_threads=self._batch_threads,
                most=_room_for_connections(self.cfg.worker_connections),
            )
            for each in self.sockets
        ]
        while self.alive and self.ppid == os.getppid():
            self._run_once()
        for server in self._servers:
            server.del_channel()
        ends = time.monotonic() + self.cfg.graceful_timeout
        while self._is_busy() and time.monotonic() < ends:
            self._run_once(0.05)
        for threads in (self._threads, self._alive_thread, self._batch_threads):
            threads.shutdown(timeout=0.1)

    def _run_once(self, seconds: float = _TICK_SECONDS) -> None:
        self.notify()
        run_once(self._servers, self._map, within=seconds)

    def _is_busy(self) -> bool:
        """Whether a complete request is still unanswered, or its answer not yet sent."""
        return any(
            connection.requests or connection.total_outbufs_len
            for server in self._servers
            for connection in list(server.active_channels.values())
        )


def _threads(count: int) -> ThreadedTaskDispatcher:
    threads = ThreadedTaskDispatcher()
    threads.set_thread_count(count)
    return threads


def _room_for_connections(most: int) -> int:
    """The number of connections, up to `most`, limited by the files that this process may open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * most + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return most
    return max(16, min(most, (soft - _OTHER_FILES) // 2))
