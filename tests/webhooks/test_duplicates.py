"""A webhook that comes again is taken once."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from tests.webhooks.signing import event, send
from tests.webhooks.test_sora_hook import is_due
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job

pytestmark = pytest.mark.django_db


def test_a_duplicate_wakes_nobody(
    hook: Client, rendering: str, job: Job, upstream: Upstream, woken: list[str]
) -> None:
    send(hook, event(rendering))
    sweep(upstream)
    # A redelivery is signed anew under the same id.
    assert send(hook, event(rendering), age=10).status_code == 204
    assert woken == ["dispatch"]
    assert not is_due(job)
    assert send(hook, event(rendering), webhook_id="wh_2").status_code == 204
    assert woken == ["dispatch", "dispatch"]


def test_a_hint_that_could_not_be_taken_is_taken_when_it_comes_again(
    hook: Client, rendering: str, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("the database is away")

    hook.raise_request_exception = False
    with monkeypatch.context() as patch:
        patch.setattr("webhooks.views.apply_notification", away)
        assert send(hook, event(rendering)).status_code >= 500
    assert send(hook, event(rendering)).status_code == 204
    assert is_due(job)
