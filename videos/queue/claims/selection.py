"""Which job is sent next: by priority with ageing, then round robin over owners, within the limits of groups.

Waiting jobs form lanes: the jobs of one owner without a group, or of one group, with one priority, oldest
first. Lanes are found by a loose scan of an index, so the cost of a claim depends on the number of lanes and
not on the number of jobs.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, Exists, Min, OuterRef, QuerySet

from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from upstreams.offer.request import Priority
from upstreams.registry import Upstream
from videos.models import Group, Job, OwnerRotation, Submission
from videos.queue.holds import deactivated, hold_some, holding_keys
from videos.queue.occupancy import occupying
from videos.routing.eligible import eligible
from videos.states import LIVE, UNDECIDED, JobStatus

# Statements in one claim that mark held jobs of one lane. The next claim continues.
_MAX_HOLDS: Final = 5


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting jobs of one owner, group and priority, and when the oldest of them was asked for."""

    owner_id: int
    group_id: UUID | None
    priority: int
    oldest: datetime
    # Of the group, if there is one.
    limit: int | None = None
    held: bool = False

    def jobs(self) -> QuerySet[Job]:
        """Its waiting jobs, in their order."""
        mine = {"owner": self.owner_id, "group": None} if self.group_id is None else {"group": self.group_id}
        waiting = Job.objects.filter(status=JobStatus.PENDING, held=False, priority=self.priority, **mine)
        return waiting.order_by("asked_at", "id")


def effective_priority(priority: int, asked_at: datetime, now: datetime) -> int:
    """The priority of a job now: one step more for each PRIORITY_AGEING seconds, up to the highest.

    So a job of low priority waits for younger jobs of high priority at most twice that long.
    """
    return min(priority + int((now - asked_at) / timedelta(seconds=settings.PRIORITY_AGEING)), max(Priority))


def next_job(upstream: Upstream, provider: Provider) -> Job | None:
    """The job that this upstream claims next, with its row locked; None if none may be sent now.

    Of those that it may take: among the jobs of the highest level, the owner whose last claim is oldest;
    among that owner's, the oldest job. Called under the provider's lock.
    """
    now = database_now()
    mine = eligible(upstream)
    last = last_claims(provider)
    alike = Submission.objects.filter(state__in=UNDECIDED, provider=provider, match_key=OuterRef("match_key"))

    def rank(lane: Lane, asked_at: datetime) -> tuple[int, int, datetime]:
        return -effective_priority(lane.priority, asked_at, now), last.get(lane.owner_id, 0), asked_at

    # By the oldest of each, which may not be due, or look like one that is undecided: then the next of that
    # lane has to stand back behind the others' until it is its turn.
    heads: list[tuple[tuple[int, int, datetime], int, Lane, Job | None]] = [
        (rank(lane, lane.oldest), number, lane, None) for number, lane in enumerate(_open_lanes())
    ]
    heapq.heapify(heads)
    while heads:
        _, number, lane, job = heapq.heappop(heads)
        if job is not None:
            return job
        sendable = lane.jobs().filter(
            mine,
            ~Exists(Submission.objects.filter(state__in=LIVE, job=OuterRef("pk"))),
            ~Exists(alike),
            due_at__lte=in_database(),
        )
        job = _first_answered_for(lane, sendable)
        if job is not None:
            heapq.heappush(heads, (rank(lane, job.asked_at), number, lane, job))
    return None


def _first_answered_for(lane: Lane, sendable: QuerySet[Job]) -> Job | None:
    """The first job of a lane that is not held, locked. After some thousand held jobs the lane is skipped."""
    for _ in range(_MAX_HOLDS):
        job = sendable.select_for_update(skip_locked=True, of=("self",)).first()
        if job is None or not holding_keys([job]):
            return job
        assert job.api_key_id is not None
        hold_some(lane.jobs(), job.api_key_id)
    return None


def record_claim(provider: Provider, owner_id: int) -> None:
    """Records a claim of this owner for the round robin. Under the provider's lock."""
    number = provider.turns + 1
    Provider.objects.filter(pk=provider.pk).update(turns=number)
    OwnerRotation.objects.bulk_create(
        [OwnerRotation(provider=provider, owner_id=owner_id, number=number)],
        update_conflicts=True,
        unique_fields=["provider", "owner"],
        update_fields=["number"],
    )


def last_claims(provider: Provider) -> dict[int, int]:
    """The number of each owner's last claim at this provider."""
    return dict(OwnerRotation.objects.filter(provider=provider).values_list("owner", "number"))


def lanes() -> list[Lane]:
    """All lanes with waiting jobs, including those of held groups."""
    if connection.vendor == "postgresql":
        return [*_scanned(_SINGLES), *_scanned(_GROUPED)]
    # The embedded queue is small, and all of it is read.
    waiting = Job.objects.filter(status=JobStatus.PENDING, held=False).order_by()
    columns = ("owner", "group", "priority", "group__limit", "group__held")
    found = waiting.values_list(*columns).annotate(Min("asked_at"))
    return [
        Lane(owner, group, priority, oldest, limit, bool(held))
        for owner, group, priority, limit, held, oldest in found
    ]


def _open_lanes() -> Iterator[Lane]:
    """The lanes from which a job may be taken, as far as the lane itself shows."""
    running = dict(
        occupying().exclude(job__group=None).order_by().values_list("job__group").annotate(Count("pk"))
    )
    most = settings.MAX_IN_FLIGHT_JOBS
    busy: dict[int, int] = {}
    if most:
        busy = dict(occupying().order_by().values_list("job__owner").annotate(Count("pk")))
    found = lanes()
    gone = deactivated(lane.owner_id for lane in found)
    for lane in found:
        if lane.owner_id in gone:
            continue
        if lane.held or (lane.limit is not None and running.get(lane.group_id, 0) >= lane.limit):
            continue
        if most and busy.get(lane.owner_id, 0) >= most:
            continue
        yield lane


# PostgreSQL has no skip scan before version 18: each step takes the first entry of the index beyond the last.
# The status is written out, so that the planner sees that the partial index fits.
_LOOSE_SCAN: Final = """
WITH RECURSIVE lane AS (
    (SELECT {key} AS key, priority, asked_at FROM {job} WHERE {waiting}
     ORDER BY {key}, priority, asked_at LIMIT 1)
    UNION ALL
    SELECT beyond.* FROM lane, LATERAL (
        SELECT {key}, priority, asked_at FROM {job}
        WHERE {waiting} AND ({key}, priority) > (lane.key, lane.priority)
        ORDER BY {key}, priority, asked_at LIMIT 1
    ) beyond
)
SELECT {shown} FROM lane {joined}
"""
_WAITING: Final = f"status = '{JobStatus.PENDING}' AND NOT held AND group_id IS"
_SINGLES: Final = _LOOSE_SCAN.format(
    key="owner_id",
    job=Job._meta.db_table,
    waiting=f"{_WAITING} NULL",
    shown="key, NULL::uuid, priority, asked_at",
    joined="",
)
_GROUPED: Final = _LOOSE_SCAN.format(
    key="group_id",
    job=Job._meta.db_table,
    waiting=f"{_WAITING} NOT NULL",
    shown='owner_id, key, priority, asked_at, "limit", held',
    joined=f"JOIN {Group._meta.db_table} ON id = key",
)


def _scanned(query: str) -> list[Lane]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [Lane(*row) for row in cursor.fetchall()]
