"""The files of a completed job."""

import logging
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Final

from django.db.models.fields.files import FieldFile
from django.http import HttpResponse, HttpResponseBase, HttpResponseRedirect
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
from rest_framework import status
from rest_framework.exceptions import APIException, ValidationError
from rest_framework.request import Request

from api.moments import written
from api.openapi.headers import IF_NONE_MATCH, header
from videos.api.content.links import Link
from videos.api.content.serving import Served, serve
from videos.api.serializers.listing import ContentQuery
from videos.api.show import base_of
from videos.models import Job, Preview
from videos.previews.vtt import vtt
from videos.reads.rows import JobRow
from videos.results.links import Links, bucket_link
from videos.results.media import media_problem
from videos.results.names import KINDS, file_name
from videos.results.refetch import is_missing
from videos.states import JobStatus
from videos.stores.media import is_in_bucket

logger = logging.getLogger(__name__)

# For extend_schema.
CONTENT: Final[dict[str, Any]] = {
    "operation_id": "getVideoContent",
    "summary": "Download the video or a picture of it",
    "description": (
        "The whole file, or one range of it. If several ranges are asked for, the whole file comes. "
        "400 `job_not_completed` before the job is completed. A link of a job's `result` has `expires` and "
        "`signature`, and needs no key until it ends."
    ),
    "parameters": [
        ContentQuery,
        OpenApiParameter("Range", str, OpenApiParameter.HEADER, description="One range: `bytes=0-1023`."),
        OpenApiParameter(
            "If-Range",
            str,
            OpenApiParameter.HEADER,
            description="An ETag or date: the range comes only from that file, and the whole file otherwise.",
        ),
        IF_NONE_MATCH,
        header("Repr-Digest", [200, 206], "The SHA-256 of the whole file, if it is known (RFC 9530)."),
        header("ETag", [200, 206, 304], "Changes if the file was fetched again."),
        header("Last-Modified", [200, 206, 304], "When the file was stored."),
        header("Content-Range", [206], "Which bytes of how many these are."),
        header("Content-Disposition", [200, 206], "The name to save it as: from the prompt and the id."),
    ],
    "responses": {
        **{
            (status, kind): bytes
            for status in (200, 206)
            for kind in KINDS.values()
            if status == 200 or kind != KINDS[".vtt"]
        },
        302: OpenApiResponse(description="The file is in a bucket: follow this link to it, without the key."),
        304: OpenApiResponse(description="Nothing has changed."),
    },
}


class NotCompleted(APIException):
    """400: there is no result yet, or there will never be one."""

    status_code = status.HTTP_400_BAD_REQUEST
    default_code = "job_not_completed"

    def __init__(self, job: Job | JobRow) -> None:
        super().__init__(f"The job is {job.status}; its result is there once it is completed.")
        self.extra = {"status": job.status}


class FileMissing(APIException):
    """410: the file was kept, and is not there any more, or not as a whole."""

    status_code = status.HTTP_410_GONE
    default_code = "file_missing"
    default_detail = (
        "The file is not in this service's media. POST …/sync has it fetched again, if the upstream still "
        "has it; otherwise ask the operator to restore it."
    )


class ResultRemoved(APIException):
    """410: the files were kept, and were removed by request or because their time was over."""

    status_code = status.HTTP_410_GONE
    default_code = "result_removed"

    def __init__(self, removed_at: datetime) -> None:
        at = written(removed_at)
        super().__init__(f"The files of this job were removed at {at}. They cannot be fetched again.")
        self.extra = {"removedAt": at}


class MediaUnavailable(APIException):
    """503: the media cannot be read now; nothing is lost."""

    status_code = status.HTTP_503_SERVICE_UNAVAILABLE
    default_code = "media_unavailable"
    default_detail = "This service cannot read its media now; try again later."
    wait = 30


def file_of(job: Job, variant: str, request: Request) -> HttpResponseBase:
    """A file of a job, by one of serializers.listing.VARIANTS.

    Raises NotCompleted, ResultRemoved, FileMissing, MediaUnavailable, ValidationError, and what `serve`
    raises.
    """
    if job.status != JobStatus.COMPLETED:
        raise NotCompleted(job)
    if job.removed_at is not None:
        raise ResultRemoved(job.removed_at)
    kept = _files_of(job, variant).get(variant)
    if not kept:
        raise ValidationError({"variant": f"This job has no {variant}."})
    if variant == "vtt":
        return _vtt(job, str(kept.name), request)
    stored = str(kept.name)
    try:
        if is_in_bucket(stored):
            return _from_bucket(job, variant, stored, request)
        if variant == "video" and is_missing(job):
            raise FileNotFoundError(f"{stored} is missing, or has another length than it had")
        served = Served(
            path=Path(kept.path),
            stored=stored,
            kind=KINDS.get(PurePath(stored).suffix, "application/octet-stream"),
            name=file_name(job.prompt, job.pk, variant, stored),
            sha256=job.sha256 if variant == "video" else "",
        )
        return serve(request, served)
    except OSError as error:
        if not isinstance(error, FileNotFoundError) or media_problem():
            raise MediaUnavailable from error
        logger.error("%s of job %s is not in the media any more.", stored, job.pk)
        raise FileMissing from error


def _from_bucket(job: Job, variant: str, stored: str, request: Request) -> HttpResponseBase:
    """Sends the caller to the bucket, which knows ranges and conditions itself."""
    method = "HEAD" if request.method == "HEAD" else "GET"
    answer = HttpResponseRedirect(bucket_link(job, variant, stored, method))
    # The link ends.
    answer["Cache-Control"] = "private, no-store"
    return answer


def _files_of(job: Job, variant: str) -> dict[str, FieldFile]:
    """The files that a job has, by variant."""
    if variant in {"video", "thumbnail"}:
        return {"video": job.video, "thumbnail": job.thumbnail}
    preview = Preview.objects.filter(job=job).first() or Preview()
    return {
        "poster": preview.poster,
        "posterWebp": preview.poster_webp,
        "spritesheet": preview.spritesheet,
        # It is written anew each time, because it has a link to the sheet in it.
        "vtt": preview.spritesheet,
        "preview": preview.animation,
    }


def _vtt(job: Job, stored: str, request: Request) -> HttpResponseBase:
    base = base_of(request)
    # Whoever has a link to it has the sheet no longer than that.
    links = Links(base, request.auth.expires) if isinstance(request.auth, Link) else Links.now(base)
    layout: Any = Preview.objects.values_list("layout", flat=True).get(job=job)
    sheet: str = links.to_file(job, "spritesheet", stored)
    text = vtt(layout, sheet, job.result_seconds)
    answer = HttpResponse(text, content_type=KINDS[".vtt"])
    answer["Cache-Control"] = "private, no-cache"
    answer["Content-Disposition"] = f'inline; filename="{job.pk}.vtt"'
    return answer
