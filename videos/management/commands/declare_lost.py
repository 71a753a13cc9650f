"""`manage.py declare_lost`: an operator says that the upstream accepted a submission and has lost it."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Ends an unknown submission as paid and lost, so that its job fails."""

    help = "Say that a submission of unknown outcome was accepted and is lost: it counts as paid."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which."""
        parser.add_argument("submission", help="<job id>/<number>, as the log prints it")

    def handle(self, *args: Any, submission: str, **options: Any) -> None:
        """Says what follows."""
        try:
            row = decisions.submission_named(submission)
            decisions.declare_lost(row)
        except decisions.Refused as refusal:
            raise CommandError(str(refusal)) from None
        row.refresh_from_db()
        row.job.refresh_from_db()
        self.stdout.write(f"{row} and counts as paid; its job is {row.job.status}.")
