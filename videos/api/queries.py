"""Queries of callers' lists."""

import math
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from django.db.models import Model, Prefetch, QuerySet

from accounts.models import User
from accounts.ownership import owned_by
from upstreams.offer.request import PRIORITIES
from videos.models import Job, Submission

T = TypeVar("T", bound=Model)

# Counting stops here, and so do pages: beyond, a cursor costs what it returns.
MAX_COUNT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of rows; `pagination` is its position, for the wire."""

    rows: list[T]
    pagination: dict[str, Any]


def owned_jobs(owner: User) -> QuerySet[Job]:
    """The jobs that a caller may see, with the rows that showing them needs."""
    submissions = Prefetch("submissions", Submission.objects.select_related("provider"))
    return owned_by(Job.objects.select_related("api_key"), owner).prefetch_related(submissions)


def filtered(jobs: QuerySet[Job], query: dict[str, Any]) -> QuerySet[Job]:
    """Filters jobs by the validated parameters of ListQuery."""
    if "status" in query:
        jobs = jobs.filter(status=query["status"])
    if "batchId" in query:
        jobs = jobs.filter(group=query["batchId"])
    if "priority" in query:
        jobs = jobs.filter(priority=PRIORITIES[query["priority"]])
    if "createdAfter" in query:
        jobs = jobs.filter(created_at__gte=query["createdAfter"])
    if "createdBefore" in query:
        jobs = jobs.filter(created_at__lt=query["createdBefore"])
    return jobs


def paginate(rows: QuerySet[T], query: dict[str, Any], *, oldest_first: bool = False) -> Page[T]:
    """Applies the validated parameters of PageQuery to rows whose keys are UUIDv7."""
    total = rows.order_by().values("pk")[: MAX_COUNT + 1].count()
    # Their order is the order of creation, and they make a cursor.
    ordered = rows.order_by("pk" if oldest_first else "-pk")
    limit = query["limit"]
    if "cursor" in query:
        ordered = ordered.filter(**{"pk__gt" if oldest_first else "pk__lt": query["cursor"]})
        start = 0
    else:
        start = (query.get("page", 1) - 1) * limit
    found = list(ordered[start : start + limit + 1])
    more = len(found) > limit
    pagination = {
        "page": None if "cursor" in query else query.get("page", 1),
        "limit": limit,
        "total": min(total, MAX_COUNT),
        "totalIsCut": total > MAX_COUNT,
        "totalPages": math.ceil(min(total, MAX_COUNT) / limit),
        "hasMore": more,
        "nextCursor": str(found[limit - 1].pk) if more else None,
    }
    return Page(found[:limit], pagination)
