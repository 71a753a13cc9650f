"""Writes how far renders are."""

import json
from collections.abc import Mapping
from typing import Final
from uuid import UUID

from django.db import connection

from upstreams.clock import database_now
from videos.models import Job
from videos.states import JobStatus

_TABLE: Final = Job._meta.db_table
# A job that another one holds is written by that one, or at the next poll: nothing waits here for a row while
# it holds others.
_POSTGRESQL: Final = f"""
WITH free AS (
    SELECT job.id, told.value::int AS progress
    FROM json_each_text(%s) AS told JOIN {_TABLE} AS job ON job.id = told.key::uuid
    WHERE job.status = %s AND job.progress < told.value::int
    FOR NO KEY UPDATE OF job SKIP LOCKED
)
UPDATE {_TABLE} AS job SET progress = free.progress, updated_at = %s FROM free WHERE job.id = free.id
"""  # noqa: S608
_SQLITE: Final = f"""
UPDATE {_TABLE} AS job SET progress = told.value, updated_at = %s FROM json_each(%s) AS told
WHERE job.id = told.key AND job.status = %s AND job.progress < told.value
"""  # noqa: S608


def write_progress(told: Mapping[UUID, int | None]) -> None:
    """Writes what the upstream tells of these jobs, in one statement. Progress never goes backwards."""
    # 100 is said once the file is here.
    known = {job: min(progress, 99) for job, progress in told.items() if progress}
    if not known:
        return
    now = connection.ops.adapt_datetimefield_value(database_now())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            said = json.dumps({str(job): progress for job, progress in known.items()})
            cursor.execute(_POSTGRESQL, [said, JobStatus.PROCESSING, now])
        else:
            said = json.dumps({job.hex: progress for job, progress in known.items()})
            cursor.execute(_SQLITE, [now, said, JobStatus.PROCESSING])
