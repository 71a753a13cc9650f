"""Places of jobs in their own lanes."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from django.db.models import Q

from videos.queue.selection import Lane
from videos.reads.rows import JobRow

MAX_POSITION: Final = 10_000


def ahead_in_lanes(waiting: Sequence[JobRow], sent: Collection[UUID]) -> list[tuple[JobRow, int]]:
    """How many jobs stand before each in its own lane, counted up to MAX_POSITION, without `sent` ones."""
    lanes: dict[tuple[int, UUID | None, int], list[JobRow]] = defaultdict(list)
    for job in waiting:
        lanes[job.owner_id, job.group_id, job.priority].append(job)
    found = []
    for (owner, group, priority), jobs in lanes.items():
        jobs.sort(key=lambda job: (job.asked_at, job.pk))
        first, last = jobs[0], jobs[-1]
        lane = Lane(owner, group, priority, first.asked_at).jobs().exclude(pk__in=sent)
        older = Q(asked_at__lte=first.asked_at) & (Q(asked_at__lt=first.asked_at) | Q(pk__lt=first.pk))
        before = lane.filter(older)[:MAX_POSITION].count()
        if len(jobs) == 1:
            found.append((first, before))
            continue
        between = lane.filter(~older, asked_at__gte=first.asked_at, asked_at__lte=last.asked_at)
        place = {pk: before + n for n, pk in enumerate(between.values_list("pk", flat=True)[:MAX_POSITION])}
        # One that is not there is beyond what is counted, or was taken or has ended just now.
        missing = MAX_POSITION if len(place) == MAX_POSITION else before
        found += [(job, min(place.get(job.pk, missing), MAX_POSITION)) for job in jobs]
    return found
