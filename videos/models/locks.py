"""The lock under which a job and its submissions move."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import transaction

from videos.log_context import about
from videos.models.job import Job
from videos.models.submission import Submission


@contextmanager
def locked(submission: Submission) -> Iterator[tuple[Job, Submission]]:
    """Opens a transaction with the job's row locked, and gives both rows as they now are."""
    with about(submission), transaction.atomic(durable=True):
        job = Job.lock(pk=submission.job_id)
        fresh = Submission.objects.select_related("provider").get(pk=submission.pk)
        fresh.job = job
        fresh.is_locked = True
        yield job, fresh
