"""Due rows are read for all threads at once, and read anew when that is needed."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.client import errors
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission
from videos.queue import attend as attending
from videos.queue.attend import Due, _Ahead, attend

Rows = Callable[[], list[Any]]


def test_rows_are_read_together_and_anew_when_late_or_when_the_upstream_asks_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, reads = [100.0], [0]
    monkeypatch.setattr(attending, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def read() -> list[Any]:
        reads[0] += 1
        return [f"{reads[0]}.{number}" for number in range(3)]

    ahead = _Ahead()
    assert [ahead.next(read, None) for _ in range(4)] == ["1.0", "1.1", "1.2", "2.0"]
    now[0] += attending._AHEAD_SECONDS + 0.1
    assert ahead.next(read, None) == "3.0", "late"
    assert ahead.next(read, "a wait") == "4.0", "what is due depends on it"
    assert ahead.next(read, "a wait") == "4.1"
    assert ahead.next(list, None) is None


@pytest.fixture
def rendered(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, db: None
) -> list[Submission]:
    for _ in range(3):
        make_job()
        submit_next(upstream)
    for video in list(sora.videos.values()):
        sora.complete(video.id)
    sweep(upstream)
    return list(Submission.objects.filter(state="rendered"))


def test_once_the_upstream_asks_to_wait_no_row_that_was_read_before_is_tried(
    rendered: list[Submission], upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.content = errors.Unavailable("busy", retry_after=60)
    assert attend(upstream, Due.FILES) == 1
    assert Submission.objects.filter(attempts=0, state="rendered").count() == 2


def test_a_row_on_which_another_thread_works_is_passed_over(
    rendered: list[Submission], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attending, "_AHEAD_ROWS", 1)
    first = min(rendered, key=lambda each: each.pk)
    monkeypatch.setitem(attending._taken, first.pk, attending.time.monotonic())
    assert attend(upstream, Due.FILES) == 2
    assert Submission.objects.get(state="rendered") == first
