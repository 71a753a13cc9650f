"""`manage.py recover`: gives paid videos that a restored backup does not know to their jobs."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from api.escaping import EscapingCommand
from upstreams.client import errors
from upstreams.configuration.choice import named_or_only
from videos.reconciliation.restored import recovery


class Command(EscapingCommand):
    """Prints what it would do; does it with --apply. Can be repeated."""

    help = "Give videos that are newer than the books to their jobs. Nothing is changed without --apply."

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds --apply and the options for foreign videos."""
        parser.add_argument("--provider", default="", help="which of several upstreams")
        parser.add_argument("--apply", action="store_true", help="do what is shown")
        parser.add_argument(
            "--foreign", nargs="+", default=[], metavar="ID", help="these videos are none of ours"
        )
        parser.add_argument(
            "--all-foreign", action="store_true", help="all videos without a job are none of ours"
        )
        parser.add_argument(
            "--without-list",
            action="store_true",
            help="creates go on, now and later, although its list cannot be compared with the books",
        )

    def handle(
        self,
        *args: Any,
        apply: bool,
        foreign: list[str],
        all_foreign: bool,
        without_list: bool,
        provider: str,
        **options: Any,
    ) -> None:
        """Prints a line for each video, and at the end whether creates continue."""
        upstream = named_or_only(provider)
        try:
            if without_list and apply:
                recovery.waive(upstream)
                self.stdout.write(f"{upstream.name}: its list is compared only as far as it can be.")
                return
            found = recovery.plan(upstream)
            for video, job in found.matched:
                self.stdout.write(f"{video.id} of {video.created_at} is job {job.pk}")
            declared = set(foreign) | ({video.id for video in found.left} if all_foreign else set())
            for video in found.left:
                what = "is foreign" if video.id in declared else "belongs to no waiting job that can be told"
                self.stdout.write(f"{video.id} of {video.created_at} {what}")
            if not found.matched and not found.left and not declared:
                self.stdout.write("No video is newer than the books.")
            if not apply:
                self.stdout.write("Nothing was changed; --apply does it.")
                return
            given = recovery.apply(upstream, found)
            new = recovery.declare_foreign(upstream.provider(), declared)
            self.stdout.write(f"Given to their jobs: {given}. Declared foreign: {new}.")
            if recovery.resume_if_recovered(upstream):
                self.stdout.write(f"{upstream.name}: creates continue.")
            elif upstream.provider().stopped_at is not None:
                self.stdout.write(f"{upstream.name} stays stopped: {upstream.provider().stop_reason}")
        except errors.SoraError as error:
            raise CommandError(f"{upstream.name} could not be asked, try again: {error}") from error
