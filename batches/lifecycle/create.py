"""Creating a batch: all items are accepted or none."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.db import transaction

from accounts.budgets.reservations import count, drafts, limits_of
from accounts.models import ApiKey, Reservation, User
from batches.items import Item, Items
from batches.models import Batch, BatchEvent
from upstreams.clock import database_now
from videos.lifecycle.create import ReservedRequest, accept_all, ensure_room
from videos.models import Group
from videos.queue.wake import wake

_TOGETHER: Final = 500


@dataclass(slots=True)
class Plan:
    """What a batch would cost: the prices of its items in dollars, None if not listed."""

    prices: list[Decimal | None] = field(default_factory=list)
    adjusted: int = 0

    @property
    def unpriced(self) -> int:
        """Items whose price is not listed."""
        return self.prices.count(None)

    @property
    def total(self) -> Decimal | None:
        """Dollars for all items; None if one is not listed."""
        return None if self.unpriced else sum((price or Decimal(0) for price in self.prices), Decimal(0))

    def add(self, item: Item) -> None:
        """Counts one more."""
        self.prices.append(item.fitted.price)
        self.adjusted += bool(item.fitted.adjustments)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A committed batch, its jobs in the order of its items, and what it may cost."""

    batch: Batch
    job_ids: list[UUID]
    plan: Plan


def create_batch(
    items: Items,
    *,
    owner: User,
    api_key: ApiKey | None,
    name: str = "",
    metadata: dict[str, Any] | None = None,
    concurrency: int | None = None,
) -> Accepted:
    """Accepts a batch. When this returns, its jobs are pending and committed, and their prices reserved.

    The items are read twice, so that a large upload is never in memory. Raises BadItems of batches.items,
    QueueFull of videos.lifecycle.create, BudgetExceeded and PriceUnknown of accounts.budgets.reservations.
    """
    plan = Plan()
    for item in items.check():
        plan.add(item)
    with transaction.atomic():
        limits = limits_of(owner, api_key)
        reservations = drafts(owner, api_key, plan.prices, limits)
        Reservation.objects.bulk_create(reservations, batch_size=1000)
        now = database_now()
        group = Group.objects.create(owner=owner, limit=concurrency or settings.BATCH_CONCURRENCY)
        batch = Batch.objects.create(
            group=group,
            api_key=api_key,
            name=name,
            metadata=metadata or {},
            total=len(plan.prices),
            created_at=now,
            opened_at=now,
        )
        BatchEvent.record(batch, BatchEvent.Kind.CREATED, at=now)
        requests = _reserved_requests(items, iter(reservations))
        job_ids: list[UUID] = []
        while some := list(islice(requests, _TOGETHER)):
            jobs = accept_all(some, owner=owner, api_key=api_key, group=group)
            job_ids += [job.pk for job in jobs]
        # Last, because it may lock the owner's counters: no other of its jobs waits for this file.
        count(limits, reservations, priced=not plan.unpriced)
        ensure_room(owner, 0)
        wake("submit")
    return Accepted(batch, job_ids, plan)


def _reserved_requests(items: Items, reservations: Iterator[Reservation]) -> Iterator[ReservedRequest]:
    for item in items.again():
        yield ReservedRequest(item.asked, item.fitted, next(reservations), item.ref)
