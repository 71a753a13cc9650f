"""Budgets as operators set them."""

from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from accounts.budgets.reservations import reserve
from accounts.models import ApiKey, Budget, User

pytestmark = pytest.mark.django_db


def budgets(*arguments: str) -> None:
    call_command("budgets", *arguments)


def test_a_budget_is_set_changed_listed_and_ended(owner: User, capsys: pytest.CaptureFixture[str]) -> None:
    budgets("set", "ada", "day", "10")
    budgets("set", "ada", "day", "12.5")
    key = ApiKey.issue(owner, "first")[0]
    budgets("set", "ada", "month", "3", "--key", str(key.pk))
    reserve(owner, key, Decimal("0.40"))
    found = {(each.api_key_id, each.period): each.limit for each in Budget.objects.all()}
    assert found == {(None, "day"): Decimal("12.5"), (key.pk, "month"): Decimal(3)}
    capsys.readouterr()
    budgets("list", "ada")
    _, of_owner, of_key = capsys.readouterr().out.splitlines()
    assert of_owner.split()[-4:] == ["12.50", "0.40", "0.00", "12.10"]
    assert of_key.split()[-4:] == ["3.00", "0.40", "0.00", "2.60"]
    budgets("end", "ada", "day")
    assert Budget.objects.count() == 1


def test_an_owner_is_found_in_any_case_as_at_log_in(owner: User, capsys: pytest.CaptureFixture[str]) -> None:
    budgets("set", "ADA", "day", "1")
    budgets("set", "ada", "day", "2")
    budgets("list", "Ada")
    assert len(capsys.readouterr().out.splitlines()) == 4
    assert Budget.objects.get().limit == 2
    budgets("end", "aDA", "day")
    assert not Budget.objects.exists()


@pytest.mark.parametrize("amount", ["-1", "nan", "inf", "ten", "1e9", "0.00001", ""])
def test_an_amount_that_is_none_is_refused(owner: User, amount: str) -> None:
    with pytest.raises(CommandError, match="dollars"):
        budgets("set", "ada", "day", "--", amount)
    assert not Budget.objects.exists()


def test_owners_and_keys_that_are_not_there_are_refused(owner: User) -> None:
    bob = User.objects.create_user("bob")
    its = ApiKey.issue(bob, "of bob")[0]
    with pytest.raises(CommandError, match="no user 'eve'"):
        budgets("set", "eve", "day", "1")
    with pytest.raises(CommandError, match="ada has no key"):
        budgets("set", "ada", "day", "1", "--key", str(its.pk))
    with pytest.raises(CommandError, match="no such budget"):
        budgets("end", "ada", "day")


def test_the_admin_shows_what_is_left_and_refuses_anothers_key(owner: User) -> None:
    bob = User.objects.create_user("bob")
    with pytest.raises(ValidationError, match="another owner"):
        Budget(owner=owner, api_key=ApiKey.issue(bob, "of bob")[0], period="day", limit=1).full_clean()
    Budget.objects.create(owner=owner, period="day", limit=Decimal(7))
    reserve(owner, None, Decimal("0.40"))
    User.objects.create_superuser("root", password="a long password")
    root = Client()
    root.login(username="root", password="a long password")
    page = root.get("/admin/accounts/budget/").content.decode()
    assert "6.60" in page
