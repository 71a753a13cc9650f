"""Places in the queue, of jobs as tests have them."""

from collections.abc import Iterable
from uuid import UUID

from videos.models import Job
from videos.queue.position import estimates
from videos.queue.position.estimator import QueuePosition
from videos.reads.rows import rows_of


def queue_positions(jobs: Iterable[Job]) -> dict[UUID, QueuePosition]:
    """The places of these jobs as they are in the database now."""
    return estimates.queue_positions(rows_of([job.pk for job in jobs]))
