"""`manage.py budgets`: an operator sets, lists and ends what owners and keys may spend."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.budgets.reservations import left_of
from accounts.models import ApiKey, Budget, User
from api.escaping import EscapingCommand

_MAX_BUDGET = Decimal(10_000_000)
_ROW = "{:<16} {:<24} {:<6} {:>12} {:>12} {:>12} {:>12}"


class Command(EscapingCommand):
    """Budgets of an owner, or of one of its keys, for each day or month of UTC."""

    help = "Set, list and end budgets."

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand for each."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        setting = verbs.add_parser("set", help="set a budget; one that is there is changed")
        setting.add_argument("owner", help="the user who spends")
        setting.add_argument("period", choices=Budget.Period.values)
        setting.add_argument("dollars", help="US dollars, such as 25.00; 0 stops all spending")
        ending = verbs.add_parser("end", help="take a budget away")
        ending.add_argument("owner")
        ending.add_argument("period", choices=Budget.Period.values)
        for each in (setting, ending):
            each.add_argument("--key", type=int, help="of this key alone; its id as manage.py keys shows it")
        listing = verbs.add_parser("list", help="list budgets and what they have left")
        listing.add_argument("owner", nargs="?", help="of this user only")

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Runs the subcommand."""
        verbs: dict[str, Callable[..., None]] = {"set": self._set, "end": self._end, "list": self._list}
        verbs[verb](**options)

    def _set(self, *, owner: str, period: str, dollars: str, key: int | None, **options: Any) -> None:
        try:
            limit = Decimal(dollars)
        except InvalidOperation:
            raise CommandError(f"{dollars!r} is no amount of dollars, such as 25.00.") from None
        if not limit.is_finite() or not 0 <= limit <= _MAX_BUDGET or limit != round(limit, 4):
            raise CommandError(f"A budget is from 0 to {_MAX_BUDGET} dollars, with at most four decimals.")
        whose = self._whose(owner, key)
        budget, made = Budget.objects.update_or_create(**whose, period=period, defaults={"limit": limit})
        self.stdout.write(f"{'Set' if made else 'Changed'}: {budget}.")

    def _end(self, *, owner: str, period: str, key: int | None, **options: Any) -> None:
        ended, _ = Budget.objects.filter(**self._whose(owner, key), period=period).delete()
        if not ended:
            raise CommandError("There is no such budget; manage.py budgets list shows them.")
        self.stdout.write("Ended.")

    def _list(self, *, owner: str | None, **options: Any) -> None:
        found = Budget.objects.select_related("owner", "api_key").order_by("owner__username", "pk")
        if owner is not None:
            found = found.filter(owner=self._owner(owner))
        self.stdout.write(_ROW.format("OWNER", "KEY", "PERIOD", "LIMIT", "RESERVED", "SETTLED", "LEFT"))
        for budget in found:
            money = left_of(budget)
            key = str(budget.api_key) if budget.api_key else "-"
            cells = (money[name] for name in ("limit", "reserved", "settled", "left"))
            self.stdout.write(_ROW.format(budget.owner.username, key, budget.period, *cells))

    def _whose(self, owner: str, key: int | None) -> dict[str, Any]:
        user = self._owner(owner)
        api_key = None
        if key is not None:
            api_key = ApiKey.objects.filter(pk=key, owner=user).first()
            if api_key is None:
                raise CommandError(f"{owner} has no key {key}; manage.py keys list {owner} shows them.")
        return {"owner": user, "api_key": api_key}

    def _owner(self, username: str) -> User:
        try:
            return User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            raise CommandError(f"There is no user {username!r}.") from None
