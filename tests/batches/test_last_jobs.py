"""The last jobs of a batch, in the same instant, in several workers."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from django.db import transaction

from accounts.budgets import reservations
from accounts.models import Budget
from batches.lifecycle.retry import retry_failed
from batches.models import Batch, BatchEvent
from tests.batches.conftest import MakeBatch, statuses
from tests.timeouts import TIMEOUT
from tests.videos.test_races import at_once
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.retry import retry
from videos.models import Job
from videos.states import JobStatus

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def kinds(batch: Batch) -> list[str]:
    return list(BatchEvent.objects.filter(batch=batch).order_by("number").values_list("kind", flat=True))


def end(job: Job, together: threading.Barrier | None = None) -> None:
    """As a kept file ends it: no money moves, so that nothing but the job's own row is locked."""
    with transaction.atomic():
        Job.lock(pk=job.pk).move(JobStatus.COMPLETED, video="x.mp4")
        if together:
            together.wait(TIMEOUT)


def test_of_two_last_jobs_in_the_same_instant_one_completes_the_batch(
    make_batch: MakeBatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("ERROR")
    batches = [make_batch(2) for _ in range(200)]
    Job.objects.update(status="processing")
    pairs = [list(Job.objects.filter(group=batch.pk).order_by("id")) for batch in batches]
    instant = threading.Barrier(2)

    def work(which: int) -> None:
        for pair in pairs:
            instant.wait(TIMEOUT)
            end(pair[which])

    assert at_once(lambda: work(0), lambda: work(1)) == [None, None]
    for batch in batches:
        batch.refresh_from_db()
        assert batch.completed_at is not None
        assert kinds(batch) == ["created", "completed"]
    assert caplog.text == ""


def test_neither_of_two_last_jobs_sees_the_other_before_its_commit(make_batch: MakeBatch) -> None:
    """Both transactions are open at once: whoever decided within them would find the other unfinished."""
    batch = make_batch(2)
    Job.objects.update(status="processing")
    both = threading.Barrier(2)
    found = at_once(*[lambda job=job: end(job, both) for job in Job.objects.all()])  # type: ignore[misc]
    assert found == [None, None]
    assert kinds(batch) == ["created", "completed"]


def test_a_retry_of_a_batch_against_one_of_its_job_waits_for_no_other_in_turn(
    make_batch: MakeBatch, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both take the batch before any money, so that neither holds what the other waits for."""
    batch = make_batch(2)
    failed, cancelled = Job.objects.filter(group=batch.pk).order_by("id")
    cancel(cancelled)
    cancel(failed)
    Job.objects.filter(pk=failed.pk).update(status="failed", error_code="x")
    # Without a budget no money is locked.
    Budget.objects.create(owner=failed.owner, period="day", limit=100)
    about = threading.Barrier(2)
    of_batch: set[int] = set()
    counters = reservations.counters_of

    def together() -> None:
        with suppress(threading.BrokenBarrierError):
            about.wait(1)

    def slowly(*args: Any) -> Any:
        if threading.get_ident() not in of_batch:
            together()
            return counters(*args)
        found = counters(*args)
        together()
        return found

    def retry_batch() -> int:
        of_batch.add(threading.get_ident())
        return retry_failed(batch)

    monkeypatch.setattr(reservations, "counters_of", slowly)
    found = at_once(retry_batch, lambda: retry(cancelled).status)
    assert found == [1, "pending"]
    assert statuses(batch.pk) == ["pending", "pending"]


@pytest.mark.parametrize("turn", range(5))
def test_a_retry_against_the_end_of_its_batch_leaves_one_story(
    make_batch: MakeBatch, upstream: Upstream, turn: int
) -> None:
    batch = make_batch(2)
    first, second = Job.objects.filter(group=batch.pk).order_by("id")
    cancel(first)
    calls: list[Callable[[], Any]] = [lambda: cancel(second), lambda: retry(first)]
    assert not [each for each in at_once(*calls) if isinstance(each, Exception)]
    assert statuses(batch.pk) == ["pending", "cancelled"]
    batch.refresh_from_db()
    assert batch.completed_at is None
    # Completed in between, or not: the first round is told of once at most, and this one not yet.
    assert kinds(batch) in (["created"], ["created", "completed", "reopened"])
    cancel(first)
    assert kinds(batch)[-1] == "completed"
    assert kinds(batch).count("completed") == batch.round
