"""Moves the files of completed jobs to where new results are kept: to the bucket, or back to the disk.

A job has its old files until it has the new ones, all of them in one step. What a crash leaves is used by no
job, and is swept away.
"""

import hashlib
import math
import os
import re
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from upstreams.clock import database_now
from videos.models import Job, JobEvent, Preview
from videos.results.keep import are_there, store_file
from videos.results.local import on_disk
from videos.results.media import require_media
from videos.states import JobStatus
from videos.stores.media import BUCKETS, bare, delete_files, folder_of

_TOGETHER: Final = 100
_FAILURES: Final = 5
_CHUNK: Final = 1 << 20
# The token at the end of a name, by which two copies of a file differ.
_TOKEN: Final = re.compile(r"-[0-9a-f]{8}(?=[.][a-z0-9]+$)")


class NotMoved(Exception):
    """The files of a job stay where they are."""


class Moved(NamedTuple):
    """What became of the files of a job: how many bytes of its video are moved, or why none is."""

    job: UUID
    size: int = 0
    problem: str = ""


class _Found(NamedTuple):
    """The bytes of a file."""

    size: int
    sha256: str
    crc32: int


def move_results() -> Iterator[Moved]:
    """Moves what is not where new results are kept, a job at a time. Raises OSError if nothing can be stored
    there now, or several jobs in a row cannot be moved. It can be begun again at any time."""
    target = folder_of(settings.RESULT_BUCKET)
    last, failures = UUID(int=0), 0
    kept = Job.objects.filter(status=JobStatus.COMPLETED, removed_at=None).select_related("preview")
    while jobs := list(kept.filter(pk__gt=last).order_by("pk")[:_TOGETHER]):
        last = jobs[-1].pk
        for job in jobs:
            names = {each for each in _names(job).values() if each != f"{target}{bare(each)}"}
            if not names:
                continue
            # Its room shrinks with each one.
            require_media()
            try:
                yield Moved(job.pk, _move(job, names, target))
                failures = 0
            except NotMoved as error:
                yield Moved(job.pk, problem=str(error))
            except OSError as error:
                failures += 1
                if failures >= _FAILURES:
                    raise
                yield Moved(job.pk, problem=str(error))


def _names(job: Job) -> dict[str, str]:
    """The names of its files, by field."""
    preview = getattr(job, "preview", None) or Preview()
    fields = {field: str(getattr(job, field).name or "") for field in ("video", "thumbnail")}
    fields |= {field: str(getattr(preview, field).name or "") for field in Preview.FILES}
    return {field: name for field, name in fields.items() if name}


def _move(job: Job, names: set[str], target: str) -> int:
    """Returns the bytes of the video, if that was one of these."""
    stored_at = math.inf
    copies: dict[str, str] = {}
    measured: dict[str, Any] = {}
    size = 0
    try:
        for name in sorted(names):
            copies[name], found = _copy(name, target)
            stored_at = min(stored_at, time.time())
            if name == job.video.name:
                _compare(job, found)
                size = found.size
                measured = {"file_size": found.size, "sha256": found.sha256, "crc32": found.crc32}
        _take(job, copies, measured, target, stored_at)
    except NotMoved:
        # After any other error the job may have them.
        _delete(copies.values())
        raise
    _delete(copies)
    return size


def elsewhere() -> int:
    """How many jobs have a file that is not where new results are kept."""
    target = folder_of(settings.RESULT_BUCKET)
    kept = Job.objects.filter(status=JobStatus.COMPLETED, removed_at=None)
    fields = ("video", "thumbnail", *(f"preview__{name}" for name in Preview.FILES))
    away = Q()
    for field in fields:
        there = Q(**{f"{field}__startswith": target}) if target else ~Q(**{f"{field}__startswith": BUCKETS})
        away |= Q(**{f"{field}__gt": ""}) & ~there
    return kept.filter(away).count()


def _copy(name: str, target: str) -> tuple[str, _Found]:
    new = _TOKEN.sub(f"-{secrets.token_hex(4)}", f"{target}{bare(name)}")
    try:
        with on_disk(name, _nothing) as path:
            found = _measured(Path(path))
            if not target:
                # As the storage's own files: a temporary one is for its owner only.
                Path(path).chmod(0o644)
            return store_file(new, Path(path), _nothing), found
    except FileNotFoundError:
        raise NotMoved(f"{name} is missing") from None


def _nothing() -> None:
    """A move has no lease."""


def _measured(path: Path) -> _Found:
    digest = hashlib.sha256()
    crc32 = size = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
            size += len(chunk)
        os.fsync(file.fileno())
    return _Found(size, digest.hexdigest(), crc32)


def _compare(job: Job, found: _Found) -> None:
    if job.file_size not in {None, found.size} or job.sha256 not in {"", found.sha256}:
        raise NotMoved(f"{job.video.name} is not as it was kept")


def _take(job: Job, copies: dict[str, str], measured: dict[str, Any], target: str, stored_at: float) -> None:
    """Gives the job its new files, unless it has others by now, or was removed."""
    with transaction.atomic():
        try:
            job = Job.lock(pk=job.pk)
        except Job.DoesNotExist:
            raise NotMoved("it was archived meanwhile") from None
        now = _names(Job.objects.select_related("preview").get(pk=job.pk))
        if job.removed_at is not None or not copies.keys() <= set(now.values()):
            raise NotMoved("its files have changed meanwhile")
        if not are_there(copies.values(), stored_at):
            raise NotMoved("its copies took so long that they may be swept away")
        moved = {field: copies[name] for field, name in now.items() if name in copies}
        of_job = {field: moved.pop(field) for field in ("video", "thumbnail") if field in moved}
        at = database_now()
        Job.objects.filter(pk=job.pk).update(updated_at=at, **of_job, **measured)
        if moved:
            Preview.objects.filter(job=job).update(**moved)
        JobEvent.record(job, "result", "kept", "moved", at, detail={"to": target.rstrip("/") or "disk"})


def _delete(names: Any) -> None:
    with suppress(OSError):
        delete_files(names)
