"""Completes the jobs whose files are kept: those that end at the same time by the same statements."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from copy import copy
from datetime import datetime
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction

from upstreams.clock import database_now
from videos.models import Job, JobEvent, Preview, Submission, locked
from videos.models.event import Line
from videos.models.group import notify_group
from videos.results.keep import COLUMNS, Kept
from videos.retention.removal import remove_at
from videos.signals import submission_moved
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# More than there are threads (WORK_THREADS).
_MOST: Final = 100
_FIELDS: Final = [field for field in Job._meta.concrete_fields if field.attname in {*COLUMNS, "remove_at"}]
_UPDATE: Final = (
    f"UPDATE {Job._meta.db_table} SET {', '.join(f'{field.attname} = %s' for field in _FIELDS)}"  # noqa: S608
    " WHERE id = %s AND status = %s"
)


class _Finished:
    """A submission, with its job, and its kept file; and whether its job was completed with others."""

    def __init__(self, submission: Submission, kept: Kept) -> None:
        self.submission = submission
        self.kept = kept
        self.is_completed = False
        self.is_decided = False


_waiting: Final[deque[_Finished]] = deque()
_writing: Final = threading.Lock()


def complete(submission: Submission, kept: Kept) -> bool:
    """Completes the job with its kept file; False if nobody waits for it any more.

    The first of the threads that have something to complete does it for all of them.
    """
    mine = _Finished(submission, kept)
    _waiting.append(mine)
    with _writing:
        if not mine.is_decided:
            some = [_waiting.popleft() for _ in range(min(len(_waiting), _MOST))]
            # Nothing that the log says of the others is about the job of this thread.
            Context().run(_complete_together, some)
    return mine.is_completed or _complete_alone(submission, kept)


def _complete_together(some: Sequence[_Finished]) -> None:
    try:
        with transaction.atomic(durable=True):
            completed = _write(some)
    except Exception as error:
        logger.warning("Jobs are completed one by one: %s", error)
        completed = set()
    for each in some:
        each.is_completed = each.submission.pk in completed
        each.is_decided = True


def _write(some: Sequence[_Finished]) -> set[int]:
    """Completes those jobs that wait for their file and of whose attempts nothing else is known. Returns the
    keys of these attempts."""
    # Here and below in one order, as whoever locks several rows.
    jobs = Job.objects.select_for_update(of=("self",)).filter(
        pk__in=[each.submission.job_id for each in some]
    )
    status = dict(jobs.order_by("pk").values_list("pk", "status"))
    rendered = Submission.objects.filter(
        pk__in=[each.submission.pk for each in some],
        state=SubmissionState.RENDERED,
        cost_state=CostState.SETTLED,
    )
    pks = set(rendered.values_list("pk", flat=True))
    plain = {
        each.submission.pk: each
        for each in some
        if each.submission.pk in pks
        and status.get(each.submission.job_id) == JobStatus.PROCESSING
        and each.kept.is_there()
    }
    if not plain:
        return set()
    now = database_now()
    _write_jobs(list(plain.values()), now)
    Submission.objects.filter(pk__in=list(plain)).update(
        state=SubmissionState.STORED, due_at=None, ended_at=now
    )
    _ask_for_previews(list(plain.values()), now)
    JobEvent.append(now, *(line for each in plain.values() for line in _lines(each)))
    for each in plain.values():
        _say(each, now)
    return set(plain)


def _write_jobs(plain: Sequence[_Finished], now: datetime) -> None:
    """Writes the status completed. Raises RuntimeError if one has left the status processing."""
    rows = [
        (
            *_values(each, now),
            _adapted(each.submission.job_id),
            JobStatus.PROCESSING.value,
        )
        for each in plain
    ]
    with connection.cursor() as cursor:
        cursor.executemany(_UPDATE, rows)
        if cursor.rowcount != len(rows):
            raise RuntimeError("a job has changed under its lock")
    Job.objects.filter(pk__in=[each.submission.job_id for each in plain]).update(
        status=JobStatus.COMPLETED,
        progress=100,
        updated_at=now,
        completed_at=now,
        error_code="",
        error_message="",
        error_details=None,
        failed_at=None,
    )


def _ask_for_previews(finished: Sequence[_Finished], now: datetime) -> None:
    if settings.RESULT_PREVIEWS:
        wanted = [Preview(job_id=each.submission.job_id, due_at=now) for each in finished]
        Preview.objects.bulk_create(wanted, ignore_conflicts=True)


def _values(finished: _Finished, now: datetime) -> list[Any]:
    """Of _FIELDS, as the database takes them."""
    found = {**finished.kept.fields(), "remove_at": remove_at(finished.submission.job, now)}
    return [field.get_db_prep_save(found[field.attname], connection) for field in _FIELDS]


def _adapted(pk: Any) -> Any:
    return Job._meta.pk.get_db_prep_value(pk, connection)


def _lines(finished: _Finished) -> tuple[Line, Line]:
    """What the history of its job says of it."""
    submission = finished.submission
    return (
        Line(
            submission.job,
            "submission",
            SubmissionState.RENDERED,
            SubmissionState.STORED,
            number=submission.number,
            detail={"bytes": finished.kept.file.size},
            logged={"provider": submission.provider.name},
        ),
        Line(submission.job, "job", JobStatus.PROCESSING, JobStatus.COMPLETED),
    )


def _say(finished: _Finished, now: datetime) -> None:
    """Tells other apps, after the commit."""
    moved = copy(finished.submission)
    moved.state, moved.due_at, moved.ended_at = SubmissionState.STORED, None, now
    transaction.on_commit(
        partial(submission_moved.send_robust, Submission, submission=moved, before=SubmissionState.RENDERED)
    )
    notify_group(moved.job.group_id, JobStatus.PROCESSING, JobStatus.COMPLETED)


def _complete_alone(submission: Submission, kept: Kept) -> bool:
    with locked(submission) as (job, submission):
        if job.status == JobStatus.COMPLETED and job.video.name == kept.video:
            # It was committed with the others, and the answer to that was lost. The file is the job's.
            return True
        if not kept.is_there():
            # This thread slept so long that its file was swept away.
            return False
        gave_up = job.status == JobStatus.FAILED and job.error_code == "gave_up"
        late = gave_up and job.deleted_at is None
        if job.status != JobStatus.PROCESSING and not late:
            return False
        if not submission.move(SubmissionState.STORED, detail={"bytes": kept.file.size}):
            return False
        now = database_now()
        won = job.move(
            JobStatus.COMPLETED,
            only_from=[JobStatus.PROCESSING, JobStatus.FAILED],
            detail={"late": True} if late else None,
            progress=100,
            completed_at=now,
            remove_at=remove_at(job, now),
            error_code="",
            error_message="",
            error_details=None,
            failed_at=None,
            **kept.fields(),
        )
        if won:
            _ask_for_previews([_Finished(submission, kept)], now)
        return won
