"""`manage.py erase_account`: erases what an account has said and made."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from accounts.models import User
from api.escaping import EscapingCommand
from videos.erasure.account import NotErasable, erase, extent, require_erasable


class Command(EscapingCommand):
    """Prints what it would do; does it with --apply."""

    help = (
        "Erase an account for good: names, prompts, metadata, files, history. Times, states and sums of "
        "money stay."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the account and what becomes of its files."""
        parser.add_argument("username")
        parser.add_argument(
            "--keep-results", action="store_true", help="leave the finished files where they are"
        )
        parser.add_argument(
            "--apply", action="store_true", help="do it; without this it only prints what it would do"
        )

    def handle(self, *args: Any, username: str, keep_results: bool, apply: bool, **options: Any) -> None:
        """Exits with 1 if there is no such account, or something has to be done first."""
        try:
            user = User.objects.get_by_natural_key(username)
        except User.DoesNotExist:
            raise CommandError(f"There is no user {username!r}.") from None
        try:
            found = erase(user, keep_results=keep_results) if apply else extent(user)
        except NotErasable as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"Not all is erased: {error}. Run it again to go on.") from None
        files = "their files stay" if keep_results else f"{found.bytes:,} bytes of videos"
        self.stdout.write(
            f"{'Erased' if apply else 'Would erase'}: {found.jobs} jobs ({files}), {found.archived} archived "
            f"jobs, {found.pictures} pictures of requests, {found.keys} keys"
            + (f", and the name: the account is {user.username} now." if apply else "; --apply does it.")
        )
        if not apply:
            try:
                require_erasable(user)
            except NotErasable as error:
                self.stdout.write(f"Before that: {error}")
