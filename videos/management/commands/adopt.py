"""`manage.py adopt`: an operator says which video a submission became."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.reconciliation import decisions


class Command(EscapingCommand):
    """Gives a submission its upstream id. Can be repeated."""

    help = "Give a submission of unknown outcome the id of the upstream's video that it became."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the submission, the video and --force."""
        parser.add_argument("submission", help="<job id>/<number>, as the log prints it")
        parser.add_argument("upstream_id")
        parser.add_argument(
            "--force", action="store_true", help="although the video shows other fields or another time"
        )

    def handle(self, *args: Any, submission: str, upstream_id: str, force: bool, **options: Any) -> None:
        """Prints the new states of the submission and its job."""
        try:
            row = decisions.submission_named(submission)
            adopted = decisions.adopt(row, upstream_id, force=force)
        except decisions.Refused as refusal:
            raise CommandError(str(refusal)) from None
        row.refresh_from_db()
        if not adopted:
            self.stdout.write(f"{row} has {upstream_id} already; nothing changed.")
            return
        self.stdout.write(f"{row} as {upstream_id}; its job is {row.job.status}.")
        if row.state == "given_up":
            self.stdout.write(
                "Nobody waits for it and it counts as paid; a retry of its job goes on with it."
            )
