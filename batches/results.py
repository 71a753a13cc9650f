"""All videos of a batch as one ZIP file, with the manifest in it."""

import os
import re
import tempfile
import unicodedata
import zlib
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import PurePath
from typing import Any, BinaryIO, Final
from uuid import UUID

from django.core.files.storage import default_storage

from batches.manifest import MANIFESTS
from batches.zipped import Member, Zipped
from videos.models import Job
from videos.results.media import MediaUnusable, is_mounted
from videos.states import JobStatus
from videos.stores.media import is_in_bucket, open_at

_CHUNK: Final = 1 << 20
# Of a caller's own name for a job. Disks take 255, and some programs put more before it.
_NAME_BYTES: Final = 150
# What no disk and no shell takes for something else, besides letters, marks on them, and digits.
_FIT: Final = frozenset("._- ")
# Windows takes a file for one of these by what stands before the first dot.
_DEVICES: Final = re.compile(r"con|prn|aux|nul|com\d|lpt\d", re.IGNORECASE)


def zip_of(batch_id: UUID, created_at: datetime, context: dict[str, Any]) -> Zipped:
    """The archive of the videos that are there, and of a manifest that names the file of each job.

    `context` is a serializer's context with the request. Raises OSError if the media cannot be read.
    """
    members, files = [], {}
    for number, member in _videos(batch_id):
        members.append(member)
        files[number] = member.name
    for name, lines in MANIFESTS.items():
        members.append(_written(name, lines(batch_id, context, files), created_at))
    return Zipped(members)


def _videos(batch_id: UUID) -> Iterator[tuple[int, Member]]:
    """The videos by the numbers of their items. One whose file is not there, or not as it was kept, is left
    out."""
    taken: set[str] = set()
    jobs = Job.objects.filter(group=batch_id).order_by("pk")
    rows = jobs.values_list("ref", "status", "removed_at", "video", "file_size", "crc32", "completed_at")
    for number, (ref, status, removed_at, video, size, crc32, completed_at) in enumerate(rows.iterator(), 1):
        if status != JobStatus.COMPLETED or removed_at is not None or completed_at is None:
            continue
        try:
            # Of a bucket it is not asked: a thousand questions take a minute.
            found = size if is_in_bucket(video) else default_storage.size(video)
            if found is None or (size is not None and found != size):
                continue
            checksum = _measured(video) if crc32 is None else crc32
        except FileNotFoundError:
            if not is_mounted():
                raise MediaUnusable("the media folder is not mounted") from None
            continue
        name = file_name(ref, number, PurePath(video).suffix, taken)
        yield number, Member(name, found, checksum, completed_at, partial(open_at, video))


def file_name(ref: str, number: int, suffix: str, taken: set[str]) -> str:
    """A name for the file of an item that no other has, and that any disk takes: its ref, or its number.
    `taken` gets it."""
    composed = unicodedata.normalize("NFC", ref.removesuffix(suffix))
    plain = re.sub("\0+", "_", "".join(each if _fits(each) else "\0" for each in composed)).strip(" .")
    # A letter may be cut in half.
    plain = plain.encode()[:_NAME_BYTES].decode(errors="ignore").strip(" .")
    if plain.startswith("-") or _DEVICES.fullmatch(plain.partition(".")[0].strip()):
        plain = f"_{plain}"
    if not plain or f"{plain}{suffix}".casefold() in taken:
        plain = f"{plain}-{number}" if plain else f"{number:05}"
    while (name := f"{plain}{suffix}").casefold() in taken:
        plain += "_"
    taken.add(name.casefold())
    return name


def _fits(letter: str) -> bool:
    return letter.isalnum() or letter in _FIT or unicodedata.category(letter) in {"Mn", "Mc"}


def _written(name: str, lines: Iterator[str], changed_at: datetime) -> Member:
    """A member that is written to a file without a name first, because its length stands before it."""
    unnamed = _Unnamed()
    crc32 = size = 0
    with unnamed() as file:
        for line in lines:
            encoded = line.encode()
            crc32 = zlib.crc32(encoded, crc32)
            size += file.write(encoded)
    return Member(name, size, crc32, changed_at, unnamed)


class _Unnamed:
    """A file without a name, which can be opened again and again. It goes with this object."""

    def __init__(self) -> None:
        self._descriptor, path = tempfile.mkstemp(prefix="takeone-manifest-")
        os.unlink(path)

    def __del__(self) -> None:
        os.close(self._descriptor)

    def __call__(self, start: int = 0) -> BinaryIO:
        # Its place is shared, and there is one reader at a time.
        os.lseek(self._descriptor, start, os.SEEK_SET)
        return open(os.dup(self._descriptor), "r+b")


def _measured(video: str) -> int:
    """The checksum of a file that version 0.2.0 has kept, from now on kept as well."""
    crc32 = 0
    with open_at(video, 0) as file:
        while chunk := file.read(_CHUNK):
            crc32 = zlib.crc32(chunk, crc32)
    Job.objects.filter(video=video, crc32=None).update(crc32=crc32)
    return crc32
