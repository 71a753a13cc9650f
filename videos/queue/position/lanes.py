"""Places of jobs in their own lanes."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Q

from videos.models import Job
from videos.queue.claims.lanes import Lane
from videos.queue.position.backlog import SentJob
from videos.reads.rows import JobRow
from videos.states import JobStatus

MAX_POSITION: Final = 10_000


def ahead_in_lanes(waiting: Sequence[JobRow], sent: Sequence[SentJob]) -> list[tuple[JobRow, int]]:
    """How many jobs stand before each in its own lane, counted up to MAX_POSITION, without `sent` ones."""
    lanes: dict[tuple[int, UUID | None, int], list[JobRow]] = defaultdict(list)
    for job in waiting:
        lanes[job.owner_id, job.group_id, job.priority].append(job)
    found = []
    for (owner, group, priority), jobs in lanes.items():
        jobs.sort(key=lambda job: (job.asked_at, job.pk))
        first, last = jobs[0], jobs[-1]
        before = _count_before(first, sent)
        if before is None or len(jobs) > 1:
            lane = (
                Lane(owner, group, priority, first.asked_at).jobs().exclude(pk__in=[job.pk for job in sent])
            )
            older = Q(asked_at__lte=first.asked_at) & (Q(asked_at__lt=first.asked_at) | Q(pk__lt=first.pk))
        if before is None:
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


# Each read of a waiting job asks it. The conditions are those of the two indexes of the claim.
_BEFORE: Final = """
SELECT count(*) FROM (
    SELECT FROM {job}
    WHERE status = '{pending}' AND NOT held AND {whose} AND priority = $2 AND (asked_at, id) < ($3, $4)
    LIMIT $5
) older
"""
_NAMES: Final = {"job": Job._meta.db_table, "pending": JobStatus.PENDING}
_SINGLE: Final = _BEFORE.format(whose="owner_id = $1 AND group_id IS NULL", **_NAMES)
_GROUPED: Final = _BEFORE.format(whose="group_id = $1", **_NAMES)


def _count_before(job: JobRow, sent: Sequence[SentJob]) -> int | None:
    """The same by a statement that is not compiled anew; None on SQLite."""
    # In the statement, each row would be compared with each of them.
    lane = job.owner_id, job.group_id, job.priority
    do_not_wait = sum(
        (each.owner_id, each.group_id, each.priority) == lane
        and (each.asked_at, each.pk) < (job.asked_at, job.pk)
        for each in sent
    )
    prepared = getattr(connection, "prepared_cursor", None)
    if prepared is None:
        return None
    statement, whose = (_SINGLE, job.owner_id) if job.group_id is None else (_GROUPED, job.group_id)
    with prepared() as cursor:
        cursor.execute(statement, [whose, job.priority, job.asked_at, job.pk, MAX_POSITION + do_not_wait])
        (count,) = cursor.fetchone()
    return max(int(count) - do_not_wait, 0)
