"""The clock that the simulator shows: it may be off, and may be stepped."""

import time
from dataclasses import dataclass
from email.utils import formatdate


@dataclass
class Clock:
    """`offset` is how many seconds the shown clock is ahead of the real one. Kept in memory only."""

    offset: float = 0.0

    def date(self) -> str:
        """The value of a Date header."""
        return formatdate(time.time() + self.offset, usegmt=True)
