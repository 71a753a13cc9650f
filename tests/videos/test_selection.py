"""Whose job is sent next. The order itself is shown on both databases, its cost in bench/."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from pytest_django import Settings

from accounts.models import User
from tests.configured import configure
from tests.videos.sending import claim_next
from tests.videos.test_races import at_once
from upstreams.clock import database_now, shifted
from upstreams.registry import Upstream
from videos.models import Group, Job, Submission
from videos.queue.claims.lanes import lanes

pytestmark = pytest.mark.django_db

MakeJob = Callable[..., Job]


def jain(shares: list[int]) -> float:
    """Jain's fairness index: 1 where all have the same, 1/n where one has all."""
    return sum(shares) ** 2 / (len(shares) * sum(share**2 for share in shares))


def claimed(upstream: Upstream, count: int) -> list[Job]:
    """The next jobs, each ended at once so that the next may run."""
    found = []
    for _ in range(count):
        submission = claim_next(upstream)
        assert submission is not None
        found.append(submission.job)
        end(submission)
    return found


def end(submission: Submission) -> None:
    Job.objects.filter(pk=submission.job_id).update(status="failed", error_code="x")
    Submission.objects.filter(pk=submission.pk).update(state="rejected", cost_state="released")


def copies(job: Job, count: int, owner: User) -> None:
    """So many more jobs like this one, of this owner."""
    asked = job.asked_at
    Job.objects.bulk_create(
        Job(
            owner=owner,
            prompt=f"{owner} {number}",
            fitted={**job.fitted, "prompt": f"{owner} {number}"},
            match_key=f"{owner.pk} {number}",
            priority=job.priority,
            due_at=asked,
            created_at=asked,
            asked_at=asked + timedelta(milliseconds=number),
            updated_at=asked,
        )
        for number in range(count)
    )


@pytest.mark.parametrize("slots", [1, 50])
def test_an_owner_with_a_thousand_jobs_blocks_nobody(
    job: Job, upstream: Upstream, slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One owner's 1,000 jobs were there before nine others' 10 each; of the first 100 each owner has ten."""
    upstream = replace(upstream, concurrency=slots)
    configure(monkeypatch, upstream)
    owners = [job.owner, *(User.objects.create_user(f"owner {number}") for number in range(9))]
    job.asked_at -= timedelta(minutes=1)
    copies(job, 1000, owners[0])
    for owner in owners[1:]:
        copies(job, 10, owner)
    Job.objects.filter(pk=job.pk).delete()
    order, running = [], []
    while len(order) < 100:
        submission = claim_next(upstream)
        if submission is None:
            # All slots are taken: the oldest render ends.
            end(running.pop(0))
            continue
        running.append(submission)
        order.append(submission.job.owner_id)
    assert len(running) <= slots
    shares = Counter(order)
    assert jain([shares[owner.pk] for owner in owners]) >= 0.95


def test_who_was_served_longest_ago_is_next_also_after_a_pause(make_job: MakeJob, upstream: Upstream) -> None:
    ada, bob = User.objects.get_or_create(username="ada")[0], User.objects.create_user("bob")
    for _ in range(3):
        make_job()
    assert {job.owner for job in claimed(upstream, 2)} == {ada}
    make_job(by=bob), make_job(by=bob)
    assert [job.owner for job in claimed(upstream, 3)] == [bob, ada, bob]
    # Ada has been served before Bob was: it is her turn although his job is older.
    make_job(by=bob), make_job(by=ada)
    assert [job.owner for job in claimed(upstream, 2)] == [ada, bob]


def test_of_an_owners_jobs_the_oldest_is_next(make_job: MakeJob, upstream: Upstream) -> None:
    jobs = [make_job() for _ in range(4)]
    Job.objects.filter(pk=jobs[2].pk).update(asked_at=F("asked_at") - timedelta(seconds=5))
    assert [job.pk for job in claimed(upstream, 4)] == [jobs[n].pk for n in (2, 0, 1, 3)]


@pytest.mark.parametrize("others", ["bob", "ada"])
def test_a_low_job_under_a_stream_of_high_ones_is_sent_within_its_bound(
    make_job: MakeJob, upstream: Upstream, settings: Settings, others: str
) -> None:
    """A high job is asked for before each claim, so that one always waits: another owner's, or its own's."""
    settings.PRIORITY_AGEING = 60
    low = make_job(priority="low")
    streaming = User.objects.get_or_create(username=others)[0]
    make_job(by=streaming, priority="high")
    for second in range(0, 200, 2):
        with shifted(timedelta(seconds=second)):
            make_job(by=streaming, priority="high")
            before = (database_now() - low.asked_at).total_seconds()
            (job,) = claimed(upstream, 1)
            after = (database_now() - low.asked_at).total_seconds()
        if job.pk == low.pk:
            break
        assert before < 120
    assert job.pk == low.pk
    assert after >= 120


@pytest.mark.parametrize(("waited", "first"), [(59, "normal"), (61, "low")])
def test_ageing_raises_one_step_at_a_time(
    make_job: MakeJob, upstream: Upstream, settings: Settings, waited: int, first: str
) -> None:
    settings.PRIORITY_AGEING = 60
    jobs = {"low": make_job(priority="low")}
    with shifted(timedelta(seconds=waited)):
        jobs["normal"] = make_job()
        jobs["high"] = make_job(priority="high")
        order = [job.pk for job in claimed(upstream, 3)]
    assert order[0] == jobs["high"].pk
    assert order[1] == jobs[first].pk


def test_no_job_outgrows_the_highest_priority(make_job: MakeJob, upstream: Upstream) -> None:
    """However long a high one has waited, another owner's high one has its turn."""
    bob = User.objects.create_user("bob")
    make_job(), make_job(by=bob)
    assert [job.owner_id == bob.pk for job in claimed(upstream, 2)] == [False, True]
    old, young = make_job(by=bob, priority="high"), make_job(priority="high")
    Job.objects.filter(pk=old.pk).update(asked_at=database_now() - timedelta(days=1))
    assert [job.pk for job in claimed(upstream, 2)] == [young.pk, old.pk]


def test_a_retry_begins_to_age_anew(job: Job, make_job: MakeJob, upstream: Upstream) -> None:
    other = make_job(priority="normal")
    Job.objects.filter(pk=job.pk).update(created_at=database_now() - timedelta(days=1), priority=0)
    assert claimed(upstream, 1)[0].pk == other.pk


def test_a_group_runs_no_more_than_its_limit_and_others_go_on(
    make_job: MakeJob, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream = replace(upstream, concurrency=9)
    configure(monkeypatch, upstream)
    owner = make_job().owner
    group = Group.objects.create(owner=owner, limit=2)
    grouped = [make_job() for _ in range(4)]
    Job.objects.filter(pk__in=[job.pk for job in grouped]).update(group=group)
    younger = make_job()
    found = [claim_next(upstream) for _ in range(5)]
    taken = [submission.job_id for submission in found if submission]
    assert taken[1:] == [grouped[0].pk, grouped[1].pk, younger.pk]
    ended = Submission.objects.filter(job=grouped[0])
    ended.update(state="failed", cost_state="released", upstream_id="video_1")
    Job.objects.filter(pk=grouped[0].pk).update(status="failed", error_code="x")
    following = claim_next(upstream)
    assert following is not None
    assert following.job_id == grouped[2].pk
    assert claim_next(upstream) is None


@pytest.mark.parametrize("state", ["sending", "unknown", "rendering", "rendered", "dropping"])
def test_every_live_submission_counts_for_its_group(
    make_job: MakeJob, upstream: Upstream, state: str
) -> None:
    group = Group.objects.create(owner=make_job().owner, limit=1)
    Job.objects.update(group=group)
    make_job()
    Job.objects.update(group=group)
    first = claim_next(upstream)
    assert first is not None
    accepted = {"upstream_id": "video_1"} if state not in {"sending", "unknown"} else {}
    cost = "settled" if state == "rendered" else "reserved"
    Submission.objects.filter(pk=first.pk).update(state=state, cost_state=cost, **accepted)
    assert claim_next(upstream) is None


def test_nothing_of_a_held_group_is_claimed(job: Job, make_job: MakeJob, upstream: Upstream) -> None:
    group = Group.objects.create(owner=job.owner, limit=5, held=True)
    Job.objects.update(group=group)
    other = make_job()
    assert claimed(upstream, 1)[0].pk == other.pk
    assert claim_next(upstream) is None
    Group.objects.update(held=False)
    assert claimed(upstream, 1)[0].pk == job.pk


def test_a_lane_whose_oldest_is_not_due_stands_back(make_job: MakeJob, upstream: Upstream) -> None:
    """The oldest of ada's has aged to high and is not due; what is due of hers is younger than Bob's."""
    bob = User.objects.create_user("bob")
    aged, young = make_job(priority="low"), make_job(priority="low")
    his = make_job(by=bob)
    now = database_now()
    Job.objects.filter(pk=aged.pk).update(asked_at=now - timedelta(days=1), due_at=now + timedelta(minutes=5))
    assert [job.pk for job in claimed(upstream, 2)] == [his.pk, young.pk]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_job_that_is_locked_just_now_is_passed_over(make_job: MakeJob, upstream: Upstream) -> None:
    """A claim waits for nobody's cancel or retry."""
    locked, free = make_job(), make_job()

    def claim_soon() -> Submission | None:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '2s'")
        return claim_next(upstream)

    with transaction.atomic():
        Job.lock(pk=locked.pk)
        (found,) = at_once(claim_soon)
    assert isinstance(found, Submission)
    assert found.job_id == free.pk


def test_lanes_are_those_of_owners_groups_and_priorities(make_job: MakeJob) -> None:
    ada, bob = make_job().owner, User.objects.create_user("bob")
    oldest = make_job(by=bob, priority="high")
    make_job(by=bob, priority="high"), make_job(by=bob, priority="low")
    groups = [Group.objects.create(owner=bob, limit=1) for _ in range(2)]
    for group in groups:
        for priority in ("normal", "low"):
            for _ in range(2):
                Job.objects.filter(pk=make_job(by=bob, priority=priority).pk).update(group=group)
    cancelled = make_job(priority="high")
    Job.objects.filter(pk=cancelled.pk).update(status="cancelled")
    found = {(lane.owner_id, lane.group_id, lane.priority): lane.oldest for lane in lanes()}
    assert set(found) == {
        (ada.pk, None, 1),
        (bob.pk, None, 2),
        (bob.pk, None, 0),
        *((bob.pk, group.pk, priority) for group in groups for priority in (0, 1)),
    }
    assert found[bob.pk, None, 2] == oldest.asked_at


@pytest.mark.postgres
def test_lanes_are_found_without_reading_their_jobs(job: Job) -> None:
    """With 3,000 jobs in one lane the plan reads a handful of index entries."""
    copies(job, 3000, job.owner)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE videos_job")
    with connection.execute_wrapper(_explaining):
        lanes()
    assert _explaining.rows
    assert max(_explaining.rows) < 100


class _Explaining:
    """Notes how many rows each part of a plan has read."""

    def __init__(self) -> None:
        self.rows: list[float] = []

    def __call__(self, execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        if "RECURSIVE" in sql:
            with connection.connection.cursor() as cursor:
                plan = cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params or None).fetchone()[0]
            self._walk(plan[0]["Plan"])
        return execute(sql, params, many, context)

    def _walk(self, node):  # type: ignore[no-untyped-def]
        removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
        self.rows.append((node["Actual Rows"] + removed) * node["Actual Loops"])
        for inner in node.get("Plans", []):
            self._walk(inner)


_explaining = _Explaining()
