"""Django's storage of all files: by its name, each is on the disk of the media or in a bucket.

The name of what is in a bucket begins with `s3/` and the name of the bucket. So each file says where it is,
wherever new ones go.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from django.conf import settings
from django.core.files import File
from django.core.files.storage import FileSystemStorage, default_storage

if TYPE_CHECKING:
    from videos.stores.bucket import Bucket

BUCKETS: Final = "s3/"
# As many as a store deletes in one call.
_TOGETHER: Final = 1000


class NoSuchBucket(OSError):
    """No setting names the bucket of a file."""


@cache
def _bucket(name: str, patient: bool) -> "Bucket":
    # Without a bucket nothing of boto3 is in memory.
    from videos.stores.bucket import Bucket

    return Bucket(**settings.RESULT_BUCKETS[name], patient=patient)


def bucket_named(name: str, *, patient: bool = False) -> "Bucket":
    """A bucket; `patient` to send, read or list files. Raises NoSuchBucket."""
    if name not in settings.RESULT_BUCKETS:
        raise NoSuchBucket(
            f"a result is in the bucket {name}, which neither RESULT_STORAGE nor RESULT_STORAGE_BEFORE names"
        )
    return _bucket(name, patient)


def is_in_bucket(name: str) -> bool:
    """Whether a file is in a bucket, by its name."""
    return name.startswith(BUCKETS)


def folder_of(bucket: str) -> str:
    """What the names of files in a bucket begin with; "" for those on the disk, whose bucket is ""."""
    return f"{BUCKETS}{bucket}/" if bucket else ""


def _parts(name: str) -> tuple[str, str]:
    """The bucket and the name in it; "" is the disk."""
    if not is_in_bucket(name):
        return "", name
    bucket, _, rest = name.removeprefix(BUCKETS).partition("/")
    return bucket, rest


def _split(name: str, *, patient: bool = False) -> tuple["Bucket", str]:
    bucket, rest = _parts(name)
    return bucket_named(bucket, patient=patient), rest


def bare(name: str) -> str:
    """The name without the bucket."""
    return _parts(name)[1]


def open_at(name: str, start: int) -> BinaryIO:
    """A file from a place on, to be read and closed. Raises OSError."""
    if is_in_bucket(name):
        bucket, rest = _split(name, patient=True)
        return bucket.open_at(rest, start)
    file = (Path(settings.MEDIA_ROOT) / name).open("rb")
    file.seek(start)
    return file


def link_to(name: str, method: str, seconds: int, kind: str, disposition: str) -> str:
    """The bucket's own link to a file of a bucket, which needs no key and ends after so many seconds."""
    bucket, rest = _split(name)
    headers = {
        "ResponseContentType": kind,
        "ResponseContentDisposition": disposition,
        "ResponseCacheControl": "private, no-cache",
    }
    return bucket.link(rest, method, seconds, headers)


def delete_files(names: Iterable[str]) -> None:
    """Deletes these files, if they are there: those of a bucket together. Raises OSError if some of them are
    left, after it has tried them all."""
    of_buckets: dict[str, list[str]] = defaultdict(list)
    problems: list[OSError] = []
    for name in names:
        bucket, rest = _parts(name)
        if bucket:
            of_buckets[bucket].append(rest)
            continue
        try:
            default_storage.delete(name)
        except OSError as error:
            problems.append(OSError(f"{name}: {error}"))
    for bucket, inside in of_buckets.items():
        for begin in range(0, len(inside), _TOGETHER):
            try:
                bucket_named(bucket).delete_all(inside[begin : begin + _TOGETHER])
            except OSError as error:
                problems.append(error)
    if problems:
        raise problems[0]


class MediaStorage(FileSystemStorage):
    """The disk, and the buckets. Raises OSError, and FileNotFoundError for what is not there."""

    def _open(self, name: str, mode: str = "rb") -> Any:
        if not is_in_bucket(name):
            return super()._open(name, mode)  # type: ignore[misc]
        return File(open_at(name, 0), name=name)

    def _save(self, name: str, content: Any) -> str:
        if not is_in_bucket(name):
            return str(super()._save(name, content))  # type: ignore[misc]
        bucket, rest = _split(name, patient=True)
        with bucket.errors():
            bucket.save(rest, content)
        return name

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name: in a bucket none is taken, because each has a token."""
        return name if is_in_bucket(name) else super().get_available_name(name, max_length)

    def delete(self, name: str) -> None:
        """Deletes a file, if it is there."""
        if not is_in_bucket(name):
            super().delete(name)
            return
        bucket, rest = _split(name)
        with bucket.errors():
            bucket.delete(rest)

    def exists(self, name: str) -> bool:
        """Whether a file is there."""
        if not is_in_bucket(name):
            return super().exists(name)
        bucket, rest = _split(name)
        with bucket.errors():
            return bool(bucket.exists(rest))

    def size(self, name: str) -> int:
        """Its bytes."""
        if not is_in_bucket(name):
            return super().size(name)
        bucket, rest = _split(name)
        with bucket.errors(rest):
            return int(bucket.size(rest))

    def path(self, name: str) -> str:
        """Its path. Raises NotImplementedError for what is in a bucket, as storages without paths do."""
        if is_in_bucket(name):
            raise NotImplementedError(f"{name} is on no disk")
        return super().path(name)
