"""The strict request to create a video, and its answer."""

import re
from collections.abc import Mapping
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.keys.retention import RETAIN_MAX_SECONDS, RETAIN_MIN_SECONDS
from api.bodies.fields import (
    StrictBooleanField,
    StrictCharField,
    StrictChoiceField,
    StrictFloatField,
    StrictIntegerField,
    StrictSerializer,
)
from api.bodies.json_field import JSONObjectField
from api.moments import MomentField
from upstreams.offer.request import (
    ASPECT_RATIOS,
    MAX_PROMPT_LENGTH,
    PICTURES,
    PRIORITIES,
    RESOLUTIONS,
    STYLES,
    VideoRequest,
)
from videos.api.serializers.picture_field import PictureField, PictureFileField
from videos.references.asked import GivenPicture
from videos.references.images import Fit
from videos.states import JobStatus

# What other services take for no seed.
RANDOM_SEED: Final = -1


_SIZE: Final = re.compile(r"[1-9][0-9]{1,4}x[1-9][0-9]{1,4}")


@extend_schema_field({"type": "string", "pattern": f"^{_SIZE.pattern}$", "example": "1280x720"})
class SizeField(StrictCharField):
    """A size in pixels."""

    default_error_messages = {"invalid": "A size is WIDTHxHEIGHT in pixels, such as 1280x720."}

    def to_internal_value(self, data: Any) -> str:
        value = super().to_internal_value(data)
        if not _SIZE.fullmatch(value):
            self.fail("invalid")
        return value


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
    size = SizeField(
        required=False,
        help_text="In pixels, in place of `resolution` and `aspectRatio`: the nearest is rendered.",
    )
    fps = StrictIntegerField(min_value=24, max_value=60, required=False, help_text="Frames per second.")
    seed = StrictIntegerField(
        min_value=RANDOM_SEED, max_value=2**63 - 1, required=False, help_text="-1, or none: a random one."
    )
    audio = StrictBooleanField(required=False, help_text="Whether the video has sound.")
    extra = JSONObjectField(
        required=False,
        help_text="Fields of the upstream's own, which are sent as they are: those that `GET /models` names.",
    )
    inputReference = PictureField(
        source="input_reference",
        required=False,
        help_text="The picture that the video begins with: an https address, a data URL, the id of an "
        "uploaded one, or a file of a form. Models that take none refuse it.",
    )
    lastFrame = PictureField(
        source="last_frame",
        required=False,
        help_text="The picture that the video ends with. It needs an `inputReference` as well.",
    )
    imageFit = StrictChoiceField(
        source="image_fit",
        choices=[each.value for each in Fit],
        required=False,
        help_text="Gives the pictures the size of the video: cut off what sticks out, add black bars, or "
        "stretch. Without it they are sent as they are.",
    )
    style = StrictChoiceField(choices=list(STYLES), required=False)  # type: ignore[assignment]
    model = StrictCharField(max_length=100, required=False)
    priority = StrictCharField(
        max_length=20,
        required=False,
        help_text=f"One of {', '.join(PRIORITIES)}; another is taken as normal.",
    )
    metadata = JSONObjectField(required=False, help_text="Kept with the job and returned; at most 16 KB.")
    retainFor = StrictIntegerField(
        source="retain_for",
        min_value=RETAIN_MIN_SECONDS,
        max_value=RETAIN_MAX_SECONDS,
        required=False,
        help_text="Seconds after its completion until the files of the video are removed. Without it the "
        "time of the API key counts, and without that one the operator's.",
    )
    fit = StrictChoiceField(
        choices=["nearest", "strict"],
        default="nearest",
        help_text="If the upstream does not offer what you ask for: the nearest that it offers, or a refusal "
        "with the allowed values.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("seed") == RANDOM_SEED:
            del attrs["seed"]
        if "size" in attrs and attrs.keys() & {"resolution", "aspect_ratio"}:
            raise serializers.ValidationError({"size": "Give either it, or resolution and aspectRatio."})
        # Of some models such a render fails after it was accepted.
        if "last_frame" in attrs and "input_reference" not in attrs:
            raise serializers.ValidationError({"lastFrame": "Give an inputReference as well."})
        if "image_fit" in attrs and "input_reference" not in attrs:
            raise serializers.ValidationError({"imageFit": "There is no picture to fit."})
        return attrs


class CreateVideoForm(CreateVideo):
    """The same as a form, in which a picture may be a file, and metadata and extra are JSON as text."""

    inputReference = PictureFileField(source="input_reference", required=False)
    lastFrame = PictureFileField(source="last_frame", required=False)
    metadata = serializers.CharField(required=False, help_text="JSON.")  # type: ignore[assignment]
    extra = serializers.CharField(required=False, help_text="JSON.")  # type: ignore[assignment]


def video_request_of(validated: Mapping[str, Any]) -> tuple[VideoRequest, dict[str, GivenPicture]]:
    """The request that such a serializer has validated, and the pictures that it is still without."""
    given = dict(validated)
    pictures = {name: given.pop(name) for name in PICTURES if name in given}
    return VideoRequest(strict=given.pop("fit", None) == "strict", **given), pictures


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
