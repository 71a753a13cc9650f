"""If work on a row raises, the row is put off and shown to the operator, and other rows continue."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from django.db import DatabaseError
from django.db.models import F, Q, QuerySet

from upstreams.client.values import storable
from upstreams.clock import database_now, in_database
from videos.log_context import about
from videos.models import Job, Submission
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_SHORTEST_SECONDS: Final = 5.0
_LONGEST_SECONDS: Final = 3_600.0
_SHOWN_LENGTH: Final = 500


@dataclass(slots=True)
class Outcome:
    """Whether the work on the row raised."""

    failed: bool = False


@contextmanager
def isolated(row: Submission) -> Iterator[Outcome]:
    """Catches what the work on this row raises, so that other rows continue.

    The row is logged by name and put off, twice as long each time, up to an hour. A run that does not raise
    ends that. Raises only if the database cannot record it.
    """
    outcome = Outcome()
    # One that is put off, and is run all the same, proves nothing by doing nothing.
    was_due = not row.faults or row.due_at is None or row.due_at <= database_now()
    with about(row):
        try:
            yield outcome
        except Exception as error:
            outcome.failed = True
            put_off(row, error)
        else:
            if row.faults and was_due:
                Submission.objects.filter(pk=row.pk, faults=row.faults).update(faults=0, fault="")


def put_off(row: Submission | Job, error: Exception) -> None:
    """Counts an unexpected error and makes the row due later. Raises the error if that cannot be written."""
    wait, text = wait_seconds(row.faults), fault_text(error)
    try:
        _counted(row, text)
        if isinstance(row, Submission):
            _waiting(row).update(due_at=in_database(wait))
        else:
            Job.objects.filter(pk=row.pk, status=JobStatus.PENDING).update(due_at=in_database(wait))
    except DatabaseError:
        # The database is down; the row is not at fault.
        raise error from None
    logger.error(
        "%s cannot be seen to, for the %d. time in a row, and is put off for %.0f s.",
        row,
        row.faults + 1,
        wait,
        exc_info=error,
    )


def wait_seconds(faults: int) -> float:
    """How long a row is put off whose work has raised so many times before."""
    return float(min(_SHORTEST_SECONDS * 2 ** min(faults, 20), _LONGEST_SECONDS))


def fault_text(error: Exception) -> str:
    """The error as it is kept with the row."""
    return storable(f"{type(error).__name__}: {error}"[:_SHOWN_LENGTH]) or ""


def _counted(row: Submission | Job, text: str) -> int:
    if isinstance(row, Submission):
        return Submission.objects.filter(pk=row.pk).update(faults=F("faults") + 1, fault=text)
    return Job.objects.filter(pk=row.pk).update(faults=F("faults") + 1, fault=text)


def _waiting(row: Submission) -> QuerySet[Submission]:
    """The row, if it has a due time. The lease of a create that is being sent is never moved."""
    sent = Q(state=SubmissionState.SENDING, lease_until__gt=in_database())
    return Submission.objects.filter(pk=row.pk, due_at__isnull=False).exclude(sent)


def faulty() -> Iterator[tuple[str, int, str]]:
    """The rows whose last run raised: name, times in a row, error."""
    for submission in Submission.objects.filter(faults__gt=0).order_by("-faults", "pk")[:100]:
        yield str(submission), submission.faults, submission.fault
    for job in Job.objects.filter(faults__gt=0, status=JobStatus.PENDING).order_by("-faults", "pk")[:100]:
        yield str(job), job.faults, job.fault
