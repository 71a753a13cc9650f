"""A check with a wall-clock limit: even if it hangs, there is an answer in time."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Final, Generic, TypeVar

import structlog

from api.logs.events import LogEvent

logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

LIMIT_SECONDS: Final = 1.0
_KEPT_SECONDS: Final = 1.0
T = TypeVar("T")


class CheckFailed(Exception):
    """A check has failed. The message is public, so it has no secret, host or version."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """The result of a check: a value, or what is wrong and since when this process has seen it."""

    value: T | None
    problem: str = ""
    since: datetime | None = None
    # For how many seconds it has been without a problem; for ever if this process has seen none.
    well_for: float = 0.0


class Probe(Generic[T]):
    """Runs one check in a thread, at most one at a time, and keeps its answer for a second.

    A check that hangs is not started again until it ends, so threads do not pile up.
    """

    def __init__(self, name: str, check: Callable[[], T]) -> None:
        self.name = name
        self._check = check
        self._changed = threading.Condition()
        self._running: threading.Thread | None = None
        self._begun_at = 0.0
        self._answered_at: float | None = None
        self._value: T | None = None
        self._problem = ""
        # Since when there has been a problem, and since when there has been none.
        self._since: datetime | None = None
        self._well_since = -inf

    def begin(self) -> None:
        """Starts the check, unless it runs or its last answer is fresh; returns at once."""
        with self._changed:
            now = time.monotonic()
            if self._answered_at is not None and now - self._answered_at < _KEPT_SECONDS:
                return
            # One that was left behind by a fork does not live.
            if self._running is not None and self._running.is_alive():
                return
            self._begun_at = now
            self._answered_at = None
            self._running = threading.Thread(target=self._run, name=f"check-{self.name}", daemon=True)
            self._running.start()

    def outcome(self) -> Outcome[T]:
        """The result of the check that was started. Waits at most until LIMIT_SECONDS after its start."""
        with self._changed:
            left = self._begun_at + LIMIT_SECONDS - time.monotonic()
            if not self._changed.wait_for(lambda: self._answered_at is not None, timeout=max(0.0, left)):
                self._judge(f"it does not answer within {LIMIT_SECONDS:g} s")
                return Outcome(None, self._problem, self._since)
            well_for = 0.0 if self._problem else time.monotonic() - self._well_since
            return Outcome(self._value, self._problem, self._since, well_for)

    def _run(self) -> None:
        value, problem = None, ""
        try:
            value = self._check()
        except CheckFailed as failed:
            problem = str(failed)
        except Exception:
            # Its text may quote an address or a password; it is for the log alone.
            logger.exception("The check %s failed.", self.name)
            problem = "the check itself failed"
        with self._changed:
            self._value = value
            self._judge(problem)
            self._answered_at = time.monotonic()
            self._changed.notify_all()

    def _judge(self, problem: str) -> None:
        if problem and self._since is None:
            self._since = datetime.now(UTC)
            self._log_change(logging.WARNING, "healthy", "unhealthy", reason=problem)
        elif not problem and self._since is not None:
            self._since, self._well_since = None, time.monotonic()
            self._log_change(logging.INFO, "unhealthy", "healthy")
        self._problem = problem

    def _log_change(self, level: int, before: str, after: str, **reason: str) -> None:
        logger.log(level, LogEvent.CHECK, check=self.name, from_state=before, to_state=after, **reason)
