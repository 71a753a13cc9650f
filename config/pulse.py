"""A file that shows that this Celery process is at its broker; a container's health check looks at its age.

TAKEONE_PULSE_FILE names it; without that nothing is written. A worker touches it with each heartbeat, which
it sends only while it is connected; beat does with each message that it has published.
"""

import logging
from pathlib import Path
from typing import Any

from celery import signals

from config import env

logger = logging.getLogger(__name__)


@signals.heartbeat_sent.connect
def touch(**_: Any) -> None:
    """Says that the process works now."""
    if path := env.text("TAKEONE_PULSE_FILE"):
        try:
            Path(path).touch()
        except OSError as error:
            logger.warning("TAKEONE_PULSE_FILE cannot be written: %s", error)


@signals.beat_init.connect
def follow_beat(**_: Any) -> None:
    """Publishing shows that beat works. A web process publishes as well, and has no such file."""
    signals.after_task_publish.connect(touch)
