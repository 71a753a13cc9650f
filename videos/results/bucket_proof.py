"""The proof that a bucket is the one that the database knows, and takes files.

An object in it has the id of the media folder, as the marker file of that folder has. Another prefix, an
emptied bucket, or the bucket of another deployment has none, or another one: nothing is stored or removed.
"""

import threading
import time
import uuid
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from videos.models import Job, MediaFolder
from videos.states import JobStatus
from videos.stores.media import bucket_named, folder_of

MARKER: Final = "takeone-media.txt"
# Written now and then, because a store that can be read may refuse what is written.
_PROBE: Final = "takeone-probe.txt"
_ADVICE: Final = "`manage.py media accept-bucket` takes the bucket as it is"
# For so long what was proven counts, in each process.
_PROVEN_SECONDS: Final = 10.0
_WRITTEN_SECONDS: Final = 60.0


@dataclass
class _Proof:
    read_at: float = float("-inf")
    written_at: float = float("-inf")


_proofs: dict[tuple[str, uuid.UUID], _Proof] = {}
_lock: Final = threading.Lock()


def bucket_problem(known: MediaFolder, bucket: str = "") -> str:
    """Why nothing can be stored in a bucket, or in that of new results, in words; "" if it can, or there is
    none."""
    bucket = bucket or settings.RESULT_BUCKET
    if not bucket:
        return ""
    proof = _proofs.setdefault((bucket, known.identity), _Proof())
    now = time.monotonic()
    if now - proof.read_at < _PROVEN_SECONDS:
        return ""
    # Of many threads one asks.
    with _lock:
        if time.monotonic() - proof.read_at < _PROVEN_SECONDS:
            return ""
        try:
            problem = _of_marker(known, bucket)
            if not problem and now - proof.written_at >= _WRITTEN_SECONDS:
                bucket_named(bucket).write_marker(_PROBE, "This shows that files can be written here.")
                proof.written_at = now
        except OSError as error:
            return str(error)
        if not problem:
            proof.read_at = now
    return problem


def doubt(bucket: str) -> None:
    """Has the next call ask the bucket itself, because something has failed there."""
    for (name, _), proof in list(_proofs.items()):
        if name == bucket:
            proof.read_at = proof.written_at = float("-inf")


def accept_bucket(known: MediaFolder, bucket: str) -> None:
    """Takes a bucket as it is for that of this database. Raises OSError."""
    bucket_named(bucket).write_marker(MARKER, str(known.identity))
    doubt(bucket)


def _of_marker(known: MediaFolder, bucket: str) -> str:
    found = bucket_named(bucket).marker(MARKER)
    if found == str(known.identity):
        return ""
    if found is not None:
        return f"the bucket {bucket} belongs to another database: {_ADVICE}"
    if Job.objects.filter(status=JobStatus.COMPLETED, video__startswith=folder_of(bucket)).exists():
        return f"the bucket {bucket} has no marker, so it is not as it was: {_ADVICE}"
    bucket_named(bucket).write_marker(MARKER, str(known.identity))
    return ""
