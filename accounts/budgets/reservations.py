"""What an owner, and each of its keys, may spend in a day and in a month: reserved, then settled once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

from django.db.models import Case, F, Value, When
from django.utils import timezone
from rest_framework import status
from rest_framework.exceptions import APIException

from accounts.budgets.counting import add, amount_of, counted_in, counters_of, renewal, units
from accounts.models import ApiKey, Budget, Reservation, User
from api.moments import written
from api.statements.compiled import Compiled
from api.statements.inserts import insert

NOTHING: Final = Decimal(0)


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


def renews_at(period: str, day: date) -> datetime:
    """When the period that a day belongs to is over."""
    return datetime.combine(renewal(period, day), time(), UTC)


def reserve(owner: User, api_key: ApiKey | None, amount: Decimal | None) -> Reservation:
    """Reserves the price of one render, as reserve_all does."""
    reservation = draft(owner, api_key, amount)
    insert(reservation)
    return reservation


def draft(owner: User, api_key: ApiKey | None, amount: Decimal | None) -> Reservation:
    """The same, but the reservation is left to be inserted, in the same transaction."""
    limits = limits_of(owner, api_key)
    (reservation,) = drafts(owner, api_key, [amount], limits)
    count(limits, [reservation], priced=amount is not None)
    return reservation


def reserve_all(owner: User, api_key: ApiKey | None, amounts: Sequence[Decimal | None]) -> list[Reservation]:
    """Reserves the prices of renders, all or none, for the owner and the key, today and this month.

    Called in the transaction of what they pay for, so that both are committed or neither. Raises
    BudgetExceeded and PriceUnknown, and then has changed nothing.
    """
    limits = limits_of(owner, api_key)
    reservations = drafts(owner, api_key, amounts, limits)
    count(limits, reservations, priced=None not in amounts)
    return Reservation.objects.bulk_create(reservations, batch_size=1000)


def limits_of(owner: User, api_key: ApiKey | None) -> list[Budget]:
    """The budgets that a request of this owner with this key falls under, to the end of the transaction.

    Who sets one meanwhile waits for that; creates do not wait for each other.
    """
    Budget.hold_back(owner)
    own = (Budget(*row) for row in _of_owner.rows(owner=owner.pk))
    return _binding(own, api_key)


def drafts(
    owner: User, api_key: ApiKey | None, amounts: Iterable[Decimal | None], limits: Sequence[Budget]
) -> list[Reservation]:
    """Unsaved reservations of these prices. To reserve, save and count them in one transaction."""
    today = timezone.now().astimezone(UTC).date()
    counting = Reservation.Counting.COUNTED if limits else Reservation.Counting.NEW
    return [
        Reservation(owner=owner, api_key=api_key, amount=amount or NOTHING, made_on=today, counting=counting)
        for amount in amounts
    ]


def count(limits: Sequence[Budget], reservations: Sequence[Reservation], *, priced: bool) -> None:
    """Counts the drafts of one request against its budgets, all or none; `priced`: all prices are known.

    Without a budget it does nothing: a worker counts them later. With one it locks the owner's counters until
    the transaction ends, so other creates of this owner wait. Raises BudgetExceeded and PriceUnknown.
    """
    if not limits:
        return
    if not priced:
        raise PriceUnknown
    first = reservations[0]
    total = sum((reservation.amount for reservation in reservations), NOTHING)
    counters = counters_of(first.owner_id, first.api_key_id, first.made_on)
    budgets = {(budget.api_key_id, budget.period): budget for budget in limits}
    for counter in counters:
        budget = budgets.get((counter.api_key_id, counter.period))
        if budget is None:
            continue
        left = left_in(budget, counter.reserved + counter.settled)
        if total > left:
            raise BudgetExceeded(budget, total, left, renews_at(budget.period, first.made_on))
    add(counters, units(total), 0)


def settle(reservation: Reservation, amount: Decimal | None) -> bool:
    """Records the final cost as spent; False if the reservation had ended before."""
    spent = reservation.amount if amount is None else amount
    return _end([reservation.pk], Reservation.State.SETTLED, spent)


def release(reservation: Reservation) -> bool:
    """Records that nothing was spent; False if the reservation had ended before."""
    return _end([reservation.pk], Reservation.State.RELEASED, NOTHING)


def settle_all(ended: Iterable[tuple[int, Decimal | None]]) -> None:
    """Settles the reservations of these keys as `settle` does, by one statement for each amount."""
    of_amount: dict[Decimal | None, list[int]] = defaultdict(list)
    for pk, amount in ended:
        of_amount[amount].append(pk)
    # In one order, as whoever counts them.
    every = [pk for pks in of_amount.values() for pk in pks]
    list(Reservation.objects.select_for_update().filter(pk__in=every).order_by("pk").values_list("pk"))
    for amount, pks in of_amount.items():
        _end(pks, Reservation.State.SETTLED, F("amount") if amount is None else amount)


def release_all(pks: Sequence[int]) -> None:
    """Releases those of these reservations that are still reserved, in one statement."""
    _end(pks, Reservation.State.RELEASED, NOTHING)


def charge(owner: User, api_key: ApiKey | None, amount: Decimal | None) -> Reservation:
    """Counts money that was spent without a reservation, even if it exceeds a budget."""
    today = timezone.now().astimezone(UTC).date()
    reservation = Reservation(owner=owner, api_key=api_key, amount=NOTHING, made_on=today)
    reservation.save(force_insert=True)
    settle(reservation, amount or NOTHING)
    return reservation


def _end(pks: Sequence[int], state: str, spent: Decimal | F) -> bool:
    counting = Reservation.Counting
    # What the counters have as reserved, they are told of again.
    told = Case(When(counting=counting.COUNTED, then=Value(counting.ENDED)), default=F("counting"))
    reserved = Reservation.objects.filter(pk__in=pks, state=Reservation.State.RESERVED)
    return bool(reserved.update(state=state, settled=spent, counting=told))


def remaining(owner: User, api_key: ApiKey | None) -> list[dict[str, Any]]:
    """What is left of each budget that applies to a request, and when it renews, for the wire."""
    own = Budget.objects.filter(owner=owner).order_by("pk")
    return [left_of(budget) for budget in _binding(own, api_key)]


def left_of(budget: Budget) -> dict[str, Any]:
    """What a budget has left in its present period."""
    today = timezone.now().astimezone(UTC).date()
    reserved, settled = counted_in(budget, today)
    return {
        "scope": "key" if budget.api_key_id else "owner",
        "period": budget.period,
        "limit": dollars(budget.limit),
        "reserved": dollars(amount_of(reserved)),
        "settled": dollars(amount_of(settled)),
        "left": dollars(left_in(budget, reserved + settled)),
        "renewsAt": written(renews_at(budget.period, today)),
    }


def left_in(budget: Budget, counted: int) -> Decimal:
    """The dollars that a budget has left after so many units."""
    return max(budget.limit - amount_of(counted), NOTHING)


_of_owner: Final = Compiled(
    lambda owner: (
        Budget.objects.filter(owner=owner)
        .order_by("pk")
        .values_list(*(field.attname for field in Budget._meta.concrete_fields))
    )
)


def _binding(own: Iterable[Budget], api_key: ApiKey | None) -> list[Budget]:
    keys = [None, api_key.pk] if api_key else [None]
    return [budget for budget in own if budget.api_key_id in keys]
