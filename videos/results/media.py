"""The media folder, and the proof that it is mounted and has room.

A marker file in the folder has the id that the database knows. A mount point without its mount is an empty
folder: files written there would be hidden once the mount is back.
"""

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Final

from django.conf import settings

from videos.models import Job, MediaFolder
from videos.results.bucket_proof import bucket_problem
from videos.states import JobStatus

MARKER: Final = ".takeone-media"
_ADVICE: Final = "mount it, or `manage.py media accept` takes the folder as it is"


class MediaUnusable(OSError):
    """Nothing can be stored now. Fetching waits, and no job fails."""


def require_media() -> MediaFolder:
    """The folder. The first call ever makes it. Raises MediaUnusable unless it is mounted and has room."""
    known = MediaFolder.objects.first() or _begin()
    if problem := _problem(known):
        raise MediaUnusable(problem)
    return known


def require_mounted(known: MediaFolder) -> None:
    """Raises MediaUnusable if the folder was unmounted since require_media, and the stored files with it."""
    if problem := _not_mounted(known):
        raise MediaUnusable(problem)


def is_mounted() -> bool:
    """Whether the folder that this database knows is there, with room or without."""
    known = MediaFolder.objects.first()
    try:
        return known is not None and not _not_mounted(known)
    except OSError:
        return False


def removal_problem() -> str:
    """Why no file may be removed, in words; "" if it may: the folder and each bucket are there, and are those
    that this database knows."""
    known = MediaFolder.objects.first()
    if known is None:
        # Before the first result there is nothing that could be removed.
        return _UNPROVEN if _has_results() else ""
    try:
        problem = _not_mounted(known)
    except OSError as error:
        problem = f"the media folder {settings.MEDIA_ROOT} cannot be used: {error.strerror}"
    return problem or next(
        filter(None, (bucket_problem(known, each) for each in settings.RESULT_BUCKETS)), ""
    )


def sync_folder(folder: Path) -> None:
    """Keeps the names of what was made in it, safe against a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def media_problem() -> str:
    """Why results cannot be stored, in words; "" if they can. Writes nothing."""
    known = MediaFolder.objects.first()
    if known is None:
        return _UNPROVEN if _has_results() else ""
    try:
        return _problem(known)
    except OSError as error:
        return f"the media folder {settings.MEDIA_ROOT} cannot be used: {error.strerror}"


def accept_media() -> uuid.UUID:
    """Accepts the folder as it is as this database's media. Returns its id. Raises OSError."""
    identity = _marker() or _write_marker()
    MediaFolder.objects.update_or_create(pk=1, defaults={"identity": identity})
    return identity


_UNPROVEN: Final = f"the media folder was never accepted, and there are results already: {_ADVICE}"


def _begin() -> MediaFolder:
    """Makes the folder and its marker for the first result of a deployment."""
    if _has_results():
        raise MediaUnusable(_UNPROVEN)
    Path(settings.MEDIA_ROOT).mkdir(parents=True, exist_ok=True)
    identity = _marker() or _write_marker()
    return MediaFolder.objects.get_or_create(pk=1, defaults={"identity": identity})[0]


def _has_results() -> bool:
    return Job.objects.filter(status=JobStatus.COMPLETED).exists()


def _problem(known: MediaFolder) -> str:
    if problem := _not_mounted(known):
        return problem
    if (free := shutil.disk_usage(settings.MEDIA_ROOT).free) < settings.MEDIA_MIN_FREE_BYTES:
        return (
            f"the media folder {settings.MEDIA_ROOT} has {free:,} bytes left, and needs "
            f"{settings.MEDIA_MIN_FREE_BYTES:,} (MEDIA_MIN_FREE_BYTES)"
        )
    return bucket_problem(known)


def _not_mounted(known: MediaFolder) -> str:
    marker = _marker()
    if marker == known.identity:
        return ""
    what = "has no marker" if marker is None else "is another one"
    return f"the media folder {settings.MEDIA_ROOT} {what}, so it is not mounted: {_ADVICE}"


def _marker() -> uuid.UUID | None:
    """The id in the folder's marker; None without a marker that can be read as one."""
    try:
        return uuid.UUID((Path(settings.MEDIA_ROOT) / MARKER).read_text().strip())
    except (FileNotFoundError, ValueError):
        return None


def _write_marker() -> uuid.UUID:
    """Makes the marker atomically. If two are made at once, one stays."""
    root = Path(settings.MEDIA_ROOT)
    written = root / f"{MARKER}.{uuid.uuid4().hex}"
    with written.open("w") as file:
        file.write(f"{uuid.uuid4()}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        if (root / MARKER).exists() and _marker() is None:
            written.replace(root / MARKER)
        else:
            with suppress(FileExistsError):
                os.link(written, root / MARKER)
    finally:
        written.unlink(missing_ok=True)
    identity = _marker()
    if identity is None:
        raise MediaUnusable(f"no marker could be written to {root}")
    return identity
