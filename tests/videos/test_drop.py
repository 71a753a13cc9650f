"""How a video of a cancelled job is dropped upstream: how often it is tried, when, and what stays."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.configured import configure
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel, drop
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission

pytestmark = pytest.mark.django_db


@pytest.fixture
def upstream(monkeypatch: pytest.MonkeyPatch) -> Upstream:
    """One that can stop a render."""
    stopping = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, stopping)
    return stopping


@pytest.fixture
def cancelled(job: Job, upstream: Upstream) -> Job:
    submit_next(upstream)
    cancel(job)
    return job


def due(submission: Submission) -> None:
    Submission.objects.filter(pk=submission.pk).update(due_at=database_now() - timedelta(seconds=1))
    Provider.objects.update(delete_backoff_until=None, retrieve_backoff_until=None)


def seconds_left(submission: Submission) -> float:
    assert submission.due_at is not None
    return (submission.due_at - database_now()).total_seconds()


def test_it_is_tried_ten_times(cancelled: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    sora.delete_error = errors.Rejected("Video is still being processed")
    tries = 0
    while only(cancelled).state != "dropped":
        due(only(cancelled))
        drop(only(cancelled), upstream)
        tries += 1
        assert tries <= 10
    assert (tries, only(cancelled).cost_state) == (10, "settled")


@pytest.mark.parametrize(("tried", "at_most"), [(0, 2), (1, 4), (3, 16), (8, 512)])
def test_the_next_try_comes_later_each_time(
    cancelled: Job,
    upstream: Upstream,
    sora: ScriptedClient,
    tried: int,
    at_most: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("videos.lifecycle.backoff.random.uniform", lambda least, most: most)
    sora.delete_error = errors.Unavailable("502")
    due(only(cancelled))
    drop(only(cancelled), upstream)
    Submission.objects.update(attempts=tried)
    due(only(cancelled))

    drop(only(cancelled), upstream)

    assert only(cancelled).attempts == tried + 1
    assert at_most - 1 < seconds_left(only(cancelled)) <= at_most


def test_a_crash_in_mid_delete_is_followed_by_a_try_when_its_lease_is_over(
    cancelled: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sora, "delete", crash)
    due(only(cancelled))
    with pytest.raises(KeyboardInterrupt):
        drop(only(cancelled), upstream)

    assert (only(cancelled).state, only(cancelled).attempts) == ("dropping", 0)
    assert upstream.lease - 1 < seconds_left(only(cancelled)) <= upstream.lease


def test_another_s_drop_is_not_put_off(
    make_job: Callable[..., Job], cancelled: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    other = make_job(prompt="another")
    submit_next(upstream)
    cancel(other)
    sora.delete_error = errors.Unavailable("502")
    for job in (cancelled, other):
        due(only(job))
        drop(only(job), upstream)
    before = only(other).due_at

    due(only(cancelled))
    drop(only(cancelled), upstream)

    assert only(other).due_at == before


def test_what_is_not_dropping_any_more_is_not_put_off(
    cancelled: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended_meanwhile(video_id: str, **_: object) -> None:
        Submission.objects.update(state="dropped", cost_state="settled", due_at=None)
        raise errors.Unavailable("502")

    monkeypatch.setattr(sora, "delete", ended_meanwhile)
    due(only(cancelled))
    drop(only(cancelled), upstream)
    assert (only(cancelled).state, only(cancelled).due_at) == ("dropped", None)


def test_a_render_is_not_dropped_where_none_can_be_stopped(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    going_on = replace(upstream, dialect=OPENAI)
    configure(monkeypatch, going_on)
    submit_next(going_on)
    cancel(job)
    due(only(job))

    drop(only(job), going_on)

    assert (only(job).state, sora.deleted) == ("rendering", [])


def test_a_file_that_was_not_deleted_stays_until_it_expires(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = replace(upstream, dialect=replace(OPENAI, deletes=False))
    configure(monkeypatch, keeping)
    submit_next(keeping)
    sora.complete(str(only(job).upstream_id))
    sweep(keeping)
    expires_at = only(job).expires_at
    cancel(job)
    drop(only(job), keeping)
    assert expires_at is not None
    assert (only(job).state, only(job).expires_at) == ("dropped", expires_at)


def test_earlier_failures_of_a_render_do_not_count_as_tries_of_its_drop(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    Submission.objects.update(attempts=9)
    cancel(job)
    assert only(job).attempts == 0
    sora.delete_error = errors.Unavailable("502")
    drop(only(job), upstream)
    assert only(job).state == "dropping"


def test_a_call_that_the_upstream_wants_to_be_spared_is_the_one_that_waits(
    cancelled: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.delete_error = errors.Busy("429", retry_after=300)
    due(only(cancelled))
    drop(only(cancelled), upstream)

    with worked(10):
        provider = upstream.provider()
        assert provider.delete_backoff_until is not None
        assert provider.retrieve_backoff_until is None
