"""The objects within a job, as callers see them."""

from typing import Final

from drf_spectacular.utils import extend_schema_serializer
from rest_framework import serializers

from api.moments import MomentField
from api.openapi.error_codes import JOB_CODES
from videos.queue.position.reasons import Reason


class Submitted(serializers.Serializer):  # type: ignore[type-arg]
    """What was last sent upstream."""

    provider = serializers.CharField()
    model = serializers.CharField()
    seconds = serializers.CharField()
    size = serializers.CharField()
    attempt = serializers.IntegerField()


class Cost(serializers.Serializer):  # type: ignore[type-arg]
    """Dollars as decimal strings; null if a price is not listed."""

    estimated = serializers.CharField(allow_null=True)
    settled = serializers.CharField(allow_null=True, help_text="What counts as paid, over all attempts.")
    currency = serializers.CharField()


class Difference(serializers.Serializer):  # type: ignore[type-arg]
    """A difference between a video and what was submitted for it."""

    field = serializers.ChoiceField(choices=["duration", "size", "fps", "audio"])
    submitted = serializers.JSONField()
    found = serializers.JSONField()


_LINK: Final = "Needs no key, and ends after RESULT_URL_TTL. Each read of the job has a fresh one."


class Result(serializers.Serializer):  # type: ignore[type-arg]
    """The finished video."""

    videoUrl = serializers.URLField(allow_null=True, help_text=f"{_LINK} Null once the files are removed.")
    thumbnailUrl = serializers.URLField(allow_null=True, help_text=_LINK)
    posterUrl = serializers.URLField(allow_null=True, help_text="A JPEG. Made after the job is completed.")
    posterWebpUrl = serializers.URLField(allow_null=True, help_text="The same as a WebP, in fewer bytes.")
    spritesheetUrl = serializers.URLField(
        allow_null=True, help_text="A JPEG of many small pictures, from the first to the last."
    )
    vttUrl = serializers.URLField(
        allow_null=True, help_text="WebVTT that says where in the sheet each moment is, for players."
    )
    previewUrl = serializers.URLField(allow_null=True, help_text="A WebP of a few seconds that moves.")
    duration = serializers.FloatField(help_text="Seconds.")
    width = serializers.IntegerField()
    height = serializers.IntegerField()
    fps = serializers.FloatField(allow_null=True, help_text="Frames per second, on the average.")
    codec = serializers.CharField(allow_null=True, help_text="FFmpeg's name of it, such as `h264`.")
    audio = serializers.BooleanField(allow_null=True, help_text="Whether it has sound.")
    format = serializers.CharField()
    fileSize = serializers.IntegerField(help_text="Bytes.")
    sha256 = serializers.CharField(allow_null=True, help_text="Of the file, in hexadecimal digits.")
    keptUntil = MomentField(allow_null=True, help_text="When the files are removed; null if that is not set.")
    onHold = serializers.BooleanField(help_text="Whether the operator keeps the files, whoever asks.")
    removedAt = MomentField(allow_null=True, help_text="When the files were removed.")
    differences = Difference(many=True, help_text="Where the video is not as it was submitted; mostly none.")


@extend_schema_serializer(component_name="Waiting")
class WaitingView(serializers.Serializer):  # type: ignore[type-arg]
    """Why a pending job is not rendered yet."""

    reason = serializers.ChoiceField(choices=[(str(each), "") for each in Reason])
    since = MomentField()
    until = MomentField(allow_null=True, help_text="When that ends at the latest; null if it is not known.")
    detail = serializers.CharField(allow_null=True, help_text="More about it, in words.")


class Failure(serializers.Serializer):  # type: ignore[type-arg]
    """Why a job failed."""

    code = serializers.CharField(help_text=f"{', '.join(JOB_CODES)}, or a code of the upstream's own.")
    message = serializers.CharField()
    details = serializers.JSONField(allow_null=True)
    timestamp = MomentField()
