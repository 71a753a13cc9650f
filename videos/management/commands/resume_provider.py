"""`manage.py resume_provider`: an operator ends what holds a provider back."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.queue import providers
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Ends a pause, a hold and an open breaker; harmless when repeated."""

    help = "End a provider's pause and hold, so that jobs are sent to it again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which, and whether its list may prove absence again."""
        parser.add_argument(
            "name", nargs="?", default=settings.SORA_PROVIDER, help="SORA_PROVIDER by default"
        )
        parser.add_argument(
            "--trust-list",
            action="store_true",
            help="its list may prove absence again: somebody knows why it showed other fields than were sent",
        )

        parser.add_argument(
            "--accept-losses",
            action="store_true",
            help="it is the right upstream although it does not know our ids: those are lost, and fail",
        )

    def handle(self, *args: Any, name: str, trust_list: bool, accept_losses: bool, **options: Any) -> None:
        """Says what was ended, and what was not."""
        try:
            ended = providers.resume(name, trust_list=trust_list, accept_losses=accept_losses)
        except decisions.Refused as refusal:
            raise CommandError(str(refusal)) from None
        for each in ended:
            self.stdout.write(f"{name}: ended: {each}")
        if not ended and not providers.is_unrecognized(name):
            self.stdout.write(f"{name}: nothing blocked it.")
        if providers.is_unrecognized(name):
            self.stdout.write(
                f"{name}: it still does not know our ids. It goes on by itself once it does; if they are "
                "lost there, say --accept-losses."
            )
