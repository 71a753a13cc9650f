import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from pytest_django import Settings

from tests.configured import configure, priced
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, send, submit_next
from upstreams.client import errors
from upstreams.client.types import CreateRequest, Video
from upstreams.clock import database_now, shifted
from upstreams.models import Provider
from upstreams.offer.catalogue import SORA, Catalogue
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.sending import outcome
from videos.models import Job, Submission
from videos.queue.dispatch import all_due_work, probe

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


def raising(error: Exception) -> Callable[[CreateRequest], None]:
    def before(request: CreateRequest) -> None:
        raise error

    return before


def only(job: Job) -> Submission:
    return job.submissions.get()


def test_an_accepted_job_is_processing_and_keeps_the_upstream_id(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    assert submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("processing", "rendering")
    assert [only(job).upstream_id] == list(sora.videos)
    assert only(job).cost_state == "reserved"
    assert job.started_at is not None


def test_the_submission_is_committed_before_the_post(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    seen = []
    sora.before = lambda request: seen.extend(Submission.objects.values_list("state", "cost_state"))
    submit_next(upstream)
    assert seen == [("sending", "reserved")]


def test_high_before_normal_before_low_and_old_before_young(
    make_job: MakeJob, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [make_job(priority=name) for name in ("low", "normal", "high", "normal", "high")]
    upstream = replace(upstream, concurrency=9)
    configure(monkeypatch, upstream)
    claimed = [claim_next(upstream) for _ in jobs]
    order = [submission.job_id for submission in claimed if submission]
    assert order == [jobs[2].pk, jobs[4].pk, jobs[1].pk, jobs[3].pk, jobs[0].pk]


def test_a_job_that_is_not_due_waits_while_others_go(make_job: MakeJob, upstream: Upstream) -> None:
    waiting, due = make_job(priority="high"), make_job()
    Job.objects.filter(pk=waiting.pk).update(due_at=database_now() + timedelta(seconds=30))
    first = claim_next(upstream)
    assert first is not None
    assert first.job_id == due.pk
    assert claim_next(upstream) is None
    with shifted(timedelta(seconds=31)):
        assert claim_next(upstream) is not None


@pytest.mark.parametrize("state", ["sending", "unknown", "rendering", "rendered", "dropping"])
def test_every_live_submission_counts_for_the_concurrency(
    make_job: MakeJob, upstream: Upstream, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, concurrency=1)
    configure(monkeypatch, upstream)
    make_job(), make_job()
    first = claim_next(upstream)
    assert first is not None
    accepted = {"upstream_id": "video_1"} if state not in {"sending", "unknown"} else {}
    cost = "settled" if state == "rendered" else "reserved"
    Submission.objects.filter(pk=first.pk).update(state=state, cost_state=cost, **accepted)
    assert claim_next(upstream) is None
    Submission.objects.filter(pk=first.pk).update(
        state="failed", cost_state="released", upstream_id="video_1"
    )
    assert claim_next(upstream) is not None


def test_what_waits_for_a_person_keeps_no_place(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four unknown creates would else stop an upstream of four places until somebody comes."""
    settings.SORA_RECONCILE_SECONDS = [2, 5, 15]
    settings.MAX_IN_FLIGHT_JOBS = 1
    upstream = replace(upstream, concurrency=1)
    configure(monkeypatch, upstream)
    unknown = make_job()
    sora.before = raising(errors.OutcomeUnknown("reset"))
    assert submit_next(upstream)
    sora.before = None
    Provider.objects.update(sending_backoff_until=None)
    make_job()
    with shifted(timedelta(seconds=14)):
        assert claim_next(upstream) is None
    with shifted(timedelta(seconds=16)):
        assert claim_next(upstream) is not None
        assert claim_next(upstream) is None
    assert only(unknown).state == "unknown"


@pytest.mark.parametrize("state", ["sending", "unknown"])
def test_of_two_jobs_that_the_list_cannot_tell_apart_one_waits(
    make_job: MakeJob, upstream: Upstream, state: str
) -> None:
    make_job("the same"), make_job("the same")
    other = make_job("another")
    first = claim_next(upstream)
    assert first is not None
    Submission.objects.filter(pk=first.pk).update(state=state)
    second = claim_next(upstream)
    assert second is not None
    assert second.job_id == other.pk
    assert claim_next(upstream) is None
    Submission.objects.filter(pk=first.pk).update(state="rendering", upstream_id="video_1")
    assert claim_next(upstream) is not None


def test_a_pending_job_with_a_live_submission_gets_no_second_one(job: Job, upstream: Upstream) -> None:
    first = claim_next(upstream)
    assert first is not None
    Submission.objects.filter(pk=first.pk).update(state="dropping", upstream_id="video_1")
    assert claim_next(upstream) is None


def test_a_job_cancelled_after_its_claim_is_not_posted(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    cancel(job)
    send(submission, upstream)
    assert sora.creates == []
    submission.refresh_from_db()
    assert (submission.state, submission.cost_state) == ("unsent", "returned")


def test_a_job_claimed_before_an_operators_stop_is_not_posted(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    Provider.objects.update(stopped_at=database_now())
    send(submission, upstream)
    assert sora.creates == []
    assert only(job).state == "unsent"


@pytest.mark.parametrize("status", ["processing", "failed", "cancelled"])
def test_a_job_that_does_not_wait_is_passed_over_in_its_lane(
    make_job: MakeJob, upstream: Upstream, status: str
) -> None:
    older, younger = make_job(), make_job()
    Job.objects.filter(pk=older.pk).update(status=status, error_code="x")
    submission = claim_next(upstream)
    assert submission is not None
    assert submission.job_id == younger.pk


@pytest.mark.parametrize("status", ["processing", "failed", "cancelled"])
def test_only_a_pending_job_is_claimed(job: Job, upstream: Upstream, status: str) -> None:
    Job.objects.filter(pk=job.pk).update(status=status, error_code="x")
    assert claim_next(upstream) is None


@pytest.mark.parametrize("state", ["unknown", "absent"])
def test_what_was_decided_meanwhile_is_not_posted(
    job: Job, upstream: Upstream, sora: ScriptedClient, state: str
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    cost = "reserved" if state == "unknown" else "returned"
    Submission.objects.filter(pk=submission.pk).update(state=state, cost_state=cost)
    send(submission, upstream)
    assert sora.creates == []
    assert only(job).state == state


def test_nothing_is_posted_once_the_lease_no_longer_covers_the_call(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    submission = claim_next(upstream)
    assert submission is not None
    with shifted(timedelta(seconds=upstream.lease - upstream.deadline + 1)):
        send(submission, upstream)
        assert sora.creates == []
        assert only(job).state == "unsent"
        assert submit_next(upstream)
    assert len(sora.creates) == 1


@pytest.mark.parametrize(
    "error",
    [
        errors.OutcomeUnknown("reset after sending"),
        errors.OutcomeUnknown("500", answered=True),
    ],
)
def test_an_unknown_outcome_is_never_sent_again(
    job: Job, upstream: Upstream, sora: ScriptedClient, error: errors.OutcomeUnknown
) -> None:
    sora.before = raising(error)
    submit_next(upstream)
    submission = only(job)
    job.refresh_from_db()
    assert (submission.state, submission.cost_state, submission.answered) == (
        "unknown",
        "reserved",
        error.answered,
    )
    assert job.status == "pending"
    with shifted(timedelta(hours=1)):
        assert not submit_next(upstream)


def test_an_expired_lease_is_an_unknown_outcome(job: Job, upstream: Upstream) -> None:
    claim_next(upstream)
    with shifted(timedelta(seconds=upstream.lease - 1)):
        all_due_work()
        assert only(job).state == "sending"
    with shifted(timedelta(seconds=upstream.lease + 1)):
        all_due_work()
        assert only(job).state == "unknown"


def test_what_never_left_is_sent_again_but_not_at_once(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.NotSent("refused"))
    submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, only(job).state, only(job).cost_state) == ("pending", "unsent", "returned")
    assert job.due_at > database_now()
    sora.before = None
    assert not submit_next(upstream)
    with shifted(timedelta(minutes=2)):
        assert submit_next(upstream)
    job.refresh_from_db()
    assert job.status == "processing"
    assert job.submissions.count() == 2


def test_a_busy_upstream_is_left_alone_as_long_as_it_asks(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    make_job(), make_job()
    sora.before = raising(errors.Busy("429", retry_after=100))
    submit_next(upstream)
    sora.before = None
    with shifted(timedelta(seconds=95)):
        assert not submit_next(upstream)
    with shifted(timedelta(seconds=115)):
        assert submit_next(upstream)


# What a server answers that has no list, or lets nobody look at it: nothing about the key.
NO_LISTS = [
    None,
    errors.NotFound("404"),
    errors.Rejected("405", status=405),
    errors.Misconfigured("403", status=403),
]


@pytest.mark.parametrize("of_the_list", NO_LISTS, ids=str)
@pytest.mark.parametrize("of_the_key", [True, False])
def test_a_403_that_only_one_job_meets_is_about_that_job(
    make_job: MakeJob,
    upstream: Upstream,
    sora: ScriptedClient,
    of_the_key: bool,
    of_the_list: errors.SoraError | None,
) -> None:
    """Such as a model or a prompt that the key may not use. The others are sent, and only it fails."""
    sora.probe_error = of_the_list

    def refuse(request: CreateRequest) -> None:
        if of_the_key or "forbidden" in request.prompt:
            raise errors.Misconfigured("You may not use this model", status=403)

    sora.before = refuse
    job, other = make_job("forbidden"), make_job("allowed")
    for after in range(0, 180, 6):
        with shifted(timedelta(seconds=after)):
            probe(upstream)
            while submit_next(upstream):
                pass
    job.refresh_from_db()
    other.refresh_from_db()
    if of_the_key:
        assert (job.status, other.status) == ("pending", "pending")
    else:
        assert (job.status, other.status) == ("failed", "processing")
        assert "You may not use this model" in job.error_message
        assert len(sora.creates) == 1


def test_a_wrong_key_pauses_the_queue_and_fails_no_job(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    one, two = make_job(), make_job()
    sora.before = raising(errors.Misconfigured("401", status=401))
    submit_next(upstream)
    assert not submit_next(upstream)
    provider = Provider.objects.get()
    assert provider.paused_at is not None
    assert provider.pause_reason == "401"
    sora.before, sora.probe_error = None, errors.Misconfigured("401", status=401)
    with shifted(timedelta(seconds=10)):
        assert [work.task for work in all_due_work()] == ["probe"]
        probe(upstream)
        assert sora.probes == 1
        probe(upstream)
        assert sora.probes == 1, "a probe that is not due is not made"
        assert not submit_next(upstream)
    sora.probe_error = None
    with shifted(timedelta(minutes=2)):
        probe(upstream)
        assert submit_next(upstream)
        assert submit_next(upstream)
    for job in (one, two):
        job.refresh_from_db()
        assert job.status == "processing"


def test_a_job_that_alone_is_forbidden_does_not_stop_the_others(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    forbidden, *others = [make_job() for _ in range(4)]

    def forbid(request: CreateRequest) -> None:
        if request.prompt == forbidden.prompt:
            raise errors.Misconfigured("403", status=403)

    sora.before = forbid
    for seconds in range(0, 60, 3):
        with shifted(timedelta(seconds=seconds)):
            probe(upstream)
            while submit_next(upstream):
                pass
    for job in others:
        job.refresh_from_db()
        assert job.status == "processing"


def test_probes_of_an_upstream_that_goes_on_refusing_grow_rare(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.Misconfigured("401", status=401))
    submit_next(upstream)
    sora.probe_error = errors.Misconfigured("401", status=401)
    for seconds in range(0, 3600, 5):
        with shifted(timedelta(seconds=seconds)):
            probe(upstream)
    assert 10 < sora.probes < 25


@pytest.mark.parametrize("asked", [1e9, 1e14])
def test_no_upstream_makes_us_back_off_for_ever(
    job: Job, upstream: Upstream, sora: ScriptedClient, asked: float
) -> None:
    sora.before = raising(errors.Busy("429", retry_after=asked))
    submit_next(upstream)
    sora.before = None
    assert only(job).state == "unsent"
    with shifted(timedelta(hours=1, minutes=7)):
        assert submit_next(upstream)


def test_a_404_is_a_refusal_where_the_list_answers(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.NotFound("no such model"))
    submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("failed", "rejected")
    assert Provider.objects.get().paused_at is None


def test_a_404_is_a_wrong_address_where_the_list_is_missing_too(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.NotFound("no such path"))
    sora.probe_error = errors.NotFound("no such path")
    submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("pending", "unsent")
    assert Provider.objects.get().paused_at is not None


def test_a_refusal_fails_the_job_with_the_cause_and_costs_nothing(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    sora.before = raising(errors.Rejected("Invalid value", status=400, code="invalid_value", param="seconds"))
    submit_next(upstream)
    job.refresh_from_db()
    assert job.status == "failed"
    assert job.error_code == "SORA_SUBMISSION_FAILED"
    assert job.error_details == {
        "status": 400,
        "code": "invalid_value",
        "message": "Invalid value",
        "param": "seconds",
    }
    assert (only(job).state, only(job).cost_state) == ("rejected", "released")


def test_a_late_answer_after_the_lease_is_still_taken(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    def slow(request: CreateRequest) -> None:
        with shifted(timedelta(seconds=upstream.lease + 1)):
            all_due_work()
        assert only(job).state == "unknown"

    sora.before = slow
    submit_next(upstream)
    job.refresh_from_db()
    assert (job.status, only(job).state) == ("processing", "rendering")


def test_a_sender_that_was_held_up_after_the_last_check_has_no_time_left(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = []

    def held_up(submissions: Iterable[Submission], upstream: Upstream) -> set[int]:
        time.sleep(0.2)
        return {submission.pk for submission in submissions}

    monkeypatch.setattr("videos.lifecycle.sending.post._may_send", held_up)

    def create(request: CreateRequest, deadline: float) -> Video:
        allowed.append(deadline)
        return sora.add(request)

    monkeypatch.setattr(sora, "create", create)
    submit_next(replace(upstream, deadline=0.1))
    assert allowed[0] < 0


def test_an_id_that_is_already_ours_is_no_acceptance(
    make_job: MakeJob, upstream: Upstream, sora: ScriptedClient
) -> None:
    make_job()
    second = make_job()
    submit_next(upstream)
    first_id = next(iter(sora.videos))
    sora.after = lambda video: replace(video, id=first_id)
    submit_next(upstream)
    second.refresh_from_db()
    assert (second.status, only(second).state) == ("pending", "unknown")


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with others"])
def test_another_echo_than_was_sent_is_remembered(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    if alone:
        monkeypatch.setattr(outcome, "accept_together", lambda *_: set())

    def echo_other_size(video: Video) -> Video:
        return replace(video, size="1x1")

    sora.after = echo_other_size
    submit_next(upstream)
    job.refresh_from_db()
    assert job.status == "processing"
    assert not Provider.objects.get().proves_absence


def test_the_price_is_as_listed_and_unknown_where_it_is_not(
    make_job: MakeJob, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = make_job(duration=8)
    configure(monkeypatch, priced(upstream, {}))
    unlisted = make_job()
    assert listed.estimated_cost == Decimal("0.80")
    assert unlisted.estimated_cost is None
    submit_next(upstream)
    submit_next(upstream)
    assert only(listed).price == Decimal("0.80"), "what was set aside"
    assert only(unlisted).price is None


def test_a_dispatch_hands_out_a_submit_for_each_free_slot(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = scripted(concurrency=2)
    configure(monkeypatch, upstream)

    def submits() -> int:
        # On a busy machine the render may be due for a sweep by now as well.
        return [work.task for work in all_due_work()].count("submit")

    assert submits() == 0
    make_job()
    assert submits() == 2
    submit_next(upstream)
    make_job()
    assert submits() == 1


def test_extra_fields_go_to_a_model_that_takes_them(
    make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replace(SORA.models["sora-2"], takes=frozenset({"seed", "fps", "negative_prompt"}))
    upstream = scripted(catalogue=Catalogue({"sora-2": model}, "sora-2"))
    configure(monkeypatch, upstream)
    sora: ScriptedClient = upstream.client  # type: ignore[assignment]
    from upstreams.offer.request import VideoRequest
    from videos.lifecycle.create import create

    owner = make_job().owner
    Job.objects.all().delete()
    create(VideoRequest("a boat", "rain", fps=30, seed=7), owner=owner, api_key=None)
    submit_next(upstream)
    assert (sora.creates[0].negative_prompt, sora.creates[0].fps, sora.creates[0].seed) == ("rain", 30, 7)


def test_a_key_that_may_do_nothing_is_tried_ever_more_rarely(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    tried: list[str] = []

    def forbid(request: CreateRequest) -> None:
        tried.append(request.prompt)
        raise errors.Misconfigured("403", status=403)

    sora.before, sora.probe_error = forbid, errors.Misconfigured("403", status=403)
    for seconds in range(0, 3600, 5):
        with shifted(timedelta(seconds=seconds)):
            probe(upstream)
            submit_next(upstream)
    assert 3 < len(tried) < 25
    job.refresh_from_db()
    assert job.status == "pending"
