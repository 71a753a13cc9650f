"""`manage.py keys`: an operator makes, lists and revokes API keys."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from accounts.keys.key_format import DAYS_MAX, printable
from accounts.keys.retention import RETAIN_MAX_SECONDS, RETAIN_MIN_SECONDS
from accounts.models import ApiKey, User
from api.escaping import EscapingCommand

_ROW = "{:>6} {:<16} {:<24} {:<12} {:<5} {:<7} {:<16} {:<16}"


class Command(EscapingCommand):
    """Writes only a new key's secret to standard output, so that a script can read it."""

    help = "Make, list and revoke API keys."

    def add_arguments(self, parser: CommandParser) -> None:
        """One subcommand for each."""
        verbs = parser.add_subparsers(dest="verb", required=True)
        make = verbs.add_parser("make", help="make a key and print it, this once")
        make.add_argument("owner", help="the user whose key it is")
        make.add_argument("--name", required=True, help="for people, to tell keys apart")
        make.add_argument(
            "--scope",
            required=True,
            choices=ApiKey.Scope.values,
            help="read: every GET; write: also ask for videos, cancel and retry; admin: also manage keys",
        )
        make.add_argument("--days", type=int, help=f"until it expires, 1 to {DAYS_MAX}; never without")
        make.add_argument(
            "--retain-for",
            type=int,
            metavar="SECONDS",
            help="how long the files of its videos are kept, if a request says nothing",
        )
        make.add_argument(
            "--new-owner", action="store_true", help="make the user, without a password, where there is none"
        )
        listing = verbs.add_parser("list", help="list keys, newest first")
        listing.add_argument("owner", nargs="?", help="of this user only")
        revoke = verbs.add_parser("revoke", help="end a key with its next request, for good")
        revoke.add_argument("id", type=int, help="as list shows it")
        fate = revoke.add_mutually_exclusive_group()
        fate.add_argument(
            "--cancel-jobs", action="store_true", help="also cancel its waiting and running jobs"
        )
        fate.add_argument(
            "--keep-jobs",
            action="store_true",
            help="send its waiting jobs; otherwise they are held",
        )

    def handle(self, *args: Any, verb: str, **options: Any) -> None:
        """Hands on to the subcommand."""
        verbs: dict[str, Callable[..., None]] = {
            "make": self._make,
            "list": self._list,
            "revoke": self._revoke,
        }
        verbs[verb](**options)

    def _make(self, *, name: str, scope: str, days: int | None, **options: Any) -> None:
        name = name.strip()
        if not 1 <= len(name) <= 100:
            raise CommandError("A name has 1 to 100 characters.")
        try:
            printable(name)
        except ValidationError as error:
            raise CommandError(error.message) from None
        if days is not None and not 1 <= days <= DAYS_MAX:
            raise CommandError(f"--days is from 1 to {DAYS_MAX}, not {days}.")
        retain_for = options["retain_for"]
        if retain_for is not None and not RETAIN_MIN_SECONDS <= retain_for <= RETAIN_MAX_SECONDS:
            raise CommandError(
                f"--retain-for is from {RETAIN_MIN_SECONDS} to {RETAIN_MAX_SECONDS}, not {retain_for}."
            )
        owner = self._owner(options["owner"], make=options["new_owner"])
        ends = timezone.now() + timedelta(days=days) if days is not None else None
        key, secret = ApiKey.issue(
            owner, name, scope=ApiKey.Scope(scope), expires_at=ends, retain_for=retain_for
        )
        self.stdout.write(secret)
        until = f"until {_date(ends)}" if ends else "without end"
        self.stderr.write(f"Key {key.pk} of {owner.username}, scope {scope}, {until}. It is not shown again.")

    def _list(self, *, owner: str | None, **options: Any) -> None:
        found = ApiKey.objects.select_related("owner").order_by("-pk")
        if owner is not None:
            found = found.filter(owner=self._owner(owner))
        self.stdout.write(
            _ROW.format("ID", "OWNER", "NAME", "PREFIX", "SCOPE", "STATUS", "EXPIRES", "LAST USED").rstrip()
        )
        for key in found:
            cells = (key.pk, key.owner.username, key.name, key.prefix, key.scope, key.status)
            self.stdout.write(_ROW.format(*cells, _date(key.expires_at), _date(key.last_used_at)).rstrip())

    def _revoke(self, *, id: int, cancel_jobs: bool, keep_jobs: bool, **options: Any) -> None:
        key = ApiKey.objects.filter(pk=id).first()
        if key is None:
            raise CommandError(f"There is no key {id}; manage.py keys list shows them.")
        done = "revoked" if key.revoke() else "was revoked already"
        self.stdout.write(f"Key {key.pk}, {key}: {done}.")
        if keep_jobs:
            key.release_jobs()
            self.stdout.write("Its waiting jobs are sent.")
        elif cancel_jobs:
            # By its name: the jobs are of an app above this one.
            call_command("cancel", key=key.pk, apply=True, stdout=self.stdout)
        else:
            self.stderr.write(
                "Its waiting jobs are held; --keep-jobs sends them, --cancel-jobs cancels them."
            )

    def _owner(self, username: str, *, make: bool = False) -> User:
        try:
            return User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            if make:
                return _new_owner(username)
            raise CommandError(f"There is no user {username!r}; keys make --new-owner adds one.") from None


def _new_owner(username: str) -> User:
    try:
        User(username=username).clean_fields(exclude=["password"])
    except ValidationError as error:
        raise CommandError(f"{username!r} cannot be a user's name: {' '.join(error.messages)}") from None
    return User.objects.create_user(username)


def _date(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M}" if moment else "-"
