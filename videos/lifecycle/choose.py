"""Whose job is sent next: by priority with ageing, owners in turn, within the limits of groups.

Waiting jobs stand in lanes: those of one owner without a group, or those of one group, of one priority; the
oldest first. Lanes are found by a loose scan of an index, so that what a claim costs depends on the number of
lanes and not on the number of jobs.
"""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import Count, Exists, F, Min, OuterRef, QuerySet

from videos.clock import database_now, in_database
from videos.models import Group, Job, Priority, Provider, Submission, Turn
from videos.states import LIVE, UNDECIDED, JobStatus


@dataclass(frozen=True, slots=True)
class Lane:
    """Waiting jobs of one owner, group and priority, and when the oldest of them was asked for."""

    owner_id: int
    group_id: UUID | None
    priority: int
    oldest: datetime

    def jobs(self) -> QuerySet[Job]:
        """All that wait in it, in their order."""
        mine = {"owner": self.owner_id, "group": None} if self.group_id is None else {"group": self.group_id}
        waiting = Job.objects.filter(status=JobStatus.PENDING, priority=self.priority, **mine)
        return waiting.order_by("asked_at", "id")


def level(priority: int, asked_at: datetime, now: datetime) -> int:
    """The priority that a job has by now: one more for each PRIORITY_AGEING seconds, up to the highest.

    So a job of the lowest waits no longer for younger ones of the highest than two times that.
    """
    return min(priority + int((now - asked_at) / timedelta(seconds=settings.PRIORITY_AGEING)), max(Priority))


def next_job(provider: Provider) -> Job | None:
    """The job that is claimed next, with its row locked; None where none may be sent now.

    Of the highest level, the owner's that was served longest ago; of that owner's, the oldest. Called under
    the provider's lock.
    """
    now = database_now()
    turns = served(provider)
    live = Submission.objects.filter(provider=provider, state__in=LIVE)
    alike = Submission.objects.filter(state__in=UNDECIDED, provider=provider, match_key=OuterRef("match_key"))

    def rank(lane: Lane, asked_at: datetime) -> tuple[int, int, datetime]:
        return -level(lane.priority, asked_at, now), turns.get(lane.owner_id, 0), asked_at

    # By the oldest of each, which may not be due, or look like one that is undecided: then the next of that
    # lane has to stand back behind the others' until it is its turn.
    heads: list[tuple[tuple[int, int, datetime], int, Lane, Job | None]] = [
        (rank(lane, lane.oldest), number, lane, None) for number, lane in enumerate(_open_lanes(live))
    ]
    heapq.heapify(heads)
    while heads:
        _, number, lane, job = heapq.heappop(heads)
        if job is not None:
            return job
        sendable = lane.jobs().filter(
            ~Exists(Submission.objects.filter(state__in=LIVE, job=OuterRef("pk"))),
            ~Exists(alike),
            due_at__lte=in_database(),
        )
        job = sendable.select_for_update(skip_locked=True, of=("self",)).first()
        if job is not None:
            heapq.heappush(heads, (rank(lane, job.asked_at), number, lane, job))
    return None


def serve(provider: Provider, owner_id: int) -> None:
    """Remembers that this owner was served, for the next one's turn. Under the provider's lock."""
    Provider.objects.filter(pk=provider.pk).update(turns=F("turns") + 1)
    number = Provider.objects.values_list("turns", flat=True).get(pk=provider.pk)
    Turn.objects.update_or_create(provider=provider, owner_id=owner_id, defaults={"number": number})


def served(provider: Provider) -> dict[int, int]:
    """When each owner was last served, in claims of this provider."""
    return dict(Turn.objects.filter(provider=provider).values_list("owner", "number"))


def lanes() -> list[Lane]:
    """All lanes in which jobs wait, held ones too."""
    singles = [Lane(owner, None, priority, oldest) for owner, priority, oldest in _keys("owner_id")]
    grouped = list(_keys("group_id"))
    owners = dict(Group.objects.filter(pk__in={key[0] for key in grouped}).values_list("pk", "owner"))
    return singles + [Lane(owners[group], group, priority, oldest) for group, priority, oldest in grouped]


def _open_lanes(live: QuerySet[Submission]) -> Iterator[Lane]:
    """Those from which a job may be taken, as far as the lane itself tells."""
    found = lanes()
    groups = Group.objects.in_bulk({lane.group_id for lane in found if lane.group_id})
    running = dict(
        Submission.objects.filter(state__in=LIVE, job__group__in=groups)
        .order_by()
        .values_list("job__group")
        .annotate(Count("pk"))
    )
    most = settings.MAX_IN_FLIGHT_JOBS
    busy: dict[int, int] = {}
    if most:
        busy = dict(live.order_by().values_list("job__owner").annotate(Count("pk")))
    for lane in found:
        group = groups.get(lane.group_id) if lane.group_id else None
        if group is not None and (group.held or running.get(group.pk, 0) >= group.limit):
            continue
        if most and busy.get(lane.owner_id, 0) >= most:
            continue
        yield lane


# PostgreSQL has no skip scan before version 18: each step takes the first entry of the index beyond the last.
_LOOSE_SCAN: Final = """
WITH RECURSIVE lane AS (
    (SELECT {key}, priority, asked_at FROM {job} WHERE {waiting}
     ORDER BY {key}, priority, asked_at LIMIT 1)
    UNION ALL
    SELECT beyond.* FROM lane, LATERAL (
        SELECT {key}, priority, asked_at FROM {job}
        WHERE {waiting} AND ({key}, priority) > (lane.{key}, lane.priority)
        ORDER BY {key}, priority, asked_at LIMIT 1
    ) beyond
)
SELECT * FROM lane
"""


def _keys(column: str) -> Iterator[tuple[Any, int, datetime]]:
    """The owners of jobs without a group, or the groups, with a priority and its oldest job's time."""
    single = column == "owner_id"
    if connection.vendor != "postgresql":
        # The embedded queue is small, and all of it is read.
        waiting = Job.objects.filter(status=JobStatus.PENDING, group__isnull=single).order_by()
        yield from waiting.values_list(column, "priority").annotate(Min("asked_at"))
        return
    with connection.cursor() as cursor:
        # Names of ours alone; written out, so that the planner sees that the partial index fits.
        cursor.execute(
            _LOOSE_SCAN.format(
                key=column,
                job=Job._meta.db_table,
                waiting=f"status = '{JobStatus.PENDING}' AND group_id IS {'' if single else 'NOT '}NULL",
            )
        )
        yield from cursor.fetchall()
