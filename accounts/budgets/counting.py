"""Counters of what is reserved and spent, brought up to date by whoever needs them.

A create or a settlement changes its reservation alone, so it holds no row that others wait for. Every few
seconds a worker adds to the counters what has changed. If there is a budget, a create does that first, for
its own account, and holds the counters until its commit.

Locks are taken in one order: reservations, then counters.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Budget, Reservation, Spending

_UNITS: Final = Decimal(10_000)
_TOGETHER: Final = 1000
_COUNTED = Reservation.Counting.COUNTED


def units(amount: Decimal) -> int:
    """As Spending counts."""
    return int((amount * _UNITS).to_integral_value(ROUND_HALF_UP))


def amount_of(counted: int) -> Decimal:
    """The dollars of so many units."""
    return counted / _UNITS


def begins(period: str, day: date) -> date:
    """The first day of the period that a day belongs to; days are those of UTC."""
    return day if period == Budget.Period.DAY else day.replace(day=1)


def uncounted() -> QuerySet[Reservation]:
    """Reservations of which the counters do not know yet, or not how they ended."""
    return Reservation.objects.exclude(counting=_COUNTED)


def count_some() -> int:
    """Counts some that nobody else is counting now, and returns how many."""
    with transaction.atomic():
        rows = uncounted().select_for_update(skip_locked=True).order_by("pk")
        return _count(list(rows[:_TOGETHER]))


def counters_of(owner: int, api_key: int | None, day: date) -> list[Spending]:
    """The counters of an owner and a key for the periods of a day, up to date, locked until the transaction
    ends."""
    _count(list(uncounted().filter(owner=owner).select_for_update().order_by("pk")))
    return _locked(owner, api_key, day)


def counted_in(budget: Budget, day: date) -> tuple[int, int]:
    """The reserved and the settled units of a budget in the period of a day, up to date, without a lock."""
    first = begins(budget.period, day)
    whose = {"owner": budget.owner_id} | ({"api_key": budget.api_key_id} if budget.api_key_id else {})
    counters = Spending.objects.filter(
        owner=budget.owner_id, api_key=budget.api_key_id, period=budget.period, starts_on=first
    )
    lacking = [_lacking(row) for row in uncounted().filter(made_on__gte=first, **whose)]
    reserved, settled = counters.values_list("reserved", "settled").first() or (0, 0)
    return reserved + sum(each for each, _ in lacking), settled + sum(each for _, each in lacking)


def add(counters: Iterable[Spending], reserved: int, settled: int) -> None:
    """Adds these units to locked counters."""
    for counter in counters:
        Spending.objects.filter(pk=counter.pk).update(
            reserved=F("reserved") + reserved, settled=F("settled") + settled
        )


def _lacking(row: Reservation) -> tuple[int, int]:
    """What is to be added to reserved and to settled units."""
    reserved = units(row.amount) if row.state == Reservation.State.RESERVED else 0
    if row.counting == Reservation.Counting.ENDED:
        reserved -= units(row.amount)
    return reserved, units(row.settled) if row.state == Reservation.State.SETTLED else 0


def _count(rows: list[Reservation]) -> int:
    """Adds these to their counters. They are locked."""
    lacking = defaultdict[tuple[int, date, int], list[int]](lambda: [0, 0])
    for row in rows:
        sums = lacking[row.owner_id, row.made_on, row.api_key_id or 0]
        reserved, settled = _lacking(row)
        sums[0] += reserved
        sums[1] += settled
    for first in range(0, len(rows), _TOGETHER):
        some = [row.pk for row in rows[first : first + _TOGETHER]]
        Reservation.objects.filter(pk__in=some).update(counting=_COUNTED)
    # In one order, so that two that count at once wait for each other.
    for (owner, day, api_key), (reserved, settled) in sorted(lacking.items()):
        if not reserved and not settled:
            continue
        add(_locked(owner, api_key or None, day), reserved, settled)
    return len(rows)


def _locked(owner: int, api_key: int | None, day: date) -> list[Spending]:
    """The rows that count what was reserved on a day, locked in the order of their making."""
    keys = [None, api_key] if api_key else [None]
    rows = [
        Spending(owner_id=owner, api_key_id=key, period=period, starts_on=begins(period, day))
        for key in keys
        for period in Budget.Period.values
    ]
    Spending.objects.bulk_create(rows, ignore_conflicts=True)
    found = Spending.objects.select_for_update().filter(
        Q(api_key=None) | Q(api_key=api_key), owner=owner, starts_on__in={row.starts_on for row in rows}
    )
    wanted = {(row.api_key_id, row.period, row.starts_on) for row in rows}
    return [row for row in found.order_by("pk") if (row.api_key_id, row.period, row.starts_on) in wanted]


def renewal(period: str, day: date) -> date:
    """The first day of the period after that of a day."""
    following = begins(period, day) + timedelta(days=1 if period == Budget.Period.DAY else 31)
    return begins(period, following)
