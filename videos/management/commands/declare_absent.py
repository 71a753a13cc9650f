"""`manage.py declare_absent`: records that the upstream never accepted a submission."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Ends an unknown submission as absent, so that its job is sent again."""

    help = "Say that a submission of unknown outcome was not accepted: its job is sent again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the submission."""
        parser.add_argument("submission", help="<job id>/<number>, as the log prints it")

    def handle(self, *args: Any, submission: str, **options: Any) -> None:
        """Prints what follows, and what it costs if the operator is wrong."""
        try:
            row = decisions.submission_named(submission)
            waits = decisions.declare_absent(row)
        except decisions.Refused as refusal:
            raise CommandError(str(refusal)) from None
        row.refresh_from_db()
        if row.create_succeeded:
            self.stdout.write("Its create was answered with a 2xx: the upstream said that it accepted it.")
        self.stdout.write(f"{row}; its job is {row.job.status}" + (" and is sent again." if waits else "."))
        self.stdout.write(
            "If it was accepted after all, "
            + ("the video is paid twice." if waits else "it is paid although we count it as free.")
        )
