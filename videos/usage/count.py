"""Counting jobs that have ended, so that nobody adds up their rows again."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from django.db import transaction
from django.db.models import Exists, OuterRef

from videos.models import Job, Submission, UsageCount
from videos.states import JOB_ENDED, LIVE
from videos.usage.stored import count_stored
from videos.usage.sums import UsageGroup, sums_of

_TOGETHER: Final = 1000


def count_some() -> int:
    """Counts some jobs that have ended and cost nothing more. Returns how many.

    What somebody holds now is left for the next time.
    """
    with transaction.atomic():
        costs_more = Submission.objects.filter(job=OuterRef("pk"), state__in=sorted(LIVE))
        ended = Job.objects.filter(
            ~Exists(costs_more), counted=False, status__in=sorted(JOB_ENDED), reservation=None
        )
        rows = ended.order_by().select_for_update(of=("self",), skip_locked=True)
        some = Job.objects.filter(pk__in=list(rows.values_list("pk", flat=True)[:_TOGETHER]))
        _add(sums_of(some))
        return count_stored(some, counted=True)


def _add(sums: Mapping[UsageGroup, tuple[int, Decimal]]) -> None:
    """Adds these to their groups. Where a group has several rows, they become one."""
    if not sums:
        return
    rows = UsageCount.objects.filter(
        owner__in={group.owner_id for group in sums}, day__in={group.day for group in sums}
    )
    totals = dict(sums)
    replaced = []
    # In one order: two that count the same days wait for each other.
    for row in rows.order_by("pk").select_for_update():
        group = UsageGroup.of(row)
        if group in totals:
            jobs, settled = totals[group]
            totals[group] = jobs + row.jobs, settled + row.settled
            replaced.append(row.pk)
    UsageCount.objects.filter(pk__in=replaced).delete()
    UsageCount.objects.bulk_create(
        group.row(jobs, settled) for group, (jobs, settled) in totals.items() if jobs or settled
    )
