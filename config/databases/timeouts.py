"""How long a thread waits for its database, and what the process remembers of one that does not answer.

A caller waits for a web thread, so it gives up soon; work and commands wait longer.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

# A healthy database answers an empty question in far less.
HEALTH_CHECK_SECONDS = 1.0
# Between attempts at a database that does not answer; everybody else is refused at once meanwhile.
_PROBE_SECONDS = 1.0

_thread = threading.local()


def serving_callers(application: Callable[..., Any]) -> Callable[..., Any]:
    """A WSGI application whose threads wait for the database as briefly as a caller does.

    A thread that has served one keeps to it: its answer's body may ask the database as well.
    """

    def serve(environ: Any, start_response: Any) -> Any:
        _thread.in_web = True
        return application(environ, start_response)

    return serve


@contextmanager
def in_web() -> Iterator[None]:
    """This thread waits as one of the web server does."""
    before = _is_web()
    _thread.in_web = True
    try:
        yield
    finally:
        _thread.in_web = before


def _is_web() -> bool:
    return getattr(_thread, "in_web", False)


def seconds() -> float:
    """How long this thread waits for one answer of its database."""
    return float(settings.DATABASE_WEB_SECONDS if _is_web() else settings.DATABASE_WORK_SECONDS)


def lock_seconds() -> float:
    """How long this thread waits for a lock that another holds."""
    return min(seconds() / 2, 5.0)


class Gate:
    """Closed while the database does not answer: one thread a second asks it, the others do not wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._next_probe_at = 0.0

    def admits(self) -> bool:
        """Whether the caller may ask the database; while it does not answer, one in a second may."""
        with self._lock:
            if not self._is_closed:
                return True
            now = time.monotonic()
            if now < self._next_probe_at:
                return False
            # Longer than a probe takes, unless its end says otherwise.
            self._next_probe_at = now + 2 * seconds()
            return True

    def answered(self) -> None:
        """The database has answered somebody."""
        if self._is_closed:
            with self._lock:
                self._is_closed = False

    def gave_up(self) -> None:
        """Somebody has waited in vain."""
        with self._lock:
            self._is_closed = True
            self._next_probe_at = time.monotonic() + _PROBE_SECONDS


gate = Gate()
