"""`manage.py login_link`: makes a link that logs an operator into the admin without a password."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.models import User
from accounts.sessions.login_link import MAX_AGE, NotAllowed, link_for
from api.escaping import EscapingCommand


class Command(EscapingCommand):
    """Prints only the link to standard output, so that a script can read it."""

    help = "Print a link that logs a user into the admin once, within ten minutes."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")

    def handle(self, *args: Any, username: str, **options: Any) -> None:
        """Raises CommandError if there is no such user, or the user may not use the admin."""
        try:
            link = link_for(User.objects.get_by_natural_key(username))
        except User.DoesNotExist:
            raise CommandError(f"There is no user {username!r}.") from None
        except NotAllowed:
            raise CommandError(f"{username!r} is not an active member of staff.") from None
        self.stdout.write(link)
        minutes = int(MAX_AGE.total_seconds() // 60)
        self.stderr.write(f"It works once, for {minutes} minutes. Whoever has it is {username}.")
