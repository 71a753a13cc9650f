"""`manage.py audit`: compares the upstream's list with our rows now."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from upstreams.configuration.choice import named_or_all
from videos.reconciliation.audit import audit


class Command(EscapingCommand):
    """Prints one line per finding and a summary; changes nothing."""

    help = (
        "Compare each upstream's list with our rows. Exits 1 if anything was found, 2 if nothing is proven."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds --provider."""
        parser.add_argument("--provider", default="", help="of several, only this one")

    def handle(self, *args: Any, provider: str, **options: Any) -> None:
        """Prints videos that nobody owns, and submissions that the list lacks."""
        audits = [audit(upstream) for upstream in named_or_all(provider)]
        for found in audits:
            if found.fault:
                continue
            for line in found.findings():
                self.stdout.write(line)
            self.stdout.write(found.summary())
        if faults := [found.summary() for found in audits if found.fault]:
            raise CommandError("\n".join(faults), returncode=2)
        if any(found.orphans or found.missing for found in audits):
            raise SystemExit(1)
