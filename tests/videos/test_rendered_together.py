"""Renders that complete together are recorded by the same statements, as each would be alone."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from accounts.budgets.counting import count_some
from accounts.models import Spending, User
from tests.accounts.test_budgets import limit
from tests.log_lines import Lines
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from tests.videos.test_complete_together import shown
from upstreams.client.dialects import OPENAI
from upstreams.client.types import Phase, Video
from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.following import completed
from videos.lifecycle.following.completed import complete_together
from videos.lifecycle.following.observe import observe
from videos.models import Job, JobEvent, Submission, locked
from videos.signals import submission_moved

pytestmark = pytest.mark.django_db

Rendering = Callable[[int], list[tuple[Submission, Video]]]


@pytest.fixture
def rendering(make_job: Callable[..., Job], upstream: Upstream, sora: ScriptedClient) -> Rendering:
    """So many submissions in render, and the videos as they look when they are done."""

    def make(count: int) -> list[tuple[Submission, Video]]:
        for _ in range(count):
            make_job()
            assert submit_next(upstream)
        until = (database_now() + timedelta(hours=1)).replace(microsecond=0)
        return [
            (row, replace(sora.videos[str(row.upstream_id)], phase=Phase.COMPLETED, expires_at=until))
            for row in Submission.objects.select_related("job", "provider").order_by("pk")
        ]

    return make


def together(found: list[tuple[Submission, Video]], upstream: Upstream) -> set[int]:
    return complete_together([(row.pk, row.job_id, video) for row, video in found], upstream)


def spent() -> set[tuple[int, int]]:
    """What the owner has reserved and spent, by day and by month."""
    while count_some():
        pass
    return set(Spending.objects.filter(api_key=None).values_list("reserved", "settled"))


def test_many_come_to_what_each_comes_to_by_itself(
    rendering: Rendering, upstream: Upstream, owner: User, lines: Lines
) -> None:
    limit(owner, "10")
    (alone, its), *others = rendering(3)
    with locked(alone) as (job, row):
        observe(job, row, its)
    assert together(others, upstream) == {row.pk for row, _ in others}
    # Where each is recorded by itself in the end, nobody else would notice.
    assert not [line for line in lines() if "one by one" in str(line["event"])]
    first, *more = (shown(Job.objects.get(pk=row.job_id), row) for row, _ in [(alone, its), *others])
    for each in [first, *more]:
        # It is due at once.
        assert each.pop("due") is not None
    assert more == [first, first]
    alone.refresh_from_db()
    assert {(row.state, row.cost_state, row.price) for row in Submission.objects.all()} == {
        ("rendered", "settled", Decimal("0.4"))
    }
    for row in Submission.objects.all():
        assert row.expires_at == its.expires_at
        assert row.rendered_at is not None
        assert (row.ended_at, row.silent_since, row.missing_since) == (None, None, None)
    # In ten-thousandths of a dollar.
    assert spent() == {(0, 12_000)}


def test_what_it_was_charged_is_what_is_settled(
    rendering: Rendering, upstream: Upstream, owner: User
) -> None:
    limit(owner, "10")
    (one, video), (other, unstated) = rendering(2)
    telling = replace(upstream, dialect=replace(OPENAI, states_cost=True))
    found = [(one, replace(video, cost=Decimal("0.1234"))), (other, unstated)]
    assert together(found, telling) == {one.pk, other.pk}
    prices = dict(Submission.objects.values_list("pk", "price"))
    assert prices == {one.pk: Decimal("0.1234"), other.pk: Decimal("0.4")}
    assert spent() == {(0, 5_234)}


def test_only_what_nothing_else_happens_to_is_recorded(
    rendering: Rendering, upstream: Upstream, make_job: Callable[..., Job]
) -> None:
    found = rendering(4)
    cancelled, unreserved, settled, free = (row for row, _ in found)
    cancel(Job.objects.get(pk=cancelled.job_id))
    Submission.objects.filter(pk=unreserved.pk).update(reservation=None)
    Submission.objects.filter(pk=settled.pk).update(cost_state="settled")
    assert together(found, upstream) == {free.pk}
    assert together(found[:3], upstream) == set()
    assert together([], upstream) == set()
    assert set(Submission.objects.exclude(pk=free.pk).values_list("state", flat=True)) == {"rendering"}


def test_each_is_told_once_and_its_history_says_it(
    rendering: Rendering, upstream: Upstream, django_capture_on_commit_callbacks: Callable[..., object]
) -> None:
    found = rendering(2)
    told: list[tuple[int, str, str, str]] = []

    def hear(sender: object, submission: Submission, before: str, **_: object) -> None:
        told.append((submission.pk, before, submission.state, submission.cost_state))

    submission_moved.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):  # type: ignore[attr-defined]
            together(found, upstream)
    finally:
        submission_moved.disconnect(hear)
    assert told == [(row.pk, "rendering", "rendered", "settled") for row, _ in found]
    for row, _ in found:
        last = JobEvent.objects.filter(job=row.job_id).order_by("number").last()
        assert last is not None
        assert (last.subject, last.submission_number, last.from_state, last.to_state) == (
            "submission",
            1,
            "rendering",
            "rendered",
        )


def test_the_statements_are_as_many_for_many_as_for_one(rendering: Rendering, upstream: Upstream) -> None:
    found = rendering(4)
    with CaptureQueriesContext(connection) as for_one:
        together(found[:1], upstream)
    with CaptureQueriesContext(connection) as for_three:
        together(found[1:], upstream)
    assert len(for_three) == len(for_one)


def test_if_they_cannot_be_written_together_nothing_is_recorded(
    rendering: Rendering,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = rendering(1)

    def broken(*_: object) -> None:
        raise DatabaseError("no")

    monkeypatch.setattr(completed.JobEvent, "append", broken)
    assert together(found, upstream) == set()
    assert "one by one: no" in caplog.text
    assert Submission.objects.get().state == "rendering"


def test_what_has_changed_under_its_lock_is_not_overwritten(rendering: Rendering, upstream: Upstream) -> None:
    ((row, _),) = rendering(1)
    Submission.objects.update(state="failed", cost_state="released")
    with pytest.raises(RuntimeError, match="changed"):
        completed._write([row], database_now())
    assert Submission.objects.get().state == "failed"


def test_the_files_are_fetched_at_once(rendering: Rendering, upstream: Upstream, settings: Settings) -> None:
    found = rendering(1)
    together(found, upstream)
    due = Submission.objects.get().due_at
    assert due is not None
    assert due <= database_now()
