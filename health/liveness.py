"""/health: asks nothing but the process itself."""

import time
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

_started = time.monotonic()


def timestamp(at: datetime) -> str:
    """A time as answers show it, in UTC with milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def restart() -> None:
    """Counts the time of this process from now on: it was forked from one that had loaded the application."""
    global _started
    _started = time.monotonic()


def uptime() -> float:
    """Seconds since this process loaded its application."""
    return round(time.monotonic() - _started, 3)


def body() -> dict[str, Any]:
    """The answer's body."""
    return {
        "status": "ok",
        "timestamp": timestamp(datetime.now(UTC)),
        "uptime": uptime(),
        "version": settings.VERSION,
    }
