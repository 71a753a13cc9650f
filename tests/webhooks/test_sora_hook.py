"""`POST /hooks/sora`: what is answered, and what is done."""

import json
from dataclasses import replace
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from tests.api.test_create import problem
from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.test_submit import only
from tests.webhooks.signing import SECRET, URL, event, headers, send
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job
from videos.queue.dispatch import Work, all_due_work

pytestmark = pytest.mark.django_db


def is_due(job: Job) -> bool:
    due_at = only(job).due_at
    return due_at is not None and due_at <= database_now()


def test_a_completed_render_is_asked_after_at_once(
    hook: Client, rendering: str, job: Job, upstream: Upstream, sora: ScriptedClient, woken: list[str]
) -> None:
    assert all_due_work() == []
    sora.complete(rendering)
    response = send(hook, event(rendering))
    assert (response.status_code, response.content) == (204, b"")
    assert (sora.lists, sora.retrieves) == (0, 0)
    assert woken == ["dispatch"]
    assert all_due_work() == [Work("sweep", provider="scripted")]
    sweep(upstream)
    assert only(job).state == "rendered"


def test_a_failed_render_is_asked_after_at_once(
    hook: Client, rendering: str, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.fail(rendering)
    assert send(hook, event(rendering, "video.failed")).status_code == 204
    sweep(upstream)
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "moderation_blocked")


def test_what_the_event_says_is_not_believed(
    hook: Client, rendering: str, job: Job, upstream: Upstream
) -> None:
    assert send(hook, event(rendering)).status_code == 204
    sweep(upstream)
    assert only(job).state == "rendering"
    assert not is_due(job)


def test_the_signature_is_of_the_bytes_whatever_their_spacing(hook: Client, rendering: str, job: Job) -> None:
    body = json.dumps(json.loads(event(rendering)), indent=1, sort_keys=True).encode()
    assert send(hook, body).status_code == 204
    assert is_due(job)


def test_a_late_event_changes_nothing(
    hook: Client, rendering: str, job: Job, upstream: Upstream, sora: ScriptedClient, woken: list[str]
) -> None:
    sora.fail(rendering)
    send(hook, event(rendering, "video.failed"))
    sweep(upstream)
    before = only(job)
    # As well in the wrong order: it says now that it was completed.
    assert send(hook, event(rendering), webhook_id="wh_2").status_code == 204
    after = only(job)
    assert (after.state, after.due_at) == (before.state, before.due_at) == ("failed", None)
    assert woken == ["dispatch"]


def test_an_id_that_is_nobodys_is_no_error(hook: Client, rendering: str, job: Job, woken: list[str]) -> None:
    for number, upstream_id in enumerate(["video_elsewhere", "x" * 10_000]):
        assert send(hook, event(upstream_id), webhook_id=f"wh_{number}").status_code == 204
    assert woken == []
    assert not is_due(job)


def test_the_id_of_another_provider_is_nobodys(
    hook: Client, rendering: str, job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, replace(upstream, name="another", webhook_secrets=(SECRET,)))
    assert send(hook, event(rendering)).status_code == 204
    assert not is_due(job)


@pytest.mark.parametrize("kind", ["video.started", "response.completed", "", "x" * 1000])
def test_another_type_is_ignored(hook: Client, rendering: str, job: Job, kind: str) -> None:
    assert send(hook, event(rendering, kind)).status_code == 204
    assert not is_due(job)


@pytest.mark.parametrize("body", [b"{}", b'{"type": ["video.completed"]}', b'{"type": "x", "data": null}'])
def test_another_shape_of_another_type_is_ignored(hook: Client, body: bytes) -> None:
    assert send(hook, body).status_code == 204


def forged(body: bytes) -> dict[str, str]:
    return headers(body, secret="guessed")


def replayed(body: bytes) -> dict[str, str]:
    return headers(body, age=310)


def unsigned(body: bytes) -> dict[str, str]:
    return {}


@pytest.mark.parametrize("signed", [forged, replayed, unsigned])
def test_what_is_not_signed_just_now_with_the_secret_is_401_and_does_nothing(
    hook: Client,
    rendering: str,
    job: Job,
    woken: list[str],
    signed: Any,
    caplog: pytest.LogCaptureFixture,
    django_assert_num_queries: Any,
) -> None:
    body = event(rendering)
    with django_assert_num_queries(0):
        response = send(hook, body, signed(body))
    assert response.status_code == 401
    assert problem(response)["code"] == "invalid_signature"
    assert woken == []
    assert not is_due(job)
    (record,) = [each for each in caplog.records if each.name == "webhooks.views"]
    assert record.levelname == "WARNING"
    assert rendering not in caplog.text
    assert SECRET not in caplog.text
    # The genuine one is no duplicate of it.
    assert send(hook, body).status_code == 204
    assert is_due(job)


def test_without_a_secret_there_is_nothing_at_the_address(
    hook: Client, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, upstream)
    for method in ("post", "get", "options"):
        here, nowhere = (getattr(hook, method)(address) for address in (URL, "/hooks/nothing"))
        assert (here.status_code, here.headers.keys()) == (404, nowhere.headers.keys())
        shown, expected = problem(here), problem(nowhere)
        del shown["requestId"], expected["requestId"]
        assert shown == expected


def test_other_methods_are_405(hook: Client) -> None:
    response = hook.get(URL)
    assert (response.status_code, problem(response)["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("length", [65_537, 1_048_576, 1_048_577])
def test_more_than_64_kb_are_413(hook: Client, length: int) -> None:
    response = send(hook, b" " * length)
    assert response.status_code == 413
    assert problem(response)["code"] == "payload_too_large"


def test_64_kb_are_taken(hook: Client, rendering: str, job: Job) -> None:
    assert send(hook, event(rendering).ljust(65_536)).status_code == 204
    assert is_due(job)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"a"', b"\xff", b'{"type": NaN}', b"[" * 60_000])
def test_what_is_no_json_object_is_400(hook: Client, body: bytes) -> None:
    response = send(hook, body)
    assert (response.status_code, problem(response)["code"]) == (400, "malformed_body")


@pytest.mark.parametrize("data", [None, [], "video_1", {}, {"id": None}, {"id": ""}, {"id": ["a"]}])
def test_an_event_of_a_video_without_its_id_is_400(hook: Client, data: object) -> None:
    response = send(hook, json.dumps({"type": "video.completed", "data": data}).encode())
    assert (response.status_code, problem(response)["code"]) == (400, "validation_failed")


def test_no_key_and_no_limit_is_needed(hook: Client, settings: Settings) -> None:
    settings.RATE_LIMIT_CREATES_PER_MINUTE = 1
    # Nor does a wrong key matter, which the upstream may have been told to send.
    given = {**headers(event()), "authorization": "Bearer unknown"}
    assert [send(hook, event(), given).status_code for _ in range(3)] == [204] * 3
