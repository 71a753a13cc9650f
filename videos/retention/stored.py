"""The files of results that are in the media, and which of them a job uses."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from videos.models import Job, Preview
from videos.stores.media import bucket_named, folder_of

FOLDER: Final = "videos"
_TOGETHER: Final = 500
# As `keep.fetch_and_keep` names them: the job, the number of its attempt, and a token.
_NAME: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-[0-9]+-[0-9a-f]{8}[.][a-z0-9]{1,9}")
_FOLDER_NAME: Final = re.compile(r"[0-9]{2,4}")


class Stored(NamedTuple):
    """A file in the media or in a bucket, named as `keep.fetch_and_keep` does."""

    job: UUID
    name: str
    size: int
    # Unix time.
    written_at: float


def stored_files(wanted: Callable[[UUID], bool] = lambda _: True) -> Iterator[Stored]:
    """The files of wanted jobs on the disk. A file that goes meanwhile is left out."""
    for entry in _entries():
        match = _NAME.fullmatch(entry.name)
        if match is None or not wanted(job := UUID(match[1])):
            continue
        with suppress(FileNotFoundError):
            found = entry.stat(follow_symlinks=False)
            yield Stored(job, _below_media(entry), found.st_size, found.st_mtime)


def files_in(bucket: str, after: str = "") -> Iterator[Stored]:
    """The files in a bucket by name, those after `after`. Raises OSError."""
    folder = folder_of(bucket)
    for found in bucket_named(bucket, patient=True).listed(FOLDER, after.removeprefix(folder)):
        match = _NAME.fullmatch(found.name.rpartition("/")[2])
        if match is not None:
            yield Stored(UUID(match[1]), f"{folder}{found.name}", found.size, found.written_at.timestamp())


def foreign_names() -> Iterator[str]:
    """The names of files on the disk that are no results of ours."""
    return (_below_media(entry) for entry in _entries() if not _NAME.fullmatch(entry.name))


def _entries() -> Iterator["os.DirEntry[str]"]:
    """What is in the folders of all months."""
    for year in _folders(Path(settings.MEDIA_ROOT) / FOLDER):
        for month in _folders(year):
            with os.scandir(month) as entries:
                yield from entries


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if _FOLDER_NAME.fullmatch(each.name) and each.is_dir())


def _below_media(entry: "os.DirEntry[str]") -> str:
    return str(Path(entry.path).relative_to(settings.MEDIA_ROOT))


def unused(files: Iterable[Stored]) -> Iterator[Stored]:
    """Those of these files that no job uses, some hundred in memory at a time."""
    files = iter(files)
    while some := list(islice(files, _TOGETHER)):
        used = used_names({file.job for file in some})
        yield from (file for file in some if file.name not in used)


def used_names(jobs: Iterable[UUID]) -> set[str]:
    """The names of the files that these jobs use."""
    return set(names_of(Job.objects.filter(pk__in=list(jobs), removed_at=None).order_by()))


def names_of(jobs: QuerySet[Job]) -> list[str]:
    """The names of the files that were kept of these jobs."""
    rows = jobs.values_list("video", "thumbnail", *(f"preview__{name}" for name in Preview.FILES))
    return [name for row in rows for name in row if name]
