"""Waiting for what may never come, without failing."""

import time
from collections.abc import Callable


def wait(condition: Callable[[], bool], seconds: float) -> bool:
    """Waits until the condition holds; whether it came to hold in time."""
    ends = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < ends:
        time.sleep(0.3)
    return met
