"""Real threads at a barrier, each with its own connection. Row locks are PostgreSQL's."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from django.db import DatabaseError, connection, transaction

from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next, send, submit_next
from upstreams.models import Provider
from upstreams.registry import Upstream
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import NotRetryable, retry
from videos.lifecycle.sending import outcome, together
from videos.lifecycle.sending.begin import begin
from videos.models import Job, JobEvent, Submission, locked
from videos.results.store import store

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]

T = TypeVar("T")


def at_once(*calls: Callable[[], T]) -> list[T | Exception]:
    """Runs all calls in threads that start together; what each returned or raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T | Exception:
        barrier.wait()
        try:
            return call()
        except Exception as error:
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def events(job: Job) -> list[tuple[int, str, str]]:
    return list(
        JobEvent.objects.filter(job=job).order_by("number").values_list("number", "subject", "to_state")
    )


def test_concurrent_claims_respect_the_limit_and_take_each_job_once(
    make_job: Callable[..., Job], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, concurrency=5)
    configure(monkeypatch, upstream)
    upstream.provider()
    for _ in range(30):
        make_job()
    found = at_once(*[lambda: claim_next(upstream)] * 12)
    claimed = [each for each in found if isinstance(each, Submission)]
    assert not [each for each in found if isinstance(each, Exception)]
    assert len(claimed) == 5
    assert len({submission.job_id for submission in claimed}) == 5


def test_concurrent_claims_take_one_job_per_match_key(
    make_job: Callable[..., Job], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, concurrency=50)
    configure(monkeypatch, upstream)
    upstream.provider()
    for _ in range(10):
        make_job("the same")
    found = at_once(*[lambda: claim_next(upstream)] * 8)
    assert not [each for each in found if isinstance(each, Exception)]
    assert len([each for each in found if each is not None]) == 1


@pytest.mark.parametrize("turn", range(5))
def test_a_cancel_against_a_submit_leaves_one_story(
    job: Job, upstream: Upstream, sora: ScriptedClient, turn: int
) -> None:
    upstream.provider()
    at_once(lambda: submit_next(upstream), lambda: cancel(job))
    job.refresh_from_db()
    assert job.status == "cancelled"
    states = list(job.submissions.values_list("state", flat=True))
    assert states in ([], ["unsent"], ["rendering"])
    assert len(sora.creates) == (states == ["rendering"])
    numbers = [number for number, _, _ in events(job)]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("turn", range(5))
def test_of_concurrent_cancels_and_retries_each_wins_once(job: Job, upstream: Upstream, turn: int) -> None:
    cancels = at_once(*[lambda: cancel(job)] * 4)
    assert len([each for each in cancels if isinstance(each, NotCancellable)]) == 3
    retries = at_once(*[lambda: retry(job)] * 4)
    assert len([each for each in retries if isinstance(each, NotRetryable)]) == 3
    assert [to for _, _, to in events(job)] == ["pending", "cancelled", "pending"]


@pytest.mark.parametrize("turn", range(5))
def test_a_cancel_against_a_store_leaves_one_story(
    job: Job, upstream: Upstream, sora: ScriptedClient, turn: int
) -> None:
    submit_next(upstream)
    sora.complete(str(job.submissions.get().upstream_id))
    sweep(upstream)
    submission = job.submissions.get()
    at_once(lambda: store(submission, upstream), lambda: cancel(job))
    job.refresh_from_db()
    submission.refresh_from_db()
    assert (job.status, submission.state) in {("completed", "stored"), ("cancelled", "rendered")}
    assert bool(job.video) == (job.status == "completed")


def test_concurrent_sweeps_record_an_end_once(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, concurrency=20)
    configure(monkeypatch, upstream)
    jobs = [make_job() for _ in range(10)]
    for _ in jobs:
        submit_next(upstream)
    for video_id in sora.videos:
        sora.complete(video_id)
    at_once(*[lambda: sweep(upstream)] * 6)
    for job in jobs:
        assert [to for _, _, to in events(job)].count("rendered") == 1


def test_concurrent_stores_complete_a_job_once(job: Job, upstream: Upstream, sora: ScriptedClient) -> None:
    submit_next(upstream)
    sora.complete(str(job.submissions.get().upstream_id))
    sweep(upstream)
    submission = job.submissions.get()
    at_once(*[lambda: store(Submission.objects.get(pk=submission.pk), upstream)] * 5)
    assert [to for _, _, to in events(job)].count("completed") == 1
    job.refresh_from_db()
    assert job.video.storage.exists(job.video.name)


def is_locked(row: Job | Provider) -> bool:
    """Whether another connection would have to wait for the row."""

    def look() -> None:
        with transaction.atomic():
            type(row)._default_manager.select_for_update(nowait=True).get(pk=row.pk)

    return isinstance(at_once(look)[0], DatabaseError)


def test_a_claim_holds_the_provider_and_its_job(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = []

    def looking(*args: Any, **kwargs: Any) -> list[Submission]:
        # Between the choice of the job and the first row that is written for it.
        held.append((is_locked(upstream.provider()), is_locked(job)))
        return begin(*args, **kwargs)

    monkeypatch.setattr("videos.queue.claims.claim.begin", looking)
    assert claim_next(upstream) is not None
    assert held == [(True, True)]
    assert not is_locked(upstream.provider())


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with others"])
def test_a_record_a_cancel_and_a_retry_hold_the_job(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    if alone:
        monkeypatch.setattr(outcome, "accept_together", lambda *_: set())
    held = []
    move, write = Job.move, together._move

    def looking(job: Job, *args: Any, **kwargs: Any) -> bool:
        # Before it: the move itself locks the row that it writes.
        held.append(is_locked(job))
        return move(job, *args, **kwargs)

    def looking_at_all(*args: Any) -> None:
        held.append(is_locked(job))
        write(*args)

    monkeypatch.setattr(Job, "move", looking)
    monkeypatch.setattr(together, "_move", looking_at_all)
    submit_next(upstream)
    cancel(job)
    retry(job)
    assert held == [True, True, True]


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with others"])
def test_a_job_and_its_submission_move_together_or_not_at_all(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch, alone: bool
) -> None:
    if alone:
        monkeypatch.setattr(outcome, "accept_together", lambda *_: set())

    def crash(*args: Any, **kwargs: Any) -> bool:
        raise SystemExit

    submission = claim_next(upstream)
    assert submission is not None
    before = events(job)
    with monkeypatch.context() as crashing:
        crashing.setattr(JobEvent, "append", crash)
        with pytest.raises(SystemExit):
            send(submission, upstream)
    assert job.submissions.get().state == "sending"
    assert events(job) == before


def test_a_claim_and_its_history_are_written_together_or_not_at_all(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*args: Any, **kwargs: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as crashing:
        crashing.setattr(JobEvent, "append", crash)
        with pytest.raises(SystemExit):
            claim_next(upstream)
    assert not job.submissions.exists()


def test_nothing_is_claimed_or_recorded_within_a_transaction_that_may_still_fail(
    job: Job, upstream: Upstream
) -> None:
    upstream.provider()
    with transaction.atomic(), pytest.raises(RuntimeError):
        claim_next(upstream)
    submission = claim_next(upstream)
    assert submission is not None
    with transaction.atomic(), pytest.raises(RuntimeError), locked(submission):
        pass
