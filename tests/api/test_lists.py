"""Lists of jobs: every pair of filters shows what it should, newest first, and scans no table."""

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test import Client

from accounts.models import User
from upstreams.offer.request import PRIORITIES
from upstreams.registry import Upstream
from videos.api import queries
from videos.api.queries import newest_jobs
from videos.models import Group, Job
from videos.states import JobStatus

URL = "/api/v1/videos"
BEGAN = datetime(2026, 11, 1, tzinfo=UTC)
FILTERS: dict[str, tuple[Any, ...]] = {
    "status": ("pending", "failed", "cancelled"),
    "priority": ("low", "high"),
    "createdAfter": (BEGAN, BEGAN + timedelta(hours=20), BEGAN + timedelta(days=9)),
    "createdBefore": (BEGAN, BEGAN + timedelta(hours=40), BEGAN + timedelta(days=9)),
    "batchId": (1,),
}
MATCHES: dict[str, Any] = {
    "status": lambda job, value: job.status == value,
    "priority": lambda job, value: job.priority == PRIORITIES[value],
    "createdAfter": lambda job, value: job.created_at >= value,
    "createdBefore": lambda job, value: job.created_at < value,
    "batchId": lambda job, value: job.group_id == value,
}


def jobs_of(owner: User, count: int, step: timedelta = timedelta(hours=1)) -> list[Job]:
    """Jobs of three statuses and three priorities, some of a batch. Two in a row are made at the same time,
    and their ids do not rise."""
    group = Group.objects.create(owner=owner, limit=5)
    states = (JobStatus.PENDING, JobStatus.FAILED, JobStatus.CANCELLED)
    made = [
        Job(
            owner=owner,
            group=group if number % 5 == 0 else None,
            prompt=f"boat {number}",
            fitted={"model": "sora-2", "seconds": "4", "size": "1280x720"},
            match_key=str(number),
            status=states[number % 7 % 3],
            error_code="x",
            priority=number % 11 % 3,
            **dict.fromkeys(("due_at", "created_at", "asked_at", "updated_at"), BEGAN + number // 2 * step),
        )
        for number in range(count)
    ]
    return Job.objects.bulk_create(made, batch_size=2000)


def pairs() -> Iterator[dict[str, Any]]:
    """No filter, each one, and each pair, with each of their values."""
    for size in range(3):
        for names in itertools.combinations(FILTERS, size):
            for values in itertools.product(*(FILTERS[name] for name in names)):
                yield dict(zip(names, values, strict=True))


@pytest.mark.django_db
@pytest.mark.parametrize("compound", [True, False])
def test_each_pair_of_filters_shows_what_it_should(
    owner: User, monkeypatch: pytest.MonkeyPatch, compound: bool
) -> None:
    if not compound:
        monkeypatch.setattr(connection.features, "supports_slicing_ordering_in_compound", False)
    mine = jobs_of(owner, 100)
    jobs_of(User.objects.create_user("bob"), 10)
    batch = next(job.group_id for job in mine if job.group_id)
    newest = sorted(mine, key=lambda job: (job.created_at, job.pk), reverse=True)
    for chosen in pairs():
        given = chosen | ({"batchId": batch} if "batchId" in chosen else {})
        expected = [
            job.pk for job in newest if all(MATCHES[name](job, value) for name, value in given.items())
        ]
        for limit in (7, 100):
            pages = [newest_jobs(owner, given | {"limit": limit, "page": page}) for page in (1, 2, 3)]
            assert [[row.pk for row in page.rows] for page in pages] == [
                expected[first : first + limit] for first in (0, limit, 2 * limit)
            ], given
            assert {page.pagination["total"] for page in pages} == {len(expected)}
        assert all_by_cursor(owner, given) == expected, given


def all_by_cursor(owner: User, given: dict[str, Any]) -> list[UUID]:
    """All rows, nine at a time."""
    found: list[UUID] = []
    page = newest_jobs(owner, given | {"limit": 9})
    while True:
        found += [row.pk for row in page.rows]
        if not page.pagination["hasMore"]:
            return found
        page = newest_jobs(owner, given | {"limit": 9, "cursor": UUID(page.pagination["nextCursor"])})


@pytest.mark.django_db
def test_a_list_goes_on_after_a_job_that_is_not_there_any_more(api: Client, owner: User) -> None:
    pages = [Job(owner=owner, pk=UUID(int=(1_790_000_000_000 + n) << 80)) for n in range(6)]
    for each in pages:
        at = datetime.fromtimestamp((each.pk.int >> 80) / 1000, UTC)
        each.fitted = {"model": "sora-2", "seconds": "4", "size": "1280x720"}
        each.created_at = each.asked_at = each.due_at = each.updated_at = at
    Job.objects.bulk_create(pages)
    first = api.get(URL, {"limit": 3}).json()
    cursor = first["pagination"]["nextCursor"]
    Job.objects.filter(pk=cursor).delete()
    rest = api.get(URL, {"limit": 3, "cursor": cursor}).json()["data"]
    assert [each["id"] for each in rest] == [str(each.pk) for each in reversed(pages[:3])]


@pytest.mark.django_db
@pytest.mark.parametrize("cursor", [UUID(int=0), UUID(int=2**128 - 1)])
def test_any_id_is_a_place_in_the_list(api: Client, job: Job, cursor: UUID) -> None:
    found = api.get(URL, {"cursor": str(cursor)})
    assert found.status_code == 200
    assert len(found.json()["data"]) == (1 if cursor.int else 0)


@pytest.mark.django_db
@pytest.mark.postgres
def test_no_list_scans_or_sorts_a_table(owner: User, upstream: Upstream) -> None:
    mine = jobs_of(owner, 400)
    batch = next(job.group_id for job in mine if job.group_id)
    with connection.cursor() as cursor:
        # Few rows are read faster as a whole. What is asked is whether there is another way.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        for chosen in pairs():
            given = chosen | ({"batchId": batch} if "batchId" in chosen else {})
            for statement in statements(owner, given):
                cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}")
                (found,) = cursor.fetchone()
                plan = found if isinstance(found, list) else json.loads(found)
                kinds = list(nodes(plan[0]["Plan"]))
                assert "Seq Scan" not in kinds, (given, statement, kinds)
                if "batchId" not in given:
                    assert "Sort" not in kinds, (given, statement, kinds)


def statements(owner: User, given: dict[str, Any]) -> list[str]:
    """What a page of a list asks of the jobs."""
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as captured:
        queries.newest_jobs(owner, given | {"limit": 20})
    return [each["sql"] for each in captured if "videos_job" in each["sql"]]


def nodes(plan: dict[str, Any]) -> Iterator[str]:
    yield plan["Node Type"]
    for part in plan.get("Plans", ()):
        yield from nodes(part)
