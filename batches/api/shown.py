"""How callers see a batch."""

from typing import Any

from accounts.budgets.reservations import dollars
from batches.models import Batch
from batches.progress import Tally
from upstreams.offer import pricing


def shown_batch(batch: Batch, tally: Tally) -> dict[str, Any]:
    """A batch for the wire, without its jobs."""
    times = [batch.opened_at, batch.completed_at, batch.cancelled_at, tally.updated_at]
    return {
        "id": batch.pk,
        "name": batch.name or None,
        "status": tally.status(cancelled=batch.cancelled_at is not None),
        "paused": batch.paused,
        "concurrency": batch.group.limit,
        "round": batch.round,
        "progress": tally.progress(),
        "metadata": batch.metadata,
        "cost": {
            "estimated": dollars(tally.estimated),
            "settled": dollars(tally.settled),
            "currency": pricing.CURRENCY,
        },
        "overdue": batch.overdue,
        "createdAt": batch.created_at,
        "updatedAt": max(at for at in times if at is not None),
        "completedAt": batch.completed_at,
    }
