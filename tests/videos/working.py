"""Time that passes while our workers work."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from upstreams.clock import database_now, shifted
from upstreams.models import Provider


@contextmanager
def worked(seconds: float) -> Iterator[None]:
    """So many seconds later, all of which we have worked. With `shifted` alone we were down for them."""
    with shifted(timedelta(seconds=seconds)):
        Provider.objects.update(worked_at=database_now())
        yield
