"""A job's place in the queue, and when it may be done, by what this deployment has measured.

A read stays cheap however long the queue: how many wait in each lane is counted once in five seconds for all
readers, and a job's place in its own lane up to PLACES_MAX.
"""

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.core.cache import cache
from django.db.models import Count, Min, Q

from upstreams.clock import database_now
from upstreams.registry import Upstream
from videos.models import Group, Job, Provider, Submission
from videos.queue.selection import Lane, level, served
from videos.states import LIVE, JobStatus, SubmissionState

PLACES_MAX: Final = 10_000
_MEASURED_FOR_SECONDS: Final = 5.0
# Counting takes this share of a process's time at most, however much there is to count.
_MEASURING_SHARE: Final = 0.02
_RENDERS: Final = 100


@dataclass(frozen=True, slots=True)
class Standing:
    """Where an open job stands. `position` is null once it is sent, and while its group is held; the times
    are null until a render of its model and length has been measured, and once they have passed."""

    position: int | None = None
    # By the median of the last renders of its kind, and by their 90th percentile.
    done_at: datetime | None = None
    done_by: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Queue:
    """What was counted: who waits, and what runs.

    A lane is known by group and priority, and stands at the level of its oldest job. It is in the way of
    others with all its jobs, or with as many as its group may run at a time.
    """

    is_open: bool
    live: int
    # By level and owner: how many are in the way of others, and when the oldest of them was asked for.
    in_the_way: dict[int, dict[int, tuple[int, datetime]]]
    # By owner: group, priority, level, when the oldest was asked for, how many wait, how many are in the way.
    lanes: dict[int, list[tuple[UUID | None, int, int, datetime, int, int]]]
    turns: dict[int, int]
    live_in_group: dict[UUID, int]
    live_of: dict[int, int]


def standings(jobs: Iterable[Job], upstream: Upstream) -> dict[UUID, Standing]:
    """Where these jobs stand, by id, those that have ended left out. Their submissions are prefetched."""
    sent: list[tuple[Job, Submission]] = []
    waiting: list[Job] = []
    for job in jobs:
        live = next((each for each in job.submissions.all() if each.state in LIVE), None)
        if live is not None and job.status in {JobStatus.PENDING, JobStatus.PROCESSING}:
            sent.append((job, live))
        elif job.status == JobStatus.PENDING:
            waiting.append(job)
    if not sent and not waiting:
        return {}
    outlook = _Outlook(upstream)
    found = {job.pk: outlook.of_sent(submission) for job, submission in sent}
    groups = Group.objects.in_bulk({job.group_id for job in waiting if job.group_id})
    waiting = [job for job in waiting if job.group_id is None or not groups[job.group_id].held]
    for job, in_lane in _ahead_in_lanes(waiting):
        found[job.pk] = outlook.of_waiting(job, in_lane, groups[job.group_id] if job.group_id else None)
    return found


class _Outlook:
    """What can be said now of jobs of one upstream."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._now = database_now()
        self._provider = upstream.provider()
        self._renders = _Renders(self._provider.pk)

    @cached_property
    def _queue(self) -> "_Queue":
        return _queue(self._provider)

    def of_sent(self, submission: Submission) -> Standing:
        """Of a job with this live submission."""
        ends = self._renders.ends(submission.request, submission.created_at, 0)
        return Standing(None, *(end if end and end > self._now else None for end in ends))

    def of_waiting(self, job: Job, in_lane: int, group: Group | None) -> Standing:
        """Of a job before which so many wait in its lane."""
        own, in_group = self._own_ahead(job, in_lane)
        position = 1 + own + self._others_ahead(job, own)
        wait = self._wait(job, position, own, in_group, group)
        return Standing(position, *self._renders.ends(job.fitted, self._now, wait))

    def _own_ahead(self, job: Job, in_lane: int) -> tuple[int, int]:
        """How many jobs of its owner are taken before this one, and how many of its group."""
        mine = level(job.priority, job.asked_at, self._now)
        own = in_group = in_lane
        for group, priority, its, oldest, count, in_the_way in self._queue.lanes.get(job.owner_id, ()):
            first = (-its, oldest) < (-mine, job.asked_at)
            if not first or (group, priority) == (job.group_id, job.priority):
                continue
            if group is not None and group == job.group_id:
                in_group += count
                own += count
            else:
                own += in_the_way
        return own, in_group

    def _others_ahead(self, job: Job, own: int) -> int:
        """How many jobs of other owners are taken before this one, with so many `own` ones before it."""
        mine = level(job.priority, job.asked_at, self._now)
        higher = sum(
            count
            for its, owners in self._queue.in_the_way.items()
            for owner, (count, _) in owners.items()
            if its > mine and owner != job.owner_id
        )
        turns = self._queue.turns
        same = self._queue.in_the_way.get(mine, {})
        _, my_oldest = same.get(job.owner_id, (0, job.asked_at))
        turn = turns.get(job.owner_id, 0), min(my_oldest, job.asked_at)
        # An owner that was served longer ago goes first, then as often as this one.
        return higher + sum(
            min(count, own + ((turns.get(owner, 0), oldest) < turn))
            for owner, (count, oldest) in same.items()
            if owner != job.owner_id
        )

    def _wait(self, job: Job, position: int, own: int, in_group: int, group: Group | None) -> float | None:
        """Seconds until it is sent, if all others take as long as its own kind; None if nothing is sent."""
        measured = self._renders.of(job.fitted)
        if measured is None or not self._queue.is_open:
            return None
        median, _ = measured

        def passed(places: int, limit: int, live: int) -> float:
            """Until so many have been sent, of which so many may be live at a time and are now."""
            return max(places - max(limit - live, 0), 0) * median / limit

        waits = [
            passed(position, self._upstream.concurrency, self._queue.live),
            (job.due_at - self._now).total_seconds(),
        ]
        if group is not None:
            waits.append(passed(in_group + 1, group.limit, self._queue.live_in_group.get(group.pk, 0)))
        if most := settings.MAX_IN_FLIGHT_JOBS:
            waits.append(passed(own + 1, most, self._queue.live_of.get(job.owner_id, 0)))
        if settings.SORA_REQUESTS_PER_MINUTE:
            waits.append((position - 1) * 60 / settings.SORA_REQUESTS_PER_MINUTE)
        return max(0.0, *waits)


class _Renders:
    """How long the last renders of each model and length took, from the claim to the kept file."""

    def __init__(self, provider_id: int) -> None:
        self._provider_id = provider_id
        self._measured: dict[tuple[str, str], tuple[float, float] | None] = {}

    def of(self, request: dict[str, Any]) -> tuple[float, float] | None:
        """The median and the 90th percentile in seconds; None where none was measured."""
        kind = request["model"], request["seconds"]
        if kind not in self._measured:
            self._measured[kind] = self._measure(*kind)
        return self._measured[kind]

    def ends(
        self, request: dict[str, Any], start: datetime, wait: float | None
    ) -> tuple[datetime | None, datetime | None]:
        """When a render of this kind is done that is claimed `wait` seconds after `start`."""
        measured = self.of(request)
        if measured is None or wait is None:
            return None, None
        median, slow = (start + timedelta(seconds=round(wait + seconds)) for seconds in measured)
        return median, slow

    def _measure(self, model: str, seconds: str) -> tuple[float, float] | None:
        last = (
            Submission.objects.filter(
                provider=self._provider_id, state=SubmissionState.STORED, model=model, seconds=seconds
            )
            .order_by("-ended_at")
            .values_list("created_at", "ended_at")[:_RENDERS]
        )
        took = sorted((end - start).total_seconds() for start, end in last if end is not None)
        if not took:
            return None
        return statistics.median(took), took[math.ceil(0.9 * len(took)) - 1]


def _ahead_in_lanes(waiting: Sequence[Job]) -> list[tuple[Job, int]]:
    """How many jobs stand before each in its own lane, counted up to PLACES_MAX."""
    sent = _sent() if waiting else []
    lanes: dict[tuple[int, UUID | None, int], list[Job]] = defaultdict(list)
    for job in waiting:
        lanes[job.owner_id, job.group_id, job.priority].append(job)
    found = []
    for (owner, group, priority), jobs in lanes.items():
        jobs.sort(key=lambda job: (job.asked_at, job.pk))
        first, last = jobs[0], jobs[-1]
        lane = Lane(owner, group, priority, first.asked_at).jobs().exclude(pk__in=sent)
        older = Q(asked_at__lte=first.asked_at) & (Q(asked_at__lt=first.asked_at) | Q(pk__lt=first.pk))
        before = lane.filter(older)[:PLACES_MAX].count()
        between = lane.filter(~older, asked_at__gte=first.asked_at, asked_at__lte=last.asked_at)
        place = {pk: before + n for n, pk in enumerate(between.values_list("pk", flat=True)[:PLACES_MAX])}
        # One that is not there is beyond what is counted, or was taken or has ended just now.
        missing = PLACES_MAX if len(place) == PLACES_MAX else before
        found += [(job, min(place.get(job.pk, missing), PLACES_MAX)) for job in jobs]
    return found


def _sent() -> list[UUID]:
    """Pending jobs that wait no more: being sent, undecided, or with a render that is being dropped."""
    live = Submission.objects.filter(state__in=LIVE, job__status=JobStatus.PENDING)
    return list(live.values_list("job", flat=True))


def _queue(provider: Provider) -> _Queue:
    """What was counted within the last seconds, by any process, or is counted now."""
    key = f"queue:{provider.pk}"
    known: _Queue | None = cache.get(key)
    if known is not None:
        return known
    began = time.monotonic()
    counted = _count(provider)
    took = time.monotonic() - began
    cache.set(key, counted, max(_MEASURED_FOR_SECONDS, took / _MEASURING_SHARE))
    return counted


def _count(provider: Provider) -> _Queue:
    now = database_now()
    live = Submission.objects.filter(provider=provider, state__in=LIVE).order_by()
    in_groups = live.exclude(job__group=None).values_list("job__group").annotate(Count("pk"))
    of_owners = live.values_list("job__owner").annotate(Count("pk"))
    in_the_way: dict[int, dict[int, tuple[int, datetime]]] = defaultdict(dict)
    lanes: dict[int, list[tuple[UUID | None, int, int, datetime, int, int]]] = defaultdict(list)
    pending = Job.objects.filter(status=JobStatus.PENDING).exclude(pk__in=_sent()).order_by()
    counts = (Min("asked_at"), Count("pk"))
    singles = pending.filter(group=None).values_list("owner", "priority").annotate(*counts)
    grouped = list(pending.exclude(group=None).values_list("group", "priority").annotate(*counts))
    # Not joined: the counting reads an index alone.
    open_groups = Group.objects.filter(pk__in={group for group, *_ in grouped}, held=False)
    groups = {pk: (owner, limit) for pk, owner, limit in open_groups.values_list("pk", "owner", "limit")}
    found: list[tuple[int, UUID | None, int, datetime, int, int]] = [
        (owner, None, priority, first, count, count) for owner, priority, first, count in singles
    ]
    found += [
        (groups[group][0], group, priority, first, count, min(count, groups[group][1]))
        for group, priority, first, count in grouped
        if group in groups
    ]
    for owner, group, priority, first, count, its_part in found:
        its = level(priority, first, now)
        before, oldest = in_the_way[its].get(owner, (0, first))
        in_the_way[its][owner] = before + its_part, min(oldest, first)
        lanes[owner].append((group, priority, its, first, count, its_part))
    return _Queue(
        is_open=provider.stopped_at is None and provider.paused_at is None,
        live=live.count(),
        in_the_way=dict(in_the_way),
        lanes=dict(lanes),
        turns=served(provider),
        live_in_group=dict(in_groups),
        live_of=dict(of_owners),
    )
