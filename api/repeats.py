"""Work that is done in parts."""

import time
from collections.abc import Callable


def repeat(some: Callable[[], int], *, within: float) -> None:
    """Does some until none is left, or until so many seconds have passed. `some` returns how many it did."""
    ends = time.monotonic() + within
    while some() and time.monotonic() < ends:
        pass
