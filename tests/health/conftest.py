from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from health import checks
from health.metrics.counters import counters
from health.readiness import checker
from health.readiness.checker import Checker


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """No answer, count or mark of another test; a machine with enough of everything."""
    settings.MIN_FREE_STORAGE_BYTES = settings.MIN_FREE_MEMORY_BYTES = 1
    new = Checker()
    monkeypatch.setattr(checker, "checker", new)
    for module in ("health.views", "health.wsgi", "health.metrics.figures"):
        monkeypatch.setattr(f"{module}.checker", new)
    monkeypatch.setattr(checks, "uses_broker", lambda: True)
    counters.forget()
    cache.clear()
    yield
    counters.forget()


@pytest.fixture
def anybody() -> Client:
    return Client()
