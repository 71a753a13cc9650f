"""`manage.py hold_results`: keeps the files of jobs, whoever asks for their removal."""

from typing import Any
from uuid import UUID

from django.core.management.base import CommandParser

from api.escaping import EscapingCommand
from videos.models import Job
from videos.retention.removal import hold_results


class Command(EscapingCommand):
    """Puts files on hold, or releases them."""

    help = "Keep the files of these jobs, whatever their retention and whoever asks; --release ends that."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the jobs."""
        parser.add_argument("jobs", nargs="+", type=UUID, metavar="JOB", help="ids of jobs")
        parser.add_argument("--release", action="store_true", help="let them go again")

    def handle(self, *args: Any, jobs: list[UUID], release: bool, **options: Any) -> None:
        """Says how many jobs that has changed, and which there are not."""
        known = set(Job.objects.filter(pk__in=jobs).values_list("pk", flat=True))
        for pk in dict.fromkeys(jobs):
            if pk not in known:
                self.stderr.write(f"There is no job {pk}.")
        changed = hold_results(Job.objects.filter(pk__in=known), on_hold=not release)
        self.stdout.write(f"{'Released' if release else 'On hold now'}: {changed} of {len(known)} jobs.")
