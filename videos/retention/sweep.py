"""Removes files that no job uses: of tries that crashed, of removals that crashed, of jobs that are gone.

A file in use is never removed. A job takes a file only under its row lock, and only if the file is there
(`complete`); and this removes a file only under the same lock, and only if the job does not use it.

Jobs leave the database only by being archived. If a job is not there and could not have been archived yet,
the database is not the one that the files belong to, such as an old backup. Its files stay.
"""

import logging
import time
from contextlib import suppress
from typing import Final
from uuid import UUID

from django.core.files.storage import default_storage
from django.db import transaction

from videos.models import Job
from videos.results.fetch import remove_leftovers
from videos.retention.archive import archived_before, id_of
from videos.retention.stored import Stored, stored_files, unused, used_names

logger = logging.getLogger(__name__)

# How often it is called: in two days it has looked at the files of all jobs.
SWEEP_SECONDS: Final = 600
_PARTS: Final = 256
# A try that still runs uses its file before it is so old.
UNUSED_SECONDS: Final = 3_600
_MOST: Final = 500


def sweep_results() -> int:
    """Removes files that no job has used for an hour, of one part in 256 of all jobs. Returns how many."""
    remove_leftovers()
    part = int(time.time() // SWEEP_SECONDS) % _PARTS
    before = time.time() - UNUSED_SECONDS
    # The last byte of an id is random.
    files = stored_files(lambda job: job.bytes[-1] == part)
    removed = 0
    for file in unused(file for file in files if file.written_at < before):
        removed += remove_unused(file)
        if removed == _MOST:
            break
    return removed


def may_be_archived(job: UUID) -> bool:
    """Whether a job of this id, if it ever was here, may have been archived."""
    before = archived_before()
    return before is not None and job < id_of(before)


def remove_unused(file: Stored) -> bool:
    """Removes a file unless its job uses it by now. Returns whether it did."""
    with transaction.atomic():
        # Whoever gives the job a file waits, and then finds that it is not there.
        job = Job.objects.select_for_update(of=("self",)).filter(pk=file.job).first()
        if file.name in used_names([job.pk]) if job is not None else not may_be_archived(file.job):
            return False
        with suppress(FileNotFoundError):
            default_storage.delete(file.name)
    logger.info("Removed %s, which no job uses: %d bytes.", file.name, file.size)
    return True
