"""The database's clock. Leases and reconciling use it, and not the clocks of the workers."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

# Counts the time that a machine sleeps as well, where there is such a clock.
_CLOCK: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
# For so long after it was read, the database's time is told by the clock of this machine. Its error is at
# most the way of the answer: a reading that took longer is not used again.
_KNOWN_SECONDS = 0.5
_WAY_SECONDS: Final = 0.005

# What is dated later than now by less than this was written just now.
JUST_WRITTEN: Final = timedelta(seconds=1)

_shift = timedelta()


class _Reading(NamedTuple):
    time: datetime
    at: float


_known: _Reading | None = None


@contextmanager
def shifted(by: timedelta) -> Iterator[None]:
    """Moves the database's clock for this process; for tests."""
    global _shift
    before = _shift
    _shift = before + by
    try:
        yield
    finally:
        _shift = before


def in_database(after: float = 0) -> Combinable:
    """The time of the statement it stands in, `after` seconds later."""
    offset = _shift + timedelta(seconds=after)
    return ExpressionWrapper(Now() + Value(offset), output_field=DateTimeField())


def database_now() -> datetime:
    """The database's time: never ahead of it, and at most some milliseconds behind.

    So what another process has just written may be in its future, by less than JUST_WRITTEN.
    """
    global _known
    began = time.clock_gettime(_CLOCK)
    # Another thread may replace it meanwhile.
    known = _known
    if known is not None and began - known.at < _KNOWN_SECONDS:
        return known.time + timedelta(seconds=began - known.at) + _shift
    now = _read()
    answered = time.clock_gettime(_CLOCK)
    _known = _Reading(now, answered) if answered - began <= _WAY_SECONDS else None
    return now + _shift


def _read() -> datetime:
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
        else:
            cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")
            now = datetime.fromisoformat(cursor.fetchone()[0])
    return now
