"""`manage.py cancel`: cancels all jobs of an account, a key, a batch or a time."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser
from django.db.models import Q

from accounts.models import ApiKey, User
from api.escaping import EscapingCommand
from videos.lifecycle.cancel_many import cancel_many, count_open
from videos.models import Group
from videos.states import JobStatus


class Command(EscapingCommand):
    """Prints what it would do; does it with --apply."""

    help = "Cancel the waiting and running jobs that match all of these options. Other jobs continue."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the filters and --apply."""
        parser.add_argument("--owner", help="of this account")
        parser.add_argument("--key", type=int, help="asked for with this key, by its id")
        parser.add_argument("--batch", help="of this batch, by its id")
        parser.add_argument("--since", help="asked for since this time, as 2026-11-21T10:00, in UTC")
        parser.add_argument("--deactivate", action="store_true", help="with --owner: deactivate it first")
        parser.add_argument(
            "--apply", action="store_true", help="do it; without this it only prints what it would do"
        )

    def handle(self, *args: Any, deactivate: bool, apply: bool, **chosen: Any) -> None:
        """Exits with 1 if no filter is given, or what a filter names does not exist."""
        if not any(chosen.get(name) for name in ("owner", "key", "batch", "since")):
            raise CommandError("Choose jobs by --owner, --key, --batch or --since.")
        owner = _owner(chosen["owner"]) if chosen["owner"] else None
        if deactivate and owner is None:
            raise CommandError("--deactivate goes with --owner.")
        which = Q()
        if owner is not None:
            which &= Q(owner=owner)
        if chosen["key"]:
            which &= Q(api_key=_key(chosen["key"]))
        if chosen["batch"]:
            which &= Q(group=_group(chosen["batch"]))
        if chosen["since"]:
            which &= Q(asked_at__gte=_time(chosen["since"]))
        if not apply:
            counts = count_open(which)
            self.stdout.write(
                f"Would cancel {counts[JobStatus.PENDING]} waiting and {counts[JobStatus.PROCESSING]} "
                "running jobs; --apply does it."
            )
            return
        if deactivate and owner is not None:
            # First, so that nothing more of it is asked for or sent.
            User.objects.filter(pk=owner.pk).update(is_active=False)
            self.stdout.write(f"Deactivated: {owner.username}.")
        self.stdout.write(f"Cancelled: {cancel_many(which, by='operator')} jobs.")


def _owner(username: str) -> User:
    try:
        return User.objects.get_by_natural_key(username)
    except User.DoesNotExist:
        raise CommandError(f"There is no user {username!r}.") from None


def _key(pk: int) -> ApiKey:
    key = ApiKey.objects.filter(pk=pk).first()
    if key is None:
        raise CommandError(f"There is no key {pk}; manage.py keys list shows them.")
    return key


def _group(name: str) -> UUID:
    try:
        return Group.objects.values_list("pk", flat=True).get(pk=UUID(name))
    except (ValueError, Group.DoesNotExist):
        raise CommandError(f"There is no batch {name!r}.") from None


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise CommandError(f"{text!r} is no time such as 2026-11-21T10:00.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
