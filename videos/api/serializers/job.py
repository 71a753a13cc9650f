"""How callers see a job, for the schema: show.py writes it."""

from typing import Any

from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from api.bodies.json_field import JSONObjectField
from api.moments import MomentField
from upstreams.client.types import OPERATIONS
from upstreams.offer.request import PRIORITIES
from videos.api.serializers.create import Adjustment
from videos.api.serializers.job_parts import Cost, Failure, Result, Submitted, WaitingView
from videos.models import Job


@extend_schema_field({"type": "string", "format": "uuid", "nullable": True})
class _NullableId(serializers.UUIDField):
    """An id, or null."""


@extend_schema_field({"type": "string", "enum": list(PRIORITIES)})
class _PriorityField(serializers.CharField):
    """The name of a priority."""


@extend_schema_serializer(component_name="Job")
class JobView(serializers.ModelSerializer[Job]):
    """A job with all its fields."""

    stage = serializers.CharField(
        allow_null=True, help_text="The state of the live submission; held if the key that asked was revoked."
    )
    negativePrompt = serializers.CharField(allow_null=True)
    resolution = serializers.CharField(allow_null=True)
    aspectRatio = serializers.CharField(allow_null=True)
    size = serializers.CharField(allow_null=True)
    inputReference = _NullableId(help_text="The id of the picture that it begins with.")
    lastFrame = _NullableId(help_text="The id of the picture that it ends with.")
    imageFit = serializers.CharField(allow_null=True)
    style = serializers.CharField(allow_null=True)  # type: ignore[assignment]
    model = serializers.CharField()
    operation = serializers.ChoiceField(
        choices=["create", *OPERATIONS], help_text="How it is made: anew, or from the video of `sourceJobId`."
    )
    sourceJobId = _NullableId(help_text="The job whose video it is made from.")
    priority = _PriorityField()
    adjustments = Adjustment(many=True)
    soraJobId = serializers.CharField(allow_null=True)
    submitted = Submitted(allow_null=True)
    cost = Cost()
    result = Result(allow_null=True)
    error = Failure(allow_null=True)
    overdue = serializers.BooleanField()
    batchId = serializers.UUIDField(allow_null=True)
    ref = serializers.CharField(allow_null=True)
    waiting = WaitingView(allow_null=True, help_text="Null once it is rendered, or has ended.")
    queuePosition = serializers.IntegerField(
        allow_null=True, help_text="1 is next; null once it is sent, and while its batch is paused."
    )
    estimatedCompletionAt = MomentField(
        allow_null=True,
        help_text="By the median of this deployment's own last renders of its model and length; null until "
        "there are any.",
    )
    estimatedCompletionBy = MomentField(
        allow_null=True, help_text="The same by their 90th percentile: nine in ten were done by then."
    )
    metadata = JSONObjectField()
    retainFor = serializers.IntegerField(
        source="retain_for",
        allow_null=True,
        help_text="Seconds after its completion until its files are removed, if that was asked for.",
    )
    createdAt = MomentField()
    updatedAt = MomentField()
    startedAt = MomentField(allow_null=True)
    completedAt = MomentField(allow_null=True)

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
            "size",
            "fps",
            "seed",
            "audio",
            "extra",
            "inputReference",
            "lastFrame",
            "imageFit",
            "style",
            "model",
            "operation",
            "sourceJobId",
            "priority",
            "metadata",
            "retainFor",
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

    def get_fields(self) -> dict[str, Any]:
        """None of them is for requests."""
        fields = super().get_fields()
        for field in fields.values():
            field.read_only = True
        return fields

    def to_representation(self, instance: Any) -> Any:
        """What show.py has written."""
        return instance
