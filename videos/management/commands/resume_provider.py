"""`manage.py resume_provider`: ends what blocks a provider."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from upstreams.configuration.choice import named_or_only
from videos.queue import providers
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Ends a stop, a pause, a back-off and an open breaker. Can be repeated."""

    help = "End what blocks a provider, so that jobs are sent to it again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the provider and the options."""
        parser.add_argument(
            "name", nargs="?", default="", help="its name; may be left out if it is the only one"
        )
        parser.add_argument(
            "--trust-list",
            action="store_true",
            help="let its list prove absence again, if you know why it showed other fields than were sent",
        )

        parser.add_argument(
            "--accept-losses",
            action="store_true",
            help="it is the right upstream, and the videos that it does not know are lost: their jobs fail",
        )

    def handle(self, *args: Any, name: str, trust_list: bool, accept_losses: bool, **options: Any) -> None:
        """Prints what was ended and what was not."""
        name = name or named_or_only("").name
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
                f"{name}: it still does not know our ids. It continues by itself once it does; if they are "
                "lost there, say --accept-losses."
            )
