"""Jobs as callers see them, by the fields of serializers.job.JobView.

They are written without that serializer, which is there for the schema: to go through forty fields by it
takes longer than all else that a read does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.budgets.reservations import dollars
from api.moments import written
from upstreams.offer import pricing
from upstreams.offer.request import PRIORITIES
from videos.models import Job
from videos.queue.position.estimates import queue_positions
from videos.queue.position.estimator import QueuePosition
from videos.queue.position.reasons import Waiting
from videos.reads.rows import JobRow
from videos.results.differences import differences
from videos.results.links import Addresses, Links
from videos.retention.removal import kept_until
from videos.states import LIVE, CostState, JobStatus

_PRIORITY_NAMES: Final = {int(priority): name for name, priority in PRIORITIES.items()}
_NOWHERE: Final = QueuePosition()


def show_job(job: JobRow, request: Request) -> dict[str, Any]:
    """One job, with its place in the queue."""
    return show_jobs([job], request)[0]


def show_jobs(jobs: Sequence[JobRow], request: Request, links: Links | None = None) -> list[dict[str, Any]]:
    """Jobs, with their places in the queue, which are found for all together; and links that are made now, or
    these."""
    positions = queue_positions(jobs)
    links = links or Links.now(base_of(request))
    return [_shown(job, positions, links) for job in jobs]


def show_accepted(job: Job, request: Request) -> Response:
    """The answer to a create."""
    answer = {
        "jobId": str(job.pk),
        "status": job.status,
        "message": "The video is queued.",
        "adjustments": job.adjustments,
        "estimatedCost": dollars(job.estimated_cost),
    }
    location = request.build_absolute_uri(f"/api/v1/videos/{job.pk}")
    return Response(
        {"success": True, "data": answer}, status.HTTP_201_CREATED, headers={"Location": location}
    )


def base_of(request: Request) -> str:
    """The address of videos, by the name under which the caller knows us."""
    return request.build_absolute_uri("/api/v1/videos/")


def _shown(job: JobRow, positions: Mapping[UUID, QueuePosition], links: Links) -> dict[str, Any]:
    position = positions.get(job.pk, _NOWHERE)
    fitted = job.fitted
    return {
        "id": str(job.pk),
        "status": job.status,
        "stage": _stage(job),
        "prompt": job.prompt,
        "negativePrompt": job.negative_prompt or None,
        "duration": job.duration,
        "resolution": job.resolution or None,
        "aspectRatio": job.aspect_ratio or None,
        "size": job.size or None,
        "fps": job.fps,
        "seed": job.seed,
        "audio": job.audio,
        "extra": job.extra,
        "inputReference": fitted.get("input_reference"),
        "lastFrame": fitted.get("last_frame"),
        "imageFit": fitted.get("image_fit"),
        "style": job.style or None,
        "model": job.model or fitted["model"],
        "operation": job.operation or "create",
        "sourceJobId": None if job.source_job is None else str(job.source_job),
        "priority": _PRIORITY_NAMES[job.priority],
        "metadata": job.metadata,
        "retainFor": job.retain_for,
        "batchId": None if job.group_id is None else str(job.group_id),
        "ref": job.ref or None,
        "adjustments": job.adjustments,
        "progress": job.progress,
        "soraJobId": next((each.upstream_id for each in job.submissions[::-1] if each.upstream_id), None),
        "submitted": _submitted(job),
        "cost": cost_of(job),
        "result": result_of(job, links),
        "error": error_of(job),
        "overdue": job.overdue,
        "waiting": _waiting(position.waiting),
        "queuePosition": position.position,
        "estimatedCompletionAt": _moment(position.done_at),
        "estimatedCompletionBy": _moment(position.done_by),
        "createdAt": written(job.created_at),
        "updatedAt": written(job.updated_at),
        "startedAt": _moment(job.started_at),
        "completedAt": _moment(job.completed_at),
    }


def _stage(job: JobRow) -> str | None:
    live = next((each.state for each in job.submissions if each.state in LIVE), None)
    return "held" if live is None and job.is_held else live


def _submitted(job: JobRow) -> dict[str, Any] | None:
    if not job.submissions:
        return None
    last = job.submissions[-1]
    return {
        "provider": last.provider_name,
        "model": last.request["model"],
        "seconds": last.request["seconds"],
        "size": last.request["size"],
        "attempt": last.number,
    }


def cost_of(job: JobRow) -> dict[str, Any]:
    """What it may cost, and what counts as paid over all attempts."""
    paid = [each.price for each in job.submissions if each.cost_state == CostState.SETTLED]
    known = [price for price in paid if price is not None]
    return {
        "estimated": dollars(job.estimated_cost),
        "settled": dollars(sum(known)) if len(known) == len(paid) else None,
        "currency": pricing.CURRENCY,
    }


def result_of(job: JobRow, addresses: Addresses) -> dict[str, Any] | None:
    """The finished video; None before that."""
    if job.status != JobStatus.COMPLETED:
        return None

    is_kept = job.removed_at is None

    def link(variant: str, stored: str | None) -> str | None:
        return addresses.to_file(job, variant, stored) if is_kept and stored else None

    return {
        "videoUrl": addresses.to_file(job, "video", job.video) if is_kept else None,
        "thumbnailUrl": link("thumbnail", job.thumbnail),
        "posterUrl": link("poster", job.poster),
        "posterWebpUrl": link("posterWebp", job.poster_webp),
        "spritesheetUrl": link("spritesheet", job.spritesheet),
        "vttUrl": addresses.to(job.pk, "vtt") if is_kept and job.spritesheet else None,
        "previewUrl": link("preview", job.animation),
        "duration": job.result_seconds,
        "width": job.width,
        "height": job.height,
        "fps": job.result_fps,
        "codec": job.codec or None,
        "audio": job.result_audio,
        "format": job.format,
        "fileSize": job.file_size,
        "sha256": job.sha256 or None,
        "keptUntil": _moment(kept_until(job)),
        "removedAt": _moment(job.removed_at),
        "onHold": job.on_hold,
        "differences": differences(job, job.submissions[-1]) if job.submissions else [],
    }


def error_of(job: JobRow) -> dict[str, Any] | None:
    """Why it failed; None if it did not."""
    if job.status != JobStatus.FAILED or job.failed_at is None:
        return None
    return {
        "code": job.error_code,
        "message": job.error_message,
        "details": job.error_details,
        "timestamp": written(job.failed_at),
    }


def _waiting(found: Waiting | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "reason": found.reason.value,
        "since": written(found.since),
        "until": _moment(found.until),
        "detail": found.detail or None,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else written(at)
