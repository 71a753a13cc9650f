"""Makes the small pictures of completed jobs.

A job whose pictures cannot be made lacks them, and is completed all the same.
"""

import json
import logging
import secrets
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import transaction

from upstreams.clock import database_now, in_database
from videos.models import Job, Preview
from videos.results.fetch import drafts
from videos.results.keep import Finished, are_there
from videos.results.local import on_disk
from videos.results.media import media_problem
from videos.states import JobStatus
from videos.stores.media import delete_files

logger = logging.getLogger(__name__)

# A process that decodes a video for longer is ended.
_SECONDS: Final = 60
# Longer than that takes, with what comes after it.
_LEASE: Final = timedelta(seconds=120)
_TRIES: Final = 3
# The ends of the names that `frames` writes, by the field that is to have the file.
_FILES: Final = {
    "poster": "poster.jpg",
    "poster_webp": "poster.webp",
    "spritesheet": "sheet.jpg",
    "animation": "preview.webp",
}


class NotDrawn(Exception):
    """No pictures could be made of a video."""


def make_next() -> int:
    """Makes the pictures of the job that waits longest. Returns 1, or 0 if none waits."""
    if not Preview.objects.filter(due_at__lte=in_database()).exists() or media_problem():
        return 0
    preview = _claim()
    if preview is None:
        return 1
    job = Job.objects.filter(pk=preview.job_id).first()
    if job is None or job.status != JobStatus.COMPLETED or job.removed_at is not None:
        _end(preview)
        return 1
    prefix = str(drafts() / f"{job.pk}-{secrets.token_hex(4)}")
    try:
        drafts().mkdir(exist_ok=True)
        layout = _draw(job, prefix)
        stored_at = time.time()
        kept = _keep(job, prefix)
        if not _take(job, kept, layout, stored_at):
            _discard(kept)
            _end(preview)
    except Exception as error:
        logger.warning("No previews of job %s at try %d: %s", job.pk, preview.tries, error)
        if preview.tries >= _TRIES:
            _end(preview)
    finally:
        for end in _FILES.values():
            Path(f"{prefix}.{end}").unlink(missing_ok=True)
    return 1


def _claim() -> Preview | None:
    """Takes the next one for a while, so that no other worker does. None if that one is tried no more, or
    another worker has it."""
    now = database_now()
    with transaction.atomic():
        due = Preview.objects.select_for_update(skip_locked=True).filter(due_at__lte=now)
        preview = due.order_by("due_at").first()
        if preview is None:
            return None
        if preview.tries >= _TRIES:
            # The worker died at each of them, and the file may be why.
            logger.warning("No previews of job %s: no try came to its end.", preview.job_id)
            _end(preview)
            return None
        preview.tries += 1
        preview.due_at = now + _LEASE
        preview.save(update_fields=["tries", "due_at"])
    return preview


def _draw(job: Job, prefix: str) -> Any:
    """Has the pictures drawn by a process of its own. Returns the layout of the sheet."""

    def renew() -> None:
        Preview.objects.filter(job=job).update(due_at=in_database(_LEASE.total_seconds()))

    with (
        on_disk(str(job.video.name), renew) as video,
        on_disk(str(job.thumbnail.name or ""), renew) as picture,
    ):
        return _drawn(job, video, picture, prefix)


def _drawn(job: Job, video: str, picture: str, prefix: str) -> Any:
    command = [
        *(sys.executable, "-B", "-m", "videos.previews.frames"),
        *(video, str(job.result_seconds or 0), picture, prefix),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=settings.BASE_DIR,
            # Nothing of the service is its business.
            env={"PYTHONPATH": str(settings.BASE_DIR)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # FFmpeg may write any amount there.
            stderr=subprocess.DEVNULL,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotDrawn(f"it took longer than {_SECONDS} seconds") from None
    if done.returncode != 0:
        raise NotDrawn(f"exit status {done.returncode} {done.stdout[:200].decode(errors='replace')}")
    return json.loads(done.stdout)


def _keep(job: Job, prefix: str) -> dict[str, str]:
    """Moves the files into the media. Returns their names by field."""
    folder = Path(str(job.video.name)).parent
    kept: dict[str, str] = {}
    try:
        for field, end in _FILES.items():
            path = Path(f"{prefix}.{end}")
            path.chmod(0o644)
            name = f"{folder}/{job.pk}-0-{secrets.token_hex(4)}{path.suffix}"
            with path.open("rb") as file:
                kept[field] = default_storage.save(name, Finished(file, name=str(path)))
    except OSError:
        _discard(kept)
        raise
    return kept


def _take(job: Job, kept: dict[str, str], layout: Any, stored_at: float) -> bool:
    """Gives the job its pictures; False if its files were removed meanwhile, or swept away."""
    with transaction.atomic():
        job = Job.lock(pk=job.pk)
        if job.removed_at is not None or not are_there(kept.values(), stored_at):
            return False
        Preview.objects.filter(job=job).update(due_at=None, layout=layout, **kept)
        Job.objects.filter(pk=job.pk).update(updated_at=database_now())
    return True


def _end(preview: Preview) -> None:
    Preview.objects.filter(pk=preview.pk).update(due_at=None)


def _discard(kept: dict[str, str]) -> None:
    with suppress(OSError):
        delete_files(kept.values())
