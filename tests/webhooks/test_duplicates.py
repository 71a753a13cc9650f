"""A webhook that comes again is taken once where the cache answers, and otherwise again, without harm."""

import socket
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from pytest_django import Settings

from tests.webhooks.signing import event, send
from tests.webhooks.test_sora_hook import is_due
from videos.clock import database_now
from videos.lifecycle.sync import sweep
from videos.models import Job
from videos.upstream import Upstream

pytestmark = pytest.mark.django_db


def test_a_duplicate_wakes_nobody(
    hook: Client, rendering: str, job: Job, upstream: Upstream, woken: list[str]
) -> None:
    send(hook, event(rendering))
    sweep(upstream)
    # A redelivery is signed anew under the same id.
    assert send(hook, event(rendering), age=10).status_code == 204
    assert woken == ["look"]
    assert not is_due(job)
    assert send(hook, event(rendering), webhook_id="wh_2").status_code == 204
    assert woken == ["look", "look"]


def use_cache_at(settings: Settings, port: int) -> None:
    """The cache of a deployment, as the settings have it, on another port."""
    options = {"socket_timeout": 0.2, "socket_connect_timeout": 0.2}
    backend = "django.core.cache.backends.redis.RedisCache"
    location = f"redis://127.0.0.1:{port}/0"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": location, "OPTIONS": options}}


@pytest.mark.parametrize("listens", [False, True])
def test_a_cache_that_is_away_or_frozen_takes_a_duplicate_again(
    hook: Client,
    rendering: str,
    job: Job,
    woken: list[str],
    settings: Settings,
    listens: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if listens:
            # Connections are taken, and nothing is ever answered.
            server.listen()
        use_cache_at(settings, server.getsockname()[1])
        began = time.monotonic()
        assert send(hook, event(rendering)).status_code == 204
        assert time.monotonic() - began < 2
        # It is asked once only: each try may take seconds.
        assert [each.name for each in caplog.records].count("webhooks.seen") == 1
        assert is_due(job)
        put_off(job)
        assert send(hook, event(rendering)).status_code == 204
    assert is_due(job)
    assert woken == ["look", "look"]


def put_off(job: Job) -> None:
    """Puts the next look an hour off."""
    job.submissions.update(due_at=database_now() + timedelta(hours=1))


def test_a_hint_that_could_not_be_taken_is_taken_when_it_comes_again(
    hook: Client, rendering: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the database is away")

    hook.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr("webhooks.views.take_hint", away)
        assert send(hook, event(rendering)).status_code >= 500
    assert send(hook, event(rendering)).status_code == 204
    assert is_due(job)
