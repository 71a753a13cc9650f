"""`manage.py move_results`: moves the files of results to where RESULT_STORAGE keeps new ones."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from api.escaping import EscapingCommand
from videos.results.move import elsewhere, move_results


class Command(EscapingCommand):
    """Moves what is not there yet. It can be ended and begun again, and runs beside everything else."""

    help = (
        "Move the files of completed jobs to where RESULT_STORAGE keeps new ones: into the bucket, or out of "
        "the bucket that RESULT_STORAGE_BEFORE names. It can be ended at any time and begun again."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Exits with 1 if the files of a job could not be moved."""
        where = f"the bucket {settings.RESULT_BUCKET}" if settings.RESULT_BUCKET else "the disk"
        jobs = size = failed = 0
        try:
            for moved in move_results():
                if moved.problem:
                    failed += 1
                    self.stderr.write(f"{moved.job}: {moved.problem}")
                    continue
                jobs, size = jobs + 1, size + moved.size
                if jobs % 100 == 0:
                    self.stdout.write(f"{jobs} jobs, {size:,} bytes")
        except OSError as error:
            raise CommandError(f"Stopped after {jobs} jobs: {error}. Run it again to go on.") from None
        self.stdout.write(f"Moved to {where}: {jobs} jobs, {size:,} bytes.")
        if left := elsewhere():
            self.stderr.write(
                f"{left} jobs have files elsewhere: keep RESULT_STORAGE_BEFORE, and run it again."
            )
        if failed or left:
            raise CommandError(
                f"{failed or left} jobs were not moved: see above, and `manage.py check_results`."
            )
