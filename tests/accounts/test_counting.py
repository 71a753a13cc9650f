"""Counters of what is reserved and spent are brought up to date later, and before a budget is checked."""

import threading
from collections.abc import Callable
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts import tasks
from accounts.budgets import counting
from accounts.budgets.counting import count_some
from accounts.budgets.reservations import (
    BudgetExceeded,
    release,
    remaining,
    reserve,
    reserve_all,
    settle,
    settle_all,
)
from accounts.models import ApiKey, Budget, Reservation, Spending, User
from tests.timeouts import TIMEOUT

ONE = Decimal("0.40")


def sums(owner: User) -> set[tuple[int, int]]:
    return set(Spending.objects.filter(owner=owner).values_list("reserved", "settled"))


@pytest.mark.django_db
def test_without_a_budget_nothing_is_counted_until_a_worker_does(owner: User) -> None:
    spent, given_back, open_ = (reserve(owner, None, ONE) for _ in range(3))
    assert not Spending.objects.exists()
    assert count_some() == 3
    assert sums(owner) == {(12_000, 0)}
    settle(spent, Decimal("0.25"))
    release(given_back)
    assert sums(owner) == {(12_000, 0)}, "only their reservations have changed"
    tasks.count()
    assert sums(owner) == {(4_000, 2_500)}
    assert not counting.uncounted().exists()
    settle(open_, None)
    tasks.count()
    assert sums(owner) == {(0, 6_500)}


@pytest.mark.django_db
def test_what_ends_before_it_is_counted_counts_as_it_ended(owner: User) -> None:
    settle(reserve(owner, None, ONE), ONE)
    release(reserve(owner, None, ONE))
    assert count_some() == 2
    assert sums(owner) == {(0, 4_000)}
    assert count_some() == 0


@pytest.mark.django_db
def test_many_are_settled_together_each_by_its_own_amount_and_once(owner: User) -> None:
    cheap, dear, unknown, freed = (reserve(owner, None, ONE) for _ in range(4))
    release(freed)
    settle_all([(cheap.pk, Decimal("0.25")), (dear.pk, Decimal("0.70")), (unknown.pk, None), (freed.pk, ONE)])
    rows = dict(Reservation.objects.values_list("pk", "settled"))
    assert rows == {cheap.pk: Decimal("0.25"), dear.pk: Decimal("0.70"), unknown.pk: ONE, freed.pk: 0}
    settle_all([(cheap.pk, ONE)])
    assert dict(Reservation.objects.values_list("pk", "settled")) == rows, "what has ended stays"
    tasks.count()
    assert sums(owner) == {(0, 13_500)}


@pytest.mark.django_db
def test_what_is_not_counted_yet_counts_for_its_own_key_and_period_alone(owner: User) -> None:
    mine, other = (ApiKey.issue(owner, name)[0] for name in ("mine", "other"))
    budget = Budget(owner=owner, api_key=mine, period="day", limit=Decimal(9))
    whole = Budget(owner=owner, period="month", limit=Decimal(9))
    today = timezone.now().astimezone(UTC).date()
    reserve(owner, mine, ONE)
    settle(reserve(owner, other, ONE), ONE)
    past = reserve(owner, mine, ONE)
    Reservation.objects.filter(pk=past.pk).update(made_on=today - timedelta(days=40))
    assert counting.counted_in(budget, today) == (4_000, 0)
    assert counting.counted_in(whole, today) == (4_000, 4_000)
    tasks.count()
    assert counting.counted_in(budget, today) == (4_000, 0)
    assert counting.counted_in(whole, today) == (4_000, 4_000)


@pytest.mark.django_db
@pytest.mark.parametrize("is_counted", [False, True])
def test_a_budget_counts_what_was_reserved_before_it_was_set(owner: User, is_counted: bool) -> None:
    key, _ = ApiKey.issue(owner, "one")
    settle(reserve(owner, key, ONE), ONE)
    reserve(owner, key, ONE)
    release(reserve(owner, key, ONE))
    if is_counted:
        tasks.count()
    Budget.objects.create(owner=owner, period="day", limit=Decimal("1.00"))
    Budget.objects.create(owner=owner, api_key=key, period="month", limit=Decimal("1.10"))
    assert [each["left"] for each in remaining(owner, key)] == ["0.20", "0.30"]
    with pytest.raises(BudgetExceeded) as refused:
        reserve(owner, key, Decimal("0.21"))
    assert refused.value.extra["left"] == "0.20"
    reserve(owner, key, Decimal("0.20"))
    assert [each["left"] for each in remaining(owner, key)] == ["0.00", "0.10"]
    tasks.count()
    assert [each["reserved"] for each in remaining(owner, key)] == ["0.60", "0.60"]


@pytest.mark.django_db
def test_what_ends_under_a_budget_is_free_at_once(owner: User) -> None:
    Budget.objects.create(owner=owner, period="day", limit=ONE)
    for _ in range(3):
        release(reserve(owner, None, ONE))
    settle(reserve(owner, None, ONE), Decimal("0.10"))
    assert [each["left"] for each in remaining(owner, None)] == ["0.30"]
    reserve(owner, None, Decimal("0.30"))


@pytest.mark.django_db
def test_many_are_counted_in_parts(owner: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_TOGETHER", 3)
    reserve_all(owner, None, [ONE] * 7)
    assert [count_some() for _ in range(4)] == [3, 3, 1, 0]
    assert sums(owner) == {(28_000, 0)}


@pytest.mark.django_db
def test_what_another_version_has_reserved_is_counted_already(owner: User) -> None:
    """A row without the new column has the database's default."""
    today = reserve(owner, None, ONE).made_on
    Reservation.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_reservation (owner_id, amount, settled, state, made_on)"
            " VALUES (%s, 0.4, 0, 'held', %s)",
            [owner.pk, today],
        )
    assert count_some() == 0
    Spending.objects.create(owner=owner, period="day", starts_on=today, reserved=4_000)
    Spending.objects.create(owner=owner, period="month", starts_on=today.replace(day=1), reserved=4_000)
    settle(Reservation.objects.get(), None)
    assert count_some() == 1
    assert sums(owner) == {(0, 4_000)}


def within(work: Callable[[], object]) -> threading.Thread:
    """Does it in a thread of its own."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_without_a_budget_no_create_waits_for_another(owner: User) -> None:
    with transaction.atomic():
        reserve(owner, None, ONE)
        other = within(lambda: reserve(owner, None, ONE))
        other.join(TIMEOUT)
        assert not other.is_alive()
        assert Reservation.objects.count() == 2


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
def test_a_budget_that_is_set_while_a_job_is_created_counts_that_job(owner: User) -> None:
    with transaction.atomic():
        reserve(owner, None, ONE)
        setting = within(lambda: Budget.objects.create(owner=owner, period="day", limit=ONE))
        # It waits for the commit. If it did not, it would be there by then.
        setting.join(0.5)
        assert not Budget.objects.exists()
    setting.join(TIMEOUT)
    assert Budget.objects.exists()
    with pytest.raises(BudgetExceeded), transaction.atomic():
        reserve(owner, None, Decimal("0.01"))


@pytest.mark.django_db
def test_without_a_budget_a_reservation_takes_three_statements(owner: User) -> None:
    reserve(owner, None, ONE)
    with CaptureQueriesContext(connection) as found:
        reserve(owner, None, ONE)
    most = 3 if connection.vendor == "postgresql" else 2
    assert len(found) == most, [each["sql"] for each in found]


@pytest.mark.django_db
def test_days_are_counted_apart(owner: User) -> None:
    early = reserve(owner, None, ONE)
    Reservation.objects.filter(pk=early.pk).update(made_on=early.made_on - timedelta(days=40))
    reserve(owner, None, ONE)
    tasks.count()
    assert Spending.objects.filter(period="day", reserved=4_000).count() == 2
    assert Spending.objects.filter(period="month", reserved=4_000).count() == 2
