"""A finished render's file is fetched and kept."""

import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from upstreams.registry import Upstream
from videos.lifecycle.backoff import backoff
from videos.lifecycle.outcomes import fail
from videos.models import Job, Submission, locked
from videos.results.probe import Probe, Unplayable, jpeg_of_first_frame, probe
from videos.results.signatures import picture_suffix
from videos.states import CostState, JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# How often a fetch that goes on renews its lease.
_RENEW_SECONDS: Final = 5.0
# Drafts that have not grown for so long, which is more than any SORA_TIMEOUT, belong to a try that crashed.
_LEFTOVER_SECONDS: Final = 7_200
_MISSING_SECONDS: Final = 120
_PICTURE_MAX_BYTES: Final = 8 * 1024 * 1024


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
    try:
        with respecting_retry_after(upstream), _draft(submission) as path:
            size = _download(submission, upstream, path)
            _renew(submission, upstream)
            found = probe(path)
            picture, suffix = _thumbnail(submission, upstream, path)
            # The token keeps two who store the same video, one of them long past its lease, apart.
            name = f"videos/{job.created_at:%Y/%m}/{job.pk}-{submission.number}-{secrets.token_hex(4)}"
            video = _keep(f"{name}.{found.format}", path)
            thumbnail = default_storage.save(f"{name}.{suffix}", ContentFile(picture)) if picture else ""
    except errors.NotFound as error:
        _content_refused(submission, upstream, str(error))
        return
    except (errors.SoraError, Unplayable, OSError) as error:
        _try_again(submission, str(error))
        return
    if not _complete(submission, found, size, video, thumbnail):
        for kept in (video, thumbnail):
            if kept:
                default_storage.delete(kept)


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


@contextmanager
def _draft(submission: Submission) -> Iterator[Path]:
    """A file of its own for each try, on the media's own disk. What crashed tries left there goes by age."""
    folder = settings.MEDIA_ROOT / "unfinished"
    folder.mkdir(parents=True, exist_ok=True)
    oldest = time.time() - _LEFTOVER_SECONDS
    for leftover in folder.iterdir():
        with suppress(FileNotFoundError):
            if leftover.stat().st_mtime < oldest:
                leftover.unlink()
    number, name = tempfile.mkstemp(prefix=f"{submission.pk}-", dir=folder)
    os.close(number)
    path = Path(name)
    # As the storage's own files: mkstemp's are for their owner only.
    path.chmod(0o644)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def _download(submission: Submission, upstream: Upstream, path: Path) -> int:
    """Streams the file to the path and to the disk; its length in bytes."""
    assert submission.upstream_id is not None
    got = 0
    renewed = time.monotonic()
    with (
        upstream.client.download(submission.upstream_id, deadline=settings.SORA_DOWNLOAD_SECONDS) as content,
        path.open("wb") as file,
    ):
        for chunk in content.chunks:
            got += len(chunk)
            if got > settings.SORA_DOWNLOAD_MAX_BYTES:
                raise errors.Unavailable(f"The file is larger than {settings.SORA_DOWNLOAD_MAX_BYTES} bytes.")
            file.write(chunk)
            if time.monotonic() - renewed > _RENEW_SECONDS:
                _renew(submission, upstream)
                renewed = time.monotonic()
        file.flush()
        os.fsync(file.fileno())
    return got


def _renew(submission: Submission, upstream: Upstream) -> None:
    """Goes on with the lease; a cancel has made it due in order to drop it, and that stays."""
    fetching = Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED)
    fetching.exclude(job__status=JobStatus.CANCELLED).update(due_at=in_database(upstream.lease))


def _thumbnail(submission: Submission, upstream: Upstream, path: Path) -> tuple[bytes, str]:
    """The upstream's picture, or our own; a video without a picture is still a video."""
    assert submission.upstream_id is not None
    if upstream.dialect.thumbnails:
        try:
            with (
                respecting_retry_after(upstream),
                upstream.client.download(submission.upstream_id, "thumbnail", deadline=30) as content,
            ):
                picture = bytearray()
                for chunk in content.chunks if content.content_type.startswith("image/") else ():
                    picture += chunk
                    if len(picture) > _PICTURE_MAX_BYTES:
                        picture.clear()
                        break
                # It is served as what it is, not as what the upstream calls it.
                if suffix := picture_suffix(bytes(picture[:12])):
                    return bytes(picture), suffix
        except errors.SoraError as error:
            logger.info("No thumbnail from upstream for %s: %s", submission, error)
    try:
        return jpeg_of_first_frame(path), "jpg"
    except Unplayable as error:
        logger.warning("No thumbnail for %s: %s", submission, error)
        return b"", ""


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
    """A 404 for the file: gone for good only where the upstream says so of the video as well."""
    assert submission.upstream_id is not None
    gone = False
    try:
        with respecting_retry_after(upstream):
            video = upstream.client.retrieve(submission.upstream_id)
        expires_at = video.expires_at or submission.expires_at
        gone = video.phase == Phase.EXPIRED or (
            video.phase == Phase.COMPLETED and expires_at is not None and expires_at <= database_now()
        )
    except errors.NotFound:
        _not_known(submission, reason)
        return
    except errors.SoraError as error:
        reason = str(error)
    if gone:
        _lose(submission, reason)
    else:
        _try_again(submission, reason)


def _not_known(submission: Submission, reason: str) -> None:
    """Neither file nor video is known upstream: gone once that has been said for two minutes."""
    now = database_now()
    if submission.missing_since and (now - submission.missing_since).total_seconds() >= _MISSING_SECONDS:
        _lose(submission, reason)
        return
    Submission.objects.filter(pk=submission.pk, missing_since=None).update(missing_since=now)
    _try_again(submission, reason)


def _try_again(submission: Submission, reason: str) -> None:
    now = database_now()
    if submission.give_up_at <= now:
        _lose(submission, reason)
        return
    logger.warning("The file of %s did not come: %s", submission, reason)
    due = now + timedelta(seconds=backoff(submission.attempts))
    Submission.objects.filter(pk=submission.pk, state=SubmissionState.RENDERED).update(
        attempts=submission.attempts + 1, due_at=due, error_message=reason
    )


def _lose(submission: Submission, reason: str) -> None:
    with locked(submission) as (job, submission):
        if submission.move(
            SubmissionState.LOST,
            cost_state=CostState.SETTLED,
            error_code="result_lost",
            error_message=reason,
        ):
            fail(job, "result_lost", f"The video was rendered, and its file could not be fetched: {reason}")
