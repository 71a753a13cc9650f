"""A finished render's file is fetched and kept."""

import logging
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.client.types import Phase
from upstreams.clock import database_now, in_database
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.lifecycle.expiry import give_up_if_expired, is_silent, record_contact
from videos.lifecycle.outcomes import fail
from videos.models import Job, Submission, locked
from videos.reconciliation.identity import confirms_loss
from videos.results.fetch import download, draft, renew, thumbnail
from videos.results.probe import Probe, Unplayable, probe
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

_MISSING_POLLS: Final = 3
_MISSING_SECONDS: Final = 120
# Between two tries while the media cannot be used.
_MEDIA_SECONDS: Final = 10
_JUST_SEEN: Final = timedelta(seconds=60)


class _Finished(File):  # type: ignore[type-arg]
    """A finished temporary file, which the file system storage renames instead of copying."""

    def temporary_file_path(self) -> str:
        return str(self.name)


def store(submission: Submission, upstream: Upstream) -> None:
    """Fetches a rendered submission's file, if that is due, and completes its job."""
    if not submission.claim_due(upstream.lease):
        return
    job = Job.objects.get(pk=submission.job_id)
    if job.status == JobStatus.CANCELLED:
        return
    if not _names_its_video(submission, upstream):
        _not_there(submission, upstream, "The upstream gave its id to another video.")
        return
    try:
        with respecting_retry_after(upstream, Call.DOWNLOAD), draft(submission) as path:
            size = download(submission, upstream, path)
            renew(submission, upstream)
            found = probe(path)
            picture, suffix = thumbnail(submission, upstream, path)
            # The token keeps two who store the same video, one of them long past its lease, apart.
            name = f"videos/{job.created_at:%Y/%m}/{job.pk}-{submission.number}-{secrets.token_hex(4)}"
            video = _keep(f"{name}.{found.format}", path)
            small = default_storage.save(f"{name}.{suffix}", ContentFile(picture)) if picture else ""
    except errors.NotFound as error:
        _content_refused(submission, upstream, str(error))
        return
    except (errors.SoraError, Unplayable) as error:
        _try_again(submission, str(error))
        return
    except OSError as error:
        wait_for_media(submission, str(error))
        return
    if not _complete(submission, found, size, video, small):
        for kept in (video, small):
            if kept:
                default_storage.delete(kept)


def _names_its_video(submission: Submission, upstream: Upstream) -> bool:
    """Whether its id still names the video that was rendered; asks again if that was seen some time ago."""
    if submission.id_reused:
        return False
    rendered_at = submission.rendered_at
    just_seen = rendered_at is not None and database_now() - rendered_at < _JUST_SEEN
    if just_seen and not submission.provider.reused_ids:
        return True
    assert submission.upstream_id is not None
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            return submission.owns(upstream.client.retrieve(submission.upstream_id))
    except errors.SoraError:
        # The download says what there is.
        return True


def _complete(submission: Submission, found: Probe, size: int, video: str, thumbnail: str) -> bool:
    with locked(submission) as (job, submission):
        late = job.status == JobStatus.FAILED and job.error_code == "gave_up"
        if job.status != JobStatus.PROCESSING and not late:
            return False
        if not submission.move(SubmissionState.STORED, detail={"bytes": size}):
            return False
        return job.move(
            JobStatus.COMPLETED,
            only_from=[JobStatus.PROCESSING, JobStatus.FAILED],
            detail={"late": True} if late else None,
            progress=100,
            video=video,
            thumbnail=thumbnail,
            result_seconds=found.seconds,
            width=found.width,
            height=found.height,
            format=found.format,
            file_size=size,
            completed_at=database_now(),
            error_code="",
            error_message="",
            error_details=None,
            failed_at=None,
        )


def _keep(name: str, path: Path) -> str:
    """Renames a whole file into the media, so that it is there after a power cut as well; its name there."""
    with path.open("rb") as file:
        kept = default_storage.save(name, _Finished(file, name=str(path)))
    folder = os.open((settings.MEDIA_ROOT / kept).parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return kept


def _content_refused(submission: Submission, upstream: Upstream, reason: str) -> None:
    """A 404 for the file: gone for good only if the upstream says so of the video as well."""
    assert submission.upstream_id is not None
    try:
        with respecting_retry_after(upstream, Call.RETRIEVE):
            video = upstream.client.retrieve(submission.upstream_id)
    except errors.NotFound:
        _not_there(submission, upstream, reason)
        return
    except errors.SoraError as error:
        _try_again(submission, str(error))
        return
    if not submission.owns(video):
        _not_there(submission, upstream, reason)
        return
    expires_at = video.expires_at or submission.expires_at
    if video.phase == Phase.EXPIRED:
        _lose(submission, reason)
    elif video.phase == Phase.COMPLETED and expires_at is not None and expires_at <= database_now():
        # By our clock, which may be wrong.
        _not_there(submission, upstream, reason)
    else:
        _try_again(submission, reason)


def _not_there(submission: Submission, upstream: Upstream, reason: str) -> None:
    """The upstream has no file, and no video or an old one: lost after three answers over two minutes.

    Not if it is another upstream than the one that we know.
    """
    now = database_now()
    since = submission.missing_since or now
    polls = submission.missing_polls + 1
    if polls >= _MISSING_POLLS and (now - since).total_seconds() >= _MISSING_SECONDS:
        try:
            if confirms_loss(submission, upstream):
                _lose(submission, reason)
        except errors.SoraError as error:
            _try_again(submission, str(error))
        return
    apart = _MISSING_SECONDS / (_MISSING_POLLS - 1)
    Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED).update(
        missing_since=since,
        missing_polls=polls,
        attempts=submission.attempts + 1,
        due_at=now + timedelta(seconds=apart),
        error_message=reason,
    )


def _try_again(submission: Submission, reason: str) -> None:
    """Later. Lost only after JOB_GIVE_UP_AFTER, and after an hour of tries that failed."""
    logger.warning("The file of %s did not come: %s", submission, reason)
    now = database_now()
    due = now + timedelta(seconds=backoff(submission.attempts))
    rendered = Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED)
    rendered.update(attempts=submission.attempts + 1, due_at=due, error_message=reason)
    record_contact(submission, False, now)
    with locked(submission) as (job, submission):
        if is_silent(submission):
            give_up_if_expired(job, submission)


def wait_for_media(submission: Submission, reason: str) -> None:
    """The fault is ours: later, for as long as it takes. It counts as no try, and fails no job."""
    logger.error("The file of %s cannot be kept: %s", submission, reason)
    rendered = Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED)
    rendered.update(due_at=in_database(_MEDIA_SECONDS), error_message=reason)


def _lose(submission: Submission, reason: str) -> None:
    with locked(submission) as (job, submission):
        if submission.move(
            SubmissionState.LOST,
            cost_state=CostState.SETTLED,
            error_code="result_lost",
            error_message=reason,
        ):
            fail(job, "result_lost", f"The video was rendered, and its file could not be fetched: {reason}")
