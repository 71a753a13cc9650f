"""A row on which a journey raises stops no other, is seen, and is tried again at growing distances."""

import logging
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import OperationalError

from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import claim_next, submit_next
from tests.videos.test_submit import only
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos.lifecycle.following import completed, listed, observe, sweep
from videos.models import Job, Submission
from videos.queue.attend import attend
from videos.queue.dispatch import all_due_work
from videos.queue.isolation import isolated
from videos.results.store import store

pytestmark = pytest.mark.django_db


def breaking(function: Callable[..., Any], on: Callable[..., bool]) -> Callable[..., Any]:
    """The function, which raises if `on` says so of its arguments."""

    def broken(*args: Any, **kwargs: Any) -> Any:
        if on(*args):
            raise OverflowError("date value out of range\x00\x1b[31m")
        return function(*args, **kwargs)

    return broken


def run_due(upstream: Upstream, later: float) -> None:
    with shifted(timedelta(seconds=later)):
        for work in all_due_work():
            if work.task == "sweep":
                sweep.sweep(upstream)
            elif work.kind is not None:
                attend(upstream, work.kind)


@pytest.fixture
def pair(make_job: Callable[..., Job], upstream: Upstream) -> tuple[Job, Job]:
    jobs = make_job(), make_job()
    for _ in jobs:
        submit_next(upstream)
    return jobs


def test_a_row_that_raises_hides_no_other_from_the_sweep(
    pair: tuple[Job, Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = pair
    for video_id in sora.videos:
        sora.complete(video_id)
    broken = breaking(observe.observe, lambda job, *_: job.pk == bad.pk)
    monkeypatch.setattr(listed, "observe", broken)
    # What it raises on, it raises on among others as well; then each is recorded by itself.
    monkeypatch.setattr(completed, "_line", breaking(completed._line, lambda row: row.job_id == bad.pk))
    run_due(upstream, 5)
    assert (only(bad).state, only(good).state) == ("rendering", "rendered")
    assert only(bad).faults == 1


def test_a_row_that_raises_is_tried_at_growing_distances_and_logged_once_each(
    pair: tuple[Job, Job],
    upstream: Upstream,
    sora: ScriptedClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, _ = pair
    for video_id in sora.videos:
        sora.complete(video_id)
    whole = observe.observe
    monkeypatch.setattr(listed, "observe", breaking(whole, lambda job, *_: job.pk == bad.pk))
    together = completed._line
    monkeypatch.setattr(completed, "_line", breaking(together, lambda row: row.job_id == bad.pk))
    seen = []
    with caplog.at_level(logging.ERROR, logger="videos.queue.isolation"):
        for later in range(5, 300):
            run_due(upstream, later)
            seen.append(only(bad).faults)
    # At about 5, 10, 20, 40, 80 and 160 seconds after each other.
    assert 5 <= seen[-1] <= 7
    assert len(caplog.records) == seen[-1]
    assert str(bad.pk) in caplog.records[0].getMessage()
    monkeypatch.setattr(listed, "observe", whole)
    monkeypatch.setattr(completed, "_line", together)
    run_due(upstream, 700)
    assert (only(bad).state, only(bad).faults, only(bad).fault) == ("rendered", 0, "")


def test_a_row_that_raises_is_shown_to_the_operator(
    job: Job, upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)
    Submission.objects.update(state="rendered", cost_state="settled", due_at=database_now())
    monkeypatch.setattr("videos.queue.attend.store", breaking(store, lambda *_: True))
    configure(monkeypatch, upstream)
    run_due(upstream, 1)
    out = StringIO()
    call_command("undecided", stdout=out)
    assert f"{job.pk}/1" in out.getvalue()
    assert "OverflowError: date value out of range" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_being_run_before_its_time_does_not_clear_what_a_row_was_put_off_for(
    job: Job, upstream: Upstream
) -> None:
    submit_next(upstream)
    Submission.objects.update(faults=3, fault="x", due_at=database_now() + timedelta(seconds=30))
    with isolated(only(job)):
        pass
    assert only(job).faults == 3
    Submission.objects.update(due_at=database_now())
    with isolated(only(job)):
        pass
    assert only(job).faults == 0


def test_a_job_whose_claim_raises_keeps_no_other_waiting(
    make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad, good = make_job(), make_job()
    Job.objects.filter(pk=bad.pk).update(fitted={})
    for _ in range(3):
        submit_next(upstream)
    bad.refresh_from_db()
    assert (bad.status, bad.faults, bad.submissions.count()) == ("pending", 1, 0)
    assert bad.due_at > database_now()
    assert only(good).state == "rendering"


def test_a_lease_is_not_moved_by_what_raised_while_it_was_sent(
    job: Job, upstream: Upstream, sora: ScriptedClient
) -> None:
    def raises(_: object) -> None:
        raise RuntimeError("a bug")

    sora.before = raises
    assert submit_next(upstream)
    submission = only(job)
    assert (submission.state, submission.faults) == ("sending", 1)
    assert submission.due_at == submission.lease_until


def test_a_database_that_is_away_is_no_fault_of_the_row(
    job: Job, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit_next(upstream)

    def away(*_: object, **__: object) -> int:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr("videos.queue.isolation._counted", away)
    with pytest.raises(OperationalError), isolated(only(job)):
        away()
    assert only(job).faults == 0


@pytest.mark.parametrize("name", ["expire_leases", "give_up_expired"])
def test_a_row_that_cannot_be_ended_hides_no_other(
    make_job: Callable[..., Job], upstream: Upstream, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bad, good = make_job(), make_job()
    for _ in (bad, good):
        claim_next(upstream)
    past = database_now() - timedelta(hours=2)
    if name == "expire_leases":
        module, inner = "videos.lifecycle.outcomes", "_enter_unknown"
        ended = "unknown"
    else:
        module, inner = "videos.lifecycle.expiry", "give_up_if_expired"
        ended = "given_up"
        Submission.objects.update(
            state="unknown", unknown_at=past, silent_since=past, silent_at=database_now()
        )
    Submission.objects.update(due_at=past, lease_until=past, give_up_at=past)
    monkeypatch.setattr(
        f"{module}.{inner}",
        breaking(
            getattr(__import__(module, fromlist=[inner]), inner),
            lambda *args: str(bad.pk) in " ".join(map(str, args)),
        ),
    )
    all_due_work()
    assert only(good).state == ended
    assert (only(bad).state != ended, only(bad).faults) == (True, 1)
