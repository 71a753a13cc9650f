"""Streams the file of a finished render and a picture of it to the disk of the media folder."""

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final, NamedTuple

from django.conf import settings

from upstreams.breaker import respecting_retry_after
from upstreams.client import errors
from upstreams.clock import database_now, in_database
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.models import Submission
from videos.results.probe import Unplayable, jpeg_of_first_frame
from videos.results.signatures import picture_suffix
from videos.states import JobStatus, SubmissionState

logger = logging.getLogger(__name__)

# How often a running fetch renews its lease.
RENEW_SECONDS: Final = 5.0
# Drafts that have not grown for so long, which is more than any SORA_TIMEOUT, belong to a try that crashed.
_LEFTOVER_SECONDS: Final = 7_200
_PICTURE_MAX_BYTES: Final = 8 * 1024 * 1024
# A fetch is judged by its speed over so long.
_SPEED_SECONDS: Final = 10.0
_ABOUT_TO_EXPIRE: Final = timedelta(minutes=10)


class _Speed:
    """Ends a fetch that is too slow, because it occupies a slot that other files need. It is tried again
    later."""

    def __init__(self, submission: Submission, length: int | None) -> None:
        self._length = length
        self._began = self._since = time.monotonic()
        self._got_by_then = 0
        expires_at = submission.expires_at
        self._last_chance = expires_at is not None and expires_at <= database_now() + _ABOUT_TO_EXPIRE

    def check(self, got: int) -> None:
        """Raises Unavailable if the fetch is too slow. A file that is about to expire may be slow if it
        arrives in time."""
        now = time.monotonic()
        passed = now - self._since
        if passed < _SPEED_SECONDS:
            return
        speed = (got - self._got_by_then) / passed
        if speed < settings.SORA_DOWNLOAD_MIN_BYTES_PER_SECOND and not self._ends_in_time(got, now, speed):
            raise errors.Unavailable(f"The file comes too slowly: {speed:.0f} bytes per second.")
        self._since, self._got_by_then = now, got

    def _ends_in_time(self, got: int, now: float, speed: float) -> bool:
        if not self._last_chance or self._length is None:
            return False
        left = settings.SORA_DOWNLOAD_SECONDS - (now - self._began)
        return self._length - got <= speed * left


def drafts() -> Path:
    """The folder of unfinished files, on the disk of the media."""
    return Path(settings.MEDIA_ROOT) / "unfinished"


def leftovers() -> Iterator[Path]:
    """The drafts of tries that crashed. One that goes meanwhile is left out."""
    folder = drafts()
    oldest = time.time() - _LEFTOVER_SECONDS
    for leftover in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            if leftover.stat().st_mtime < oldest:
                yield leftover


def remove_leftovers() -> None:
    """Removes the drafts of tries that crashed."""
    for leftover in leftovers():
        leftover.unlink(missing_ok=True)


@contextmanager
def draft(submission: Submission) -> Iterator[Path]:
    """A temporary file for each try, on the disk of the media folder. Leftovers of crashed tries are deleted
    by age."""
    folder = drafts()
    # The media itself is never made here: it may not be mounted.
    folder.mkdir(exist_ok=True)
    remove_leftovers()
    number, name = tempfile.mkstemp(prefix=f"{submission.pk}-", dir=folder)
    os.close(number)
    path = Path(name)
    # As the storage's own files: mkstemp's are for their owner only.
    path.chmod(0o644)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class Downloaded(NamedTuple):
    """A file as it came: its bytes, and its SHA-256 in hexadecimal digits."""

    size: int
    sha256: str
    crc32: int


def download(submission: Submission, upstream: Upstream, path: Path) -> Downloaded:
    """Streams the file to the path and syncs it. Raises SoraError, and OSError if the disk fails."""
    assert submission.upstream_id is not None
    got = 0
    digest = hashlib.sha256()
    crc32 = 0
    renewed = time.monotonic()
    with (
        upstream.client.download(submission.upstream_id, deadline=settings.SORA_DOWNLOAD_SECONDS) as content,
        path.open("wb") as file,
    ):
        if content.length is not None and content.length > shutil.disk_usage(path.parent).free:
            raise OSError(errno.ENOSPC, f"the disk has no room for {content.length:,} bytes")
        speed = _Speed(submission, content.length)
        for chunk in content.chunks:
            got += len(chunk)
            if got > settings.SORA_DOWNLOAD_MAX_BYTES:
                raise errors.Unavailable(f"The file is larger than {settings.SORA_DOWNLOAD_MAX_BYTES} bytes.")
            file.write(chunk)
            digest.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            speed.check(got)
            if time.monotonic() - renewed > RENEW_SECONDS:
                renew(submission, upstream)
                renewed = time.monotonic()
        file.flush()
        os.fsync(file.fileno())
    return Downloaded(got, digest.hexdigest(), crc32)


def renew(submission: Submission, upstream: Upstream) -> None:
    """Renews the lease. If a cancel has made the submission due, that stays."""
    fetching = Submission.objects.filter(
        pk=submission.pk, state__in=[SubmissionState.RENDERED, SubmissionState.STORED]
    )
    fetching.exclude(job__status=JobStatus.CANCELLED).update(due_at=in_database(upstream.lease))


def thumbnail(submission: Submission, upstream: Upstream, path: Path) -> tuple[bytes, str]:
    """The upstream's picture, or our own. A video may have none."""
    assert submission.upstream_id is not None
    if upstream.dialect.thumbnails:
        try:
            with (
                respecting_retry_after(upstream, Call.DOWNLOAD),
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
