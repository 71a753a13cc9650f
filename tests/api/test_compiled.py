"""Compiled querysets give what the querysets give."""

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import Q

from accounts.models import ApiKey, User
from api.statements.compiled import Compiled
from tests.videos.sending import claim_next
from videos.lifecycle.sending.begin import begin
from videos.models import Job, Preview
from videos.reads.rows import JobRow, SubmissionRow, owned_row, rows_of

pytestmark = pytest.mark.django_db


def test_rows_are_those_of_the_queryset(job: Job, make_job: Any) -> None:
    others = [make_job(metadata={"scene": 1}) for _ in range(3)]

    def build(owner: int, ids: list[uuid.UUID], after: datetime, prompt: str) -> Any:
        wanted = Q(pk__in=ids, created_at__gt=after) | Q(prompt=prompt)
        return (
            Job.objects.filter(wanted, owner=owner)
            .order_by("pk")
            .values_list("pk", "metadata", "estimated_cost", "created_at", "owner__username", "api_key__name")
        )

    compiled = Compiled(build)
    early = datetime.now(UTC) - timedelta(days=1)
    for given in (
        {"owner": job.owner_id, "ids": [others[0].pk, others[1].pk], "after": early, "prompt": job.prompt},
        {"owner": job.owner_id, "ids": [others[2].pk], "after": early, "prompt": "none"},
        {"owner": job.owner_id, "ids": [others[1].pk], "after": early, "prompt": "none"},
        {"owner": -1, "ids": [job.pk], "after": early, "prompt": "50% of it's \\ \u2028"},
    ):
        assert compiled.rows(**given) == list(build(**given))
    assert isinstance(compiled.rows(owner=job.owner_id, ids=[job.pk], after=early, prompt="")[0][2], Decimal)


def test_a_parameter_that_is_not_sent_is_refused(job: Job) -> None:
    careless = Compiled(lambda owner, pk: Job.objects.filter(pk=pk).values_list("pk"))
    with pytest.raises(ValueError, match="owner"):
        careless.rows(owner=job.owner_id, pk=job.pk)


def test_a_parameter_of_another_kind_is_refused(job: Job) -> None:
    compiled = Compiled(lambda cost: Job.objects.filter(estimated_cost=cost).values_list("pk"))
    with pytest.raises(TypeError, match="Decimal"):
        compiled.rows(cost=Decimal(1))


def test_the_owner_of_a_key_comes_with_it(owner: User, django_assert_num_queries: Any) -> None:
    ApiKey.issue(User.objects.create_user("bob"), "his")
    key, secret = ApiKey.issue(owner, "hers")
    with django_assert_num_queries(1):
        found = ApiKey.of_secret(secret)
        assert found is not None
        assert (found, found.owner, found.owner.username) == (key, owner, "ada")
    assert found.digest == key.digest
    assert found.created_at == key.created_at
    # It can be changed and saved as any other.
    found.name = "theirs"
    found.save()
    assert ApiKey.objects.get(pk=key.pk).name == "theirs"


def test_a_row_has_what_the_job_has(job: Job) -> None:
    row = owned_row(job.owner, job.pk)
    assert row is not None
    previews = {"poster", "poster_webp", "spritesheet", "animation"}
    for name in JobRow._fields:
        if name not in {"submissions", "key_revoked_at", "key_jobs_released_at", *previews}:
            assert getattr(row, name) == getattr(job, name), name
    assert {getattr(row, name) for name in previews} == {None}
    preview = Preview.objects.create(job=job, **{name: f"videos/{name}" for name in previews})
    row = owned_row(job.owner, job.pk)
    assert row is not None
    assert all(getattr(row, name) == getattr(preview, name) == f"videos/{name}" for name in previews)
    assert (row.submissions, row.overdue, row.is_held) == ((), job.overdue, job.is_held())
    assert owned_row(User.objects.create_user("bob"), job.pk) is None


def test_rows_come_in_the_order_of_the_ids_with_all_their_submissions(make_job: Any, upstream: Any) -> None:
    jobs = [make_job() for _ in range(12)]
    first = claim_next(upstream)
    assert first is not None
    times = {"lease_until": first.lease_until, "created_at": first.created_at}
    for _ in range(2):
        first.job.submissions.update(state="unsent", cost_state="returned")
        begin([first.job], first.provider, first.created_at, **times)
    pks = [job.pk for job in reversed(jobs)]
    found = rows_of([*pks, uuid.uuid4()])
    assert [row.pk for row in found] == pks
    (tried,) = (row for row in found if row.submissions)
    assert tried.pk == first.job_id
    submissions = list(first.job.submissions.order_by("number"))
    assert [each.number for each in tried.submissions] == [1, 2, 3]
    for shown, submission in zip(tried.submissions, submissions, strict=True):
        for name in SubmissionRow._fields:
            expected = submission.provider.name if name == "provider_name" else getattr(submission, name)
            assert getattr(shown, name) == expected, name
