"""What is past its deadline is given up as what it is, and counts as paid."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_submit import only
from upstreams.clock import shifted
from upstreams.registry import Upstream
from videos.lifecycle import expiry
from videos.lifecycle.expiry import UNPLAYABLE, give_up_if_expired, is_silent, record_contact
from videos.lifecycle.following.sweep import sweep
from videos.models import Job, Submission, locked

pytestmark = pytest.mark.django_db

NOW = timezone.now()
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry, "has_worked_until", lambda *_: True)


@pytest.fixture
def rendered(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient) -> Submission:
    job = make_job()
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    return only(job)


def given_up(submission: Submission, **fields: object) -> Submission:
    """After its deadline."""
    Submission.objects.filter(pk=submission.pk).update(give_up_at=timezone.now() - HOUR, **fields)
    with locked(submission) as (job, locked_submission):
        give_up_if_expired(job, locked_submission)
    submission.refresh_from_db()
    return submission


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"expires_at": NOW + 24 * HOUR}, "given_up"),
        ({"expires_at": None}, "given_up"),
        ({"expires_at": NOW - HOUR}, "lost"),
        ({"expires_at": NOW + 24 * HOUR, "error_code": UNPLAYABLE}, "lost"),
    ],
)
def test_a_file_that_never_came_is_lost_if_it_is_gone_and_else_given_up(
    rendered: Submission, fields: dict[str, object], state: str
) -> None:
    given_up(rendered, **fields)
    assert (rendered.state, rendered.error_code) == (state, "result_lost")
    assert (rendered.cost_state, rendered.due_at) == ("settled", None)
    job = Job.objects.get()
    assert (job.status, job.error_code) == ("failed", "result_lost")


def test_a_render_with_an_id_is_asked_after_later(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job()
    submit_next(upstream)
    rendering = given_up(only(job))
    assert (rendering.state, rendering.cost_state) == ("given_up", "settled")
    assert rendering.due_at is not None
    assert timezone.now() + 0.9 * HOUR < rendering.due_at < timezone.now() + 1.1 * HOUR
    job.refresh_from_db()
    assert (job.status, job.error_code) == ("failed", "gave_up")


def test_before_its_deadline_nothing_is_given_up(rendered: Submission) -> None:
    with locked(rendered) as (job, submission):
        give_up_if_expired(job, submission)
    rendered.refresh_from_db()
    assert rendered.state == "rendered"


def test_an_answer_ends_a_silence(rendered: Submission) -> None:
    for minutes in range(0, 91, 10):
        with shifted(timedelta(minutes=minutes)):
            record_contact(rendered, False, timezone.now() + timedelta(minutes=minutes))
    rendered.refresh_from_db()
    assert is_silent(rendered)
    record_contact(rendered, True, timezone.now())
    rendered.refresh_from_db()
    assert (rendered.silent_since, rendered.silent_at) == (None, None)
    assert not is_silent(rendered)
