"""`manage.py audit`: compares the upstream's list with our rows now."""

from typing import Any

from django.core.management.base import CommandError

from api.escaping import EscapingCommand
from upstreams.registry import configured
from videos.reconciliation.audit import audit


class Command(EscapingCommand):
    """Prints one line per finding and a summary; changes nothing."""

    help = "Compare the upstream's list with our rows. Exits 1 if anything was found, 2 if nothing is proven."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints videos that nobody owns, and submissions that the list lacks."""
        found = audit(configured())
        if found.fault:
            raise CommandError(found.summary(), returncode=2)
        for line in found.findings():
            self.stdout.write(line)
        self.stdout.write(found.summary())
        if found.orphans or found.missing:
            raise SystemExit(1)
