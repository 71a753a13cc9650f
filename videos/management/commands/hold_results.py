"""`manage.py hold_results`: keeps the files of jobs, whoever asks for their removal."""

import getpass
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.models import Job
from videos.retention.removal import hold_result


class Command(EscapingCommand):
    """Puts files on hold, or releases them."""

    help = "Keep the files of these jobs, whatever their retention and whoever asks; --release ends that."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the jobs."""
        parser.add_argument("jobs", nargs="+", type=UUID, metavar="JOB", help="ids of jobs")
        parser.add_argument("--release", action="store_true", help="let them go again")

    def handle(self, *args: Any, jobs: list[UUID], release: bool, **options: Any) -> None:
        """Says how many jobs that has changed. Exits with 1 if a job or its files are not there."""
        by = f"operator {getpass.getuser()}"
        changed = 0
        missed = False
        for pk in dict.fromkeys(jobs):
            job = Job.objects.filter(pk=pk).first()
            if job is None:
                self.stderr.write(f"There is no job {pk}.")
            elif job.removed_at is not None:
                self.stderr.write(f"The files of job {pk} were removed at {job.removed_at}.")
            else:
                changed += hold_result(job, on_hold=not release, by=by)
                continue
            missed = True
        self.stdout.write(f"{'Released' if release else 'On hold now'}: {changed} jobs.")
        if missed:
            raise CommandError("Not all of them: see above.")
