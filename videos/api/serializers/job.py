"""How callers see a job."""

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from accounts.budgets.reservations import dollars
from api.bodies.json_field import JSONObjectField
from api.moments import MomentField, written
from upstreams.offer import pricing
from upstreams.offer.request import PRIORITIES
from videos.api.serializers.create import Adjustment
from videos.api.serializers.job_parts import Cost, Failure, Result, Submitted, WaitingView
from videos.models import Job, Submission
from videos.queue.position.estimates import QueuePosition, queue_positions
from videos.results.differences import differences
from videos.states import LIVE, JobStatus


@extend_schema_serializer(component_name="Job")
class JobView(serializers.ModelSerializer[Job]):
    """A job with all its fields."""

    # Many are shown from querysets with their submissions prefetched: queries.owned_jobs.
    _positions: dict[UUID, QueuePosition] | None = None

    stage = serializers.SerializerMethodField(
        help_text="The state of the live submission; held if the key that asked was revoked."
    )
    negativePrompt = serializers.SerializerMethodField()
    resolution = serializers.SerializerMethodField()
    aspectRatio = serializers.SerializerMethodField()
    inputReference = serializers.SerializerMethodField(help_text="The id of the picture that it begins with.")
    lastFrame = serializers.SerializerMethodField(help_text="The id of the picture that it ends with.")
    imageFit = serializers.SerializerMethodField()
    style = serializers.SerializerMethodField()  # type: ignore[assignment]
    model = serializers.SerializerMethodField()
    priority = serializers.SerializerMethodField()
    adjustments = Adjustment(many=True)
    soraJobId = serializers.SerializerMethodField()
    submitted = serializers.SerializerMethodField()
    cost = serializers.SerializerMethodField()
    result = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    overdue = serializers.SerializerMethodField()
    batchId = serializers.UUIDField(source="group_id", allow_null=True)
    ref = serializers.SerializerMethodField()
    waiting = serializers.SerializerMethodField(help_text="Null once it is rendered, or has ended.")
    queuePosition = serializers.SerializerMethodField(
        help_text="1 is next; null once it is sent, and while its batch is paused."
    )
    estimatedCompletionAt = serializers.SerializerMethodField(
        help_text="By the median of this deployment's own last renders of its model and length; null until "
        "there are any."
    )
    estimatedCompletionBy = serializers.SerializerMethodField(
        help_text="The same by their 90th percentile: nine in ten were done by then."
    )
    metadata = JSONObjectField()
    createdAt = MomentField(source="created_at")
    updatedAt = MomentField(source="updated_at")
    startedAt = MomentField(source="started_at", allow_null=True)
    completedAt = MomentField(source="completed_at", allow_null=True)

    class Meta:
        model = Job
        fields = (
            "id",
            "status",
            "stage",
            "prompt",
            "negativePrompt",
            "duration",
            "resolution",
            "aspectRatio",
            "fps",
            "seed",
            "audio",
            "extra",
            "inputReference",
            "lastFrame",
            "imageFit",
            "style",
            "model",
            "priority",
            "metadata",
            "batchId",
            "ref",
            "adjustments",
            "progress",
            "soraJobId",
            "submitted",
            "cost",
            "result",
            "error",
            "overdue",
            "waiting",
            "queuePosition",
            "estimatedCompletionAt",
            "estimatedCompletionBy",
            "createdAt",
            "updatedAt",
            "startedAt",
            "completedAt",
        )
        read_only_fields = fields

    def _submissions(self, job: Job) -> list[Submission]:
        return sorted(job.submissions.all(), key=lambda submission: submission.number)

    def get_stage(self, job: Job) -> str | None:
        live = next((str(s.state) for s in self._submissions(job) if s.state in LIVE), None)
        if live is None and job.is_held():
            return "held"
        return live

    def get_negativePrompt(self, job: Job) -> str | None:
        return job.negative_prompt or None

    def get_resolution(self, job: Job) -> str | None:
        return job.resolution or None

    def get_aspectRatio(self, job: Job) -> str | None:
        return job.aspect_ratio or None

    @extend_schema_field({"type": "string", "format": "uuid", "nullable": True})
    def get_inputReference(self, job: Job) -> str | None:
        return job.fitted.get("input_reference")  # type: ignore[no-any-return]

    @extend_schema_field({"type": "string", "format": "uuid", "nullable": True})
    def get_lastFrame(self, job: Job) -> str | None:
        return job.fitted.get("last_frame")  # type: ignore[no-any-return]

    def get_imageFit(self, job: Job) -> str | None:
        return job.fitted.get("image_fit")  # type: ignore[no-any-return]

    def get_style(self, job: Job) -> str | None:
        return job.style or None

    def get_model(self, job: Job) -> str:
        return str(job.model or job.fitted["model"])

    @extend_schema_field({"type": "string", "enum": list(PRIORITIES)})
    def get_priority(self, job: Job) -> str:
        return next(name for name, priority in PRIORITIES.items() if priority == job.priority)

    def get_soraJobId(self, job: Job) -> str | None:
        return next((s.upstream_id for s in reversed(self._submissions(job)) if s.upstream_id), None)

    @extend_schema_field(Submitted(allow_null=True))
    def get_submitted(self, job: Job) -> dict[str, Any] | None:
        if not (submissions := self._submissions(job)):
            return None
        last = submissions[-1]
        return {
            "provider": last.provider.name,
            "model": last.request["model"],
            "seconds": last.request["seconds"],
            "size": last.request["size"],
            "attempt": last.number,
        }

    @extend_schema_field(Cost)
    def get_cost(self, job: Job) -> dict[str, Any]:
        paid = [s.price for s in self._submissions(job) if s.cost_state == "settled"]
        known = [price for price in paid if price is not None]
        return {
            "estimated": dollars(job.estimated_cost),
            "settled": dollars(sum(known)) if len(known) == len(paid) else None,
            "currency": pricing.CURRENCY,
        }

    @extend_schema_field(Result(allow_null=True))
    def get_result(self, job: Job) -> dict[str, Any] | None:
        if job.status != JobStatus.COMPLETED:
            return None
        request = self.context["request"]
        address = request.build_absolute_uri(f"/api/v1/videos/{job.pk}/content")
        return {
            "videoUrl": address,
            "thumbnailUrl": f"{address}?variant=thumbnail" if job.thumbnail else None,
            "duration": job.result_seconds,
            "width": job.width,
            "height": job.height,
            "format": job.format,
            "fileSize": job.file_size,
            "differences": differences(job, self._submissions(job)[-1]) if self._submissions(job) else [],
        }

    @extend_schema_field(Failure(allow_null=True))
    def get_error(self, job: Job) -> dict[str, Any] | None:
        if job.status != JobStatus.FAILED or job.failed_at is None:
            return None
        return {
            "code": job.error_code,
            "message": job.error_message,
            "details": job.error_details,
            "timestamp": written(job.failed_at),
        }

    def get_overdue(self, job: Job) -> bool:
        return job.overdue

    def get_ref(self, job: Job) -> str | None:
        return job.ref or None

    def _position(self, job: Job) -> QueuePosition:
        """Of all that are shown together, found together. The view gives the upstream, or what it found."""
        if self._positions is None:
            self._positions = self.context.get("positions")
        if self._positions is None:
            together: Any = self.instance if self.parent is None else self.parent.instance
            jobs = [together] if isinstance(together, Job) else together
            self._positions = queue_positions(jobs)
        return self._positions.get(job.pk, QueuePosition())

    @extend_schema_field(WaitingView(allow_null=True))
    def get_waiting(self, job: Job) -> dict[str, Any] | None:
        if (found := self._position(job).waiting) is None:
            return None
        return {
            "reason": str(found.reason),
            "since": written(found.since),
            "until": _moment(found.until),
            "detail": found.detail or None,
        }

    @extend_schema_field({"type": "integer", "nullable": True})
    def get_queuePosition(self, job: Job) -> int | None:
        return self._position(job).position

    @extend_schema_field({"type": "string", "format": "date-time", "nullable": True})
    def get_estimatedCompletionAt(self, job: Job) -> str | None:
        return _moment(self._position(job).done_at)

    @extend_schema_field({"type": "string", "format": "date-time", "nullable": True})
    def get_estimatedCompletionBy(self, job: Job) -> str | None:
        return _moment(self._position(job).done_by)


def _moment(at: datetime | None) -> str | None:
    return None if at is None else written(at)
