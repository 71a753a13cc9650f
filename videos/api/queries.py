"""Queries of callers' lists."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

from django.db import connection
from django.db.models import Model, Q, QuerySet

from accounts.models import User
from accounts.ownership import owned_by
from upstreams.offer.request import PRIORITIES
from videos.models import Job
from videos.states import JobStatus

T = TypeVar("T")

# Counting stops here, and so do pages: beyond, a cursor costs what it returns.
MAX_COUNT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of rows; `pagination` is its position, for the wire."""

    rows: list[T]
    pagination: dict[str, Any]


def owned_jobs(owner: User) -> QuerySet[Job]:
    """The jobs that a caller may see."""
    return owned_by(Job.objects.all(), owner)


class Listed(NamedTuple):
    """A job of a list, and which version of it."""

    created_at: datetime
    pk: UUID
    updated_at: datetime


def newest_jobs(owner: User, query: dict[str, Any]) -> Page[Listed]:
    """A caller's jobs, newest first, by the validated parameters of ListQuery."""
    chosen = _filtered(owned_jobs(owner), query)
    start, count = _span(query)
    wanted = chosen
    if "cursor" in query:
        chosen = _after(chosen, owner, query["cursor"])
    # Each is read from one index in its order, and of each no more than is asked for.
    parts = [
        part.order_by("-created_at", "-pk").values_list(*Listed._fields) for part in _parts(chosen, query)
    ]
    if len(parts) > 1:
        first, *others = (part[: start + count + 1] for part in parts)
        merged = first.union(*others, all=True).order_by("-created_at", "-pk")
    else:
        merged = parts[0]
    found = list(map(Listed._make, merged[start : start + count + 1]))
    if start == 0 and "cursor" not in query and len(found) <= count:
        total = len(found)
    else:
        total = _totals.of(owner.pk, query, wanted)
    return _page(found, total, query, key=lambda row: str(row.pk))


class _Totals:
    """How many jobs a list has, up to MAX_COUNT. A large total may be two seconds old: to count so many takes
    longer than to read a page."""

    _LARGE: Final = 1_000
    _SECONDS: Final = 2.0
    _MOST: Final = 10_000

    def __init__(self) -> None:
        self._known: dict[Any, tuple[float, int]] = {}

    def of(self, owner: int, query: dict[str, Any], jobs: QuerySet[Job]) -> int:
        """That of a list of this query."""
        key = owner, *(query.get(name) for name in _FILTERS)
        now = time.monotonic()
        counted, total = self._known.get(key, (0.0, 0))
        if now - counted < self._SECONDS:
            return total
        total = jobs.order_by().values("pk")[: MAX_COUNT + 1].count()
        self._known.pop(key, None)
        if total >= self._LARGE:
            if len(self._known) >= self._MOST:
                self._known.clear()
            self._known[key] = now, total
        return total


_FILTERS: Final = ("status", "batchId", "priority", "createdAfter", "createdBefore")
_totals: Final = _Totals()


def paginate(rows: QuerySet[Any, T], query: dict[str, Any], *, oldest_first: bool = False) -> Page[T]:
    """Applies the validated parameters of PageQuery to rows whose keys are UUIDv7, or to the keys alone."""
    total = rows.order_by().values("pk")[: MAX_COUNT + 1].count()
    # Their order is the order of creation, and they make a cursor.
    ordered = rows.order_by("pk" if oldest_first else "-pk")
    if "cursor" in query:
        ordered = ordered.filter(**{"pk__gt" if oldest_first else "pk__lt": query["cursor"]})
    start, count = _span(query)
    found = list(ordered[start : start + count + 1])
    return _page(found, total, query, key=lambda row: str(row.pk if isinstance(row, Model) else row))


def _filtered(jobs: QuerySet[Job], query: dict[str, Any]) -> QuerySet[Job]:
    if "status" in query:
        jobs = jobs.filter(status=query["status"])
    if "batchId" in query:
        jobs = jobs.filter(group=query["batchId"])
    if "priority" in query:
        jobs = jobs.filter(priority=PRIORITIES[query["priority"]])
        if "status" not in query:
            # The index has the status before the priority.
            jobs = jobs.filter(status__in=JobStatus.values)
    if "createdAfter" in query:
        jobs = jobs.filter(created_at__gte=query["createdAfter"])
    if "createdBefore" in query:
        jobs = jobs.filter(created_at__lt=query["createdBefore"])
    return jobs


def _parts(jobs: QuerySet[Job], query: dict[str, Any]) -> list[QuerySet[Job]]:
    """Parts of the jobs, each of one status and one priority if either is asked for.

    Jobs of one status lie in the index by priority, and those of one priority by status. A batch is small.
    """
    is_one = ("status" in query) == ("priority" in query) or "batchId" in query
    if is_one or not connection.features.supports_slicing_ordering_in_compound:
        return [jobs]
    if "status" in query:
        return [jobs.filter(priority=priority) for priority in PRIORITIES.values()]
    return [jobs.filter(status=status) for status in JobStatus.values]


def _after(jobs: QuerySet[Job], owner: User, cursor: UUID) -> QuerySet[Job]:
    """The jobs that stand after this one. If it is not there any more, its id says when it was made."""
    made = owned_jobs(owner).filter(pk=cursor).values_list("created_at", flat=True).first() or _moment(cursor)
    return jobs.filter(Q(created_at__lt=made) | Q(pk__lt=cursor), created_at__lte=made)


def _moment(pk: UUID) -> datetime:
    """When a UUIDv7 was made (RFC 9562): its first 48 bits are milliseconds."""
    latest = datetime.max.replace(tzinfo=UTC)
    return datetime.fromtimestamp(min((pk.int >> 80) / 1000, latest.timestamp() - 1), UTC)


def _span(query: dict[str, Any]) -> tuple[int, int]:
    """How many rows lie before the page, and how many it has."""
    limit = int(query["limit"])
    return (0 if "cursor" in query else (query.get("page", 1) - 1) * limit), limit


def _page(found: list[T], total: int, query: dict[str, Any], *, key: Callable[[T], str]) -> Page[T]:
    """The page of these rows, of which one more was read than it has."""
    limit = query["limit"]
    more = len(found) > limit
    pagination = {
        "page": None if "cursor" in query else query.get("page", 1),
        "limit": limit,
        "total": min(total, MAX_COUNT),
        "totalIsCut": total > MAX_COUNT,
        "totalPages": math.ceil(min(total, MAX_COUNT) / limit),
        "hasMore": more,
        "nextCursor": key(found[limit - 1]) if more else None,
    }
    return Page(found[:limit], pagination)
