"""Removes files that no job uses: of tries that crashed, and of removals that crashed.

A file in use is never removed. A job takes a file only under its row lock, and only if the file is there
(`complete`); and this removes a file only under the same lock, and only if the job does not use it.

Of a bucket nobody asks under a lock: a job takes a file only for a while after it was stored there
(`keep.are_there`), and what is removed is older by hours.

Nor is a file removed that may be all that is left of a paid render, because the database is an old backup:
one whose job is not there, has not ended, has not changed since the file was written, or lacks its own file.
"""

import logging
import time
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from django.conf import settings
from django.core.cache import cache
from django.core.files.storage import default_storage
from django.db import transaction

from videos.models import Job
from videos.results.fetch import remove_leftovers
from videos.retention.stored import FOLDER, Stored, files_in, stored_files, unused, used_names
from videos.states import JOB_ENDED, JobStatus
from videos.stores.media import bucket_named

logger = logging.getLogger(__name__)

# How often it is called: in two days it has looked at the files of all jobs.
SWEEP_SECONDS: Final = 600
_PARTS: Final = 256
# A try that still runs uses its file before it is so old.
UNUSED_SECONDS: Final = 3_600
# No job takes a file that was stored there more than keep.ADOPTED_SECONDS ago. And the clock is the store's,
# which dates a file by when its upload began.
UNUSED_IN_BUCKET_SECONDS: Final = 6 * 3_600
_LONGEST_SECONDS: Final = 5.0
_TOGETHER: Final = 500
# No upload takes so long.
_UPLOAD_SECONDS: Final = 86_400


def sweep_results() -> int:
    """Removes files that no job has used for an hour, of one part in 256 of all jobs, for some seconds at
    most. Returns how many."""
    remove_leftovers()
    removed = sum(_sweep_bucket(bucket) for bucket in settings.RESULT_BUCKETS)
    part = int(time.time() // SWEEP_SECONDS) % _PARTS
    before = time.time() - UNUSED_SECONDS
    ends = time.monotonic() + _LONGEST_SECONDS
    # The last byte of an id is random.
    files = stored_files(lambda job: job.bytes[-1] == part)
    for file in unused(file for file in files if file.written_at < before):
        try:
            removed += remove_unused(file)
        except OSError as error:
            logger.warning("%s, which no job uses, stays: %s", file.name, error)
        if time.monotonic() > ends:
            break
    return removed


def _sweep_bucket(bucket: str) -> int:
    """Removes such files from the next part of a bucket, of which each page is one call. Returns how many."""
    key = f"results-swept-to:{bucket}"
    seen = after = cache.get(key, "")
    before = time.time() - UNUSED_IN_BUCKET_SECONDS - settings.SORA_DOWNLOAD_SECONDS
    ends = time.monotonic() + _LONGEST_SECONDS
    removed = 0
    try:
        if not after:
            _end_uploads(bucket)
        files = files_in(bucket, after)
        while time.monotonic() < ends:
            some = list(islice(files, _TOGETHER))
            for file in unused(file for file in some if file.written_at < before):
                removed += _remove_from_bucket(file)
            # At the end it begins anew.
            seen = some[-1].name if some else ""
            if not some:
                break
    except OSError as error:
        logger.warning("The sweep of the results could not go on: %s", error)
    cache.set(key, seen, None)
    return removed


def _remove_from_bucket(file: Stored) -> bool:
    """As `remove_unused`, without a call of the bucket under the lock."""
    job = Job.objects.filter(pk=file.job).first()
    try:
        if job is None or not _needs_no_other(job, file):
            return False
        with transaction.atomic():
            now = Job.objects.select_for_update(of=("self",)).filter(pk=file.job).first()
            same = now is not None and (now.status, now.video.name) == (job.status, job.video.name)
            if not same or file.name in used_names([job.pk]):
                return False
        # Nobody takes it any more: it is too old.
        default_storage.delete(file.name)
    except OSError as error:
        logger.warning("%s, which no job uses, stays: %s", file.name, error)
        return False
    logger.info("Removed %s, which no job uses: %d bytes.", file.name, file.size)
    return True


def _end_uploads(bucket: str) -> None:
    try:
        bucket_named(bucket, patient=True).end_uploads(
            FOLDER, datetime.now(UTC) - timedelta(seconds=_UPLOAD_SECONDS)
        )
    except OSError as error:
        # Not every store can list them.
        logger.info("Uploads that were broken off stay where they are: %s", error)


def remove_unused(file: Stored) -> bool:
    """Removes a file unless its job uses it by now, or may need it. Returns whether it did."""
    with transaction.atomic():
        # Whoever gives the job a file waits, and then finds that it is not there.
        job = Job.objects.select_for_update(of=("self",)).filter(pk=file.job).first()
        if job is None or file.name in used_names([job.pk]) or not _needs_no_other(job, file):
            return False
        default_storage.delete(file.name)
    logger.info("Removed %s, which no job uses: %d bytes.", file.name, file.size)
    return True


def _needs_no_other(job: Job, file: Stored) -> bool:
    """Whether a job has come to its end after this file was written, and has what it then had."""
    if job.status not in JOB_ENDED or file.written_at >= job.updated_at.timestamp():
        return False
    is_kept = job.status == JobStatus.COMPLETED and job.removed_at is None
    return not is_kept or default_storage.exists(str(job.video.name))
