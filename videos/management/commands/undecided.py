"""`manage.py undecided`: lists what waits for a person."""

from datetime import timedelta
from typing import Any

from api.escaping import EscapingCommand
from upstreams.client.dialects import Dialect
from upstreams.client.types import Video
from upstreams.models import Provider
from videos.models import Submission
from videos.queue import providers
from videos.queue.isolation import faulty
from videos.reconciliation.audit import dollars
from videos.reconciliation.compared import contradicts, is_compared
from videos.reconciliation.undecided import undecided

_PROMPT_SHOWN = 60
_ROW = "{:<40} {:>7} {:<8} {:>12} {}"


class Command(EscapingCommand):
    """Lists; changes nothing."""

    help = "List the submissions and providers that wait for a person's decision."

    def handle(self, *args: Any, **options: Any) -> None:
        """Prints a line for each submission, with the videos that it may have become, and for each block of a
        provider."""
        found = list(undecided())
        if found:
            self.stdout.write(_ROW.format("SUBMISSION", "AGE", "KEY", "PRICE", "PROMPT"))
        for each in found:
            row = each.submission
            self.stdout.write(
                _ROW.format(
                    f"{row.job_id}/{row.number}",
                    _age(each.age),
                    row.match_key[:8],
                    dollars(row.price),
                    " ".join(row.job.prompt.split())[:_PROMPT_SHOWN],
                )
            )
            for video in each.candidates:
                self.stdout.write(f"  {_candidate(video, row, each.dialect)}")
            if each.reason:
                self.stdout.write(f"  {each.reason}")
            if not each.searched:
                self.stdout.write("  the list could not be read back to it")
        restraints = [
            f"{provider}: {each}"
            for provider in Provider.objects.order_by("name")
            for each in providers.send_blocks(provider)
        ]
        for line in restraints:
            self.stdout.write(line)
        faults = [f"{row}: put off, failed {times} times in a row: {error}" for row, times, error in faulty()]
        for line in faults:
            self.stdout.write(line)
        if not found and not restraints and not faults:
            self.stdout.write("Nothing waits for a person.")


def _age(age: timedelta) -> str:
    minutes = age.total_seconds() / 60
    return f"{minutes:.0f} min" if minutes < 60 else f"{minutes / 60:.1f} h"


def _candidate(video: Video, submission: Submission, dialect: Dialect | None) -> str:
    made = f"{video.created_at:%Y-%m-%d %H:%M:%S}" if video.created_at else "no date"
    if not is_compared(submission):
        alike = "its fields say nothing"
    elif dialect is not None and not contradicts(video, submission, dialect):
        alike = "the same fields"
    else:
        alike = "other fields"
    return f"nobody owns {video.id} ({made}, {alike})"
