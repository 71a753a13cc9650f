"""The database's clock. Leases and reconciling use it, and not the clocks of the workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

_shift = timedelta()


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
    """The database's time, read now."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT clock_timestamp()")
            now: datetime = cursor.fetchone()[0]
        else:
            cursor.execute("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")
            now = datetime.fromisoformat(cursor.fetchone()[0])
    return now + _shift
