"""What an owner, and each of its keys, may spend in a day and in a month: reserved, then settled once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Final

from django.db.models import F, Q
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.models import ApiKey, Budget, Reservation, Spending, User
from api.moments import written

NOTHING: Final = Decimal(0)
_UNITS: Final = Decimal(10_000)


class BudgetExceeded(APIException):
    """402: the price is more than a budget has left."""

    status_code = status.HTTP_402_PAYMENT_REQUIRED
    default_code = "budget_exceeded"

    def __init__(self, budget: Budget, amount: Decimal, left: Decimal, renews_at: datetime) -> None:
        whose = "this API key" if budget.api_key_id else "this account"
        super().__init__(
            f"It costs {dollars(amount)} dollars, and the {budget.get_period_display()} budget of {whose} "
            f"has {dollars(left)} left until {renews_at:%Y-%m-%d %H:%M} UTC. Ask for less, wait, or have the "
            "budget raised."
        )
        self.extra = {
            "period": budget.period,
            "scope": "key" if budget.api_key_id else "owner",
            "limit": dollars(budget.limit),
            "left": dollars(left),
            "price": dollars(amount),
            "renewsAt": written(renews_at),
        }


class PriceUnknown(APIException):
    """422: there is a budget, and the request has no listed price."""

    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "price_unknown"
    default_detail = (
        "This account has a budget, and what was asked for has no listed price. Ask for a model and size "
        "with a price, or have the operator list it in SORA_PRICES."
    )


def dollars(amount: Any) -> str | None:
    """An amount for the wire, with at least two decimals; None stays None."""
    return None if amount is None else f"{amount:.4f}".removesuffix("00")


def begins(period: str, day: date) -> date:
    """The first day of the period that a day belongs to; days are those of UTC."""
    return day if period == Budget.Period.DAY else day.replace(day=1)


def renews_at(period: str, day: date) -> datetime:
    """When the period that a day belongs to is over."""
    first = begins(period, day)
    following = first + timedelta(days=1 if period == Budget.Period.DAY else 31)
    return datetime.combine(begins(period, following), time(), UTC)


def reserve(owner: User, api_key: ApiKey | None, amount: Decimal | None) -> Reservation:
    """Reserves the price of one render, as reserve_all does."""
    return reserve_all(owner, api_key, [amount])[0]


def reserve_all(owner: User, api_key: ApiKey | None, amounts: Sequence[Decimal | None]) -> list[Reservation]:
    """Reserves the prices of renders, all or none, for the owner and the key, today and this month.

    Called in the transaction of what they pay for, so that both are committed or neither. Raises
    BudgetExceeded and PriceUnknown, and then has changed nothing.
    """
    reservations = drafts(owner, api_key, amounts)
    count(owner, api_key, reservations, priced=None not in amounts)
    return Reservation.objects.bulk_create(reservations, batch_size=1000)


def drafts(owner: User, api_key: ApiKey | None, amounts: Iterable[Decimal | None]) -> list[Reservation]:
    """Unsaved reservations of these prices. To reserve, save and count them in one transaction."""
    today = timezone.now().astimezone(UTC).date()
    return [
        Reservation(owner=owner, api_key=api_key, amount=amount or NOTHING, made_on=today)
        for amount in amounts
    ]


def count(owner: User, api_key: ApiKey | None, reservations: Sequence[Reservation], *, priced: bool) -> None:
    """Counts the drafts of one request against the budgets, all or none; `priced`: all prices are known.

    Locks the owner's counters until the transaction ends, so other changes of this owner's money wait.
    Raises BudgetExceeded and PriceUnknown.
    """
    today = reservations[0].made_on
    total = sum((reservation.amount for reservation in reservations), NOTHING)
    counters = _counters(owner.pk, api_key.pk if api_key else None, today)
    # Read once the counters are ours: a budget that was set while this one waited binds it.
    limits = {(budget.api_key_id, budget.period): budget for budget in _budgets(owner, api_key)}
    if not priced and limits:
        raise PriceUnknown
    for counter in counters:
        budget = limits.get((counter.api_key_id, counter.period))
        if budget is None:
            continue
        left = _left(budget, counter)
        if total > left:
            raise BudgetExceeded(budget, total, left, renews_at(budget.period, today))
    for counter in counters:
        Spending.objects.filter(pk=counter.pk).update(reserved=F("reserved") + _units(total))


def settle(reservation: Reservation, amount: Decimal | None) -> bool:
    """Records the final cost as spent; False if the reservation had ended before."""
    spent = reservation.amount if amount is None else amount
    return _end(reservation, Reservation.State.SETTLED, spent)


def release(reservation: Reservation) -> bool:
    """Records that nothing was spent; False if the reservation had ended before."""
    return _end(reservation, Reservation.State.RELEASED, NOTHING)


def charge(owner: User, api_key: ApiKey | None, amount: Decimal | None) -> Reservation:
    """Counts money that was spent without a reservation, even if it exceeds a budget."""
    today = timezone.now().astimezone(UTC).date()
    reservation = Reservation(owner=owner, api_key=api_key, amount=NOTHING, made_on=today)
    reservation.save(force_insert=True)
    settle(reservation, amount or NOTHING)
    return reservation


def release_all(pks: Sequence[int]) -> None:
    """Releases those of these reservations that are still reserved, in few statements."""
    reserved = Reservation.objects.select_for_update().filter(pk__in=pks, state=Reservation.State.RESERVED)
    counts = defaultdict[tuple[int, date, int], list[Reservation]](list)
    for reservation in reserved.order_by("pk"):
        counts[reservation.owner_id, reservation.made_on, reservation.api_key_id or 0].append(reservation)
    # In one order, so that two that release at once wait for each other.
    for (owner, day, api_key), together in sorted(counts.items()):
        Reservation.objects.filter(pk__in=[each.pk for each in together]).update(
            state=Reservation.State.RELEASED
        )
        freed = _units(sum((each.amount for each in together), NOTHING))
        for counter in _counters(owner, api_key or None, day):
            Spending.objects.filter(pk=counter.pk).update(reserved=F("reserved") - freed)


def _end(reservation: Reservation, state: str, spent: Decimal) -> bool:
    reserved = Reservation.objects.filter(pk=reservation.pk, state=Reservation.State.RESERVED)
    if not reserved.update(state=state, settled=spent):
        return False
    for counter in _counters(reservation.owner_id, reservation.api_key_id, reservation.made_on):
        Spending.objects.filter(pk=counter.pk).update(
            reserved=F("reserved") - _units(reservation.amount), settled=F("settled") + _units(spent)
        )
    return True


def remaining(owner: User, api_key: ApiKey | None) -> list[dict[str, Any]]:
    """What is left of each budget that applies to a request, and when it renews, for the wire."""
    return [left_of(budget) for budget in _budgets(owner, api_key)]


def left_of(budget: Budget) -> dict[str, Any]:
    """What a budget has left in its present period."""
    today = timezone.now().astimezone(UTC).date()
    counter = Spending.objects.filter(
        owner=budget.owner_id,
        api_key=budget.api_key_id,
        period=budget.period,
        starts_on=begins(budget.period, today),
    ).first()
    counter = counter or Spending()
    return {
        "scope": "key" if budget.api_key_id else "owner",
        "period": budget.period,
        "limit": dollars(budget.limit),
        "reserved": dollars(counter.reserved / _UNITS),
        "settled": dollars(counter.settled / _UNITS),
        "left": dollars(_left(budget, counter)),
        "renewsAt": written(renews_at(budget.period, today)),
    }


def _left(budget: Budget, counter: Spending) -> Decimal:
    return max(budget.limit - (counter.reserved + counter.settled) / _UNITS, NOTHING)


def _units(amount: Decimal) -> int:
    """As Spending counts."""
    return int((amount * _UNITS).to_integral_value(ROUND_HALF_UP))


def _budgets(owner: User, api_key: ApiKey | None) -> list[Budget]:
    """Those that a request of this owner with this key falls under."""
    own = Budget.objects.filter(owner=owner)
    keys = [None, api_key.pk] if api_key else [None]
    return [budget for budget in own.order_by("pk") if budget.api_key_id in keys]


def _counters(owner: int, api_key: int | None, day: date) -> list[Spending]:
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
