"""A service with a webhook secret, and the hints that its workers would get."""

from dataclasses import replace

import pytest
from django.test import Client
from pytest_django import Settings

from tests.configured import configure
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from tests.webhooks.signing import SECRET
from upstreams.registry import Upstream
from videos.models import Job


@pytest.fixture(autouse=True)
def _secret(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, replace(upstream, webhook_secrets=(SECRET,)))


@pytest.fixture
def hook() -> Client:
    """The upstream, which has no key and no cookie."""
    return Client(enforce_csrf_checks=True)


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tasks that hints have woken."""
    tasks: list[str] = []
    monkeypatch.setattr("videos.lifecycle.notification.wake", tasks.append)
    return tasks


@pytest.fixture
def rendering(job: Job, upstream: Upstream, settings: Settings) -> str:
    """The upstream's id of a render that would be asked after in an hour."""
    settings.SORA_SYNC_SECONDS_MIN = settings.SORA_SYNC_SECONDS_MAX = 3600
    submit_next(upstream)
    return str(only(job).upstream_id)
