"""A hint to the workers to look now. Losing or doubling it changes nothing but latency."""

import logging
import threading
import time
from functools import partial
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

# Long before this, the periodic look has found the same work.
_STALE_AFTER_SECONDS = 30
# After a broker that does not answer.
_SILENT_SECONDS = 10.0
_silent_until = 0.0


def wake(task: str) -> None:
    """Has a task of videos.tasks run soon after the present transaction's commit; waits for no broker."""
    transaction.on_commit(partial(_hints.leave, task), robust=True)


def publish(task: str, **kwargs: Any) -> None:
    """Hands a task of videos.tasks to the broker. A broker that does not take it costs latency only."""
    global _silent_until
    if not settings.WAKE_MESSAGES_ENABLED or time.monotonic() < _silent_until:
        return
    try:
        current_app.send_task(f"videos.{task}", kwargs=kwargs, expires=_STALE_AFTER_SECONDS, retry=False)
    except (OperationalError, RedisError, OSError) as error:
        # Each try may take seconds, and the look comes anyway.
        _silent_until = time.monotonic() + _SILENT_SECONDS
        logger.warning(
            "No hint to %s: the broker does not take it (%s). The next look finds the work.", task, error
        )


class _Hints:
    """Publishes from a thread of its own: a broker that hangs must not hang a caller. Equal hints that wait
    become one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left: set[str] = set()
        self._publisher: threading.Thread | None = None

    def leave(self, task: str) -> None:
        """Returns at once; what is left when the process ends is lost."""
        if not settings.WAKE_MESSAGES_ENABLED:
            return
        with self._changed:
            self._left.add(task)
            # Started when it is first needed: threads do not live on in the children of a fork.
            if self._publisher is None or not self._publisher.is_alive():
                self._publisher = threading.Thread(target=self._run, name="hints", daemon=True)
                self._publisher.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._left)
                task = self._left.pop()
            try:
                publish(task)
            except Exception:
                logger.exception("No hint to %s.", task)


_hints = _Hints()
