"""Jobs as OpenAI's `Video` object."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from videos.models import Job
from videos.reads.rows import JobRow
from videos.retention.removal import kept_until
from videos.states import JobStatus

_PREFIX: Final = "video_"
_STATUS: Final = {
    JobStatus.PENDING: "queued",
    JobStatus.PROCESSING: "in_progress",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "failed",
}
_CANCELLED: Final = ("cancelled", "The video was cancelled.")


def id_of(pk: UUID) -> str:
    """The id of a job in this API."""
    return f"{_PREFIX}{pk.hex}"


def pk_of(video_id: str) -> UUID | None:
    """The job that an id names; None if it is no id of this API."""
    digits = video_id.removeprefix(_PREFIX)
    if digits == video_id or len(digits) != 32:
        return None
    try:
        return UUID(hex=digits)
    except ValueError:
        return None


def video_of(job: JobRow) -> dict[str, Any]:
    """The job with all keys of OpenAI's schema; times are in Unix seconds."""
    sent = job.submissions[-1].request if job.submissions else job.fitted
    seconds = float(sent["seconds"]) + float(sent.get("source_seconds") or 0)
    return {
        "id": id_of(job.pk),
        "object": "video",
        "created_at": _unix(job.created_at),
        "status": _STATUS[JobStatus(job.status)],
        "completed_at": _unix(job.completed_at),
        "error": _error(job),
        "expires_at": _unix(kept_until(job)),
        "model": job.model or sent["model"],
        "progress": 100 if job.status == JobStatus.COMPLETED else job.progress,
        "prompt": job.prompt,
        "remixed_from_video_id": _remixed_from(job),
        "seconds": f"{seconds:g}",
        "size": sent["size"],
    }


def _remixed_from(job: JobRow) -> str | None:
    # The protocol shows it for remixes alone.
    return id_of(job.source_job) if job.operation == "remix" and job.source_job is not None else None


def _error(job: JobRow) -> dict[str, str] | None:
    if job.status not in {JobStatus.CANCELLED, JobStatus.FAILED}:
        return None
    is_cancelled = job.status == JobStatus.CANCELLED
    code, message = _CANCELLED if is_cancelled else (job.error_code, job.error_message)
    return {"code": code, "message": message}


def deleted(job: Job) -> dict[str, Any]:
    """The answer to a delete."""
    return {"id": id_of(job.pk), "object": "video.deleted", "deleted": True}


def _unix(at: datetime | None) -> int | None:
    return None if at is None else int(at.timestamp())
