"""Celery's view of batches."""

from typing import Any

from celery import shared_task

from batches.lifecycle.cancel import cancel_jobs, unfinished
from batches.lifecycle.finish import complete, seemingly_completed
from videos.upstream import configured


@shared_task(name="batches.sweep")
def sweep(**_: Any) -> None:
    """Finishes what a crash left: cancels that were begun, and ends that nobody recorded."""
    for batch in unfinished():
        cancel_jobs(batch, configured())
    for batch_id in seemingly_completed():
        complete(batch_id)
