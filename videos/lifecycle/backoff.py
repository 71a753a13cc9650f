"""How long to wait before the next poll or try."""

import random

from django.conf import settings


def backoff(failures: int, *, most: float = 60) -> float:
    """Seconds before a try after `failures` failed tries: full jitter over a doubling range, never 0."""
    return max(0.2, random.uniform(0, min(most, 2 ** min(failures, 16))))


def poll_interval(age: float) -> float:
    """Seconds until a render of this age is polled again: a fifth of its age, within the settings' bounds."""
    return min(max(age / 5, settings.SORA_SYNC_SECONDS_MIN), settings.SORA_SYNC_SECONDS_MAX)
