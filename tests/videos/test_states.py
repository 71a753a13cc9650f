import itertools
from collections.abc import Callable
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from tests.videos.rows import submission_in
from upstreams.clock import database_now
from videos.models import Group, Job, JobEvent
from videos.states import (
    ACCEPTED,
    COST_IN,
    JOB_ENTERED_FROM,
    LIVE,
    SUBMISSION_ENTERED_FROM,
    CostState,
    JobStatus,
    SubmissionState,
)

pytestmark = pytest.mark.django_db

JOB_TABLE = {
    ("pending", "processing"),
    ("pending", "failed"),
    ("pending", "cancelled"),
    ("processing", "completed"),
    ("processing", "failed"),
    ("processing", "cancelled"),
    ("failed", "completed"),
    ("failed", "pending"),
    ("failed", "processing"),
    ("cancelled", "pending"),
    ("cancelled", "processing"),
}
SUBMISSION_TABLE = {
    ("sending", "unsent"),
    ("sending", "rejected"),
    ("sending", "rendering"),
    ("sending", "unknown"),
    ("unknown", "rendering"),
    ("unknown", "absent"),
    ("absent", "unknown"),
    ("unknown", "given_up"),
    ("absent", "rendering"),
    ("absent", "given_up"),
    ("rendering", "rendered"),
    ("rendering", "failed"),
    ("rendering", "lost"),
    ("rendering", "dropping"),
    ("rendering", "dropped"),
    ("rendering", "given_up"),
    ("rendered", "given_up"),
    ("rendered", "stored"),
    ("rendered", "lost"),
    ("rendered", "dropping"),
    ("dropping", "dropped"),
    ("given_up", "rendered"),
    ("given_up", "rendering"),
    ("dropped", "rendering"),
}


@pytest.mark.parametrize(("before", "after"), [*itertools.product(JobStatus, JobStatus)])
def test_a_job_moves_only_as_the_table_says(job: Job, before: JobStatus, after: JobStatus) -> None:
    wanted = {"video": "v.mp4", "error_code": "x"}
    Job.objects.filter(pk=job.pk).update(status=before, **wanted)
    job.refresh_from_db()

    won = job.move(after)

    assert won == ((before, after) in JOB_TABLE)
    assert job.status == (after if won else before)
    assert JobEvent.objects.filter(job=job, to_state=after, from_state=before).exists() == won


@pytest.mark.parametrize(("before", "after"), [*itertools.product(SubmissionState, SubmissionState)])
def test_a_submission_moves_only_as_the_table_says(
    job: Job, before: SubmissionState, after: SubmissionState
) -> None:
    submission = submission_in(job, before)
    allowed = COST_IN[after]
    fields: dict[str, Any] = {"upstream_id": "video_1"} if after in ACCEPTED else {}

    won = submission.move(after, cost_state=min(allowed), **fields)

    assert won == ((before, after) in SUBMISSION_TABLE)
    assert submission.state == (after if won else before)
    assert (submission.ended_at is None) == (not won or after in LIVE)


def test_the_code_and_the_design_have_the_same_tables() -> None:
    jobs = {(before, after) for after, froms in JOB_ENTERED_FROM.items() for before in froms}
    submissions = {(before, after) for after, froms in SUBMISSION_ENTERED_FROM.items() for before in froms}
    assert jobs == JOB_TABLE
    assert submissions == SUBMISSION_TABLE


def test_a_move_judges_the_row_and_not_the_copy_in_hand(job: Job) -> None:
    stale = Job.objects.get(pk=job.pk)
    assert job.move(JobStatus.CANCELLED)
    assert stale.status == "pending"
    assert not stale.move(JobStatus.FAILED, error_code="x")
    assert stale.status == "cancelled"


def test_a_settled_cost_stays_settled(job: Job) -> None:
    submission = submission_in(job, SubmissionState.RENDERING, cost_state=CostState.SETTLED)
    assert submission.move(SubmissionState.FAILED, cost_state=CostState.RELEASED)
    assert submission.cost_state == CostState.SETTLED


def test_the_history_is_numbered_without_gaps(job: Job) -> None:
    job.move(JobStatus.CANCELLED)
    job.move(JobStatus.PENDING)
    assert list(job.events.order_by("number").values_list("number", "from_state", "to_state")) == [
        (1, "", "pending"),
        (2, "pending", "cancelled"),
        (3, "cancelled", "pending"),
    ]


@pytest.mark.parametrize("state", sorted(LIVE))
def test_a_job_has_one_live_submission(job: Job, state: SubmissionState) -> None:
    submission_in(job, SubmissionState.RENDERING)
    with pytest.raises(IntegrityError), transaction.atomic():
        submission_in(job, state, upstream_id="video_2")


@pytest.mark.parametrize("state", [SubmissionState.SENDING, SubmissionState.UNKNOWN])
def test_one_submission_per_match_key_is_undecided(
    make_job: Callable[..., Job], state: SubmissionState
) -> None:
    one, other = make_job("the same"), make_job("the same")
    assert one.match_key == other.match_key
    submission_in(one, SubmissionState.SENDING)
    with pytest.raises(IntegrityError), transaction.atomic():
        submission_in(other, state)


def test_an_upstream_id_belongs_to_one_submission(make_job: Callable[..., Job]) -> None:
    submission_in(make_job(), SubmissionState.RENDERING, upstream_id="video_1")
    with pytest.raises(IntegrityError), transaction.atomic():
        submission_in(make_job(), SubmissionState.RENDERING, upstream_id="video_1")


@pytest.mark.parametrize("state", sorted(ACCEPTED))
def test_what_was_accepted_has_an_upstream_id(job: Job, state: SubmissionState) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        submission_in(job, state, upstream_id=None)


@pytest.mark.parametrize(
    ("state", "cost"),
    [(state, cost) for state in SubmissionState for cost in CostState if cost not in COST_IN[state]],
)
def test_each_state_allows_only_its_costs(job: Job, state: SubmissionState, cost: CostState) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        submission_in(job, state, cost_state=cost)


def test_a_completed_job_has_a_video_and_a_failed_one_a_reason(job: Job) -> None:
    for status in ("completed", "failed", "imagined"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Job.objects.filter(pk=job.pk).update(status=status)


def test_a_job_numbers_its_submissions_and_its_history(job: Job) -> None:
    submission_in(job, SubmissionState.UNSENT)
    with pytest.raises(IntegrityError), transaction.atomic():
        submission_in(job, SubmissionState.UNSENT, number=1)
    with pytest.raises(IntegrityError), transaction.atomic():
        JobEvent.objects.create(job=job, number=1, to_state="pending", created_at=database_now())


def test_a_ref_is_used_once_in_a_group(job: Job, make_job: Callable[..., Job]) -> None:
    group, another = (Group.objects.create(owner=job.owner, limit=1) for _ in range(2))
    others = [make_job() for _ in range(4)]

    def give(one: Job, ref: str, to: Group | None) -> None:
        Job.objects.filter(pk=one.pk).update(group=to, ref=ref)

    give(job, "a", group)
    give(others[0], "b", group)
    give(others[1], "a", another)
    give(others[2], "", group)
    give(others[3], "", group)
    with pytest.raises(IntegrityError), transaction.atomic():
        give(others[0], "a", group)


def test_a_group_runs_at_least_one(job: Job) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Group.objects.create(owner=job.owner, limit=0)


def test_progress_is_a_percentage(job: Job) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(progress=101)
