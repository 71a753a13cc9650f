"""The wire: what callers send, strictly read, and what they get."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from accounts.budgets.reservations import dollars
from api.fields import Choice, Number, Strict, Text, Whole
from api.json_field import JSONObject
from upstreams import pricing
from upstreams.fitting import ASPECT_RATIOS, PRIORITIES, RESOLUTIONS, STYLES, Asked
from videos.api.queries import COUNT_MAX
from videos.models import PROMPT_MAX, Job, Submission
from videos.queue.positions import Standing, standings
from videos.states import LIVE, JobStatus

PAGE_MAX: Final = 100


class CreateVideo(Strict):
    """A wish for one video."""

    prompt = Text(max_length=PROMPT_MAX, help_text="What the video shows.")
    negativePrompt = Text(
        source="negative_prompt",
        max_length=PROMPT_MAX,
        required=False,
        allow_blank=True,
        help_text="What it should not show.",
    )
    duration = Number(min_value=1, max_value=60, required=False, help_text="Seconds, whole or not.")
    resolution = Choice(choices=list(RESOLUTIONS), required=False)
    aspectRatio = Choice(source="aspect_ratio", choices=list(ASPECT_RATIOS), required=False)
    fps = Whole(min_value=24, max_value=60, required=False, help_text="Frames per second.")
    seed = Whole(min_value=0, max_value=2**32 - 1, required=False)
    style = Choice(choices=list(STYLES), required=False)  # type: ignore[assignment]
    model = Text(max_length=100, required=False)
    priority = Text(
        max_length=20,
        required=False,
        help_text=f"One of {', '.join(PRIORITIES)}; another is taken as normal.",
    )
    metadata = JSONObject(required=False, help_text="Kept with the job and returned; at most 16 KB.")
    fit = Choice(
        choices=["nearest", "strict"],
        default="nearest",
        help_text="What becomes of a wish that the upstream does not offer: the nearest that it does, at no "
        "higher price per second, or a refusal with the allowed values.",
    )

    def asked(self) -> Asked:
        """The validated wish."""
        return asked_of(self.validated_data)


def asked_of(validated: Mapping[str, Any]) -> Asked:
    """The wish that CreateVideo has validated."""
    given = dict(validated)
    return Asked(strict=given.pop("fit") == "strict", **given)


class Adjustment(serializers.Serializer):  # type: ignore[type-arg]
    """One difference between what was asked and what will be rendered."""

    field = serializers.CharField()
    asked = serializers.JSONField()
    used = serializers.JSONField(allow_null=True)
    reason = serializers.CharField()


class Accepted(serializers.Serializer):  # type: ignore[type-arg]
    """The answer to a create."""

    jobId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=JobStatus.choices)
    message = serializers.CharField()
    adjustments = Adjustment(many=True)
    estimatedCost = serializers.CharField(
        allow_null=True, help_text="US dollars; null where no price is listed."
    )


class BudgetLeft(serializers.Serializer):  # type: ignore[type-arg]
    """A budget that this caller falls under. Dollars as strings."""

    scope = serializers.ChoiceField(choices=["owner", "key"])
    period = serializers.ChoiceField(choices=["day", "month"])
    limit = serializers.CharField()
    reserved = serializers.CharField()
    settled = serializers.CharField()
    left = serializers.CharField()
    renewsAt = serializers.DateTimeField()


class Sent(serializers.Serializer):  # type: ignore[type-arg]
    """What would be sent upstream."""

    model = serializers.CharField()
    seconds = serializers.CharField()
    size = serializers.CharField()


class Estimate(serializers.Serializer):  # type: ignore[type-arg]
    """What a create with the same wish would send and cost."""

    estimatedCost = serializers.CharField(
        allow_null=True, help_text="US dollars; null where no price is listed."
    )
    currency = serializers.CharField()
    submitted = Sent()
    adjustments = Adjustment(many=True)
    budgets = BudgetLeft(many=True)


class Cancelled(serializers.Serializer):  # type: ignore[type-arg]
    """The answer to a cancel; the message says what it means upstream."""

    jobId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=[JobStatus.CANCELLED])
    message = serializers.CharField()


class Submitted(serializers.Serializer):  # type: ignore[type-arg]
    """What was last sent upstream."""

    provider = serializers.CharField()
    model = serializers.CharField()
    seconds = serializers.CharField()
    size = serializers.CharField()
    attempt = serializers.IntegerField()


class Cost(serializers.Serializer):  # type: ignore[type-arg]
    """Dollars as decimal strings; null where a price is not listed."""

    estimated = serializers.CharField(allow_null=True)
    settled = serializers.CharField(allow_null=True, help_text="What counts as paid, over all attempts.")
    currency = serializers.CharField()


class Result(serializers.Serializer):  # type: ignore[type-arg]
    """The finished video."""

    videoUrl = serializers.URLField()
    thumbnailUrl = serializers.URLField(allow_null=True)
    duration = serializers.FloatField(help_text="Seconds.")
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    format = serializers.CharField()
    fileSize = serializers.IntegerField(help_text="Bytes.")


class Failure(serializers.Serializer):  # type: ignore[type-arg]
    """Why a job failed."""

    code = serializers.CharField()
    message = serializers.CharField()
    details = serializers.JSONField(allow_null=True)
    timestamp = serializers.DateTimeField()


@extend_schema_serializer(component_name="Job")
class JobView(serializers.ModelSerializer[Job]):
    """A job and all that is known of it."""

    # Many are shown from querysets with their submissions prefetched: queries.visible_to.
    _standings: dict[UUID, Standing] | None = None

    stage = serializers.SerializerMethodField(help_text="The state of the live submission.")
    negativePrompt = serializers.SerializerMethodField()
    resolution = serializers.SerializerMethodField()
    aspectRatio = serializers.SerializerMethodField()
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
    metadata = JSONObject()
    createdAt = serializers.DateTimeField(source="created_at")
    updatedAt = serializers.DateTimeField(source="updated_at")
    startedAt = serializers.DateTimeField(source="started_at", allow_null=True)
    completedAt = serializers.DateTimeField(source="completed_at", allow_null=True)

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
        return next((str(s.state) for s in self._submissions(job) if s.state in LIVE), None)

    def get_negativePrompt(self, job: Job) -> str | None:
        return job.negative_prompt or None

    def get_resolution(self, job: Job) -> str | None:
        return job.resolution or None

    def get_aspectRatio(self, job: Job) -> str | None:
        return job.aspect_ratio or None

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
        }

    @extend_schema_field(Failure(allow_null=True))
    def get_error(self, job: Job) -> dict[str, Any] | None:
        if job.status != JobStatus.FAILED or job.failed_at is None:
            return None
        return {
            "code": job.error_code,
            "message": job.error_message,
            "details": job.error_details,
            "timestamp": serializers.DateTimeField().to_representation(job.failed_at),
        }

    def get_overdue(self, job: Job) -> bool:
        return job.overdue

    def get_ref(self, job: Job) -> str | None:
        return job.ref or None

    def _standing(self, job: Job) -> Standing:
        """Of all that are shown together, found together. The view gives the upstream, or what it found."""
        if self._standings is None:
            self._standings = self.context.get("standings")
        if self._standings is None:
            together: Any = self.instance if self.parent is None else self.parent.instance
            jobs = [together] if isinstance(together, Job) else together
            self._standings = standings(jobs, self.context["upstream"])
        return self._standings.get(job.pk, Standing())

    @extend_schema_field({"type": "integer", "nullable": True})
    def get_queuePosition(self, job: Job) -> int | None:
        return self._standing(job).position

    @extend_schema_field({"type": "string", "format": "date-time", "nullable": True})
    def get_estimatedCompletionAt(self, job: Job) -> str | None:
        return _written(self._standing(job).done_at)

    @extend_schema_field({"type": "string", "format": "date-time", "nullable": True})
    def get_estimatedCompletionBy(self, job: Job) -> str | None:
        return _written(self._standing(job).done_by)


def _written(at: datetime | None) -> str | None:
    return None if at is None else str(serializers.DateTimeField().to_representation(at))


class PageQuery(Strict):
    """Which part of a list, by page or by cursor."""

    page = serializers.IntegerField(required=False, min_value=1, help_text="From 1; not with cursor.")
    limit = serializers.IntegerField(default=20, min_value=1, max_value=PAGE_MAX, help_text="Rows per page.")
    cursor = serializers.UUIDField(required=False, help_text="`nextCursor` of the page before.")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "page" in attrs and "cursor" in attrs:
            raise serializers.ValidationError({"page": "Give page or cursor, not both."})
        if attrs.get("page", 1) * attrs["limit"] > COUNT_MAX:
            raise serializers.ValidationError(
                {"page": f"Pages end at {COUNT_MAX} rows; go on with nextCursor as cursor."}
            )
        return attrs


class ListQuery(PageQuery):
    """Which jobs to list."""

    status = Choice(choices=JobStatus.values, required=False)
    batchId = serializers.UUIDField(required=False, help_text="Jobs of this batch.")
    priority = Choice(choices=list(PRIORITIES), required=False)
    createdAfter = serializers.DateTimeField(required=False, help_text="ISO 8601; jobs made at or after it.")
    createdBefore = serializers.DateTimeField(required=False, help_text="ISO 8601; jobs made before it.")


class ContentQuery(Strict):
    """Which of a job's files."""

    variant = Choice(choices=["video", "thumbnail"], default="video")


class Pagination(serializers.Serializer):  # type: ignore[type-arg]
    """Where a list stands. `page` is null for a cursor."""

    page = serializers.IntegerField(allow_null=True)
    limit = serializers.IntegerField()
    total = serializers.IntegerField(help_text=f"Counted up to {COUNT_MAX}.")
    totalIsCut = serializers.BooleanField(help_text="There are more than `total`.")
    totalPages = serializers.IntegerField()
    hasMore = serializers.BooleanField()
    nextCursor = serializers.UUIDField(allow_null=True)


class JobPage(serializers.Serializer):  # type: ignore[type-arg]
    """One page of jobs."""

    data = JobView(many=True)  # type: ignore[assignment]
    pagination = Pagination()
