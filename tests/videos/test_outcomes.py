"""What becomes of an attempt, by what is known of its create: each field that later steps go by."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next
from upstreams.client import errors
from upstreams.client.types import CreateRequest, Phase, Video
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle import outcomes
from videos.lifecycle.outcomes import (
    accept,
    dated_within,
    expire_leases,
    record_rejected,
    record_unknown,
    record_unsent,
)
from videos.models import Job, JobEvent, Submission, locked

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)


@pytest.fixture
def sending(make_job: Callable[..., Job], upstream: Upstream) -> Submission:
    make_job()
    submission = claim_next(upstream)
    assert submission is not None
    return submission


def video_of(submission: Submission, sora: ScriptedClient) -> Video:
    return sora.add(CreateRequest(**submission.request))


def accepted(
    submission: Submission, video: Video, upstream: Upstream, how: str = "answered", **more: Any
) -> bool:
    with locked(submission) as (job, locked_submission):
        found = accept(job, locked_submission, video, upstream, how=how, **more)
    submission.refresh_from_db()
    return found


def age(at: Any) -> float:
    return float((timezone.now() - at).total_seconds())


def test_an_accepted_one_is_polled_soon_and_given_up_late(
    sending: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    video = video_of(sending, sora)
    other = Provider.objects.create(name="other", books_checked_at=timezone.now() - 60 * SECOND)
    Provider.objects.filter(pk=sending.provider_id).update(books_checked_at=timezone.now() - 60 * SECOND)
    assert accepted(sending, video, upstream, by="ada")
    assert (sending.state, sending.upstream_id, sending.cost_state) == ("rendering", video.id, "reserved")
    assert sending.upstream_created_at == video.created_at
    assert sending.accepted_at is not None
    assert sending.seen_at is not None
    assert sending.due_at is not None
    assert abs(age(sending.accepted_at)) < 30
    assert abs(age(sending.seen_at)) < 30
    assert 0 < -age(sending.due_at) < 60
    assert abs(age(sending.give_up_at) + settings.JOB_GIVE_UP_AFTER) < 60
    job = Job.objects.get()
    assert job.status == "processing"
    assert job.started_at is not None
    assert abs(age(job.started_at)) < 30
    event = JobEvent.objects.get(job=job, subject="submission", to_state="rendering")
    assert event.detail == {"upstreamId": video.id, "how": "answered", "by": "ada"}
    assert JobEvent.objects.get(job=job, subject="job", to_state="processing").detail == {"by": "ada"}
    # Our books know what was just created there, and of no other upstream anything.
    assert abs(age(Provider.objects.get(pk=sending.provider_id).books_checked_at)) < 30
    other.refresh_from_db()
    assert age(other.books_checked_at) > 50
    assert not accepted(sending, video, upstream), "once"


def test_dates_that_agree_are_noted_and_those_that_do_not_end_a_proof(
    sending: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    provider = Provider.objects.filter(pk=sending.provider_id)
    provider.update(dates_agree=True, proves_absence=True)
    other = Provider.objects.create(name="other", dates_agree=True, proves_absence=True)
    late = settings.SORA_CLOCK_SKEW + 3_600
    video = replace(video_of(sending, sora), created_at=timezone.now() + late * SECOND)
    assert accepted(sending, video, upstream)
    assert provider.values_list("dates_agree", "proves_absence").get() == (False, False)
    other.refresh_from_db()
    assert (other.dates_agree, other.proves_absence) == (True, True)


def test_a_recovered_one_says_nothing_of_dates(
    sending: Submission, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    provider = Provider.objects.filter(pk=sending.provider_id)
    provider.update(dates_agree=True)
    late = settings.SORA_CLOCK_SKEW + 3_600
    video = replace(video_of(sending, sora), created_at=timezone.now() + late * SECOND)
    assert accepted(sending, video, upstream, how="recovered")
    assert provider.get().dates_agree is True


def test_only_what_may_be_accepted_is(sending: Submission, upstream: Upstream, sora: ScriptedClient) -> None:
    record_unsent(sending, "it was not sent", wait=5)
    assert not accepted(sending, video_of(sending, sora), upstream)
    assert (sending.state, sending.upstream_id) == ("unsent", None)


def test_one_that_was_given_up_without_an_id_gets_it_later(
    sending: Submission, upstream: Upstream, sora: ScriptedClient
) -> None:
    record_unknown(sending, "no answer")
    with locked(sending) as (_, submission):
        submission.move("given_up", cost_state="settled")
    video = video_of(sending, sora)
    assert not accepted(sending, video, upstream, how="found")
    assert (sending.state, sending.upstream_id) == ("given_up", video.id)
    assert sending.upstream_created_at == video.created_at
    for at in (sending.accepted_at, sending.seen_at, sending.due_at):
        assert at is not None
        assert abs(age(at)) < 30


def test_an_unknown_one_is_searched_for_soon_and_still_reserved(
    sending: Submission, settings: Settings
) -> None:
    Submission.objects.update(attempts=3)
    record_unknown(sending, "no answer", answered=True)
    sending.refresh_from_db()
    assert (sending.state, sending.cost_state, sending.attempts) == ("unknown", "reserved", 0)
    assert (sending.answered, sending.create_succeeded, sending.error_message) == (True, False, "no answer")
    assert sending.due_at is not None
    assert abs(age(sending.due_at) + settings.SORA_RECONCILE_SECONDS[0]) < 30
    # It is one already.
    record_unknown(sending, "again")
    sending.refresh_from_db()
    assert sending.error_message == "no answer"


@pytest.mark.parametrize(("succeeded", "state"), [(False, "absent"), (True, "unknown")])
def test_one_that_was_called_absent_comes_back_only_if_it_was_accepted(
    sending: Submission, succeeded: bool, state: str
) -> None:
    record_unknown(sending, "no answer")
    with locked(sending) as (_, submission):
        submission.move("absent", cost_state="returned")
    record_unknown(sending, "late", succeeded=succeeded)
    sending.refresh_from_db()
    assert (sending.state, sending.create_succeeded) == (state, succeeded)


@pytest.mark.parametrize("waits", [True, False])
def test_one_that_was_accepted_after_all_is_paid_if_nobody_waits_for_it(
    sending: Submission, waits: bool
) -> None:
    record_unknown(sending, "no answer")
    with locked(sending) as (_, submission):
        submission.move("absent", cost_state="returned")
    if not waits:
        Job.objects.update(status="cancelled")
    record_unknown(sending, "late", succeeded=True)
    sending.refresh_from_db()
    expected = ("unknown", "reserved") if waits else ("given_up", "settled")
    assert (sending.state, sending.cost_state) == expected


def test_only_a_sender_that_did_not_come_back_is_unknown(
    sending: Submission, make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    make_job("another")
    rendering = claim_next(upstream)
    assert rendering is not None
    assert accepted(rendering, video_of(rendering, sora), upstream)
    make_job("a third")
    young = claim_next(upstream)
    assert young is not None
    past = timezone.now() - 60 * SECOND
    Submission.objects.filter(pk__in=[sending.pk, rendering.pk]).update(due_at=past)
    expire_leases()
    states = {each.pk: (each.state, each.answered) for each in Submission.objects.all()}
    assert states == {
        sending.pk: ("unknown", False),
        rendering.pk: ("rendering", False),
        young.pk: ("sending", False),
    }


def test_a_refusal_is_kept_with_its_cause(sending: Submission) -> None:
    error = errors.Rejected("no such size", status=400, code="bad_size", param="size")
    record_rejected(sending, error)
    sending.refresh_from_db()
    assert (sending.state, sending.cost_state, sending.error_code) == ("rejected", "released", "bad_size")
    cause = {"status": 400, "code": "bad_size", "message": error.message, "param": "size"}
    assert JobEvent.objects.get(subject="submission", to_state="rejected").detail == {"cause": cause}
    job = Job.objects.get()
    assert (job.status, job.error_code) == ("failed", "SORA_SUBMISSION_FAILED")
    assert job.error_details == cause
    assert job.failed_at is not None
    assert abs(age(job.failed_at)) < 30
    assert JobEvent.objects.get(subject="job", to_state="failed").detail == {"code": "SORA_SUBMISSION_FAILED"}


def test_one_that_was_not_sent_says_why_and_costs_nothing(sending: Submission) -> None:
    record_unsent(sending, "it is busy", wait=20, code="busy")
    sending.refresh_from_db()
    assert (sending.state, sending.cost_state) == ("unsent", "returned")
    assert (sending.error_code, sending.error_message) == ("busy", "it is busy")
    assert 10 < -age(Job.objects.get().due_at) < 30


def test_a_date_fits_by_the_upstreams_clock(sending: Submission, settings: Settings) -> None:
    """Which is ten minutes ahead of ours, give or take a second."""
    settings.SORA_CLOCK_SKEW = 2
    now = timezone.now()
    sending.created_at = now - 30 * SECOND

    def fits(seconds: float | None, low: float | None = 599, high: float | None = 601) -> bool:
        sending.clock_low, sending.clock_high = low, high
        at = None if seconds is None else now + seconds * SECOND
        return dated_within(Video("video_1", "queued", Phase.RUNNING, created_at=at), sending, now)

    assert fits(None)
    assert fits(-30 + 599 - 2)
    assert not fits(-30 + 599 - 3)
    assert fits(601 + 2)
    assert not fits(601 + 3)
    # Half of a measurement is none.
    for low, high in ((599, None), (None, 601), (None, None)):
        assert fits(2, low, high)
        assert not fits(300, low, high)


@pytest.mark.parametrize(
    ("created", "before_created", "before_accepted", "high", "later"),
    [
        (None, None, 0, 0, False),
        (0, None, None, 0, False),
        (4, None, 0, None, False),
        (6, None, 0, None, True),
        (6, None, 0, 2, False),
        (8, None, 0, 2, True),
        (6, 6, 0, 0, False),
        (60, 0, 0, 0, True),
    ],
)
def test_a_video_is_another_one_by_its_date(
    sending: Submission,
    settings: Settings,
    created: float | None,
    before_created: float | None,
    before_accepted: float | None,
    high: float | None,
    later: bool,
) -> None:
    settings.SORA_CLOCK_SKEW = 5
    noon = timezone.now().replace(microsecond=0)

    def at(seconds: float | None) -> Any:
        return None if seconds is None else noon + seconds * SECOND

    before = Submission(
        upstream_id="video_1", upstream_created_at=at(before_created), accepted_at=at(before_accepted)
    )
    sending.clock_high = high
    video = Video("video_1", "queued", Phase.RUNNING, created_at=at(created))
    assert outcomes._is_later(video, before, sending) is later
