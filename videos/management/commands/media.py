"""`manage.py media`: checks and repairs the folder of the results."""

from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from videos.models import MediaFolder
from videos.previews.missing import ask_for_missing
from videos.results.bucket_proof import accept_bucket
from videos.results.media import accept_media, media_problem
from videos.results.refetch import request_missing


class Command(EscapingCommand):
    """Checks the folder, unless another action is given."""

    help = "Say whether the media is mounted, accept the folder as it is, or fetch missing files again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the action."""
        parser.add_argument(
            "action",
            nargs="?",
            default="status",
            choices=["status", "accept", "accept-bucket", "refetch", "previews"],
            help="status: say what is wrong; accept: take the mounted folder as it is; "
            "accept-bucket: take each bucket as it is; "
            "refetch: have every missing file of a completed job fetched again; "
            "previews: have the previews made that a completed job lacks",
        )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        """Exits with 1 if the media cannot be used."""
        if action == "accept":
            try:
                identity = accept_media()
            except OSError as error:
                raise CommandError(f"{settings.MEDIA_ROOT} cannot be accepted: {error}") from None
            self.stdout.write(f"Accepted: {settings.MEDIA_ROOT} is the media folder {identity}.")
        if action == "accept-bucket":
            self._accept_buckets()
        if problem := media_problem():
            raise CommandError(f"Nothing can be kept: {problem}.")
        if action == "refetch":
            asked = lost = 0
            for job, requested in request_missing():
                asked += requested
                lost += not requested
                if not requested:
                    self.stdout.write(f"{job.pk}: its upstream is not configured any more.")
            self.stdout.write(f"Missing files: {asked + lost}; {asked} are fetched again.")
        elif action == "previews":
            self.stdout.write(f"Previews that are made now: {ask_for_missing()}.")
        elif action == "status":
            self.stdout.write(f"{settings.MEDIA_ROOT} is mounted and has room.")

    def _accept_buckets(self) -> None:
        known = MediaFolder.objects.first()
        if known is None or not settings.RESULT_BUCKETS:
            raise CommandError("There is no bucket: RESULT_STORAGE names none, or nothing was ever kept.")
        for bucket in settings.RESULT_BUCKETS:
            try:
                accept_bucket(known, bucket)
            except OSError as error:
                raise CommandError(str(error)) from None
            self.stdout.write(f"Accepted: the bucket {bucket} belongs to this database.")
