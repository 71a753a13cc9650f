"""How long something took, as the log tells it."""

import time


def milliseconds(seconds: float) -> float:
    """Milliseconds, to a tenth."""
    return round(seconds * 1000, 1)


def milliseconds_since(begun: float) -> float:
    """Milliseconds since a time of time.monotonic()."""
    return milliseconds(time.monotonic() - begun)
