"""`manage.py stop_provider`: sends nothing more to a provider."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from upstreams.registry import configured
from videos.queue import providers
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Stops new submissions. Can be repeated. `manage.py resume_provider` ends it."""

    help = "Send no more jobs to a provider; what was sent is followed to its end."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the provider and the reason."""
        parser.add_argument(
            "name", nargs="?", default=settings.SORA_PROVIDER, help="SORA_PROVIDER by default"
        )
        parser.add_argument("--reason", required=True, help="why; manage.py undecided and the admin show it")

    def handle(self, *args: Any, name: str, reason: str, **options: Any) -> None:
        """Prints what was stopped."""
        if name == settings.SORA_PROVIDER:
            # Before the first job there is no row yet.
            configured().provider()
        try:
            providers.stop(name, reason)
        except decisions.Refused as refusal:
            raise CommandError(str(refusal)) from None
        self.stdout.write(f"{name}: nothing more is sent; manage.py resume_provider {name} ends that.")
