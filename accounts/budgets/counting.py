"""Counters of what is reserved and spent, brought up to date by whoever needs them.

A create or a settlement changes its reservation alone, so it holds no row that others wait for. Every few
seconds a worker adds to the counters what has changed. If there is a budget, a create does that first, for
its own account, and holds the counters until its commit.

Locks are taken in one order: reservations, then counters.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, NamedTuple

from django.db import transaction
from django.db.models import F, Q, QuerySet

from accounts.models import Budget, Reservation, Spending

_UNITS: Final = Decimal(10_000)
_TOGETHER: Final = 1000
_COUNTED = Reservation.Counting.COUNTED
# An owner, a key or none, a period, and the day on which that begins.
_Counter = tuple[int, int | None, str, date]


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


class _Day(NamedTuple):
    """A day of an owner and of one of its keys; 0 is no key."""

    owner: int
    day: date
    api_key: int

    def counters(self) -> list[_Counter]:
        """What names the rows that count it: of the owner, then of the key; of the day and of the month."""
        return [
            (self.owner, key, period, begins(period, self.day))
            for key in ([None, self.api_key] if self.api_key else [None])
            for period in Budget.Period.values
        ]


def count_some() -> int:
    """Counts some that nobody else is counting now, and returns how many."""
    with transaction.atomic():
        rows = uncounted().select_for_update(skip_locked=True).order_by("pk")
        some = list(rows[:_TOGETHER])
        _count(some)
        return len(some)


def counters_of(owner: int, api_key: int | None, day: date) -> list[Spending]:
    """The counters of an owner and a key for the periods of a day, up to date, locked until the transaction
    ends."""
    mine = _Day(owner, day, api_key or 0)
    rows = list(uncounted().filter(owner=owner).select_for_update().order_by("pk"))
    return _count(rows, mine)[mine]


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


def _count(rows: Sequence[Reservation], *others: _Day) -> dict[_Day, list[Spending]]:
    """Adds these to their counters, which are locked with those of the others, and gives all of them.

    The rows are locked.
    """
    lacking = defaultdict[_Day, list[int]](lambda: [0, 0])
    for row in rows:
        sums = lacking[_Day(row.owner_id, row.made_on, row.api_key_id or 0)]
        reserved, settled = _lacking(row)
        sums[0] += reserved
        sums[1] += settled
    for first in range(0, len(rows), _TOGETHER):
        some = [row.pk for row in rows[first : first + _TOGETHER]]
        Reservation.objects.filter(pk__in=some).update(counting=_COUNTED)
    counters = _locked(lacking.keys() | set(others))
    for day, (reserved, settled) in lacking.items():
        if reserved or settled:
            add(counters[day], reserved, settled)
    if not any(map(any, lacking.values())):
        return {other: counters[other] for other in others}
    # One may count for several keys, so it is read again.
    fresh = Spending.objects.in_bulk({row.pk for other in others for row in counters[other]})
    return {other: [fresh[row.pk] for row in counters[other]] for other in others}


def _locked(days: Set[_Day]) -> dict[_Day, list[Spending]]:
    """The rows that count what was reserved on these days, for the owner and for the key.

    All are locked at once, in the order of their making: two that lock the same ones wait for each other.
    """
    if not days:
        return {}
    wanted = {day: day.counters() for day in days}
    # In one order: who inserts the same ones waits for them.
    new = sorted(
        {each for several in wanted.values() for each in several},
        key=lambda each: (each[0], each[1] or 0, *each[2:]),
    )
    Spending.objects.bulk_create(
        [
            Spending(owner_id=owner, api_key_id=api_key, period=period, starts_on=first)
            for owner, api_key, period, first in new
        ],
        ignore_conflicts=True,
    )
    found = Spending.objects.select_for_update().filter(
        Q(api_key=None) | Q(api_key__in={day.api_key for day in days}),
        owner__in={day.owner for day in days},
        starts_on__in={first for *_, first in new},
    )
    rows = {(row.owner_id, row.api_key_id, row.period, row.starts_on): row for row in found.order_by("pk")}
    return {day: [rows[each] for each in several] for day, several in wanted.items()}


def renewal(period: str, day: date) -> date:
    """The first day of the period after that of a day."""
    following = begins(period, day) + timedelta(days=1 if period == Budget.Period.DAY else 31)
    return begins(period, following)
