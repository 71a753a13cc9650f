"""Messages that wake the workers. If one is lost or doubled, only the delay changes."""

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

# After a broker that does not answer.
_SILENT_SECONDS = 10.0
_silent_until = 0.0
# Between two messages of a process. The first one leaves at once.
_SPACING_SECONDS = 0.1


def wake(task: str) -> None:
    """Runs a task of videos.tasks soon after the present transaction's commit. Does not wait for
    the broker."""
    transaction.on_commit(partial(_hints.leave, task), robust=True)


def publish(task: str, **kwargs: Any) -> None:
    """Publishes a task of videos.tasks. If the broker does not accept it, the only cost is a delay."""
    global _silent_until
    if not settings.WAKE_MESSAGES_ENABLED or time.monotonic() < _silent_until:
        return
    try:
        current_app.send_task(f"videos.{task}", kwargs=kwargs, expires=settings.MESSAGE_SECONDS, retry=False)
    except (OperationalError, RedisError, OSError) as error:
        # Each try may take seconds, and the dispatch comes anyway.
        _silent_until = time.monotonic() + _SILENT_SECONDS
        logger.warning(
            "No message for %s: the broker did not accept it (%s). The next dispatch finds the work.",
            task,
            error,
        )


class _Hints:
    """Publishes from a thread of its own, so that a broker that hangs does not delay a caller. Equal messages
    that wait become one."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._left: set[str] = set()
        self._publisher: threading.Thread | None = None

    def leave(self, task: str) -> None:
        """Queues a message and returns at once. Messages that are queued when the process ends are lost."""
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
            # A worker that is awake finds what comes meanwhile, and each message costs both of them.
            time.sleep(_SPACING_SECONDS)


_hints = _Hints()
