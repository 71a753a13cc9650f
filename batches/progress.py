"""The progress of a batch, derived from its jobs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.db import models
from django.db.models import Count, Max, Q, Sum

from videos.models import Job, Submission
from videos.states import JOB_OPEN, CostState, JobStatus

_NOTHING: Final = Decimal(0)


class BatchStatus(models.TextChoices):
    """The status of a batch, as its caller sees it."""

    PENDING = "pending"
    """None of its jobs has begun."""
    PROCESSING = "processing"
    """Some of its jobs go on."""
    COMPLETED = "completed"
    """All videos are here."""
    PARTIAL = "partial"
    """All jobs have ended, and some videos are here."""
    FAILED = "failed"
    """All jobs have ended without a video, and at least one failed."""
    CANCELLED = "cancelled"
    """It was cancelled, or all its jobs were."""


@dataclass(slots=True)
class Tally:
    """How many jobs of a batch are in each status, and what they cost in dollars; None if a cost is
    unknown."""

    jobs: dict[str, int] = field(default_factory=lambda: dict.fromkeys(JobStatus.values, 0))
    estimated: Decimal | None = _NOTHING
    settled: Decimal | None = _NOTHING
    updated_at: datetime | None = None

    @property
    def total(self) -> int:
        """All jobs."""
        return sum(self.jobs.values())

    @property
    def finished(self) -> int:
        """Jobs that have ended."""
        return sum(count for status, count in self.jobs.items() if status not in JOB_OPEN)

    def status(self, *, cancelled: bool) -> BatchStatus:
        """The status by these rules, in this order."""
        if self.finished < self.total:
            begun = self.jobs[JobStatus.PENDING] < self.total
            return BatchStatus.PROCESSING if begun else BatchStatus.PENDING
        if cancelled:
            return BatchStatus.CANCELLED
        if self.jobs[JobStatus.COMPLETED] == self.total:
            return BatchStatus.COMPLETED
        if self.jobs[JobStatus.COMPLETED]:
            return BatchStatus.PARTIAL
        return BatchStatus.FAILED if self.jobs[JobStatus.FAILED] else BatchStatus.CANCELLED

    def progress(self) -> dict[str, int]:
        """For the wire. The percentage is rounded down, so that 100 means all."""
        return {
            "total": self.total,
            **{status: self.jobs[status] for status in ("completed", "failed", "cancelled")},
            **{status: self.jobs[status] for status in ("pending", "processing")},
            "percentage": 100 * self.finished // self.total if self.total else 0,
        }


def tallies(batches: Iterable[UUID]) -> Mapping[UUID, Tally]:
    """The tally of each of these batches, in two queries."""
    found = {pk: Tally() for pk in batches}
    jobs = Job.objects.filter(group__in=found).order_by().values_list("group", "status")
    unknown_price = Count("pk", filter=Q(estimated_cost=None))
    counted: Any = jobs.annotate(
        count=Count("pk"), price=Sum("estimated_cost"), unknown=unknown_price, last=Max("updated_at")
    )
    for group, status, count, price, unknown, updated_at in counted:
        tally = found[group]
        tally.jobs[status] = count
        tally.estimated = None if unknown or tally.estimated is None else tally.estimated + price
        tally.updated_at = max(tally.updated_at or updated_at, updated_at)
    paid = Submission.objects.filter(job__group__in=found, cost_state=CostState.SETTLED).order_by()
    spent: Any = paid.values_list("job__group").annotate(
        paid=Sum("price"), unknown=Count("pk", filter=Q(price=None))
    )
    for group, price, unknown in spent:
        found[group].settled = None if unknown else price
    return found
