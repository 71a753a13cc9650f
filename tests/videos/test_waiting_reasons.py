"""A job says why it waits."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from accounts.models import User
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_reconcile import dropped
from tests.videos.test_submit import only, raising
from upstreams.client import errors
from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.models import Group, Heartbeat, Job, Submission
from videos.queue import heartbeats
from videos.queue.position.reasons import Reason

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


@pytest.fixture
def waiting(api: Client) -> Callable[[Job], Any]:
    def shown(job: Job) -> Any:
        # What was counted for the readers of the last seconds.
        cache.clear()
        return api.get(f"/api/v1/videos/{job.pk}").json()["data"]["waiting"]

    return shown


Waiting = Callable[[Job], Any]


def test_a_job_waits_for_its_turn(job: Job, waiting: Waiting) -> None:
    shown = waiting(job)
    assert (shown["reason"], shown["until"], shown["detail"]) == ("queue", None, None)


@pytest.mark.parametrize(
    ("fields", "reason", "detail"),
    [
        ({"stop_reason": "the bill is too high"}, "upstream_stopped", "the bill is too high"),
        ({"pause_reason": "403: no such key"}, "upstream_paused", "403: no such key"),
        ({"unrecognized_reason": "x"}, "upstream_stopped", "It does not know the videos that we made there."),
    ],
)
def test_a_job_waits_for_an_upstream_that_is_closed(
    job: Job, upstream: Upstream, waiting: Waiting, fields: dict[str, str], reason: str, detail: str
) -> None:
    upstream.provider()
    (name,) = fields
    column = {"stop_reason": "stopped_at", "pause_reason": "paused_at"}.get(name, "unrecognized_at")
    Provider.objects.update(**fields, **{column: database_now() - timedelta(days=2)})
    shown = waiting(job)
    assert (shown["reason"], shown["detail"], shown["until"]) == (reason, detail, None)
    assert shown["since"] < job.created_at.isoformat()


@pytest.mark.parametrize(("failures", "reason"), [(0, "upstream_backoff"), (5, "circuit_breaker")])
def test_a_job_waits_for_an_upstream_that_was_busy(
    job: Job, upstream: Upstream, waiting: Waiting, failures: int, reason: str
) -> None:
    upstream.provider()
    until = database_now() + timedelta(minutes=5)
    Provider.objects.update(
        sending_backoff_until=until, sending_backoff_reason="Too many tasks", failures=failures
    )
    shown = waiting(job)
    assert (shown["reason"], shown["detail"]) == (reason, "Too many tasks")
    assert shown["until"].startswith(f"{until:%Y-%m-%dT%H:%M:%S}")


def test_a_job_whose_create_was_not_answered_says_so_until_it_is_settled(
    job: Job, upstream: Upstream, sora: ScriptedClient, waiting: Waiting
) -> None:
    sora.after = dropped
    assert submit_next(upstream)
    shown = waiting(job)
    assert (shown["reason"], shown["detail"]) == ("unknown_outcome", "reset after sending")
    assert shown["until"].startswith(f"{only(job).give_up_at:%Y-%m-%dT%H:%M:%S}")


def test_a_job_that_is_sent_or_rendered_says_so(job: Job, upstream: Upstream, waiting: Waiting) -> None:
    assert submit_next(upstream)
    assert waiting(job) is None
    Submission.objects.update(state="sending", upstream_id=None)
    Job.objects.update(status="pending")
    assert waiting(job)["reason"] == "sending"


def test_a_job_waits_for_its_next_attempt(
    job: Job, upstream: Upstream, sora: ScriptedClient, waiting: Waiting
) -> None:
    sora.before = raising(errors.NotSent("no connection"))
    assert submit_next(upstream)
    Provider.objects.update(sending_backoff_until=None)
    Job.objects.update(due_at=database_now() + timedelta(seconds=40))
    shown = waiting(job)
    assert shown["reason"] == "retry"
    assert shown["until"] > shown["since"]


def test_a_job_waits_within_the_limits_of_its_batch_and_its_account(
    make_job: MakeJob, owner: User, upstream: Upstream, waiting: Waiting, settings: Settings
) -> None:
    running, job = make_job(), make_job()
    assert submit_next(upstream)
    group = Group.objects.create(owner=owner, limit=1)
    Job.objects.update(group=group)
    assert only(running).state == "rendering"
    assert waiting(job)["reason"] == "batch_limit"
    Group.objects.update(limit=2)
    assert waiting(job)["reason"] == "queue"
    settings.MAX_IN_FLIGHT_JOBS = 1
    assert waiting(job)["reason"] == "owner_limit"
    Group.objects.update(held=True)
    assert waiting(job)["reason"] == "batch_paused"


def test_a_job_that_nobody_answers_for_is_held(job: Job, waiting: Waiting) -> None:
    Job.objects.update(held=True)
    assert waiting(job)["reason"] == "held"


def test_a_job_waits_for_a_worker(job: Job, waiting: Waiting) -> None:
    heartbeats.record(Heartbeat.Role.WORKER, worked=True)
    assert waiting(job)["reason"] == "queue"
    Heartbeat.objects.update(worked_at=database_now() - timedelta(seconds=11))
    assert waiting(job)["reason"] == "no_worker"


def test_the_page_explains_each_reason() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/videos.md").read_text()
    named = set(re.findall(r"^\| `([a-z_]+)` \|", page.partition("### Why it waits")[2], re.MULTILINE))
    assert set(Reason) <= named
