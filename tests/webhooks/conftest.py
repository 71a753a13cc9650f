"""A service with a webhook secret, and the hints that its workers would get."""

import pytest
from django.test import Client
from pytest_django import Settings

from tests.webhooks.signing import SECRET
from videos.upstream import Upstream


@pytest.fixture(autouse=True)
def _secret(settings: Settings, upstream: Upstream) -> None:
    settings.SORA_WEBHOOK_SECRET = [SECRET]
    settings.SORA_PROVIDER = upstream.name


@pytest.fixture
def hook() -> Client:
    """The upstream, which has no key and no cookie."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that hints have woken."""
    tasks: list[str] = []
    monkeypatch.setattr("videos.lifecycle.hint.wake", tasks.append)
    return tasks
