"""Whether what we depend on answers."""

import logging
import threading
import time
from typing import Final

from django.db import DatabaseError, connection

from upstreams.brief_calls import MOST_SECONDS, TooSlow, brief_calls
from upstreams.client.errors import SoraError
from upstreams.registry import configured

logger = logging.getLogger(__name__)

HEALTHY: Final = "healthy"
# A readiness probe that comes every second must not become a request upstream every second.
_PROBE_KEPT_SECONDS: Final = 10.0
_NO_ANSWER: Final = "unhealthy: it does not answer within a second"


def repository() -> str:
    """Whether the database answers."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError as error:
        logger.warning("The database does not answer: %s", error)
        return "unhealthy: the database does not answer"
    return HEALTHY


class UpstreamCheck:
    """Whether the upstream takes us; a probe's answer is kept for ten seconds. Takes two at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answer = ""
        self._asked_at = 0.0

    def __call__(self) -> str:
        if not self._lock.acquire(timeout=MOST_SECONDS):
            # Somebody asks just now, and will know before long.
            return self._answer or _NO_ANSWER
        try:
            if not self._answer or time.monotonic() - self._asked_at > _PROBE_KEPT_SECONDS:
                self._answer = self._ask()
                self._asked_at = time.monotonic()
            return self._answer
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Makes the next check ask."""
        with self._lock:
            self._answer = ""

    def _ask(self) -> str:
        upstream = configured()
        try:
            brief_calls.answer(lambda: upstream.client.probe(deadline=MOST_SECONDS))
        except TooSlow:
            return _NO_ANSWER
        except SoraError as error:
            logger.warning("The upstream does not answer: %s", error)
            return f"unhealthy: {type(error).__name__}"
        return HEALTHY


sora_client = UpstreamCheck()
