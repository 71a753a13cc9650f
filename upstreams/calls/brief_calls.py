"""Calls to an upstream for which a caller waits: for at most a second, and a few at a time."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Final, TypeVar

T = TypeVar("T")

MAX_SECONDS: Final = 1.0
# Of the threads that serve callers, no more than this wait for an upstream at a time.
_MAX_AT_A_TIME: Final = 4


class TooSlow(Exception):
    """There was no answer in time, or too many callers wait already and nothing was asked."""


class BriefCalls:
    """Makes calls in threads of their own and waits for them, but not for long.

    The client's deadline bounds a call, except for the look-up of a name. A call that hangs there keeps its
    place until it ends. If no place is free, a caller does not wait at all.
    """

    def __init__(self, most: int = _MAX_AT_A_TIME) -> None:
        self._places = threading.BoundedSemaphore(most)

    def answer(self, call: Callable[[], T], within: float = MAX_SECONDS) -> T:
        """What the call returns or raises. Raises TooSlow."""
        if not self._places.acquire(blocking=False):
            raise TooSlow("Too many wait for the upstream already.")
        future: Future[T] = Future()
        context = copy_context()

        def run() -> None:
            try:
                future.set_result(context.run(call))
            except BaseException as error:
                future.set_exception(error)
            finally:
                self._places.release()

        # Not of a pool: Python would wait for those when the process ends.
        threading.Thread(target=run, name="brief-call", daemon=True).start()
        try:
            return future.result(within)
        except TimeoutError:
            if future.done():
                raise
            raise TooSlow(f"No answer within {within:g} s.") from None


brief_calls = BriefCalls()
