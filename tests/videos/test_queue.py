"""A job's place in the queue, and when it may be done."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from tests.configured import configure
from tests.videos.positions import queue_positions
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next, submit_next
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.api.queries import owned_jobs
from videos.lifecycle.following.sweep import sweep
from videos.models import Group, Heartbeat, Job, Submission
from videos.queue import heartbeats
from videos.queue.position import backlog, estimates, lanes, reasons
from videos.queue.position.estimator import QueuePosition
from videos.results.store import store

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


def places(*jobs: Job, upstream: Upstream) -> list[int | None]:
    """As they are now, freshly counted."""
    cache.clear()
    found = queue_positions([Job.objects.get(pk=job.pk) for job in jobs])
    return [found.get(job.pk, QueuePosition()).position for job in jobs]


def rendered(job: Job, upstream: Upstream, sora: ScriptedClient, seconds: float) -> None:
    """Carries a job to its end, as if that had taken so long."""
    assert submit_next(upstream)
    submission = job.submissions.get()
    sora.complete(str(submission.upstream_id))
    sweep(upstream)
    store(job.submissions.get(), upstream)
    submission.refresh_from_db()
    assert submission.ended_at
    Submission.objects.filter(pk=submission.pk).update(
        created_at=submission.ended_at - timedelta(seconds=seconds)
    )


def test_the_places_are_the_order_in_which_jobs_are_claimed(make_job: MakeJob, upstream: Upstream) -> None:
    """Three owners, three priorities: what the places say is what the claims do."""
    owners = [make_job().owner, *(User.objects.create_user(name) for name in ("bob", "cyd"))]
    jobs = [Job.objects.get()]
    for number in range(11):
        jobs.append(make_job(by=owners[number % 5 % 3], priority=("low", "normal", "high")[number % 3]))
    for _ in range(4):
        waiting = [job for job in jobs if job.status == "pending"]
        said = dict(zip([job.pk for job in waiting], places(*waiting, upstream=upstream), strict=True))
        submission = claim_next(upstream)
        assert submission is not None
        assert said[submission.job_id] == 1
        assert list(said.values()).count(1) == 1
        Job.objects.filter(pk=submission.job_id).update(status="failed", error_code="x")
        Submission.objects.filter(pk=submission.pk).update(state="rejected", cost_state="released")
        for job in jobs:
            job.refresh_from_db()


def test_an_owner_behind_a_long_queue_of_another_waits_for_its_turn_only(
    make_job: MakeJob, upstream: Upstream
) -> None:
    for _ in range(20):
        make_job()
    bob = User.objects.create_user("bob")
    first, second = make_job(by=bob), make_job(by=bob)
    # Nobody was served yet, so that age decides: ada's first, Bob's first, ada's second, Bob's second.
    assert places(first, second, upstream=upstream) == [2, 4]
    last = Job.objects.exclude(owner=bob).order_by("-asked_at")[0]
    assert places(last, upstream=upstream) == [22]


def test_a_group_is_in_the_way_with_no_more_than_it_may_run(make_job: MakeJob, upstream: Upstream) -> None:
    grouped = [make_job() for _ in range(10)]
    group = Group.objects.create(owner=grouped[0].owner, limit=2)
    Job.objects.update(group=group)
    single = make_job()
    assert places(single, grouped[9], upstream=upstream) == [3, 10]
    Group.objects.update(held=True)
    assert places(single, grouped[9], upstream=upstream) == [1, None]


def test_what_is_sent_or_has_ended_has_no_place(make_job: MakeJob, upstream: Upstream) -> None:
    jobs = [make_job() for _ in range(3)]
    submission = claim_next(upstream)
    assert submission is not None
    Job.objects.filter(pk=jobs[2].pk).update(status="cancelled")
    assert places(*jobs, upstream=upstream) == [None, 1, None]


def test_times_are_null_until_a_render_of_that_kind_was_measured(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    rendered(make_job(duration=4), upstream, sora, 60)
    same, other = make_job(duration=4), make_job(duration=8)
    found = queue_positions([same, other])
    assert found[same.pk].done_at is not None
    assert (found[other.pk].done_at, found[other.pk].done_by) == (None, None)


def test_times_are_the_median_and_the_ninetieth_percentile(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    for seconds in (10, 20, 30, 40, 50, 60, 70, 80, 90, 1000):
        rendered(make_job(), upstream, sora, seconds)
    job = make_job()
    now = database_now()
    found = queue_positions([job])[job.pk]
    assert found.done_at
    assert found.done_by
    # A slot is free: it is sent at once.
    assert abs((found.done_at - now).total_seconds() - 55) < 3
    assert abs((found.done_by - now).total_seconds() - 90) < 3


def test_a_wait_is_what_those_before_it_take(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered(make_job(), upstream, sora, 100)
    upstream = replace(upstream, concurrency=2)
    configure(monkeypatch, upstream)
    jobs = [make_job() for _ in range(6)]
    submit_next(upstream), submit_next(upstream)
    now = database_now()
    cache.clear()
    found = queue_positions([Job.objects.get(pk=job.pk) for job in jobs])

    def seconds(job: Job) -> float:
        at = found[job.pk].done_at
        assert at is not None
        return (at - now).total_seconds()

    # Two run and take 100 s from their start; then one ends every 50 s on average.
    for job, expected in zip(jobs, [100, 100, 150, 200, 250, 300], strict=True):
        assert abs(seconds(job) - expected) < 4


def test_a_wait_is_no_shorter_than_the_creates_per_minute_allow(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered(make_job(), upstream, sora, 10)
    configure(monkeypatch, replace(upstream, requests_per_minute=1))
    jobs = [make_job() for _ in range(4)]
    at = queue_positions(jobs)[jobs[3].pk].done_at
    assert at is not None
    assert abs((at - database_now()).total_seconds() - (3 * 60 + 10)) < 4


def test_a_group_waits_for_its_own(make_job: MakeJob, upstream: Upstream, sora: ScriptedClient) -> None:
    rendered(make_job(), upstream, sora, 100)
    jobs = [make_job() for _ in range(4)]
    group = Group.objects.create(owner=jobs[0].owner, limit=1)
    Job.objects.filter(pk__in=[job.pk for job in jobs]).update(group=group)
    cache.clear()
    now = database_now()
    found = queue_positions([Job.objects.get(pk=job.pk) for job in jobs])
    ends = [found[job.pk].done_at for job in jobs]
    assert [round((at - now).total_seconds(), -1) for at in ends if at] == [100, 200, 300, 400]


def test_a_groups_other_priorities_are_waited_for_too(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    rendered(make_job(), upstream, sora, 100)
    low = make_job(priority="low")
    others = [make_job() for _ in range(10)]
    group = Group.objects.create(owner=low.owner, limit=1)
    Job.objects.filter(pk__in=[low.pk, *(job.pk for job in others)]).update(group=group)
    cache.clear()
    now = database_now()
    found = queue_positions([Job.objects.get(pk=low.pk)])[low.pk]
    assert found.position == 11
    assert found.done_at
    assert abs((found.done_at - now).total_seconds() - 1100) < 5


def test_an_owner_who_may_run_few_waits_for_its_own(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    rendered(make_job(), upstream, sora, 100)
    settings.MAX_IN_FLIGHT_JOBS = 1
    jobs = [make_job() for _ in range(5)]
    now = database_now()
    at = queue_positions(jobs)[jobs[4].pk].done_at
    assert at is not None
    assert abs((at - now).total_seconds() - 500) < 5


def test_nothing_is_foretold_while_nothing_is_sent(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    rendered(make_job(), upstream, sora, 100)
    job = make_job()
    Provider.objects.update(stopped_at=database_now())
    place = queue_positions([job])[job.pk]
    assert (place.position, place.done_at, place.done_by) == (1, None, None)


def test_a_render_past_its_time_is_not_foretold_to_have_ended(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    rendered(make_job(), upstream, sora, 100)
    job = make_job()
    submit_next(upstream)
    job = Job.objects.get(pk=job.pk)
    assert queue_positions([job])[job.pk].done_at is not None
    job.submissions.update(created_at=database_now() - timedelta(seconds=101))
    assert queue_positions([Job.objects.get(pk=job.pk)])[job.pk] == QueuePosition(None, None, None)


def test_a_page_of_jobs_is_placed_in_few_queries(
    make_job: MakeJob, upstream: Upstream, django_assert_max_num_queries: Any
) -> None:
    jobs = [make_job() for _ in range(30)]
    page = list(owned_jobs(jobs[0].owner))
    assert sorted(each.position or 0 for each in queue_positions(page).values()) == list(range(1, 31))
    # One of them reads the jobs.
    with django_assert_max_num_queries(7):
        queue_positions(page)


def test_readers_of_the_same_moment_share_what_is_the_same_for_all(
    job: Job,
    make_job: MakeJob,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: Any,
) -> None:
    monkeypatch.setattr(estimates, "SHARED_SECONDS", 60)
    monkeypatch.setattr(estimates, "_last_made", None)
    first = queue_positions([job])
    # The job, and how many are before it.
    with django_assert_num_queries(2):
        assert queue_positions([job]) == first
    # A job of the moment after waits for no retry.
    later = make_job()
    waiting = queue_positions([later])[later.pk].waiting
    assert waiting is not None
    assert waiting.reason == reasons.Reason.QUEUE
    monkeypatch.setattr(estimates, "_last_made", None)


def test_the_queue_is_counted_once_for_all_readers(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = []
    count = backlog._count
    monkeypatch.setattr(backlog, "_count", lambda provider: counted.append(1) or count(provider))
    for _ in range(5):
        queue_positions([job])
    assert counted == [1]


def test_places_are_counted_up_to_a_bound(
    make_job: MakeJob, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "MAX_POSITION", 3)
    jobs = [make_job() for _ in range(6)]
    assert places(*jobs, upstream=upstream) == [1, 2, 3, 4, 4, 4]
    assert places(jobs[5], upstream=upstream) == [4]


def test_estimates_do_not_change_the_etag(
    api: Client, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    rendered(make_job(), upstream, sora, 100)
    job = make_job()
    address = f"/api/v1/videos/{job.pk}"
    first = api.get(address)
    assert first.json()["data"]["estimatedCompletionAt"] is not None
    rendered(make_job(priority="high"), upstream, sora, 50)
    cache.clear()
    assert api.get(address).json()["data"]["estimatedCompletionAt"] is not None
    assert api.get(address, headers={"If-None-Match": first["ETag"]}).status_code == 304


def test_nothing_is_estimated_while_nobody_works(
    api: Client, make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    rendered(make_job(), upstream, sora, 100)
    sent = make_job()
    submit_next(upstream)
    waiting = make_job()

    def shown(job: Job) -> tuple[object, object]:
        data = api.get(f"/api/v1/videos/{job.pk}").json()["data"]
        return data["estimatedCompletionAt"], data["queuePosition"]

    heartbeats.record(Heartbeat.Role.WORKER, worked=True)
    assert shown(sent)[0] is not None
    assert shown(waiting)[0] is not None
    Heartbeat.objects.update(worked_at=database_now() - timedelta(seconds=11))
    assert shown(sent) == (None, None)
    assert shown(waiting) == (None, 1)
    heartbeats.record(Heartbeat.Role.WORK, worked=True)
    assert shown(waiting)[0] is not None
