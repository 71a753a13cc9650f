"""Lanes: the waiting jobs of one owner without a group, or of one group, with one priority, oldest first.

They are found by a loose scan of an index, so the cost of a claim depends on the number of lanes and not on
the number of jobs.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import connection
from django.db.models import Min, QuerySet

from videos.models import Group, Job
from videos.states import JobStatus


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
