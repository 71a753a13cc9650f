"""Asks for the previews that completed jobs lack: of older versions, or because their files are gone."""

from typing import Final
from uuid import UUID

from django.core.files.storage import default_storage

from upstreams.clock import database_now
from videos.models import Job, Preview
from videos.states import JobStatus

_TOGETHER: Final = 500


def ask_for_missing() -> int:
    """Has them made by the workers. Returns for how many jobs."""
    asked = 0
    last = UUID(int=0)
    kept = Job.objects.filter(status=JobStatus.COMPLETED, removed_at=None).order_by("pk")
    while jobs := list(kept.filter(pk__gt=last).select_related("preview")[:_TOGETHER]):
        last = jobs[-1].pk
        now = database_now()
        lacking = [job for job in jobs if _lacks(job)]
        Preview.objects.bulk_create(
            [Preview(job=job, due_at=now) for job in lacking],
            update_conflicts=True,
            unique_fields=["job"],
            update_fields=["due_at", "tries"],
        )
        asked += len(lacking)
    return asked


def _lacks(job: Job) -> bool:
    """Whether it has none, or not all of them are there, and none are being made."""
    if not hasattr(job, "preview"):
        return True
    names = job.preview.names()
    there = bool(names) and all(default_storage.exists(name) for name in names)
    return job.preview.due_at is None and not there
