"""Counts of waiting and running jobs, made once in a few seconds for all readers."""

import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.core.cache import cache
from django.db.models import Count, Min

from upstreams.clock import database_now
from upstreams.models import Provider
from videos.models import Group, Job, Submission
from videos.queue.claims.selection import effective_priority, last_claims
from videos.queue.holds import deactivated
from videos.queue.occupancy import occupying
from videos.states import LIVE, JobStatus

_MEASURED_FOR_SECONDS: Final = 5.0

# Counting takes this share of a process's time at most, however much there is to count.
_MEASURING_SHARE: Final = 0.02


@dataclass(frozen=True, slots=True)
class Backlog:
    """The counts of waiting and running jobs.

    A lane is identified by group and priority, and has the level of its oldest job. It blocks others with all
    its jobs, or with as many as its group may run at a time.
    """

    is_open: bool
    live: int
    # By level and owner: how many block others, and when the oldest of them was asked for.
    blocking: dict[int, dict[int, tuple[int, datetime]]]
    # By owner: group, priority, level, when the oldest was asked for, how many wait, how many block.
    lanes: dict[int, list[tuple[UUID | None, int, int, datetime, int, int]]]
    last_claims: dict[int, int]
    live_in_group: dict[UUID, int]
    live_of: dict[int, int]
    # Accounts with waiting jobs, of which nothing is sent.
    deactivated: frozenset[int]


class SentJob(NamedTuple):
    """A pending job that does not wait, and where its lane has it."""

    pk: UUID
    owner_id: int
    group_id: UUID | None
    priority: int
    asked_at: datetime


def sent_jobs() -> list[SentJob]:
    """Pending jobs that do not wait: being sent, undecided, or with a render that is being dropped."""
    live = Submission.objects.filter(state__in=LIVE, job__status=JobStatus.PENDING).order_by()
    places = live.values_list("job", "job__owner", "job__group", "job__priority", "job__asked_at")
    return [SentJob(*place) for place in places]


def backlog(provider: Provider) -> Backlog:
    """The counts of the last seconds, made by any process, or made now."""
    key = f"backlog:{provider.pk}"
    known: Backlog | None = cache.get(key)
    if known is not None:
        return known
    began = time.monotonic()
    counted = _count(provider)
    took = time.monotonic() - began
    cache.set(key, counted, max(_MEASURED_FOR_SECONDS, took / _MEASURING_SHARE))
    return counted


def _count(provider: Provider) -> Backlog:
    now = database_now()
    live = occupying().filter(provider=provider).order_by()
    in_groups = live.exclude(job__group=None).values_list("job__group").annotate(Count("pk"))
    of_owners = live.values_list("job__owner").annotate(Count("pk"))
    blocking: dict[int, dict[int, tuple[int, datetime]]] = defaultdict(dict)
    lanes: dict[int, list[tuple[UUID | None, int, int, datetime, int, int]]] = defaultdict(list)
    sent = [job.pk for job in sent_jobs()]
    pending = Job.objects.filter(status=JobStatus.PENDING, held=False).exclude(pk__in=sent).order_by()
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
    gone = deactivated(owner for owner, *_ in found)
    for owner, group, priority, first, count, its_part in found:
        if owner in gone:
            continue
        its = effective_priority(priority, first, now)
        before, oldest = blocking[its].get(owner, (0, first))
        blocking[its][owner] = before + its_part, min(oldest, first)
        lanes[owner].append((group, priority, its, first, count, its_part))
    return Backlog(
        is_open=provider.is_open(),
        live=live.count(),
        blocking=dict(blocking),
        lanes=dict(lanes),
        last_claims=last_claims(provider),
        live_in_group=dict(in_groups),
        live_of=dict(of_owners),
        deactivated=frozenset(gone),
    )
