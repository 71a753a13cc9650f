"""A file that shows that this Celery process reaches its broker. A container's health check reads its age.

TAKEONE_PULSE_FILE names it; if it is unset, nothing is written. A worker touches the file with each
heartbeat, which it sends only while it is connected. Beat touches it after each message that it has
published.
"""

import logging
from pathlib import Path
from typing import Any

from celery import signals

from config import env

logger = logging.getLogger(__name__)


@signals.heartbeat_sent.connect
def touch(**_: Any) -> None:
    """Records that the process works now."""
    if path := env.text("TAKEONE_PULSE_FILE"):
        try:
            Path(path).touch()
        except OSError as error:
            logger.warning("TAKEONE_PULSE_FILE cannot be written: %s", error)


@signals.beat_init.connect
def follow_beat(**_: Any) -> None:
    """Touches the file when beat publishes. A web process also publishes, and has no such file."""
    signals.after_task_publish.connect(touch)
