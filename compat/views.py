"""The plain API of jobs: four fields in, a flat job with four statuses out (docs/keys-and-people.md)."""

from typing import Any, Final
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers, status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.idempotency import idempotent
from accounts.keys.authentication import key_of
from accounts.ownership import get_owned
from api.addresses.parameters import parameters_of
from api.bodies.fields import (
    StrictCharField,
    StrictChoiceField,
    StrictFloatField,
    StrictSerializer,
    refuse_fields,
)
from api.moments import MomentField, written
from api.openapi.headers import IDEMPOTENCY_KEY
from upstreams.offer.request import ASPECT_RATIOS, STYLES, VideoRequest
from videos.lifecycle.create import create
from videos.models import Job
from videos.states import JobStatus

MAX_PROMPT_LENGTH: Final = 1000
_STATUS: Final = {
    JobStatus.PENDING: "queued",
    JobStatus.PROCESSING: "processing",
    JobStatus.COMPLETED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "failed",
}
_STATUSES: Final = list(dict.fromkeys(_STATUS.values()))
_CANCELLED_BY: Final = {"caller": "its caller", "upstream": "the upstream"}
_ID: Final = "019aa5c2-7d3e-7c41-9d2f-3b6a5e8f1c20"
_WISH: Final = {"prompt": "fun science brain animation", "style": "fun", "duration": 8, "aspectRatio": "16:9"}
_JOB: Final = {
    "jobId": _ID,
    "status": "processing",
    "videoUrl": None,
    "errorMessage": None,
    **_WISH,
    "createdAt": "2026-11-21T10:00:00.000Z",
    "updatedAt": "2026-11-21T10:00:05.000Z",
}


class GenerateVideo(StrictSerializer):
    """The request to create one video, with every field."""

    prompt = StrictCharField(max_length=MAX_PROMPT_LENGTH, help_text="What the video shows.")
    style = StrictChoiceField(choices=list(STYLES))  # type: ignore[assignment]
    duration = StrictFloatField(min_value=1, max_value=60, help_text="Seconds, whole or not.")
    aspectRatio = StrictChoiceField(source="aspect_ratio", choices=list(ASPECT_RATIOS))


class QueuedJob(serializers.Serializer[Any]):
    """The answer to a create."""

    jobId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=["queued"])


class FlatJob(serializers.Serializer[Any]):
    """A job in eleven fields. A field that the create did not give is null."""

    jobId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=_STATUSES, help_text="A cancelled job is failed here.")
    videoUrl = serializers.URLField(allow_null=True, help_text="Once it is completed.")
    errorMessage = serializers.CharField(allow_null=True, help_text="Why it failed.")
    prompt = serializers.CharField()
    style = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    duration = serializers.FloatField(allow_null=True)
    aspectRatio = serializers.CharField(allow_null=True)
    createdAt = MomentField()
    updatedAt = MomentField()


def _answer(data: object, status_code: str) -> OpenApiExample:
    value = {"success": True, "data": data}
    return OpenApiExample("Answer", value=value, response_only=True, status_codes=[status_code])


class _StrictView(APIView):
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuses parameters, because they would be ignored."""
        super().initial(request, *args, **kwargs)
        refuse_fields(parameters_of(request))


class GenerateView(_StrictView):
    """Creates jobs."""

    @extend_schema(
        operation_id="generateVideo",
        summary="Ask for a video",
        tags=["generate"],
        request=GenerateVideo,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: QueuedJob},
        examples=[
            OpenApiExample("Request", value=_WISH, request_only=True),
            _answer({"jobId": _ID, "status": "queued"}, "201"),
        ],
    )
    def post(self, request: Request) -> Response:
        """Creates a job. It is committed when the answer comes, and fitted to what the upstream offers."""
        return idempotent(request, lambda: self._create(request))

    def _create(self, request: Request) -> Response:
        serializer = GenerateVideo(data=request.data)
        serializer.is_valid(raise_exception=True)
        job = create(
            VideoRequest(**serializer.validated_data),
            owner=request.user,  # type: ignore[arg-type]
            api_key=key_of(request),
        )
        answer = {"jobId": str(job.pk), "status": _STATUS[JobStatus(job.status)]}
        location = request.build_absolute_uri(f"/api/videos/{job.pk}")
        return Response(
            {"success": True, "data": answer}, status.HTTP_201_CREATED, headers={"Location": location}
        )


class FlatJobView(_StrictView):
    """Shows a job."""

    @extend_schema(
        operation_id="getGeneratedVideo",
        summary="Follow a job",
        tags=["generate"],
        responses={200: FlatJob},
        examples=[_answer(_JOB, "200")],
    )
    def get(self, request: Request, jobId: UUID) -> Response:
        """Answers from the database. 403 for a job of somebody else, 404 if there is none."""
        job = get_owned(Job.objects.all(), request.user, jobId, reveals=True)  # type: ignore[arg-type]
        headers = {"Cache-Control": "private, no-cache"}
        return Response({"success": True, "data": _flat(job, request)}, headers=headers)


def _flat(job: Job, request: Request) -> dict[str, Any]:
    file = f"/api/v1/videos/{job.pk}/content"
    return {
        "jobId": str(job.pk),
        "status": _STATUS[JobStatus(job.status)],
        "videoUrl": request.build_absolute_uri(file) if job.status == JobStatus.COMPLETED else None,
        "errorMessage": _error_message(job),
        "prompt": job.prompt,
        "style": job.style or None,
        # As it was sent: a whole number without a fraction.
        "duration": int(job.duration) if job.duration and job.duration.is_integer() else job.duration,
        "aspectRatio": job.aspect_ratio or None,
        "createdAt": written(job.created_at),
        "updatedAt": written(job.updated_at),
    }


def _error_message(job: Job) -> str | None:
    if job.status == JobStatus.FAILED:
        return job.error_message or job.error_code
    if job.status == JobStatus.CANCELLED:
        moves = job.events.filter(subject="job", to_state=JobStatus.CANCELLED).order_by("-number")
        by = moves.values_list("detail", flat=True).first() or {}
        return f"It was cancelled by {_CANCELLED_BY.get(by.get('by', ''), 'somebody else')}."
    return None
