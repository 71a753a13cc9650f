from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from tests.configured import configure
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, submit_next
from tests.videos.test_submit import only, raising
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.client.types import CreateRequest, Video, VideoPage
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.outcomes import accept
from videos.lifecycle.retry import retry
from videos.models import Job, Submission, locked
from videos.queue.attend import attend
from videos.queue.dispatch import all_due_work
from videos.reconciliation.decisions import declare_absent
from videos.reconciliation.listing import NEAR
from videos.reconciliation.reconcile import reconcile

pytestmark = pytest.mark.django_db

WINDOW = [2, 5, 15]


@pytest.fixture(autouse=True)
def _window(settings: Settings) -> None:
    settings.SORA_RECONCILE_SECONDS = WINDOW


def dropped(video: Video) -> Video:
    """The upstream accepts, and the answer never arrives."""
    raise errors.OutcomeUnknown("reset after sending")


def answered_500(video: Video) -> Video:
    raise errors.OutcomeUnknown("500", answered=True)


def search_at(job: Job, upstream: Upstream, seconds: float) -> Submission:
    """What the periodic look does for the job so many seconds after now."""
    with worked(seconds):
        for work in all_due_work():
            if work.kind is not None:
                attend(upstream, work.kind)
    job.refresh_from_db()
    return only(job) if job.submissions.count() == 1 else job.submissions.order_by("-number")[0]


def through_the_window(job: Job, upstream: Upstream) -> Submission:
    submission = only(job)
    for seconds in (2.5, 5.5, 15.5):
        submission = search_at(job, upstream, seconds)
    return submission


def test_what_was_accepted_without_an_answer_is_found_and_adopted(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.after = dropped
    submit_next(upstream)
    assert only(job).state == "unknown"
    submission = search_at(job, upstream, 2.5)
    assert (job.status, submission.state) == ("processing", "rendering")
    assert [submission.upstream_id] == list(sora.videos)
    assert len(sora.creates) == 1


def test_nothing_is_looked_for_before_its_time(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    sora.after = dropped
    submit_next(upstream)
    assert search_at(job, upstream, 1).state == "unknown"
    assert sora.lists == 0


def test_absence_is_proven_only_after_the_whole_window(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert search_at(job, upstream, 2.5).state == "unknown"
    assert search_at(job, upstream, 5.5).state == "unknown"
    submission = search_at(job, upstream, 15.5)
    assert (submission.state, submission.cost_state) == ("absent", "returned")
    sora.before = None
    with shifted(timedelta(seconds=16)):
        assert submit_next(upstream)
    job.refresh_from_db()
    assert job.status == "processing"
    assert len(sora.creates) == 1


def test_a_video_that_shows_late_on_the_list_is_still_found(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.after = dropped
    submit_next(upstream)
    sora.hidden = set(sora.videos)
    assert search_at(job, upstream, 2.5).state == "unknown"
    assert search_at(job, upstream, 5.5).state == "unknown"
    sora.hidden = set()
    assert search_at(job, upstream, 15.5).state == "rendering"


def test_a_list_that_cannot_be_read_proves_nothing(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    sora.list_error = errors.Unavailable("502")
    for seconds in (2.5, 8, 16, 30, 60):
        assert search_at(job, upstream, seconds).state == "unknown"
    sora.list_error = None
    assert search_at(job, upstream, 90).state == "absent"


def test_an_entry_that_cannot_be_read_proves_nothing(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    sora.unreadable = 1
    assert through_the_window(job, upstream).state == "unknown"
    sora.unreadable = 0
    assert search_at(job, upstream, 60).state == "absent"


def test_the_list_is_walked_over_pages_back_to_the_attempt(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.after = dropped
    submit_next(upstream)
    wanted = next(iter(sora.videos))
    later = datetime.now(UTC) + timedelta(minutes=10)
    for number in range(250):
        sora.add(CreateRequest(f"later {number}", "sora-2", "4", "1280x720"), created_at=later)
    assert search_at(job, upstream, 2.5).upstream_id == wanted
    assert sora.lists == 3


def test_a_list_that_runs_in_a_circle_ends_and_proves_nothing(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    page = sora.list()
    pages = iter("abcabcabcabcabc" * 10)
    monkeypatch.setattr(sora, "list", lambda **_: replace(page, next_after=next(pages)))
    assert through_the_window(job, upstream).state == "unknown"


def test_a_video_of_another_submission_is_not_adopted(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    one = make_job("the same")
    submit_next(upstream)
    two = make_job("the same")
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert only(two).state == "unknown"
    assert through_the_window(two, upstream).state == "absent"
    assert only(one).state == "rendering"


def test_of_several_matches_the_earliest_is_adopted_and_the_rest_reported(
    job: Job, upstream: Upstream, sora: ScriptedClient, caplog: pytest.LogCaptureFixture
) -> None:
    sora.after = dropped
    submit_next(upstream)
    earliest = next(iter(sora.videos))
    twin = sora.add(sora.creates[0], created_at=datetime.now(UTC) + timedelta(seconds=3))
    assert search_at(job, upstream, 2.5).upstream_id == earliest
    assert twin.id in caplog.text


def test_a_match_from_long_before_the_attempt_is_not_ours(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    make_job()
    submit_next(upstream)
    assert upstream.provider().dates_agree, "it dates by the clock that it shows"
    job = make_job()
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    before = datetime.now(UTC) - NEAR - timedelta(seconds=settings.SORA_CLOCK_SKEW + 2)
    sora.add(CreateRequest(**job.fitted), created_at=before)
    assert through_the_window(job, upstream).state == "absent"


@pytest.mark.parametrize("dates_agree", [None, True], ids=["clocks unknown", "clocks agree"])
def test_a_match_from_shortly_before_the_attempt_is_left_to_a_person(
    job: Job,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    dates_agree: bool | None,
) -> None:
    upstream.provider()
    Provider.objects.update(dates_agree=dates_agree)
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    before = datetime.now(UTC) - timedelta(seconds=settings.SORA_CLOCK_SKEW + 2)
    near = sora.add(CreateRequest(**job.fitted), created_at=before)
    submission = through_the_window(job, upstream)
    assert (submission.state, submission.upstream_id, submission.cost_state) == ("unknown", None, "reserved")
    assert f"nobody owns {near.id}" in caplog.text
    assert len(sora.creates) == 1


def after_the_lease(submission: Submission, settings: Settings) -> datetime:
    return submission.lease_until + timedelta(seconds=settings.SORA_CLOCK_SKEW + 2)


def test_a_match_that_the_upstream_made_after_the_lease_is_ours(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    submission = only(job)
    late = sora.add(CreateRequest(**submission.request), created_at=after_the_lease(submission, settings))
    assert through_the_window(job, upstream).upstream_id == late.id
    with shifted(timedelta(seconds=20)):
        assert not submit_next(upstream), "it is paid"
    assert job.status == "processing"


def test_a_stranger_from_after_the_lease_does_not_keep_absence_from_being_proven(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    stranger = CreateRequest("a stranger", "sora-2", "4", "1280x720")
    sora.add(stranger, created_at=after_the_lease(only(job), settings))
    assert through_the_window(job, upstream).state == "absent"


def test_what_a_later_attempt_alike_made_is_not_adopted_by_the_one_before(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    one, two = make_job("the same"), make_job("the same")
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    earlier = only(one)
    with shifted(timedelta(seconds=16)):
        assert claim_next(upstream) is None, "the two cannot be told apart on the list"
    assert through_the_window(one, upstream).state == "absent"

    def dropped_later(request: CreateRequest) -> None:
        sora.add(request, created_at=database_now())
        raise errors.OutcomeUnknown("reset after sending")

    sora.before = dropped_later
    with shifted(timedelta(seconds=20)):
        Job.objects.filter(pk=one.pk).update(due_at=database_now() + timedelta(hours=1))
        assert submit_next(upstream)
        reconcile(earlier, upstream)
    assert search_at(two, upstream, 23).state == "rendering"
    assert only(one).state == "absent"


def test_a_match_without_a_date_may_be_ours(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    sora.after = dropped
    submit_next(upstream)
    (video_id,) = sora.videos
    sora.videos[video_id] = replace(sora.videos[video_id], created_at=None)
    assert search_at(job, upstream, 2.5).upstream_id == video_id


def test_a_match_within_the_clock_skew_is_ours(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    early = datetime.now(UTC) - timedelta(seconds=settings.SORA_CLOCK_SKEW - 2)
    video = sora.add(CreateRequest(**job.fitted), created_at=early)
    assert search_at(job, upstream, 2.5).upstream_id == video.id


def test_an_unowned_video_that_does_not_match_leaves_it_to_a_person(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    stranger = sora.add(CreateRequest("rewritten by the upstream", "sora-2", "4", "1280x720"))
    assert through_the_window(job, upstream).state == "unknown"
    with shifted(timedelta(minutes=1)):
        assert not submit_next(upstream)
    del sora.videos[stranger.id]
    sora.list_error = errors.Unavailable("502")
    assert search_at(job, upstream, 700).state == "unknown", "a list that could not be read proves nothing"
    sora.list_error = None
    assert search_at(job, upstream, 800).state == "absent"


def test_what_another_attempt_may_still_own_does_not_leave_it_to_a_person(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient
) -> None:
    job = make_job()
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    # Another worker has posted this one, and has not recorded the answer yet.
    other = make_job()
    sent = claim_next(upstream)
    assert sent is not None
    video = sora.add(CreateRequest(**sent.request))
    undecided = through_the_window(job, upstream)
    assert undecided.state == "unknown"
    assert undecided.due_at is not None
    assert undecided.unknown_at is not None
    assert (undecided.due_at - undecided.unknown_at).total_seconds() < 60
    with locked(sent) as (_, fresh):
        accept(other, fresh, video, upstream, how="answered")
    assert search_at(job, upstream, 60).state == "absent"


def test_a_provider_that_echoes_otherwise_proves_no_absence(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    Provider.objects.update(proves_absence=False)
    assert through_the_window(job, upstream).state == "unknown"


def test_a_list_that_is_not_newest_first_proves_nothing(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = datetime.now(UTC) - timedelta(hours=1)
    for age in (3, 2, 1):
        sora.add(
            CreateRequest(f"old {age}", "sora-2", "4", "1280x720"), created_at=old - timedelta(hours=age)
        )
    sora.after = dropped
    submit_next(upstream)
    newest_first = sora.list

    def oldest_first(**asked: Any) -> VideoPage:
        page = newest_first(**asked)
        # The lost one is beyond the page's end.
        return replace(page, videos=tuple(reversed(page.videos))[:3], next_after=None)

    monkeypatch.setattr(sora, "list", oldest_first)
    assert through_the_window(job, upstream).state == "unknown"


def test_a_video_that_is_dated_outside_its_create_ends_the_trust_in_the_list(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    make_job()
    slow = timedelta(seconds=settings.SORA_CLOCK_SKEW + 5)
    sora.after = lambda video: replace(video, created_at=datetime.now(UTC) - slow)
    submit_next(upstream)
    assert not Provider.objects.get().proves_absence
    job = make_job()
    sora.after, sora.before = None, raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert through_the_window(job, upstream).state == "unknown"


def test_a_dialect_that_proves_no_absence_leaves_it_to_a_person(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, proves_absence=False))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    assert through_the_window(job, upstream).state == "unknown"


def test_a_dialect_without_a_list_leaves_it_to_a_person(
    make_job: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(replace(OPENAI, lists=False))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    job = make_job()
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    submission = search_at(job, upstream, 60)
    assert (submission.state, submission.due_at, sora.lists) == ("unknown", None, 0)


@pytest.mark.parametrize("answered", [True, False])
def test_tries_that_are_absent_come_to_an_end(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings, answered: bool
) -> None:
    settings.SORA_MAX_RETRIES = 2
    sora.before = raising(errors.OutcomeUnknown("no", answered=answered))
    for attempt in range(3):
        with shifted(timedelta(minutes=attempt)):
            assert submit_next(upstream)
            submission = search_at(job, upstream, 16)
            if attempt:
                # Only the first is proven: after that, a person decides.
                assert submission.state == "unknown"
                declare_absent(submission)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error_code == "SORA_SUBMISSION_FAILED"
    assert [s.state for s in job.submissions.all()] == ["absent"] * 3


def test_a_retry_begins_to_count_anew(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    settings.SORA_MAX_RETRIES = 0
    sora.before = raising(errors.OutcomeUnknown("500", answered=True))
    submit_next(upstream)
    assert through_the_window(job, upstream).state == "absent"
    assert job.status == "failed"
    settings.SORA_MAX_RETRIES = 1
    with shifted(timedelta(minutes=1)):
        retry(job)
        assert submit_next(upstream)
        search_at(job, upstream, 16)
    assert job.status == "pending"


def test_an_adopted_render_of_a_cancelled_job_is_not_resent_nor_revived(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.after = dropped
    submit_next(upstream)
    cancel(job)
    submission = search_at(job, upstream, 2.5)
    assert (job.status, submission.state) == ("cancelled", "rendering")


def test_two_looks_at_once_do_the_work_once(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    submission = only(job)
    with shifted(timedelta(seconds=2.5)):
        reconcile(submission, upstream)
        reconcile(submission, upstream)
    assert sora.lists == 1


def test_a_late_answer_for_what_was_declared_absent_is_taken_or_said(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    absent = through_the_window(job, upstream)
    video = sora.add(CreateRequest(**job.fitted))
    with locked(absent) as (locked_job, submission):
        assert accept(locked_job, submission, video, upstream, how="answered")
    job.refresh_from_db()
    assert (job.status, only(job).state, only(job).cost_state) == ("processing", "rendering", "reserved")


def test_a_late_answer_for_what_was_given_up_is_kept_with_its_id(
    job: Job, upstream: Upstream, sora: ScriptedClient, settings: Settings
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    sora.list_error = errors.Unavailable("502")
    submit_next(upstream)
    for minutes in range(0, 70, 10):
        search_at(job, upstream, settings.JOB_GIVE_UP_AFTER + 60 * minutes)
    search_at(job, upstream, settings.JOB_GIVE_UP_AFTER + 3700)
    lost = only(job)
    assert lost.state == "given_up"
    with shifted(timedelta(seconds=settings.JOB_GIVE_UP_AFTER + 3701)):
        retry(job)
        assert claim_next(upstream)
        video = sora.add(CreateRequest(**job.fitted))
        with locked(lost) as (locked_job, submission):
            assert not accept(locked_job, submission, video, upstream, how="answered")
    lost.refresh_from_db()
    assert (lost.state, lost.upstream_id, lost.cost_state) == ("given_up", video.id, "settled")
    assert lost.accepted_at is not None, "an audit attempts for it"


def test_a_retry_goes_on_with_an_earlier_attempt_that_was_accepted_after_all(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    first = through_the_window(job, upstream)
    sora.before = None
    with shifted(timedelta(seconds=20)):
        assert submit_next(upstream)
        second = job.submissions.get(number=2)
        video = sora.add(CreateRequest(**first.request))
        with locked(first) as (locked_job, submission):
            accept(locked_job, submission, video, upstream, how="answered")
        sora.fail(str(second.upstream_id))
        sweep(upstream)
        job.refresh_from_db()
        assert job.status == "failed"
        assert retry(job).status == "processing"
    first.refresh_from_db()
    assert (first.state, first.upstream_id) == ("rendering", video.id)
    assert len(sora.creates) == 2


def test_a_late_answer_that_nobody_waits_for_is_settled(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.OutcomeUnknown("timeout"))
    submit_next(upstream)
    absent = through_the_window(job, upstream)
    sora.before = None
    with shifted(timedelta(seconds=16)):
        assert submit_next(upstream)
    video = sora.add(CreateRequest(**job.fitted))
    with locked(absent) as (locked_job, submission):
        assert accept(locked_job, submission, video, upstream, how="answered")
    absent.refresh_from_db()
    assert (absent.state, absent.cost_state, absent.upstream_id) == ("given_up", "settled", video.id)
    assert job.submissions.get(number=2).state == "rendering"
