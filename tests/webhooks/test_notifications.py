"""A hint brings a look forward, and never stands for one."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from pytest_django import Settings

from tests.timeouts import TIMEOUT
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next, submit_next
from tests.videos.sending import send as submit
from tests.videos.test_reconcile import dropped, search_at
from tests.videos.test_submit import only, raising
from tests.webhooks.signing import event, send
from upstreams.client import errors
from upstreams.client.types import CreateRequest
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.notification import apply_notification
from videos.models import Job, Submission

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]


def hinted(upstream: Upstream, upstream_id: str, seconds: float) -> bool:
    """A hint so many seconds after now."""
    with shifted(timedelta(seconds=seconds)):
        return apply_notification(upstream_id, provider=upstream.name)


def test_one_before_the_creates_own_answer_leaves_the_lease_alone(
    hook: Client, job: Job, upstream: Upstream, sora: ScriptedClient, woken: list[str]
) -> None:
    claimed = claim_next(upstream)
    assert claimed is not None
    video = sora.add(CreateRequest(**claimed.request))
    sora.complete(video.id)
    assert send(hook, event(video.id)).status_code == 204
    assert (only(job).state, only(job).due_at) == ("sending", claimed.lease_until)
    assert woken == []
    sora.after = lambda _: video
    submit(claimed, upstream)
    assert (only(job).state, only(job).upstream_id) == ("rendering", video.id)
    # Nothing came of the first delivery, so the second is no duplicate.
    assert send(hook, event(video.id)).status_code == 204
    assert woken == ["dispatch"]
    sweep(upstream)
    assert only(job).state == "rendered"


def test_one_after_a_create_that_was_not_answered_has_it_looked_for_at_once(
    hook: Client, job: Job, upstream: Upstream, sora: ScriptedClient, woken: list[str]
) -> None:
    sora.after = dropped
    submit_next(upstream)
    (video_id,) = sora.videos
    assert search_at(job, upstream, 0).state == "unknown"
    assert send(hook, event(video_id)).status_code == 204
    assert woken == ["dispatch"]
    assert (search_at(job, upstream, 0).state, only(job).upstream_id) == ("rendering", video_id)
    assert len(sora.creates) == 1


def test_any_number_of_hints_does_not_prove_absence_any_earlier(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    # Time goes on beside the shift, so the attempts are held to what has passed when each is over.
    for seconds in (0.1, 0.5, 1, 1.5, 2.5, 3, 4, 5.5, 6, 7, 8, 9, 10):
        hinted(upstream, "video_elsewhere", seconds)
        submission = search_at(job, upstream, seconds)
        assert submission.unknown_at is not None
        past = (database_now() - submission.unknown_at).total_seconds() + seconds
        assert submission.state == "unknown", seconds
        assert submission.attempts <= sum(1 for each in (2, 5) if each <= past)
    assert sora.lists == 13
    assert search_at(job, upstream, 15.5).state == "absent"


def test_what_shows_on_the_list_only_after_hinted_looks_is_found(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.after = dropped
    submit_next(upstream)
    sora.hidden = set(sora.videos)
    for seconds in (1, 2.5, 3, 5.5, 6, 10):
        hinted(upstream, "video_elsewhere", seconds)
        assert search_at(job, upstream, seconds).state == "unknown"
    sora.hidden = set()
    assert search_at(job, upstream, 15.5).state == "rendering"
    assert len(sora.creates) == 1


def test_a_person_s_decision_is_not_taken_by_a_hint(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    Submission.objects.update(due_at=None)
    assert not hinted(upstream, "video_elsewhere", 0)
    assert only(job).due_at is None


def test_a_known_id_has_no_unknown_create_looked_for(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    accepted, lost = make_job(), make_job()
    submit_next(upstream)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    before = only(lost).due_at
    assert hinted(upstream, str(only(accepted).upstream_id), 0)
    assert only(lost).due_at == before


def test_the_looks_that_prove_a_render_lost_keep_their_distance(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    video_id = str(only(job).upstream_id)
    kept = sora.videos.pop(video_id)
    with shifted(timedelta(seconds=10)):
        sweep(upstream)
    before = only(job)
    assert before.missing_polls == 1
    assert not hinted(upstream, video_id, 11)
    assert only(job).due_at == before.due_at
    sora.videos[video_id] = kept


def test_a_file_that_is_being_fetched_is_left_to_who_fetches_it(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    video_id = str(only(job).upstream_id)
    sora.complete(video_id)
    sweep(upstream)
    assert only(job).claim_due(upstream.lease)
    before = only(job)
    assert before.state == "rendered"
    assert not hinted(upstream, video_id, 0)
    assert only(job).due_at == before.due_at


def test_a_notification_puts_no_search_off(job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    earlier = database_now() - timedelta(minutes=1)
    Submission.objects.update(due_at=earlier)
    assert not hinted(upstream, str(only(job).upstream_id), 0)
    assert only(job).due_at == earlier


def test_a_sweep_under_way_does_not_put_off_what_a_hint_made_due(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    listed = sora.list

    def hinted_meanwhile(*args: Any, **kwargs: Any) -> Any:
        page = listed(*args, **kwargs)
        # It ended just after the list was read.
        assert apply_notification(str(only(job).upstream_id), provider=upstream.name)
        return page

    monkeypatch.setattr(sora, "list", hinted_meanwhile)
    sweep(upstream)
    due = only(job).due_at
    assert due is not None
    assert due <= database_now()


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_hint_waits_for_no_lock(hook: Client, job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    submission = only(job)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.lock(pk=job.pk)
            Submission.objects.select_for_update().get(pk=submission.pk)
            held.set()
            done.wait(TIMEOUT)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(TIMEOUT)
        began = time.monotonic()
        assert send(hook, event(str(submission.upstream_id))).status_code == 204
        assert time.monotonic() - began < 2
        assert not done.is_set()
    finally:
        done.set()
        thread.join()


def test_it_concerns_its_own_render_alone(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    mine, other = make_job(), make_job()
    while submit_next(upstream):
        pass
    later = database_now() + timedelta(hours=1)
    Submission.objects.update(due_at=later)
    assert apply_notification(str(only(mine).upstream_id), provider=upstream.name)
    assert only(other).due_at == later
    due = only(mine).due_at
    assert due is not None
    assert due <= database_now()
