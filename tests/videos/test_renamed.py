"""A create that is answered with an id that the upstream does not know, while its list has the video."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from pytest_django import Settings

from tests.videos.scripted import ScriptedClient, clip
from tests.videos.sending import submit_next
from tests.videos.test_identity import accepted, until
from tests.videos.test_reconcile import dropped
from upstreams.client.types import Video
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.models import Job, JobEvent, Submission

pytestmark = pytest.mark.django_db
MakeJob = Callable[..., Job]


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]


def misnamed(upstream: Upstream, sora: ScriptedClient, make_job: MakeJob) -> Submission:
    """A render whose create was answered with an id of its own; another one keeps the upstream known."""
    accepted(upstream, make_job, "another")
    sora.after = lambda video: replace(video, id="answered")
    (submission,) = accepted(upstream, make_job, "a boat")
    sora.after = None
    assert submission.upstream_id == "answered"
    return submission


def listed(sora: ScriptedClient) -> Video:
    (video,) = [each for each in sora.videos.values() if each.prompt == "a boat"]
    return video


def test_it_is_followed_under_the_id_on_the_list_and_paid_once(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    submission = misnamed(upstream, sora, make_job)
    until(upstream, 160)
    submission.refresh_from_db()
    assert (submission.state, submission.upstream_id) == ("rendering", listed(sora).id)
    assert "never knew" in caplog.text
    event = JobEvent.objects.filter(job=submission.job, detail__how="renamed").get()
    assert event.detail == {"upstreamId": listed(sora).id, "how": "renamed", "answered": "answered"}
    sora.complete(listed(sora).id)
    sora.content = clip()
    until(upstream, 250)
    submission.refresh_from_db()
    assert submission.state == "stored"
    assert len(sora.creates) == 2


def test_a_match_of_another_time_is_not_taken(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    submission = misnamed(upstream, sora, make_job)
    video = listed(sora)
    assert video.created_at is not None
    sora.videos[video.id] = replace(video, created_at=video.created_at - timedelta(minutes=5))
    until(upstream, 160)
    submission.refresh_from_db()
    assert submission.state == "lost"


def test_a_render_that_was_seen_under_its_id_takes_no_other(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    accepted(upstream, make_job, "another")
    (submission,) = accepted(upstream, make_job, "a boat")
    until(upstream, 10)
    video = sora.videos.pop(str(submission.upstream_id))
    sora.videos["foreign"] = replace(video, id="foreign")
    until(upstream, 200)
    submission.refresh_from_db()
    assert submission.state == "lost"


def test_a_match_that_another_attempt_may_own_is_left_to_that(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    submission = misnamed(upstream, sora, make_job)
    del sora.videos[listed(sora).id]
    other = make_job("a boat")
    sora.after = dropped
    assert submit_next(upstream)
    unknown = Submission.objects.filter(job=other, state="unknown")
    # It is not looked for yet.
    unknown.update(due_at=database_now() + timedelta(hours=1))
    until(upstream, 160)
    submission.refresh_from_db()
    assert (submission.state, submission.upstream_id) == ("rendering", "answered")
    unknown.update(due_at=database_now())
    until(upstream, 250)
    submission.refresh_from_db()
    assert other.submissions.get().upstream_id == listed(sora).id
    assert submission.state == "lost"
