"""The strict requests for a video that is made from another one."""

from copy import deepcopy
from typing import Any

from rest_framework import serializers

from api.bodies.fields import StrictSerializer
from videos.api.serializers.create import CreateVideo


def _as_in_create(name: str) -> serializers.Field[Any, Any, Any, Any]:
    return deepcopy(CreateVideo._declared_fields[name])


class ChangeVideo(StrictSerializer):
    """A remix or an edit. Model, size and length are those of the video that it is made from."""

    prompt = _as_in_create("prompt")
    priority = _as_in_create("priority")
    metadata = _as_in_create("metadata")
    retainFor = _as_in_create("retainFor")


class ExtendVideo(ChangeVideo):
    """An extension by `duration` seconds. Model and size are those of the video that it begins with."""

    duration = _as_in_create("duration")
    fit = _as_in_create("fit")
