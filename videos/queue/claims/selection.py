"""Which job is sent next: by priority with ageing, then round robin over owners, within limits."""

import heapq
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import Count

from upstreams.clock import database_now
from upstreams.models import Provider
from upstreams.offer.request import Priority
from upstreams.registry import Upstream
from videos.models import Job, OwnerRotation
from videos.queue.claims.lanes import Lane, lanes
from videos.queue.claims.search import Candidate, Search
from videos.queue.holds import deactivated, hold_some, holding_keys
from videos.queue.occupancy import occupying

# Statements in one claim that mark held jobs of one lane. The next claim continues.
_MAX_HOLDS: Final = 5


def effective_priority(priority: int, asked_at: datetime, now: datetime) -> int:
    """The priority of a job now: one step more for each PRIORITY_AGEING seconds, up to the highest.

    So a job of low priority waits for younger jobs of high priority at most twice that long.
    """
    return min(priority + int((now - asked_at) / timedelta(seconds=settings.PRIORITY_AGEING)), max(Priority))


class Selection:
    """Which jobs an upstream claims next. Used under the locks of one claim.

    Of those that it may take: among the jobs of the highest level, the owner whose last claim is oldest;
    among that owner's, the oldest job.
    """

    def __init__(self, upstream: Upstream, provider: Provider) -> None:
        self._now = database_now()
        self._provider = provider
        self._search = Search(upstream, provider, self._now)
        self._last = last_claims(provider)
        self._places = Places()
        self._match_keys: set[str] = set()
        self._chosen: dict[UUID, _Chosen] = {}
        self._turns = provider.turns
        self._lanes = self._places.open_lanes()
        self._holds = Counter[Lane]()
        self._look_anew()

    def next(self, most: int) -> list[Job]:
        """The next jobs, in their order, with their rows locked; none if no other may be sent now.

        One that brings pictures is the last of them, because they take much memory while they are sent.
        """
        while chosen := self._candidates(most):
            jobs: list[Job] = []
            locked = self._search.locked(candidate.pk for _, candidate in chosen)
            holding = holding_keys(locked.values())
            held: set[tuple[Lane, int]] = set()
            for lane, candidate in chosen:
                job = locked.get(candidate.pk)
                if job is not None and job.api_key_id is not None and job.api_key_id in holding:
                    held.add((lane, job.api_key_id))
                    job = None
                if job is None or (jobs and has_pictures(jobs[-1])):
                    self._uncount(candidate.pk)
                else:
                    jobs.append(job)
            for lane, api_key_id in held:
                self._hold(lane, api_key_id)
            if jobs:
                return jobs
        return []

    def leave(self, job: Job) -> None:
        """Does not count a job as claimed that is not for this upstream, or was fitted anew. It is looked for
        again."""
        self._uncount(job.pk)
        self._look_anew(job.pk)

    def record(self, jobs: Sequence[Job]) -> None:
        """Records whose jobs were claimed, in this order, for the round robin."""
        numbers = {job.owner_id: self._provider.turns + n for n, job in enumerate(jobs, 1)}
        Provider.objects.filter(pk=self._provider.pk).update(turns=self._provider.turns + len(jobs))
        OwnerRotation.objects.bulk_create(
            [
                OwnerRotation(provider=self._provider, owner_id=owner, number=number)
                for owner, number in sorted(numbers.items())
            ],
            update_conflicts=True,
            unique_fields=["provider", "owner"],
            update_fields=["number"],
        )

    def _hold(self, lane: Lane, api_key_id: int) -> None:
        """Marks held jobs of a lane. After some thousand of them the lane is passed over."""
        hold_some(lane.jobs(), api_key_id)
        self._holds[lane] += 1
        if self._holds[lane] >= _MAX_HOLDS and lane in self._lanes:
            self._lanes.remove(lane)
        self._look_anew()

    def _look_anew(self, *pks: UUID) -> None:
        """Looks into all lanes again, because rows have changed, and gives these again."""
        self._search.forget(*pks)
        # By the oldest of each, which may not be due, or look like one that is undecided: then the next of
        # that lane has to stand back behind the others' until it is its turn.
        self._heads = [
            _Head(self._rank(lane, lane.oldest), number, lane) for number, lane in enumerate(self._lanes)
        ]
        heapq.heapify(self._heads)

    def _candidates(self, most: int) -> list[tuple[Lane, Candidate]]:
        found: list[tuple[Lane, Candidate]] = []
        while len(found) < most and (following := self._candidate()):
            found.append(following)
        return found

    def _candidate(self) -> tuple[Lane, Candidate] | None:
        while self._heads:
            head = heapq.heappop(self._heads)
            lane, candidate = head.lane, head.candidate
            if not self._places.has_room(lane):
                continue
            rank = self._rank(lane, lane.oldest if candidate is None else candidate.asked_at)
            if rank != head.rank:
                # Another lane of this owner was served meanwhile.
                heapq.heappush(self._heads, head._replace(rank=rank))
            elif candidate is None:
                if following := self._search.next(lane, self._match_keys):
                    rank = self._rank(lane, following.asked_at)
                    heapq.heappush(self._heads, head._replace(rank=rank, candidate=following))
            elif candidate.match_key in self._match_keys:
                # Chosen meanwhile in another lane: the list could not distinguish the two.
                heapq.heappush(self._heads, head._replace(candidate=None))
            else:
                self._count(lane, candidate)
                heapq.heappush(self._heads, head._replace(candidate=None))
                return lane, candidate
        return None

    def _count(self, lane: Lane, candidate: Candidate) -> None:
        self._chosen[candidate.pk] = _Chosen(lane, candidate.match_key, self._last.get(lane.owner_id, 0))
        self._turns += 1
        self._last[lane.owner_id] = self._turns
        self._match_keys.add(candidate.match_key)
        self._places.take(lane.owner_id, lane.group_id)

    def _uncount(self, pk: UUID) -> None:
        chosen = self._chosen.pop(pk)
        self._last[chosen.lane.owner_id] = chosen.last_before
        self._match_keys.discard(chosen.match_key)
        self._places.take(chosen.lane.owner_id, chosen.lane.group_id, -1)

    def _rank(self, lane: Lane, asked_at: datetime) -> tuple[int, int, datetime]:
        level = effective_priority(lane.priority, asked_at, self._now)
        return -level, self._last.get(lane.owner_id, 0), asked_at


class _Chosen(NamedTuple):
    """What was counted for a job: its lane, its match key, and when its owner was served before."""

    lane: Lane
    match_key: str
    last_before: int


class _Head(NamedTuple):
    """A lane in the order of its next job; `candidate` once that is found."""

    rank: tuple[int, int, datetime]
    number: int
    lane: Lane
    candidate: Candidate | None = None


def has_pictures(job: Job) -> bool:
    """Whether its create brings pictures."""
    return bool(job.fitted.get("input_reference") or job.fitted.get("last_frame"))


def last_claims(provider: Provider) -> dict[int, int]:
    """The number of each owner's last claim at this provider."""
    return dict(OwnerRotation.objects.filter(provider=provider).values_list("owner", "number"))


class Places:
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

    def take(self, owner_id: int, group_id: UUID | None, count: int = 1) -> None:
        """Counts one more, or one less."""
        self._busy[owner_id] += count
        if group_id is not None:
            self._running[group_id] += count
