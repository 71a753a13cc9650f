"""Which job is sent next: by priority with ageing, then round robin over owners, within limits."""

import heapq
from collections import Counter
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, QuerySet

from upstreams.clock import database_now, in_database
from upstreams.models import Provider
from upstreams.offer.request import Priority
from upstreams.registry import Upstream
from videos.models import Job, OwnerRotation, Submission
from videos.queue.claims.lanes import Lane, lanes
from videos.queue.holds import deactivated, hold_some, holding_keys
from videos.queue.occupancy import occupying
from videos.routing.eligible import eligible
from videos.states import LIVE, UNDECIDED

# Statements in one claim that mark held jobs of one lane. The next claim continues.
_MAX_HOLDS: Final = 5


def effective_priority(priority: int, asked_at: datetime, now: datetime) -> int:
    """The priority of a job now: one step more for each PRIORITY_AGEING seconds, up to the highest.

    So a job of low priority waits for younger jobs of high priority at most twice that long.
    """
    return min(priority + int((now - asked_at) / timedelta(seconds=settings.PRIORITY_AGEING)), max(Priority))


class Selection:
    """Which jobs an upstream claims next, one after the other. Used under the locks of one claim.

    Of those that it may take: among the jobs of the highest level, the owner whose last claim is oldest;
    among that owner's, the oldest job.
    """

    def __init__(self, upstream: Upstream, provider: Provider) -> None:
        self._now = database_now()
        self._provider = provider
        self._mine = eligible(upstream)
        self._last = last_claims(provider)
        self._places = _Places()
        # By the oldest of each, which may not be due, or look like one that is undecided: then the next of
        # that lane has to stand back behind the others' until it is its turn.
        self._heads = [
            _Head(self._rank(lane, lane.oldest), number, lane)
            for number, lane in enumerate(self._places.open_lanes())
        ]
        heapq.heapify(self._heads)
        self._taken: list[Job] = []

    def next(self) -> Job | None:
        """The next job, with its row locked; None if no other may be sent now."""
        while self._heads:
            head = heapq.heappop(self._heads)
            lane, job = head.lane, head.job
            if not self._places.has_room(lane):
                continue
            rank = self._rank(lane, lane.oldest if job is None else job.asked_at)
            if rank != head.rank:
                # Another lane of this owner was served meanwhile.
                heapq.heappush(self._heads, head._replace(rank=rank))
            elif job is not None:
                # Found again if it is not taken.
                heapq.heappush(self._heads, head._replace(job=None))
                return job
            elif (found := _first_answered_for(lane, self._sendable(lane))) is not None:
                heapq.heappush(self._heads, head._replace(rank=self._rank(lane, found.asked_at), job=found))
        return None

    def take(self, job: Job) -> None:
        """Counts a job as claimed: it is not chosen again, and its owner's other jobs come later."""
        self._taken.append(job)
        self._places.take(job)
        self._last[job.owner_id] = self._provider.turns + len(self._taken)

    def record(self) -> None:
        """Records whose jobs were claimed, for the round robin."""
        turns = self._provider.turns + len(self._taken)
        Provider.objects.filter(pk=self._provider.pk).update(turns=turns)
        OwnerRotation.objects.bulk_create(
            [
                OwnerRotation(provider=self._provider, owner_id=owner, number=self._last[owner])
                for owner in sorted({job.owner_id for job in self._taken})
            ],
            update_conflicts=True,
            unique_fields=["provider", "owner"],
            update_fields=["number"],
        )

    def _rank(self, lane: Lane, asked_at: datetime) -> tuple[int, int, datetime]:
        level = effective_priority(lane.priority, asked_at, self._now)
        return -level, self._last.get(lane.owner_id, 0), asked_at

    def _sendable(self, lane: Lane) -> QuerySet[Job]:
        alike = Submission.objects.filter(
            state__in=UNDECIDED, provider=self._provider, match_key=OuterRef("match_key")
        )
        sendable = lane.jobs().filter(
            self._mine,
            ~Exists(Submission.objects.filter(state__in=LIVE, job=OuterRef("pk"))),
            ~Exists(alike),
            due_at__lte=in_database(),
        )
        if self._taken:
            # One job per match key, and each job once: their submissions are not written yet.
            sendable = sendable.exclude(match_key__in=[job.match_key for job in self._taken]).exclude(
                pk__in=[job.pk for job in self._taken]
            )
        return sendable


class _Head(NamedTuple):
    """A lane in the order of its first job; `job` once that is found and locked."""

    rank: tuple[int, int, datetime]
    number: int
    lane: Lane
    job: Job | None = None


def _first_answered_for(lane: Lane, sendable: QuerySet[Job]) -> Job | None:
    """The first job of a lane that is not held, locked. After some thousand held jobs the lane is skipped."""
    for _ in range(_MAX_HOLDS):
        job = sendable.select_for_update(skip_locked=True, of=("self",)).first()
        if job is None or not holding_keys([job]):
            return job
        assert job.api_key_id is not None
        hold_some(lane.jobs(), job.api_key_id)
    return None


def last_claims(provider: Provider) -> dict[int, int]:
    """The number of each owner's last claim at this provider."""
    return dict(OwnerRotation.objects.filter(provider=provider).values_list("owner", "number"))


class _Places:
    """How many more jobs of each group and owner may be sent."""

    def __init__(self) -> None:
        self._running = Counter[UUID | None](
            dict(
                occupying()
                .exclude(job__group=None)
                .order_by()
                .values_list("job__group")
                .annotate(Count("pk"))
            )
        )
        self._most: int = settings.MAX_IN_FLIGHT_JOBS
        self._busy = Counter[int](
            dict(occupying().order_by().values_list("job__owner").annotate(Count("pk"))) if self._most else {}
        )

    def open_lanes(self) -> list[Lane]:
        """The lanes from which a job may be taken, as far as the lane itself shows."""
        found = lanes()
        gone = deactivated(lane.owner_id for lane in found)
        return [lane for lane in found if lane.owner_id not in gone and self.has_room(lane)]

    def has_room(self, lane: Lane) -> bool:
        """Whether one more job of the lane may be sent."""
        if lane.held or (lane.limit is not None and self._running[lane.group_id] >= lane.limit):
            return False
        return not self._most or self._busy[lane.owner_id] < self._most

    def take(self, job: Job) -> None:
        """Counts one more."""
        self._busy[job.owner_id] += 1
        if job.group_id is not None:
            self._running[job.group_id] += 1
