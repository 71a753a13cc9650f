"""The strict request to create a video, and its answer."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from api.bodies.json_field import JSONObjectField
from api.fields import (
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    StrictFloatField,
    StrictIntegerField,
    StrictSerializer,
)
from api.moments import MomentField
from upstreams.offer.request import (
    ASPECT_RATIOS,
    MAX_PROMPT_LENGTH,
    PRIORITIES,
    RESOLUTIONS,
    STYLES,
    VideoRequest,
)
from videos.states import JobStatus


class CreateVideo(StrictSerializer):
    """The request to create one video."""

    prompt = StrictCharField(max_length=MAX_PROMPT_LENGTH, help_text="What the video shows.")
    negativePrompt = StrictCharField(
        source="negative_prompt",
        max_length=MAX_PROMPT_LENGTH,
        required=False,
        allow_blank=True,
        help_text="What it should not show.",
    )
    duration = StrictFloatField(min_value=1, max_value=60, required=False, help_text="Seconds, whole or not.")
    resolution = StrictChoiceField(choices=list(RESOLUTIONS), required=False)
    aspectRatio = StrictChoiceField(source="aspect_ratio", choices=list(ASPECT_RATIOS), required=False)
    fps = StrictIntegerField(min_value=24, max_value=60, required=False, help_text="Frames per second.")
    seed = StrictIntegerField(min_value=0, max_value=2**32 - 1, required=False)
    audio = StrictBooleanField(required=False, help_text="Whether the video has sound.")
    extra = JSONObjectField(
        required=False,
        help_text="Fields of the upstream's own, which are sent as they are: those that `GET /models` names.",
    )
    style = StrictChoiceField(choices=list(STYLES), required=False)  # type: ignore[assignment]
    model = StrictCharField(max_length=100, required=False)
    priority = StrictCharField(
        max_length=20,
        required=False,
        help_text=f"One of {', '.join(PRIORITIES)}; another is taken as normal.",
    )
    metadata = JSONObjectField(required=False, help_text="Kept with the job and returned; at most 16 KB.")
    fit = StrictChoiceField(
        choices=["nearest", "strict"],
        default="nearest",
        help_text="If the upstream does not offer what you ask for: the nearest that it offers, at no "
        "higher price per second, or a refusal with the allowed values.",
    )

    def video_request(self) -> VideoRequest:
        """The validated request."""
        return video_request_of(self.validated_data)


def video_request_of(validated: Mapping[str, Any]) -> VideoRequest:
    """The request that CreateVideo has validated."""
    given = dict(validated)
    return VideoRequest(strict=given.pop("fit") == "strict", **given)


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
    """A budget that applies to this caller. Dollars are strings."""

    scope = serializers.ChoiceField(choices=["owner", "key"])
    period = serializers.ChoiceField(choices=["day", "month"])
    limit = serializers.CharField()
    reserved = serializers.CharField()
    settled = serializers.CharField()
    left = serializers.CharField()
    renewsAt = MomentField()


class Sent(serializers.Serializer):  # type: ignore[type-arg]
    """What would be sent upstream."""

    model = serializers.CharField()
    seconds = serializers.CharField()
    size = serializers.CharField()


class Estimate(serializers.Serializer):  # type: ignore[type-arg]
    """What the same create would send and cost."""

    estimatedCost = serializers.CharField(
        allow_null=True, help_text="US dollars; null where no price is listed."
    )
    currency = serializers.CharField()
    submitted = Sent()
    adjustments = Adjustment(many=True)
    budgets = BudgetLeft(many=True)


class Cancelled(serializers.Serializer):  # type: ignore[type-arg]
    """The answer to a cancel. The message says what happens upstream."""

    jobId = serializers.UUIDField()
    status = serializers.ChoiceField(choices=[JobStatus.CANCELLED])
    message = serializers.CharField()
