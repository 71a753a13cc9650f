"""No caller waits for an upstream for longer than a second, and few wait at a time."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.test import Client

from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.calls.brief_calls import BriefCalls, TooSlow
from upstreams.client import errors
from upstreams.registry import Upstream
from videos.models import Job, Submission
from videos.queue.dispatch import all_due_work

pytestmark = pytest.mark.django_db
URL = "/api/v1/videos"


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    places = BriefCalls()
    monkeypatch.setattr("videos.lifecycle.following.poll.brief_calls", places)


@pytest.fixture
def hangs(sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """An upstream that answers nobody, whatever the deadline, until it is let go on."""
    let_go = threading.Event()

    def hang(*_: Any, **__: Any) -> None:
        let_go.wait(60)
        raise errors.Unavailable("too late")

    monkeypatch.setattr(sora, "retrieve", hang)
    monkeypatch.setattr(sora, "probe", hang)
    yield let_go
    let_go.set()


def sync(api: Client, job: Job) -> tuple[Any, float]:
    began = time.monotonic()
    response = api.post(f"{URL}/{job.pk}/sync", "", content_type="application/json")
    return response, time.monotonic() - began


def test_a_sync_that_takes_longer_is_left_to_a_worker(
    api: Client, job: Job, upstream: Upstream, hangs: threading.Event
) -> None:
    submit_next(upstream)
    Submission.objects.update(due_at="2100-01-01T00:00:00Z")
    assert all_due_work() == []
    response, seconds = sync(api, job)
    assert seconds < 5, "the upstream hangs for longer"
    assert response.status_code == 200
    assert response.json()["data"]["status"] == "processing"
    assert int(response["Retry-After"]) > 0
    # At once, and not at its next turn.
    assert [work.task for work in all_due_work()] == ["sweep"]


def test_a_sync_that_is_answered_names_no_time(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    sora.complete(str(job.submissions.get().upstream_id))
    response, _ = sync(api, job)
    assert response.json()["data"]["stage"] == "rendered"
    assert "Retry-After" not in response


def test_a_call_that_its_own_deadline_ends_is_left_to_a_worker_as_well(
    api: Client, job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    monkeypatch.setattr("videos.lifecycle.following.poll.MAX_SECONDS", 0.0)
    sora.retrieve_error = errors.Unavailable("deadline")
    response, _ = sync(api, job)
    assert (response.status_code, response["Retry-After"]) == (200, "5")


def test_of_many_only_a_few_wait() -> None:
    places, let_go = BriefCalls(most=2), threading.Event()
    refused_at_once = 0
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(places.answer, lambda: let_go.wait(60), 1) for _ in range(6)]
        for each in waiting:
            with pytest.raises(TooSlow) as raised:
                each.result(TIMEOUT)
            refused_at_once += "already" in str(raised.value)
        # Those that hang keep their places after their callers have gone.
        assert refused_at_once == 4
        began = time.monotonic()
        with pytest.raises(TooSlow, match="already"):
            places.answer(lambda: None)
        assert time.monotonic() - began < 0.5, "who finds no place does not wait for one"
        let_go.set()
        ends = time.monotonic() + 5
        while time.monotonic() < ends:
            try:
                assert places.answer(lambda: 7) == 7
                break
            except TooSlow:
                continue
        assert places.answer(lambda: 7) == 7


def test_what_a_call_raises_is_raised() -> None:
    def away() -> None:
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        BriefCalls().answer(away)
