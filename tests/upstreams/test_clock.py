"""The database's time, as it is told between two readings."""

import time
from datetime import timedelta
from itertools import pairwise

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from accounts.models import User
from upstreams import clock
from upstreams.clock import database_now, in_database, shifted

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _as_in_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_KNOWN_SECONDS", 0.5)
    monkeypatch.setattr(clock, "_WAY_SECONDS", 60.0)
    monkeypatch.setattr(clock, "_known", None)


def test_it_is_read_once_for_many_uses_and_goes_on_meanwhile() -> None:
    with CaptureQueriesContext(connection) as queries:
        told = []
        for _ in range(5):
            told.append(database_now())
            time.sleep(0.005)
    assert len(queries) == 1
    assert all(later > earlier for earlier, later in pairwise(told))


def test_it_is_never_ahead_of_the_database(owner: User) -> None:
    database_now()
    for _ in range(20):
        told = database_now()
        (read,) = User.objects.annotate(read=Now()).values_list("read", flat=True)
        # A statement of SQLite has milliseconds.
        assert told <= read + timedelta(milliseconds=1)


def test_it_is_read_again_after_a_while_and_after_a_slow_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_KNOWN_SECONDS", 0.02)
    database_now()
    time.sleep(0.03)
    with CaptureQueriesContext(connection) as queries:
        database_now()
    assert len(queries) == 1
    monkeypatch.setattr(clock, "_KNOWN_SECONDS", 60.0)
    monkeypatch.setattr(clock, "_WAY_SECONDS", 0.0)
    monkeypatch.setattr(clock, "_known", None)
    with CaptureQueriesContext(connection) as queries:
        database_now(), database_now()
    assert len(queries) == 2, "how long the answer was under way is not known well enough"


def test_a_shift_moves_what_is_told_and_what_is_compared(owner: User) -> None:
    before = database_now()
    with shifted(timedelta(hours=1)):
        assert database_now() - before >= timedelta(hours=1)
        (read,) = User.objects.annotate(read=in_database()).values_list("read", flat=True)
        assert read - before >= timedelta(hours=1)
