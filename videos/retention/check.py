"""Compares the files in the media with the rows of the jobs. Changes nothing."""

import hashlib
import time
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.files.storage import default_storage

from videos.models import Job
from videos.results.fetch import leftovers
from videos.retention.stored import files_in, foreign_names, stored_files, unused
from videos.states import JobStatus
from videos.stores.media import open_at

_TOGETHER: Final = 500
_CHUNK: Final = 1 << 20


class Disagreement(NamedTuple):
    """What is not as it should be with a file. `what` is one word."""

    what: str
    name: str
    job: UUID | None = None
    detail: str = ""


def check_results(*, min_age: float, with_hash: bool) -> Iterator[Disagreement]:
    """Each disagreement. A file that no job uses is one once it is so many seconds old, because a worker may
    be about to use it. With `with_hash` each video is read as a whole."""
    yield from _rows(with_hash)
    before = time.time() - min_age
    kept = chain(stored_files(), *map(files_in, settings.RESULT_BUCKETS))
    for file in unused(file for file in kept if file.written_at < before):
        is_known = Job.objects.filter(pk=file.job).exists()
        yield Disagreement("unused" if is_known else "orphan", file.name, file.job, f"{file.size} bytes")
    for name in foreign_names():
        yield Disagreement("foreign", name, None, "not named as results are")
    for path in leftovers():
        yield Disagreement("unfinished", str(path.relative_to(settings.MEDIA_ROOT)))


def _rows(with_hash: bool) -> Iterator[Disagreement]:
    last = UUID(int=0)
    completed = Job.objects.filter(status=JobStatus.COMPLETED, removed_at=None)
    kept = completed.select_related("preview").order_by("pk")
    while jobs := list(kept.filter(pk__gt=last)[:_TOGETHER]):
        last = jobs[-1].pk
        for job in jobs:
            yield from _of_job(job, with_hash)


def _of_job(job: Job, with_hash: bool) -> Iterator[Disagreement]:
    previews = job.preview.names() if hasattr(job, "preview") else []
    for name in filter(None, (str(job.video.name), str(job.thumbnail.name or ""), *previews)):
        try:
            size = default_storage.size(name)
            is_video = name == job.video.name
            if is_video and job.file_size is not None and size != job.file_size:
                yield Disagreement("size", name, job.pk, f"{size} bytes, {job.file_size} were kept")
            elif is_video and with_hash and job.sha256 and _sha256(name) != job.sha256:
                yield Disagreement("hash", name, job.pk, "its bytes have changed")
        except FileNotFoundError:
            if not _was_removed(job):
                yield Disagreement("missing", name, job.pk)
        except OSError as error:
            yield Disagreement("unreadable", name, job.pk, error.strerror or str(error))


def _was_removed(job: Job) -> bool:
    """Whether it was removed, archived, or given other files since it was read."""
    return not Job.objects.filter(pk=job.pk, removed_at=None, video=job.video.name).exists()


def _sha256(name: str) -> str:
    digest = hashlib.sha256()
    with open_at(name, 0) as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
