"""How callers' lists are read."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Prefetch, QuerySet

from accounts.models import User
from accounts.ownership import owned_by
from videos.fitting import PRIORITIES
from videos.models import Job, Submission


@dataclass(frozen=True, slots=True)
class Page:
    """One page of jobs, newest first."""

    jobs: list[Job]
    total: int
    total_is_cut: bool
    has_more: bool


def visible_to(owner: User) -> QuerySet[Job]:
    """The jobs that a caller may see, with what showing them needs."""
    submissions = Prefetch("submissions", Submission.objects.select_related("provider"))
    return owned_by(Job.objects.all(), owner).prefetch_related(submissions)


def page_of(jobs: QuerySet[Job], query: dict[str, Any], *, count_max: int) -> Page:
    """Applies the validated parameters of serializers.ListQuery."""
    if "status" in query:
        jobs = jobs.filter(status=query["status"])
    if "priority" in query:
        jobs = jobs.filter(priority=PRIORITIES[query["priority"]])
    if "createdAfter" in query:
        jobs = jobs.filter(created_at__gte=query["createdAfter"])
    if "createdBefore" in query:
        jobs = jobs.filter(created_at__lt=query["createdBefore"])
    total = jobs.order_by().values("pk")[: count_max + 1].count()
    # Ids are UUIDv7: their order is the order of creation, and they make a cursor.
    jobs = jobs.order_by("-id")
    limit = query["limit"]
    if "cursor" in query:
        jobs = jobs.filter(id__lt=query["cursor"])
        start = 0
    else:
        start = (query.get("page", 1) - 1) * limit
    found = list(jobs[start : start + limit + 1])
    return Page(found[:limit], min(total, count_max), total > count_max, len(found) > limit)
