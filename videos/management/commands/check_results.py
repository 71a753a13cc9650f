"""`manage.py check_results`: compares the files of results with the rows of their jobs."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.results.media import removal_problem
from videos.retention.check import check_results
from videos.retention.sweep import UNUSED_SECONDS


class Command(EscapingCommand):
    """Lists disagreements, one a line, and changes nothing."""

    help = (
        "List every disagreement between the files of results and their jobs: missing, size, hash, "
        "unreadable, unused, orphan, foreign, unfinished. Nothing is changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds what is looked at."""
        parser.add_argument("--hash", action="store_true", help="read each video and compare its SHA-256")
        parser.add_argument(
            "--min-age",
            type=float,
            default=UNUSED_SECONDS,
            metavar="SECONDS",
            help="how old a file is before it counts as unused (default: %(default)s); a worker that stores "
            "one needs some seconds until its job has it",
        )

    def handle(self, *args: Any, min_age: float, **options: Any) -> None:
        """Exits with 1 if there are any, or the media cannot be used."""
        if problem := removal_problem():
            raise CommandError(f"Nothing can be compared: {problem}.")
        found = 0
        try:
            for each in check_results(min_age=min_age, with_hash=options["hash"]):
                found += 1
                parts = (each.what, each.name, f"job {each.job}" if each.job else "", each.detail)
                self.stdout.write("  ".join(filter(None, parts)))
        except OSError as error:
            raise CommandError(f"Not all was compared: {error}.") from None
        if found:
            raise CommandError(
                f"{found} disagreements between files and jobs; docs/results.md says what to do."
            )
        self.stdout.write("Files and jobs agree.")
