"""Removes the files of completed jobs: by request, or once they have been kept for long enough."""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from rest_framework import status
from rest_framework.exceptions import APIException

from upstreams.clock import database_now
from videos.models import Job, JobEvent
from videos.models.event import Line
from videos.reads.rows import JobRow
from videos.results.media import MediaUnusable, removal_problem
from videos.retention.stored import names_of
from videos.states import JobStatus
from videos.stores.media import delete_files
from videos.usage.stored import forget_stored

logger = logging.getLogger(__name__)

_TOGETHER: Final = 100


class ResultOnHold(APIException):
    """409: the operator keeps the files, whoever asks for their removal."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "result_on_hold"
    default_detail = "The files of this job are on hold: whoever runs this service keeps them. Ask there."


def remove_at(job: Job, completed_at: datetime) -> datetime | None:
    """When the files of a job that is completed at this time are removed, if it was asked for with a time of
    its own."""
    return None if job.retain_for is None else completed_at + timedelta(seconds=job.retain_for)


def kept_until(job: JobRow) -> datetime | None:
    """When the files of a completed job are removed; None if that is not known, or they were removed."""
    if job.removed_at is not None or job.on_hold or job.completed_at is None:
        return None
    if job.remove_at is None and settings.RESULT_RETENTION_DAYS:
        return job.completed_at + timedelta(days=settings.RESULT_RETENTION_DAYS)
    return job.remove_at


def remove_result(job: Job) -> bool:
    """Removes the files of a completed job for its owner; False if they were removed before.

    Raises ResultOnHold, and MediaUnusable.
    """
    _require_mounted()
    with transaction.atomic():
        job = Job.lock(pk=job.pk)
        if job.on_hold:
            raise ResultOnHold
        if job.status != JobStatus.COMPLETED or job.removed_at is not None:
            return False
        _remove([job], "asked")
    return True


def remove_results(pks: Iterable[UUID], reason: str) -> None:
    """Removes the files of those of these jobs that have any, whatever was said of how long they are kept.
    Raises MediaUnusable."""
    _require_mounted()
    with transaction.atomic():
        kept = Job.objects.filter(pk__in=pks, removed_at=None, on_hold=False, status=JobStatus.COMPLETED)
        if some := list(kept.order_by("pk").select_for_update(of=("self",))):
            _remove(some, reason)


def _require_mounted() -> None:
    if problem := removal_problem():
        raise MediaUnusable(f"nothing can be removed: {problem}")


def hold_result(job: Job, *, on_hold: bool, by: str) -> bool:
    """Puts the files of a job on hold, or releases them, and says in its history who did. Returns whether
    that has changed anything."""
    with transaction.atomic():
        job = Job.lock(pk=job.pk)
        if job.on_hold == on_hold or job.removed_at is not None:
            return False
        now = database_now()
        Job.objects.filter(pk=job.pk).update(on_hold=on_hold, updated_at=now)
        before, after = ("kept", "on hold") if on_hold else ("on hold", "kept")
        JobEvent.record(job, "result", before, after, now, detail={"by": by})
    return True


def remove_due() -> int:
    """Removes the files of some jobs that have been kept for long enough. Returns of how many."""
    if removal_problem():
        return 0
    now = database_now()
    removed = _remove_some(Q(remove_at__lte=now), "remove_at")
    if settings.RESULT_RETENTION_DAYS:
        before = now - timedelta(days=settings.RESULT_RETENTION_DAYS)
        removed += _remove_some(Q(remove_at=None, retain_for=None, completed_at__lte=before), "completed_at")
    return removed


def _remove_some(due: Q, by: str) -> int:
    kept = Job.objects.filter(due, removed_at=None, on_hold=False, status=JobStatus.COMPLETED)
    with transaction.atomic():
        some = list(kept.order_by(by).select_for_update(of=("self",), skip_locked=True)[:_TOGETHER])
        if some:
            _remove(some, "retention")
    return len(some)


def _remove(jobs: Iterable[Job], reason: str) -> None:
    """Under the locks of the jobs. If a process dies before it has removed the files, they are swept away."""
    jobs = sorted(jobs, key=lambda job: job.pk)
    now = database_now()
    rows = Job.objects.filter(pk__in=[job.pk for job in jobs])
    rows.update(removed_at=now, updated_at=now)
    forget_stored(rows)
    detail = {"reason": reason}
    JobEvent.append(now, *(Line(job, "result", "kept", "removed", detail=detail) for job in jobs))
    names = names_of(rows)
    transaction.on_commit(partial(_delete, names), robust=True)


def _delete(names: Iterable[str]) -> None:
    try:
        delete_files(names)
    except OSError as error:
        logger.warning("Not all files were removed; the others are swept away later: %s", error)
