"""Celery tasks of batches."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import shared_task
from structlog.contextvars import bound_contextvars

from batches.lifecycle.cancel import cancel_jobs, unfinished
from batches.lifecycle.finish import complete, seemingly_completed
from upstreams.registry import configured

logger = logging.getLogger(__name__)


@shared_task(name="batches.sweep")
def sweep(**_: Any) -> None:
    """Finishes what a crash left: cancels that were begun, and ends that were not recorded."""
    for batch in unfinished():
        with _alone(batch):
            cancel_jobs(batch, configured())
    for batch_id in seemingly_completed():
        with _alone(batch_id):
            complete(batch_id)


@contextmanager
def _alone(batch: object) -> Iterator[None]:
    """Logs a failure, so that the others are still handled."""
    with bound_contextvars(batch_id=str(batch)):
        try:
            yield
        except Exception:
            logger.exception("Batch %s could not be seen to.", batch)
