"""`manage.py stop_provider`: sends nothing more to a provider."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from upstreams import registry
from upstreams.configuration.choice import named_or_only
from videos.queue import providers
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Stops new submissions. Can be repeated. `manage.py resume_provider` ends it."""

    help = "Send no more jobs to a provider; what was sent is followed to its end."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the provider and the reason."""
        parser.add_argument(
            "name", nargs="?", default="", help="its name; may be left out if it is the only one"
        )
        parser.add_argument("--reason", required=True, help="why; manage.py undecided and the admin show it")

    def handle(self, *args: Any, name: str, reason: str, **options: Any) -> None:
        """Prints what was stopped."""
        name = name or named_or_only("").name
        if (upstream := registry.configured().get(name)) is not None:
            # Before the first job there is no row yet.
            upstream.provider()
        try:
            providers.stop(name, reason)
        except decisions.Refused as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"{name}: nothing more is sent; manage.py resume_provider {name} ends that.")
