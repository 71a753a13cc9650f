"""Fetches a file, probes it, and stores it with a picture in the media folder."""

import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from django.conf import settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from upstreams.breaker import respecting_retry_after
from upstreams.models import Call
from upstreams.registry import Upstream
from videos.models import Submission
from videos.results.bucket_proof import doubt
from videos.results.fetch import RENEW_SECONDS, Downloaded, download, draft, renew, thumbnail
from videos.results.media import require_media, require_mounted, sync_folder
from videos.results.probe import Probe, probe
from videos.stores.media import delete_files, folder_of, is_in_bucket


class Finished(File):  # type: ignore[type-arg]
    """A finished temporary file, which the file system storage renames instead of copying."""

    def temporary_file_path(self) -> str:
        return str(self.name)


class _Sent(File):  # type: ignore[type-arg]
    """A finished temporary file that is sent to a bucket, which may take longer than a lease."""

    file: BinaryIO

    def __init__(self, file: BinaryIO, renew_lease: Callable[[], None]) -> None:
        super().__init__(file)
        self._renew_lease = renew_lease
        self._began = self._renewed = time.monotonic()

    def read(self, size: int = -1) -> bytes:
        """Raises OSError after SORA_DOWNLOAD_SECONDS: other files need the slot that it occupies."""
        now = time.monotonic()
        if now - self._began > settings.SORA_DOWNLOAD_SECONDS:
            raise OSError(f"the bucket has not taken the file in {settings.SORA_DOWNLOAD_SECONDS:g} seconds")
        if now - self._renewed > RENEW_SECONDS:
            self._renew_lease()
            self._renewed = now
        return bytes(self.file.read(size))


# For so long a job may take a file that was stored in a bucket. A sweep removes it hours later.
ADOPTED_SECONDS: Final = 1_800
# Of a job, what `Kept.fields` has.
COLUMNS: Final = (
    "video", "thumbnail", "result_seconds", "width", "height", "format", "file_size", "sha256", "crc32",
    "codec", "result_fps", "result_audio",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored result: the names of its files, and what is in the video."""

    video: str
    thumbnail: str
    file: Downloaded
    found: Probe
    # By time.time(): when the video was there.
    stored_at: float = field(default_factory=time.time)

    def fields(self) -> dict[str, Any]:
        """The fields of its job."""
        return {
            "video": self.video,
            "thumbnail": self.thumbnail,
            "result_seconds": self.found.seconds,
            "width": self.found.width,
            "height": self.found.height,
            "format": self.found.format,
            "file_size": self.file.size,
            "sha256": self.file.sha256,
            "crc32": self.file.crc32,
            "codec": self.found.codec,
            "result_fps": self.found.fps,
            "result_audio": self.found.audio,
        }

    def is_there(self) -> bool:
        """Whether its files are still there. The caller holds the lock of its job, without
        which nobody sweeps them away from the disk."""
        return are_there((self.video, self.thumbnail), self.stored_at)

    def discard(self) -> None:
        """Deletes the files if no job owns them."""
        with suppress(OSError):
            # What is left is swept away.
            delete_files(filter(None, (self.video, self.thumbnail)))


def are_there(names: Iterable[str], stored_at: float) -> bool:
    """Whether files are there of which this process has stored the first at that time (time.time()).

    A bucket is not asked, because the caller holds locks: what was stored there is swept away hours later.
    """
    stored_lately = 0 <= time.time() - stored_at < ADOPTED_SECONDS
    return all(
        stored_lately if is_in_bucket(name) else default_storage.exists(name) for name in names if name
    )


def fetch_and_keep(submission: Submission, upstream: Upstream) -> Kept:
    """Fetches and stores the file. Raises SoraError or Unplayable if no complete file came, and OSError if
    the media folder does not accept it."""
    media = require_media()
    job = submission.job
    with respecting_retry_after(upstream, Call.DOWNLOAD), draft(submission) as path:
        began = time.monotonic()
        file = download(submission, upstream, path)
        if time.monotonic() - began > min(RENEW_SECONDS, upstream.lease / 4):
            renew(submission, upstream)
        found = probe(path)
        picture, suffix = thumbnail(submission, upstream, path)
        # The token separates two workers that store the same video, one of them long past its lease.
        folder = f"{folder_of(settings.RESULT_BUCKET)}videos"
        name = f"{folder}/{job.created_at:%Y/%m}/{job.pk}-{submission.number}-{secrets.token_hex(4)}"
        video = store_file(f"{name}.{found.format}", path, partial(renew, submission, upstream))
        kept = Kept(video, "", file, found)
        try:
            small = default_storage.save(f"{name}.{suffix}", ContentFile(picture)) if picture else ""
            kept = replace(kept, thumbnail=small)
            require_mounted(media)
        except OSError:
            kept.discard()
            raise
    return kept


def store_file(name: str, path: Path, renew_lease: Callable[[], None]) -> str:
    """Sends a complete file to the bucket, or renames it into the media folder, safe against a power cut.
    Returns its name there."""
    with path.open("rb") as file:
        if is_in_bucket(name):
            try:
                return default_storage.save(name, _Sent(file, renew_lease))
            except OSError:
                # It may take questions and refuse files.
                doubt(settings.RESULT_BUCKET)
                raise
        kept = default_storage.save(name, Finished(file, name=str(path)))
    sync_folder((settings.MEDIA_ROOT / kept).parent)
    return kept
