"""Jobs that have ended are counted once, and what happens to them later is counted as well."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.models import ApiKey, User
from tests.configured import configure
from tests.videos.scripted import ScriptedClient
from tests.videos.sending import submit_next
from upstreams.offer.request import VideoRequest
from upstreams.registry import Upstream
from videos.lifecycle.cancel import cancel
from videos.lifecycle.create import create
from videos.lifecycle.following.sweep import sweep
from videos.lifecycle.retry import retry
from videos.models import Job, Submission, UsageCount
from videos.states import CostState, JobStatus, SubmissionState
from videos.usage.count import count_some
from videos.usage.report import GROUPS, usage

pytestmark = pytest.mark.django_db


def everything(owner: User) -> list[list[dict[str, Any]]]:
    """The usage of the last days, by every choice of groups."""
    today = datetime.now(UTC).date()
    return [
        usage(owner, today - timedelta(days=60), today, by)
        for size in range(1, len(GROUPS) + 1)
        for by in combinations(GROUPS, size)
    ]


@pytest.fixture
def failing(upstream: Upstream, sora: ScriptedClient, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Sends the next job, which fails and is paid all the same."""
    configure(monkeypatch, replace(upstream, bills_failed=True))

    def fail() -> None:
        submit_next(upstream)
        last = Submission.objects.latest("id")
        sora.fail(str(last.upstream_id))
        sweep(upstream)
        last.refresh_from_db()
        assert last.state == SubmissionState.FAILED

    return fail


def test_what_is_counted_is_shown_as_before_and_its_rows_are_not_read_again(
    owner: User, make_job: Callable[..., Job], failing: Callable[[], None]
) -> None:
    key = ApiKey.issue(owner, "first")[0]
    create(VideoRequest(prompt="a kite", model="sora-2-pro"), owner=owner, api_key=key)
    failing()
    make_job()
    failing()
    cancel(make_job())
    waiting = make_job()
    Job.objects.filter(status="cancelled").update(created_at=datetime.now(UTC) - timedelta(days=40))
    before = everything(owner)
    assert (count_some(), count_some()) == (3, 0)
    assert everything(owner) == before
    assert set(Job.objects.filter(counted=False)) == {waiting}
    # Had anything of the counted jobs been read, this would show.
    Submission.objects.update(price=Decimal("9.99"))
    assert everything(owner) == before


def test_a_job_that_is_asked_for_again_after_it_was_counted_is_counted_anew(
    owner: User, job: Job, failing: Callable[[], None]
) -> None:
    key = ApiKey.issue(owner, "second")[0]
    failing()
    assert count_some() == 1
    retry(Job.objects.get(), api_key=key)
    (row,) = usage(owner, datetime.now(UTC).date(), datetime.now(UTC).date(), ["status"])
    assert row == {"status": "pending", "jobs": 1, "settled": "0.40", "reserved": "0.40"}
    failing()
    before = everything(owner)
    assert count_some() == 1
    assert everything(owner) == before
    assert UsageCount.objects.count() == 2, "the rows of a group become one, and none is left of what was"
    assert sum(row.jobs for row in UsageCount.objects.all()) == 1


def test_what_is_paid_after_a_job_was_counted_is_counted(
    owner: User, upstream: Upstream, job: Job, sora: ScriptedClient
) -> None:
    submit_next(upstream)
    submission = job.submissions.get()
    cancel(Job.objects.get())
    assert count_some() == 0, "its render may still cost something"
    Submission.objects.update(state=SubmissionState.DROPPED, cost_state=CostState.RELEASED, due_at=None)
    assert count_some() == 1
    today = datetime.now(UTC).date()
    assert [row["settled"] for row in usage(owner, today, today, ["day"])] == ["0.00"]
    with transaction.atomic():
        late = Submission.objects.get()
        late.job = Job.lock(pk=job.pk)
        assert late.move(SubmissionState.RENDERING, cost_state=CostState.SETTLED)
    assert [row["settled"] for row in usage(owner, today, today, ["day"])] == ["0.40"]
    assert submission.pk == late.pk


def test_the_database_refuses_to_open_a_job_that_is_counted(job: Job) -> None:
    cancel(job)
    assert count_some() == 1
    with pytest.raises(IntegrityError, match="job_counted_has_ended"), transaction.atomic():
        Job.objects.update(status="pending")


def test_a_move_that_is_refused_changes_nothing(job: Job) -> None:
    cancel(job)
    assert count_some() == 1
    before = Job.objects.get()
    with transaction.atomic():
        assert not Job.lock(pk=job.pk).move(JobStatus.COMPLETED)
    after = Job.objects.get()
    assert (after.counted, after.updated_at) == (True, before.updated_at)


def test_many_jobs_of_a_group_that_are_asked_for_again_are_taken_back(
    owner: User, make_job: Callable[..., Job]
) -> None:
    jobs = [make_job() for _ in range(3)]
    for job in jobs:
        cancel(job)
    assert count_some() == 3
    with transaction.atomic():
        locked = list(Job.objects.select_for_update())
        assert Job.move_together(locked, JobStatus.PENDING)
    today = datetime.now(UTC).date()
    assert usage(owner, today, today, ["status"]) == [
        {"status": "pending", "jobs": 3, "settled": "0.00", "reserved": "0.00"}
    ]


def test_jobs_of_many_owners_and_days_are_counted_by_few_statements(make_job: Callable[..., Job]) -> None:
    now = datetime.now(UTC)
    for number in range(12):
        job = make_job(by=User.objects.create_user(f"owner-{number}"))
        cancel(job)
        Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(days=number))
    with CaptureQueriesContext(connection) as asked:
        assert count_some() == 12
    assert len(asked) <= 10, [each["sql"] for each in asked]
    assert UsageCount.objects.count() == 12


def test_rows_that_add_up_to_nothing_are_not_shown(owner: User, job: Job) -> None:
    today = datetime.now(UTC).date()
    cancel(job)
    assert count_some() == 1
    with transaction.atomic():
        Job.lock(pk=job.pk).take_back()
    assert UsageCount.objects.count() == 2
    Job.objects.update(api_key=ApiKey.issue(owner, "other")[0])
    assert usage(owner, today, today, ["status"])[0]["jobs"] == 1
    assert count_some() == 1
    # The pair of the group that has no job now is left until something is counted in it.
    rows = usage(owner, today, today, ["key"])
    assert [row["jobs"] for row in rows] == [1]
