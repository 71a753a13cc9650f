"""How batches go on and end: status, progress, completion, cancels, pauses, retries."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from pytest_django import Settings

from accounts.budgets.counting import count_some
from accounts.models import ApiKey, Budget, Reservation, Spending, User
from batches import tasks
from batches.lifecycle import finish
from batches.lifecycle.cancel import BatchNotCancellable, Summary, cancel_batch
from batches.lifecycle.pause import NotPausable, pause, resume
from batches.lifecycle.retry import NothingFailed, retry_failed
from batches.models import Batch, BatchEvent
from batches.progress import BatchStatus, Tally
from tests.batches.conftest import MakeBatch, Renders, statuses
from tests.configured import configure
from tests.videos.scripted import ScriptedClient, scripted
from tests.videos.sending import claim_next, send, submit_next
from tests.videos.test_races import at_once
from tests.videos.working import worked
from upstreams.client import errors
from upstreams.client.dialects import OPENAI
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.models import Group, Job, JobEvent, Submission

pytestmark = pytest.mark.django_db(transaction=True)


def kinds(batch: Batch) -> list[str]:
    return list(BatchEvent.objects.filter(batch=batch).order_by("number").values_list("kind", flat=True))


def post(api: Client, address: str) -> Any:
    return api.post(address, content_type="application/json")


def shown(api: Client, batch: Batch) -> dict[str, Any]:
    return dict(api.get(f"/api/v1/batches/{batch.pk}").json()["data"])


@pytest.mark.parametrize(
    ("jobs", "cancelled", "status"),
    [
        ({"pending": 3}, False, "pending"),
        ({"pending": 2, "processing": 1}, False, "processing"),
        ({"pending": 2, "completed": 1}, False, "processing"),
        ({"processing": 3}, False, "processing"),
        ({"pending": 2, "cancelled": 1}, True, "processing"),
        ({"completed": 2, "cancelled": 1}, True, "cancelled"),
        ({"completed": 3}, True, "cancelled"),
        ({"completed": 3}, False, "completed"),
        ({"completed": 3, "failed": 2}, False, "partial"),
        ({"completed": 1, "cancelled": 2}, False, "partial"),
        ({"failed": 3}, False, "failed"),
        ({"failed": 1, "cancelled": 2}, False, "failed"),
        ({"cancelled": 3}, False, "cancelled"),
    ],
)
def test_the_status_follows_the_rules_in_their_order(
    jobs: dict[str, int], cancelled: bool, status: str
) -> None:
    tally = Tally()
    tally.jobs |= jobs
    assert tally.status(cancelled=cancelled) == BatchStatus(status)


def test_three_videos_are_carried_to_their_end(api: Client, make_batch: MakeBatch, renders: Renders) -> None:
    batch = make_batch(3)
    assert renders.send() == 3
    assert (shown(api, batch)["status"], shown(api, batch)["progress"]["processing"]) == ("processing", 3)
    renders.end("boat 1")
    progress = shown(api, batch)["progress"]
    assert (progress["completed"], progress["percentage"]) == (1, 33)
    assert shown(api, batch)["completedAt"] is None
    renders.end("boat 2")
    renders.end("boat 3")
    after = shown(api, batch)
    assert (after["status"], after["progress"]["percentage"]) == ("completed", 100)
    assert after["completedAt"] is not None
    assert after["cost"] == {"estimated": "1.20", "settled": "1.20", "currency": "USD"}
    assert kinds(batch) == ["created", "completed"]


def test_two_failing_of_five_is_partial_and_hinders_no_other(
    api: Client, make_batch: MakeBatch, renders: Renders
) -> None:
    batch = make_batch(5)
    renders.run(batch, failing=("boat 2", "boat 4"))
    after = shown(api, batch)
    assert after["status"] == "partial"
    assert after["progress"] == {
        "total": 5, "completed": 3, "failed": 2, "cancelled": 0, "pending": 0, "processing": 0,
        "percentage": 100,
    }  # fmt: skip
    failed = [job for job in after["jobs"] if job["status"] == "failed"]
    assert {job["error"]["code"] for job in failed} == {"moderation_blocked"}


def test_no_more_run_at_a_time_than_the_batch_may(
    make_batch: MakeBatch, renders: Renders, sora: ScriptedClient
) -> None:
    batch = make_batch(5, concurrency=2)
    other = make_batch(1)
    assert renders.send() == 3
    assert Submission.objects.filter(job__group=batch.pk, state="rendering").count() == 2
    renders.end("boat 2")
    assert renders.send() == 1
    Group.objects.filter(pk=other.pk).update(limit=1)
    assert renders.send() == 0


def test_a_batch_past_its_time_is_flagged_and_goes_on(
    api: Client, make_batch: MakeBatch, renders: Renders, settings: Settings
) -> None:
    settings.BATCH_TIMEOUT = 60
    batch = make_batch(1)
    Batch.objects.update(opened_at=database_now() - timedelta(seconds=61))
    assert shown(api, batch)["overdue"]
    renders.run(batch)
    assert (shown(api, batch)["overdue"], shown(api, batch)["status"]) == (False, "completed")


def test_a_batch_that_is_completed_is_not_completed_again(make_batch: MakeBatch, renders: Renders) -> None:
    batch = make_batch(1)
    renders.run(batch)
    assert finish.complete(batch.pk) is False
    assert kinds(batch) == ["created", "completed"]


def test_a_round_is_not_said_to_be_completed_twice(make_batch: MakeBatch) -> None:
    batch = make_batch(1)
    BatchEvent.record(batch, BatchEvent.Kind.COMPLETED)
    with pytest.raises(IntegrityError), transaction.atomic():
        BatchEvent.record(batch, BatchEvent.Kind.COMPLETED)
    batch.round += 1
    BatchEvent.record(batch, BatchEvent.Kind.COMPLETED)


def test_an_end_that_nobody_recorded_is_found_by_the_sweep(
    make_batch: MakeBatch, renders: Renders, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, going_on = make_batch(1), make_batch(2)
    with monkeypatch.context() as crashing:
        crashing.setattr(finish, "complete", lambda batch_id: False)
        renders.send()
        renders.end("boat 2")
        cancel(Job.objects.get(group=batch.pk))
    batch.refresh_from_db()
    assert batch.completed_at is None
    tasks.sweep()
    tasks.sweep()
    assert kinds(batch) == ["created", "completed"]
    assert kinds(going_on) == ["created"]


def test_a_batch_that_cannot_be_seen_to_hinders_no_other(
    make_batch: MakeBatch,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    stuck, other = make_batch(1), make_batch(1)
    Batch.objects.filter(pk=stuck.pk).update(cancelled_at=database_now() - timedelta(hours=1))
    with monkeypatch.context() as unseen:
        unseen.setattr(finish, "complete", lambda batch_id: False)
        cancel(Job.objects.get(group=other.pk))

    def fail(*args: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(tasks, "cancel_jobs", fail)
    tasks.sweep()
    assert kinds(other) == ["created", "completed"]
    assert "a bug" in caplog.text


def test_a_batch_that_cannot_be_seen_to_is_tried_at_growing_distances(
    make_batch: MakeBatch,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    batch = make_batch(1)
    Batch.objects.filter(pk=batch.pk).update(cancelled_at=database_now() - timedelta(hours=1))
    tried = 0

    def fail(*args: Any) -> None:
        nonlocal tried
        tried += 1
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as broken:
        broken.setattr(tasks, "cancel_jobs", fail)
        for after, wait in ((0, 5), (6, 10), (17, 20)):
            with shifted(timedelta(seconds=after)):
                before = database_now()
                tasks.sweep()
                tasks.sweep()
                batch.refresh_from_db()
                assert batch.due_at is not None
                assert before <= batch.due_at - timedelta(seconds=wait) <= database_now()
    assert (tried, batch.faults, batch.fault) == (3, 3, "ZeroDivisionError: a bug")
    assert len([each for each in caplog.records if each.levelname == "ERROR"]) == 3
    with shifted(timedelta(minutes=1)):
        tasks.sweep()
    batch.refresh_from_db()
    assert statuses(batch.pk) == ["cancelled"]
    assert (batch.faults, batch.fault, batch.due_at) == (0, "", None)


def test_a_batch_cancelled_while_it_renders_says_what_could_not_be_stopped(
    api: Client, make_batch: MakeBatch, renders: Renders, owner: User
) -> None:
    batch = make_batch(5, concurrency=2)
    renders.send()
    renders.end("boat 1")
    renders.send()
    answer = api.delete(f"/api/v1/batches/{batch.pk}")
    assert answer.status_code == 200, answer.content
    assert answer.json()["data"]["status"] == "cancelled"
    assert answer.json()["data"]["summary"] == {
        "total": 5, "stopped": 2, "alreadyFinished": 1, "notStopped": 2,
    }  # fmt: skip
    assert statuses(batch.pk) == ["completed", "cancelled", "cancelled", "cancelled", "cancelled"]
    assert shown(api, batch)["status"] == "cancelled"
    assert kinds(batch) == ["created", "cancelled", "completed"]
    assert Reservation.objects.filter(state="held").count() == 2
    assert [event.detail for event in JobEvent.objects.filter(job__prompt="boat 5")][1:] == [{"by": "batch"}]
    assert renders.send() == 0


def test_what_an_upstream_can_stop_is_stopped(
    make_batch: MakeBatch, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(2)
    stopping = scripted(replace(OPENAI, cancels=True))
    configure(monkeypatch, stopping)
    stopping.client.videos = sora.videos  # type: ignore[attr-defined]
    while submit_next(stopping):
        pass
    summary = cancel_batch(batch)
    assert (summary.stopped, summary.not_stopped) == (2, 0)


def test_a_cancel_gives_back_the_money_of_what_was_not_sent(
    make_batch: MakeBatch, upstream: Upstream, owner: User
) -> None:
    batch = make_batch(4)
    assert count_some() == 4
    assert set(Spending.objects.values_list("reserved", flat=True)) == {16_000}
    cancel_batch(batch)
    assert count_some() == 4
    assert set(Spending.objects.values_list("reserved", flat=True)) == {0}
    assert set(Reservation.objects.values_list("state", flat=True)) == {"released"}
    assert not Job.objects.exclude(reservation=None).exists()
    numbers = JobEvent.objects.order_by("job", "number").values_list("number", "from_state", "to_state")
    assert list(numbers) == [(1, "", "pending"), (2, "pending", "cancelled")] * 4


def test_a_cancel_that_a_crash_cut_short_is_finished_by_the_sweep(
    make_batch: MakeBatch, upstream: Upstream, renders: Renders, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(3, concurrency=1)
    renders.send()
    with monkeypatch.context() as crashing:

        def crash(*args: Any, **kwargs: Any) -> None:
            raise SystemExit

        crashing.setattr(Job, "move_together", crash)
        with pytest.raises(SystemExit):
            cancel_batch(batch)
    assert statuses(batch.pk) == ["processing", "pending", "pending"]
    # None is sent any more, although a place is free.
    Group.objects.update(limit=3)
    assert renders.send() == 0
    # Whoever cancels is given some time before.
    tasks.sweep()
    assert statuses(batch.pk) == ["processing", "pending", "pending"]
    with shifted(timedelta(seconds=61)):
        tasks.sweep()
    assert statuses(batch.pk) == ["cancelled"] * 3
    assert kinds(batch) == ["created", "cancelled", "completed"]


def test_a_cancel_that_is_asked_for_again_goes_on_and_sums_up_the_whole(
    make_batch: MakeBatch, upstream: Upstream, renders: Renders, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(4, concurrency=1)
    renders.send()
    cancel(Job.objects.get(prompt="boat 4"))
    with monkeypatch.context() as crashing:

        def crash(*args: Any, **kwargs: Any) -> None:
            raise SystemExit

        crashing.setattr("batches.lifecycle.cancel.cancel", crash)
        with pytest.raises(SystemExit):
            cancel_batch(batch)
    assert statuses(batch.pk) == ["processing", "cancelled", "cancelled", "cancelled"]
    assert cancel_batch(batch) == Summary(4, stopped=2, already_finished=1, not_stopped=1)


def test_a_batch_that_has_ended_is_not_cancelled(
    api: Client, make_batch: MakeBatch, renders: Renders, upstream: Upstream
) -> None:
    batch = make_batch(1)
    renders.run(batch)
    answer = api.delete(f"/api/v1/batches/{batch.pk}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "batch_not_cancellable")
    with pytest.raises(BatchNotCancellable):
        cancel_batch(batch)


@pytest.mark.postgres
@pytest.mark.parametrize("turn", range(5))
def test_a_cancel_against_claims_leaves_one_story(
    make_batch: MakeBatch, upstream: Upstream, sora: ScriptedClient, turn: int
) -> None:
    batch = make_batch(6)
    upstream.provider()
    calls: list[Callable[[], Any]] = [lambda: cancel_batch(batch)]
    calls += [lambda: submit_next(upstream)] * 3
    found = at_once(*calls)
    assert not [each for each in found if isinstance(each, Exception)]
    assert statuses(batch.pk) == ["cancelled"] * 6
    states = list(Submission.objects.values_list("state", flat=True))
    assert set(states) <= {"unsent", "rendering"}
    assert len(sora.creates) == states.count("rendering")
    held = Reservation.objects.filter(state="held").count()
    assert held == states.count("rendering")


def test_a_paused_batch_sends_nothing_and_what_was_sent_goes_on(
    api: Client, make_batch: MakeBatch, renders: Renders
) -> None:
    batch = make_batch(3, concurrency=1)
    renders.send()
    answer = post(api, f"/api/v1/batches/{batch.pk}/pause")
    assert (answer.status_code, answer.json()["data"]["paused"]) == (200, True)
    renders.end("boat 1")
    assert renders.send() == 0
    assert statuses(batch.pk) == ["completed", "pending", "pending"]
    assert {job["queuePosition"] for job in shown(api, batch)["jobs"]} == {None}
    assert post(api, f"/api/v1/batches/{batch.pk}/pause").status_code == 200
    answer = post(api, f"/api/v1/batches/{batch.pk}/resume")
    assert (answer.status_code, answer.json()["data"]["paused"]) == (200, False)
    assert renders.send() == 1
    assert kinds(batch) == ["created", "paused", "resumed"]


def test_a_job_claimed_before_the_pause_is_not_posted_after_it(
    make_batch: MakeBatch, upstream: Upstream, sora: ScriptedClient
) -> None:
    batch = make_batch(1)
    submission = claim_next(upstream)
    assert submission is not None
    pause(batch)
    send(submission, upstream)
    submission.refresh_from_db()
    assert (submission.state, sora.creates) == ("unsent", [])
    resume(batch)
    assert submit_next(upstream)


def test_a_paused_batch_can_be_cancelled(make_batch: MakeBatch, upstream: Upstream) -> None:
    batch = make_batch(2)
    pause(batch)
    assert cancel_batch(batch).stopped == 2
    assert statuses(batch.pk) == ["cancelled"] * 2


def test_a_batch_that_has_ended_is_neither_paused_nor_resumed(
    api: Client, make_batch: MakeBatch, upstream: Upstream
) -> None:
    batch = make_batch(1)
    cancel_batch(batch)
    for call in (pause, resume):
        with pytest.raises(NotPausable):
            call(batch)
    assert post(api, f"/api/v1/batches/{batch.pk}/pause").json()["error"]["code"] == "batch_not_pausable"


def test_only_what_failed_is_retried_and_opens_another_round(
    api: Client, make_batch: MakeBatch, renders: Renders, sora: ScriptedClient
) -> None:
    batch = make_batch(4)
    cancelled = Job.objects.get(prompt="boat 4")
    renders.send()
    cancel(cancelled)
    for prompt, well in (("boat 1", True), ("boat 2", False), ("boat 3", False)):
        renders.end(prompt, well=well)
    assert shown(api, batch)["status"] == "partial"
    answer = post(api, f"/api/v1/batches/{batch.pk}/retry")
    assert answer.json()["data"] == {"batchId": str(batch.pk), "status": "processing", "retried": 2}
    assert statuses(batch.pk) == ["completed", "pending", "pending", "cancelled"]
    after = shown(api, batch)
    assert (after["round"], after["completedAt"], after["status"]) == (2, None, "processing")
    renders.run(batch)
    assert statuses(batch.pk) == ["completed", "completed", "completed", "cancelled"]
    assert kinds(batch) == ["created", "completed", "reopened", "completed"]
    assert list(BatchEvent.objects.filter(kind="completed").values_list("round", flat=True)) == [1, 2]
    # Three of the first round, while the fourth waited, and two of the second.
    assert len(sora.creates) == 5


def test_a_retry_costs_what_is_listed_and_reserves_it_for_the_key_that_asks(
    make_batch: MakeBatch, renders: Renders, upstream: Upstream, owner: User
) -> None:
    batch = make_batch(2)
    renders.run(batch, failing=("boat 1", "boat 2"))
    key, _ = ApiKey.issue(owner, "another")
    assert retry_failed(batch, api_key=key) == 2
    assert Reservation.objects.filter(state="held", api_key=key).count() == 2
    assert set(Job.objects.values_list("api_key", "reservation__api_key")) == {(key.pk, key.pk)}


def test_a_retry_in_several_statements_opens_one_round(
    make_batch: MakeBatch, renders: Renders, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = make_batch(5)
    renders.run(batch, failing=tuple(f"boat {number}" for number in range(1, 6)))
    monkeypatch.setattr("batches.lifecycle.retry._TOGETHER", 2)
    assert retry_failed(batch) == 5
    assert statuses(batch.pk) == ["pending"] * 5
    assert kinds(batch) == ["created", "completed", "reopened"]
    assert Job.objects.exclude(reservation=None).count() == 5


def test_a_retry_that_does_not_fit_a_budget_retries_nothing(
    api: Client, make_batch: MakeBatch, renders: Renders, owner: User
) -> None:
    batch = make_batch(3)
    renders.run(batch, failing=("boat 1", "boat 2", "boat 3"))
    Budget.objects.create(owner=owner, period="day", limit="1.19")
    answer = post(api, f"/api/v1/batches/{batch.pk}/retry")
    assert answer.status_code == 402
    assert statuses(batch.pk) == ["failed"] * 3
    assert kinds(batch) == ["created", "completed"]


def test_a_retry_goes_on_with_what_still_renders(
    make_batch: MakeBatch, renders: Renders, sora: ScriptedClient, upstream: Upstream, settings: Settings
) -> None:
    batch = make_batch(2)
    renders.send()
    with worked(settings.JOB_GIVE_UP_AFTER + 10):
        # Asked once more, it still renders: our patience with one of the two is at its end.
        Submission.objects.filter(job__prompt="boat 1").update(give_up_at=database_now())
        Submission.objects.filter(job__prompt="boat 2").update(give_up_at=database_now() + timedelta(days=1))
        sweep(upstream)
        assert statuses(batch.pk) == ["failed", "processing"]
        assert retry_failed(batch) == 1
        assert statuses(batch.pk) == ["processing", "processing"]
    # Nothing is set aside but for the other one, whose submission holds it.
    assert Reservation.objects.filter(state="held").count() == 1
    assert [event.to_state for event in JobEvent.objects.filter(job__prompt="boat 1", subject="job")] == [
        "pending", "processing", "failed", "processing",
    ]  # fmt: skip
    assert len(sora.creates) == 2


def test_what_is_retried_of_a_batch_that_ended_paused_is_sent(
    make_batch: MakeBatch, renders: Renders, upstream: Upstream
) -> None:
    batch = make_batch(2, concurrency=1)
    renders.send()
    pause(batch)
    renders.end("boat 1", well=False)
    cancel(Job.objects.get(prompt="boat 2"))
    batch.refresh_from_db()
    assert batch.completed_at is not None
    assert retry_failed(batch) == 1
    assert renders.send() == 1


@pytest.mark.parametrize("failing", [(), ("boat 1",)])
def test_a_batch_of_which_nothing_failed_is_not_retried(
    api: Client, make_batch: MakeBatch, renders: Renders, upstream: Upstream, failing: tuple[str, ...]
) -> None:
    batch = make_batch(1)
    renders.run(batch, failing=failing)
    if failing:
        retry_failed(batch)
    with pytest.raises(NothingFailed):
        retry_failed(batch)
    answer = post(api, f"/api/v1/batches/{batch.pk}/retry")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "batch_not_retryable")


def test_a_retry_of_one_job_opens_a_round_too_also_of_a_cancelled_batch(
    api: Client, make_batch: MakeBatch, upstream: Upstream, renders: Renders
) -> None:
    batch = make_batch(2)
    cancel_batch(batch)
    job = Job.objects.get(prompt="boat 1")
    assert post(api, f"/api/v1/videos/{job.pk}/retry").status_code == 200
    after = shown(api, batch)
    assert (after["status"], after["round"], after["paused"]) == ("processing", 2, False)
    renders.run(batch)
    assert shown(api, batch)["status"] == "partial"
    assert kinds(batch) == ["created", "cancelled", "completed", "reopened", "completed"]


def test_nothing_is_retried_while_its_batch_is_being_cancelled(
    make_batch: MakeBatch, upstream: Upstream, api: Client
) -> None:
    batch = make_batch(2)
    job = Job.objects.get(prompt="boat 1")
    cancel(job)
    Batch.objects.update(cancelled_at=database_now())
    answer = post(api, f"/api/v1/videos/{job.pk}/retry")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "batch_being_cancelled")
    assert statuses(batch.pk) == ["cancelled", "pending"]


def test_a_create_that_fails_for_good_ends_its_batch_as_well(
    make_batch: MakeBatch, renders: Renders, sora: ScriptedClient, api: Client
) -> None:
    def refuse(request: Any) -> None:
        raise errors.Rejected("no", status=400, code="bad", param=None)

    sora.before = refuse
    batch = make_batch(2)
    renders.send()
    assert shown(api, batch)["status"] == "failed"
    assert kinds(batch) == ["created", "completed"]


def test_jobs_without_a_batch_are_none_of_its_business(job: Job, upstream: Upstream) -> None:
    group = Group.objects.create(owner=job.owner, limit=1)
    Job.objects.update(group=group)
    job.refresh_from_db()
    cancel(job)
    retry(job)
    assert not BatchEvent.objects.exists()
