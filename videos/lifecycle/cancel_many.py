"""Cancels all jobs of an account, a key, a batch or a time, a few hundred at a time, for an operator."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from uuid import UUID

from django.db import transaction
from django.db.models import Q

from upstreams.clock import database_now
from videos.lifecycle.cancel import NotCancellable, cancel
from videos.models import Job
from videos.states import JOB_OPEN, JobStatus

_TOGETHER: Final = 200


def count_open(which: Q) -> dict[str, int]:
    """How many of these jobs are waiting, and how many are running."""
    found = Job.objects.filter(which)
    return {status: found.filter(status=status).count() for status in sorted(JOB_OPEN)}


def cancel_many(which: Q, *, by: str) -> int:
    """Cancels those of these jobs that are open, as a caller's own cancel does. Returns how many.

    It works in statements of bounded size, so no lock is held for longer than one takes. If a run is
    interrupted, another run continues it. Waiting jobs come first, so that none of them is sent.
    """
    until = database_now()
    which &= Q(asked_at__lte=until)
    cancelled = 0
    for some in _chunks(which & Q(status=JobStatus.PENDING)):
        cancelled += _cancel_pending(some, by)
    for some in _chunks(which & Q(status__in=JOB_OPEN)):
        for job in Job.objects.filter(pk__in=some).order_by("pk"):
            with suppress(NotCancellable):
                cancel(job, by=by)
                cancelled += 1
    return cancelled


def _chunks(which: Q) -> Iterator[list[UUID]]:
    last = UUID(int=0)
    while True:
        found = Job.objects.filter(which, pk__gt=last).order_by("pk")
        some = list(found.values_list("pk", flat=True)[:_TOGETHER])
        if not some:
            return
        last = some[-1]
        yield some


def _cancel_pending(pks: list[UUID], by: str) -> int:
    """Those that still wait by now, all or none of each group together."""
    with transaction.atomic():
        waiting = Job.objects.filter(pk__in=pks, status=JobStatus.PENDING)
        jobs = list(waiting.select_for_update(of=("self",)).order_by("pk"))
        for group in {job.group_id for job in jobs}:
            # If a job is being sent now, its sender settles it, as for a cancel of that job alone.
            Job.move_together(
                [job for job in jobs if job.group_id == group],
                JobStatus.CANCELLED,
                detail={"by": by},
                cancelled_at=database_now(),
            )
    return len(jobs)
