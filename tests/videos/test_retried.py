"""What a cancel and a retry write down, and what they answer."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models import Q
from pytest_django import Settings

from accounts.models import ApiKey, Reservation, User
from tests.configured import configure
from tests.videos.rows import submission_in
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, submit_next
from tests.videos.test_submit import only
from upstreams.client.dialects import OPENAI
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.lifecycle.cancel_many import cancel_many
from videos.lifecycle.create import QueueFull
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import NotRetryable, RendersElsewhere, retry
from videos.models import Job, Submission
from videos.states import SubmissionState

pytestmark = pytest.mark.django_db


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    for module in ("cancel", "retry"):
        monkeypatch.setattr(f"videos.lifecycle.{module}.wake", found.append)
    return found


@pytest.fixture
def key(owner: User) -> ApiKey:
    return ApiKey.issue(owner, "another")[0]


def last_detail(job: Job) -> object:
    return job.events.order_by("-pk").values_list("detail", flat=True)[0]


def test_a_cancel_says_who_asked_for_it(job: Job, make_job: Callable[..., Job]) -> None:
    cancel(job)
    assert last_detail(job) == {"by": "caller"}
    other = make_job()
    cancel(other, by="operator eve")
    assert last_detail(other) == {"by": "operator eve"}


def test_a_cancel_of_many_says_who_asked_and_when(
    job: Job, make_job: Callable[..., Job], upstream: Upstream
) -> None:
    submit_next(upstream)
    waiting = make_job()
    before = database_now()

    assert cancel_many(Q(owner=job.owner), by="operator eve") == 2

    for each in Job.objects.all():
        assert (each.status, last_detail(each)) == ("cancelled", {"by": "operator eve"})
        assert each.cancelled_at is not None
        assert before <= each.cancelled_at <= database_now()
    assert waiting.submissions.count() == 0


def test_a_cancel_wakes_who_has_to_stop_the_render(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, woken: list[str]
) -> None:
    upstream = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, upstream)
    running = make_job()
    submit_next(upstream)
    waiting = make_job()
    cancel(waiting)
    assert woken == []
    cancel(running)
    assert woken == ["dispatch"]


@pytest.mark.parametrize(
    ("state", "stoppable", "runs_on", "message"),
    [
        (None, False, False, "Nothing runs upstream for it."),
        ("sending", False, True, "It was being sent"),
        ("unknown", True, True, "It was being sent"),
        ("rendering", False, True, "This upstream cannot stop a render"),
        ("rendering", True, False, "The render is being stopped upstream."),
        ("rendered", False, False, "It had been rendered already"),
        ("dropping", True, False, "Its earlier render is being dropped"),
    ],
)
def test_a_cancel_says_whether_a_render_runs_on(
    make_job: Callable[..., Job],
    monkeypatch: pytest.MonkeyPatch,
    state: str | None,
    stoppable: bool,
    runs_on: bool,
    message: str,
) -> None:
    configure(monkeypatch, scripted(replace(OPENAI, cancels=stoppable)))
    job = make_job()
    if state is not None:
        submission_in(job, SubmissionState(state), attempts=3)

    found = cancel(job)

    assert (found.runs_on, found.message.startswith(message)) == (runs_on, True)
    # What is sent or looked for goes on as it was.
    tries_again = state == "rendered" or (state == "rendering" and stoppable)
    assert [each.attempts for each in job.submissions.all()] == [0 if tries_again else 3] * (
        state is not None
    )


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_refused_cancel_shows_the_status(job: Job, status: str) -> None:
    Job.objects.filter(pk=job.pk).update(status=status, video="v.mp4", error_code="x")
    with pytest.raises(NotCancellable, match=f"The job is {status}; only") as refused:
        cancel(job)
    assert refused.value.extra == {"status": status}


@pytest.mark.parametrize("status", ["pending", "processing", "completed"])
def test_a_refused_retry_shows_the_status(job: Job, upstream: Upstream, status: str) -> None:
    Job.objects.filter(pk=job.pk).update(status=status, video="v.mp4")
    with pytest.raises(NotRetryable, match=f"The job is {status}; only") as refused:
        retry(job)
    assert refused.value.extra == {"status": status}


def test_a_retry_that_has_to_wait_says_until_when(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    cancel(job)
    configure(monkeypatch, replace(upstream, name="another", client=ScriptedClient()))  # type: ignore[arg-type]
    for left, wait in ((timedelta(hours=2), 7_200), (timedelta(seconds=-5), 1)):
        given_up_at = database_now() + left
        Submission.objects.update(give_up_at=given_up_at)
        with pytest.raises(RendersElsewhere) as refused:
            retry(job)
        assert refused.value.extra == {"status": "cancelled", "givenUpAt": given_up_at}
        assert refused.value.wait == pytest.approx(wait, abs=2 if wait > 1 else 0)


def test_a_retry_answers_to_the_key_that_asked_for_it(
    job: Job, upstream: Upstream, key: ApiKey, woken: list[str]
) -> None:
    cancel(job)

    retry(job, api_key=key)

    assert Job.objects.get().api_key == key
    assert Reservation.objects.get(state="held").api_key == key
    assert last_detail(job) == {"by": "caller"}
    assert woken == ["dispatch", "submit"]


def test_a_retry_counts_the_others_that_wait(
    make_job: Callable[..., Job], upstream: Upstream, settings: Settings
) -> None:
    first, second = make_job(), make_job()
    cancel(first)
    settings.MAX_QUEUED_JOBS = 1
    with pytest.raises(QueueFull):
        retry(first)
    assert Job.objects.get(pk=first.pk).status == "cancelled"
    cancel(second)
    assert retry(first).status == "pending"


def test_a_revived_render_starts_its_job_as_of_the_retry(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    cancel(job)
    Job.objects.update(started_at=None)
    retry(job)
    again = Job.objects.get()
    assert again.status == "processing"
    assert again.started_at == again.asked_at


def test_a_job_that_has_started_keeps_its_start(job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    started_at = Job.objects.get().started_at
    cancel(job)
    retry(job)
    assert Job.objects.get().started_at == started_at is not None


def test_a_job_that_waits_again_has_not_started(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    cancel(job)
    retry(job)
    assert Job.objects.get().started_at is None


def test_a_revived_render_has_been_missed_by_no_poll(job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    cancel(job)
    ended = {"state": "given_up", "cost_state": "settled", "ended_at": database_now(), "due_at": None}
    Submission.objects.update(missing_polls=2, missing_since=database_now(), **ended)

    retry(job)

    assert (only(job).state, only(job).missing_polls, only(job).missing_since) == ("rendering", 0, None)
    event = job.events.filter(subject="submission").order_by("-pk")[0]
    assert (event.to_state, event.detail) == ("rendering", {"how": "revived"})


def test_a_video_whose_id_was_given_again_is_not_revived(job: Job, upstream: Upstream) -> None:
    submit_next(upstream)
    cancel(job)
    ended = {"state": "given_up", "cost_state": "settled", "ended_at": database_now(), "due_at": None}
    Submission.objects.update(id_reused=True, **ended)
    assert retry(job).status == "pending"


@pytest.mark.parametrize("state", ["failed", "lost", "stored"])
def test_only_what_was_given_up_or_dropped_is_revived(
    job: Job, upstream: Upstream, sora: ScriptedClient, state: str
) -> None:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    cancel(job)
    Submission.objects.update(state=state, cost_state="settled", ended_at=database_now(), due_at=None)
    assert retry(job).status == "pending"
    assert claim_next(upstream) is not None
