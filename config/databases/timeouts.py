"""How long a thread waits for its database, and what the process does while it does not answer.

A caller waits for a web thread, so that gives up soon. Workers and commands wait longer.
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

_READS = frozenset({"GET", "HEAD"})
# What a statement has in any case: a database that is well answers in that time, however many came before.
_LEAST_SECONDS = 0.1

_thread = threading.local()


def serving_callers(application: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a WSGI application so that its threads use the short timeouts.

    A thread keeps them after the request, because the body of its answer may still read the database. All
    statements of a read together have the time of one: a database that is slow, and not frozen, would else
    keep the thread for as many times as there are statements.
    """

    def serve(environ: Any, start_response: Any) -> Any:
        _thread.in_web = True
        if environ.get("REQUEST_METHOD") in _READS:
            _thread.left = float(settings.DATABASE_WEB_SECONDS)
        try:
            return application(environ, start_response)
        finally:
            _thread.left = None

    return serve


@contextmanager
def in_web() -> Iterator[None]:
    """Gives this thread the short timeouts of the web server."""
    before = _is_web()
    _thread.in_web = True
    try:
        yield
    finally:
        _thread.in_web = before


def _is_web() -> bool:
    return getattr(_thread, "in_web", False)


def seconds() -> float:
    """Seconds that this thread waits for one answer of its database."""
    return float(settings.DATABASE_WEB_SECONDS if _is_web() else settings.DATABASE_WORK_SECONDS)


def within_request(bound: float) -> float:
    """How long the next answer may take: up to `bound`, or what is left to the request of this thread."""
    left: float | None = getattr(_thread, "left", None)
    return bound if left is None else min(bound, max(left, _LEAST_SECONDS))


def spend(passed: float) -> None:
    """Counts so many seconds of waiting against the request of this thread."""
    if getattr(_thread, "left", None) is not None:
        _thread.left -= passed


def lock_seconds() -> float:
    """Seconds that this thread waits for a lock that another transaction holds."""
    return min(seconds() / 2, 5.0)


class Gate:
    """Closed while the database does not answer: one thread a second tries it, the others are refused at
    once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_closed = False
        self._next_probe_at = 0.0

    def admits(self) -> bool:
        """Whether the caller may use the database. While the gate is closed, one caller a second may."""
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
        """The database has answered a caller."""
        if self._is_closed:
            with self._lock:
                self._is_closed = False

    def gave_up(self) -> None:
        """A caller has waited until its timeout."""
        with self._lock:
            self._is_closed = True
            self._next_probe_at = time.monotonic() + _PROBE_SECONDS


gate = Gate()
