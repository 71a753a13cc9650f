"""A completed job's file that is missing, or was cut short, is fetched again while the upstream has it.

Job and submission keep their states, because nothing is paid or promised again. If a stored submission is
due, its file is fetched again.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from uuid import UUID

from django.core.files.storage import default_storage

from upstreams import registry
from upstreams.client import errors
from upstreams.clock import database_now, in_database
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.models import Job, JobEvent, Preview, Submission, locked
from videos.queue.wake import wake
from videos.reconciliation.restored.identity import names_its_video
from videos.results.keep import Kept, fetch_and_keep
from videos.results.media import require_media
from videos.results.probe import Unplayable
from videos.results.store import wait_for_media
from videos.states import JobStatus, SubmissionState
from videos.stores.media import delete_files, is_in_bucket
from videos.usage.stored import count_stored

logger = logging.getLogger(__name__)

_MAX_TRIES: Final = 60
_TOGETHER: Final = 500


def is_missing(job: Job) -> bool:
    """Whether a completed job's video is not in the media, or not with the length that it had."""
    if job.status != JobStatus.COMPLETED or job.removed_at is not None:
        return False
    try:
        size = default_storage.size(str(job.video.name))
    except FileNotFoundError:
        return True
    except OSError:
        # A bucket that does not answer may have it.
        return not is_in_bucket(str(job.video.name))
    return job.file_size is not None and size != job.file_size


def request_refetch(job: Job) -> bool:
    """Requests a new fetch of a missing file; False if it is not missing, or no configured upstream may have
    it."""
    if not is_missing(job):
        return False
    names = [upstream.name for upstream in registry.configured()]
    stored = Submission.objects.filter(job=job, state=SubmissionState.STORED, provider__name__in=names)
    stored.filter(due_at=None).update(due_at=in_database(), attempts=0)
    if not stored.exists():
        return False
    wake("dispatch")
    return True


def request_missing() -> Iterator[tuple[Job, bool]]:
    """Every completed job whose file is missing, and whether a new fetch was requested."""
    last = UUID(int=0)
    while True:
        completed = Job.objects.filter(status=JobStatus.COMPLETED, removed_at=None, pk__gt=last).order_by(
            "pk"
        )
        jobs = list(completed[:_TOGETHER])
        if not jobs:
            return
        last = jobs[-1].pk
        for job in jobs:
            if is_missing(job):
                yield job, request_refetch(job)


def refetch(submission: Submission, upstream: Upstream) -> None:
    """Fetches a stored submission's file again, if that is due and it is missing."""
    if not submission.claim_due(upstream.lease):
        return
    job = submission.job = Job.objects.get(pk=submission.job_id)
    try:
        require_media()
        if not is_missing(job):
            # The media was not mounted when it was asked for.
            _end(submission)
            return
        if not names_its_video(submission, upstream):
            logger.error("The missing file of %s is gone: its id names another video now.", submission)
            _end(submission)
            return
        kept = fetch_and_keep(submission, upstream)
    except errors.NotFound as error:
        logger.error("The missing file of %s is not upstream any more: %s", submission, error)
        _end(submission)
    except (errors.SoraError, Unplayable) as error:
        _try_again(submission, str(error))
    except OSError as error:
        wait_for_media(submission, str(error))
    else:
        try:
            if not _replace(submission, kept, str(job.video.name)):
                kept.discard()
        except OSError as error:
            wait_for_media(submission, str(error))


def _end(submission: Submission) -> None:
    Submission.objects.filter(pk=submission.pk, state=SubmissionState.STORED).update(due_at=None, attempts=0)


def _try_again(submission: Submission, reason: str) -> None:
    logger.warning("The missing file of %s did not come: %s", submission, reason)
    if submission.attempts + 1 >= _MAX_TRIES:
        _end(submission)
        return
    Submission.objects.filter(pk=submission.pk, state=SubmissionState.STORED).update(
        attempts=submission.attempts + 1, due_at=in_database(backoff(submission.attempts))
    )


def _replace(submission: Submission, kept: Kept, missing: str) -> bool:
    """Gives the job its new files, unless another worker has."""
    with locked(submission) as (job, submission):
        is_asked_for = job.removed_at is None and job.video.name == missing
        if submission.state != SubmissionState.STORED or not is_asked_for or not kept.is_there():
            return False
        fields = kept.fields()
        left = [missing]
        if kept.thumbnail:
            left.append(str(job.thumbnail.name or ""))
        else:
            # The old one is better than none.
            del fields["thumbnail"]
        now = database_now()
        Job.objects.filter(pk=job.pk).update(updated_at=now, **fields)
        if job.counted:
            count_stored(Job.objects.filter(pk=job.pk))
        Submission.objects.filter(pk=submission.pk).update(due_at=None, attempts=0, error_message="")
        Preview.objects.filter(job=job, poster="").update(due_at=now, tries=0)
        state, number = submission.state, submission.number
        detail = {"how": "fetched again", "bytes": kept.file.size}
        JobEvent.record(job, "submission", state, state, now, number=number, detail=detail)
    with suppress(OSError):
        # What is left is swept away.
        delete_files(filter(None, left))
    return True
