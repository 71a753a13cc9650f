"""Many rows of ended jobs, copied in the database from one that really ended."""

from typing import Any, Final

from django.db import connection

# A row's own values; all other columns are those of the copied row.
_JOB: Final = {
    "id": "uuid_at(n.at, n.g)",
    "status": "(CASE mod(n.g, 20) WHEN 0 THEN 'failed' WHEN 1 THEN 'cancelled' ELSE 'completed' END)",
    "error_code": "(CASE mod(n.g, 20) WHEN 0 THEN 'content_policy' ELSE '' END)",
    "failed_at": "(CASE mod(n.g, 20) WHEN 0 THEN n.at + interval '60 s' END)",
    "cancelled_at": "(CASE mod(n.g, 20) WHEN 1 THEN n.at + interval '60 s' END)",
    "priority": "mod(n.g / 20, 3)",
    **dict.fromkeys(("created_at", "asked_at", "due_at"), "n.at"),
    "started_at": "n.at + interval '5 s'",
    **dict.fromkeys(("completed_at", "updated_at"), "n.at + interval '60 s'"),
}
_SUBMISSION: Final = {
    "id": "nextval(pg_get_serial_sequence('videos_submission', 'id'))",
    "job_id": "uuid_at(n.at, n.g)",
    "upstream_id": "t.upstream_id || '-' || n.g",
    **dict.fromkeys(("created_at", "accepted_at"), "n.at + interval '5 s'"),
    **dict.fromkeys(("seen_at", "rendered_at", "ended_at"), "n.at + interval '60 s'"),
}
_TOGETHER: Final = 20_000
# As RFC 9562 lays out a UUIDv7: 48 bits of milliseconds, the version, then anything.
_UUID_AT: Final = """
CREATE OR REPLACE FUNCTION pg_temp.uuid_at(at timestamptz, g bigint) RETURNS uuid IMMUTABLE LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0')
        || '7' || substr(md5(g::text), 1, 3) || '8' || substr(md5(g::text), 4, 15))::uuid
$$
"""


def copy_ended(job: Any, count: int, *, apart: int = 10, after: int = 0) -> None:
    """Copies an ended job with its one submission, back into the past, so many seconds apart. In twenty, one
    has failed and one was cancelled; the priorities are equally frequent. Of a second call, `after` is the
    number of copies of those before."""
    with connection.cursor() as cursor:
        cursor.execute(_UUID_AT)
        for table, own, where in (
            ("videos_job", _JOB, "t.id = %s"),
            ("videos_submission", _SUBMISSION, "t.job_id = %s"),
        ):
            cursor.execute(
                "SELECT column_name FROM information_schema.columns"
                " WHERE table_name = %s AND table_schema = current_schema()",
                [table],
            )
            columns = [name for (name,) in cursor.fetchall()]
            values = [own.get(name, f't."{name}"').replace("uuid_at", "pg_temp.uuid_at") for name in columns]
            names = ", ".join(f'"{name}"' for name in columns)
            # All of it is written here.
            statement = (
                f"INSERT INTO {table} ({names}) SELECT {', '.join(values)} FROM {table} t,"  # noqa: S608
                " (SELECT g, %s - (g - %s) * %s * interval '1 s' AS at FROM generate_series(%s, %s) g) n"
                f" WHERE {where}"
            )
            for first in range(0, count, _TOGETHER):
                last = min(first + _TOGETHER, count)
                span = [after + first + 1, after + last]
                cursor.execute(statement, [job.created_at, after, apart, *span, job.pk])
            cursor.execute(f"VACUUM ANALYZE {table}")


def end(job: Any) -> None:
    """Ends a waiting job as a finished render would have ended it."""
    from datetime import timedelta

    from django.utils import timezone

    from upstreams.models import Provider
    from videos.models import Job, Submission
    from videos.states import CostState, JobStatus, SubmissionState

    now = timezone.now()
    Submission.objects.create(
        job=job,
        number=1,
        provider=Provider.objects.get(),
        match_key=job.match_key,
        state=SubmissionState.STORED,
        lease_until=now,
        give_up_at=now + timedelta(days=1),
        request=job.fitted,
        model=job.fitted["model"],
        seconds=job.fitted["seconds"],
        upstream_id=f"video_{job.pk.hex}",
        price=job.estimated_cost,
        cost_state=CostState.SETTLED,
        create_succeeded=True,
        created_at=now,
        accepted_at=now,
        seen_at=now,
        rendered_at=now,
        ended_at=now,
    )
    Job.objects.filter(pk=job.pk).update(
        status=JobStatus.COMPLETED,
        progress=100,
        video=f"videos/{job.pk}.mp4",
        thumbnail=f"videos/{job.pk}.webp",
        result_seconds=4.0,
        width=1280,
        height=720,
        format="mp4",
        file_size=1_234_567,
        started_at=now,
        completed_at=now,
        reservation=None,
    )
