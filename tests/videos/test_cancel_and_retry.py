from collections.abc import Callable
from dataclasses import replace

import pytest
from pytest_django import Settings

from tests.configured import configure
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, submit_next
from tests.videos.test_submit import only, raising
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest
from upstreams.registry import Upstream
from videos.lifecycle.cancel import NotCancellable, cancel, drop
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import NotRetryable, RendersElsewhere, retry
from videos.models import Job, Submission
from videos.queue.attend import attend, attend_to
from videos.queue.dispatch import all_due_work
from videos.results.store import store

pytestmark = pytest.mark.django_db

CANCELS = replace(OPENAI, cancels=True)


def work(upstream: Upstream, *, later: float = 0) -> None:
    """What the workers do with everything that is due then."""
    with worked(later):
        for due in all_due_work():
            if due.task == "sweep":
                sweep(upstream)
            elif due.task == "submit":
                submit_next(upstream)
            elif due.kind is not None:
                attend(upstream, due.kind)


def test_a_pending_job_is_cancelled_and_never_sent(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    assert "Nothing runs upstream" in cancel(job).message
    work(upstream)
    job.refresh_from_db()
    assert (job.status, sora.creates) == ("cancelled", [])
    assert job.cancelled_at is not None


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_what_has_ended_cannot_be_cancelled(job: Job, upstream: Upstream, status: str) -> None:
    Job.objects.filter(pk=job.pk).update(status=status, video="v.mp4", error_code="x")
    with pytest.raises(NotCancellable):
        cancel(job)


def test_a_render_that_the_upstream_cannot_stop_runs_on_and_is_said(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    assert "cannot stop" in cancel(job).message
    work(upstream, later=60)
    assert sora.deleted == []
    assert only(job).state == "rendering"


def test_a_render_that_the_upstream_can_stop_is_deleted_once(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(CANCELS)
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    submit_next(upstream)
    video_id = str(only(job).upstream_id)
    assert "being stopped" in cancel(job).message
    work(upstream)
    work(upstream)
    assert sora.deleted == [video_id]
    assert (only(job).state, only(job).cost_state) == ("dropped", "settled")


def test_nothing_is_asked_of_an_upstream_without_a_delete(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, deletes=False))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    assert "rendered already" in cancel(job).message
    retrieves = sora.retrieves
    work(upstream)
    assert (sora.deleted, sora.retrieves) == ([], retrieves)
    assert (only(job).state, only(job).cost_state) == ("dropped", "settled")


def test_a_drop_is_committed_before_the_delete_and_survives_a_crash(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(CANCELS)
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    submit_next(upstream)
    cancel(job)
    sora.delete_error = errors.Unavailable("502")
    work(upstream)
    assert only(job).state == "dropping"
    sora.delete_error = None
    work(upstream, later=5)
    assert only(job).state == "dropped"


def test_an_upstream_that_never_drops_is_left_alone_in_the_end(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(CANCELS)
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    submit_next(upstream)
    cancel(job)
    sora.delete_error = errors.Rejected("Video is still being processed")
    for tries in range(12):
        work(upstream, later=tries * 700)
    assert only(job).state == "dropped"


def test_a_drop_that_is_not_due_is_not_tried(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(CANCELS)
    configure(monkeypatch, upstream)
    job = make_job()
    submit_next(upstream)
    cancel(job)
    upstream.client.delete_error = errors.Unavailable("502")  # type: ignore[attr-defined]
    work(upstream)
    drop(only(job), upstream)
    assert only(job).attempts == 1


def test_a_rendered_video_of_a_cancelled_job_is_dropped_and_stays_paid(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    video_id = str(only(job).upstream_id)
    sora.complete(video_id)
    sweep(upstream)
    assert "rendered already" in cancel(job).message
    work(upstream)
    assert sora.deleted == [video_id]
    assert (only(job).state, only(job).cost_state) == ("dropped", "settled")
    assert Job.objects.get().status == "cancelled"


def test_a_cancel_says_what_earlier_attempts_cost(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(monkeypatch, replace(upstream, bills_failed=True))
    submit_next(upstream)
    sora.fail(str(only(job).upstream_id))
    sweep(upstream)
    job.refresh_from_db()
    assert "stays paid" in cancel(retry(job)).message


@pytest.mark.parametrize("status", ["pending", "processing", "completed"])
def test_only_what_failed_or_was_cancelled_is_retried(job: Job, upstream: Upstream, status: str) -> None:
    Job.objects.filter(pk=job.pk).update(status=status, video="v.mp4")
    with pytest.raises(NotRetryable):
        retry(job)


def test_a_failed_render_is_sent_and_paid_again_only_on_request(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    sora.fail(str(only(job).upstream_id))
    sweep(upstream)
    work(upstream, later=3600)
    assert len(sora.creates) == 1
    again = retry(job)
    assert (again.status, again.error_code, again.failed_at, again.progress) == ("pending", "", None, 0)
    work(upstream)
    assert len(sora.creates) == 2


def test_a_retry_goes_on_with_a_render_that_still_runs(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    cancel(job)
    assert retry(job).status == "processing"
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    store(only(job), upstream)
    assert Job.objects.get().status == "completed"
    assert len(sora.creates) == 1


def test_a_retry_goes_on_with_a_rendered_video(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    cancel(job)
    assert retry(job).status == "processing"
    work(upstream)
    assert Job.objects.get().status == "completed"
    assert len(sora.creates) == 1


@pytest.mark.parametrize("deletes", [True, False])
def test_a_retry_takes_the_file_of_a_render_that_finished_after_the_cancel(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch, deletes: bool
) -> None:
    upstream = scripted(replace(OPENAI, deletes=deletes))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    submit_next(upstream)
    cancel(job)
    sora.complete(str(only(job).upstream_id))
    work(upstream, later=60)
    assert (only(job).state, only(job).cost_state) == ("dropped", "settled")
    assert retry(job).status == "processing"
    work(upstream, later=60)
    work(upstream, later=120)
    job.refresh_from_db()
    assert (job.status, len(sora.creates)) == ("completed", 1)
    assert (only(job).state, only(job).cost_state) == ("stored", "settled")


@pytest.mark.parametrize("gone", ["deleted", "expired", "failed"])
def test_what_has_no_file_after_the_cancel_is_sent_again_by_a_retry(
    job: Job, upstream: Upstream, sora: ScriptedClient, gone: str
) -> None:
    submit_next(upstream)
    video_id = str(only(job).upstream_id)
    if gone == "deleted":
        sora.complete(video_id)
        sweep(upstream)
    cancel(job)
    if gone == "failed":
        sora.fail(video_id)
    else:
        sora.complete(video_id)
    work(upstream, later=60)
    assert only(job).state == "dropped"
    with worked(4_000 if gone == "expired" else 120):
        assert retry(job).status == "pending"
        work(upstream)
    assert len(sora.creates) == 2


def test_a_retry_revives_what_was_given_up_with_an_id(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    submit_next(upstream)
    patience = settings.JOB_GIVE_UP_AFTER
    with worked(patience + 1):
        work(upstream)
        assert only(job).state == "given_up"
        job.refresh_from_db()
        assert retry(job).status == "processing"
        assert (only(job).state, only(job).cost_state) == ("rendering", "settled")
        work(upstream)
        assert only(job).state == "rendering", "its clock was restarted"
    assert len(sora.creates) == 1


def elsewhere(upstream: Upstream) -> tuple[Upstream, ScriptedClient]:
    """The upstream that is configured by then."""
    client = ScriptedClient()
    return replace(upstream, name="another", client=client), client  # type: ignore[arg-type]


def test_what_was_given_up_at_an_upstream_of_the_past_is_sent_to_the_present_one(
    job: Job, upstream: Upstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    present, sora = elsewhere(upstream)
    configure(monkeypatch, present)
    with worked(settings.JOB_GIVE_UP_AFTER + 1):
        work(present)
        assert (only(job).state, Job.objects.get().error_code) == ("given_up", "gave_up")
        assert retry(job).status == "pending"
        work(present)
    assert job.submissions.get(number=1).state == "given_up"
    assert (job.submissions.get(number=2).state, len(sora.creates)) == ("rendering", 1)


@pytest.mark.parametrize("state", ["sending", "unknown", "rendering", "rendered", "dropping"])
def test_what_an_upstream_of_the_past_may_still_be_paid_for_is_waited_for(
    job: Job, upstream: Upstream, settings: Settings, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    Submission.objects.update(
        state=state,
        cost_state="settled" if state == "rendered" else "reserved",
        upstream_id=None if state in {"sending", "unknown"} else "video_1",
    )
    cancel(job)
    present, sora = elsewhere(upstream)
    configure(monkeypatch, present)
    with pytest.raises(RendersElsewhere, match="at scripted") as raised:
        retry(job)
    assert job.submissions.count() == 1
    assert Job.objects.get().status == "cancelled"
    with worked(raised.value.wait + 1):
        for _ in range(2):
            work(present)
        assert retry(job).status == "pending"
        work(present)
    assert len(sora.creates) == 1


def test_back_at_the_upstream_of_the_past_a_retry_goes_on_with_what_it_has(
    job: Job, upstream: Upstream, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    present, _ = elsewhere(upstream)
    configure(monkeypatch, present)
    with worked(settings.JOB_GIVE_UP_AFTER + 1):
        work(present)
        job.refresh_from_db()
        configure(monkeypatch, upstream)
        assert retry(job).status == "processing"
        assert only(job).state == "rendering"


def test_a_retry_of_what_was_given_up_without_an_id_is_a_new_attempt(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    sora.list_error = errors.Unavailable("502")
    submit_next(upstream)
    for minutes in range(0, 60, 10):
        work(upstream, later=settings.JOB_GIVE_UP_AFTER + 60 * minutes + 1)
        assert only(job).state == "unknown", "the list is given an hour to answer first"
    for minutes in (61, 62):
        work(upstream, later=settings.JOB_GIVE_UP_AFTER + 60 * minutes)
    assert only(job).state == "given_up"
    assert retry(job).status == "pending"


def test_a_create_lost_before_a_long_downtime_is_looked_for_before_it_is_given_up(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    video = sora.add(CreateRequest(**submission.request))
    for later in (1, 10, 20):
        work(upstream, later=3 * settings.JOB_GIVE_UP_AFTER + later)
    assert (only(job).state, only(job).upstream_id) == ("rendering", video.id)


def test_what_cannot_be_proven_absent_is_given_up_after_a_last_search(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    sora.add(CreateRequest("a stranger", "sora-2", "4", "1280x720"))
    for later in (20, settings.JOB_GIVE_UP_AFTER - 60):
        work(upstream, later=later)
        assert only(job).state == "unknown"
    work(upstream, later=settings.JOB_GIVE_UP_AFTER + 700)
    assert (only(job).state, Job.objects.get().error_code) == ("given_up", "gave_up")


@pytest.mark.parametrize("state", ["sending", "unknown", "dropping"])
def test_a_retry_opens_nothing_while_an_attempt_is_undecided(
    job: Job, upstream: Upstream, sora: ScriptedClient, state: str
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    upstream_id = "video_1" if state == "dropping" else None
    Submission.objects.filter(pk=submission.pk).update(state=state, upstream_id=upstream_id)
    cancel(job)
    assert retry(job).status == "pending"
    assert claim_next(upstream) is None


def test_a_retried_job_does_not_lose_its_video_to_a_late_drop(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    sora.complete(str(only(job).upstream_id))
    sweep(upstream)
    cancel(job)
    stale = Submission.objects.select_related("job").get()
    retry(job)
    attend_to(stale, upstream)
    assert sora.deleted == []
    work(upstream, later=200)
    assert Job.objects.get().status == "completed"
