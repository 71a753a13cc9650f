"""The strict requests of OpenAI's Videos API, in JSON or as a form."""

import re
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from api.bodies.fields import StrictCharField, StrictSerializer
from upstreams.client.values import canonical_seconds
from upstreams.offer.request import MAX_PROMPT_LENGTH, VideoRequest
from videos.api.serializers.create import SizeField
from videos.api.serializers.picture_field import PictureField
from videos.references.asked import GivenPicture

# As SDKs write `input_reference.image_url` in a form.
_NESTED: Final = re.compile(r"([a-z_]{1,50})\[([a-z_]{1,50})\]")
MAX_SECONDS: Final = 3_600


def fields_of(data: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a body; those that a form has in brackets are objects."""
    found: dict[str, Any] = {}
    for name, value in data.items():
        if (nested := _NESTED.fullmatch(name)) and isinstance(found.setdefault(nested[1], {}), dict):
            found[nested[1]][nested[2]] = value
        else:
            found[name] = value
    return found


class _Seconds(serializers.Field):  # type: ignore[type-arg]
    """A length. The protocol has it as text; numbers are taken as well."""

    default_error_messages = {"invalid": "A number of seconds is required, such as '8'."}

    def to_internal_value(self, data: Any) -> float:
        text = None if isinstance(data, bool) else canonical_seconds(data)
        if text is None or not 0 < float(text) <= MAX_SECONDS:
            self.fail("invalid")
        return float(text)


class _ReferenceFields(StrictSerializer):
    image_url = PictureField(required=False)
    file_id = PictureField(required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Give either image_url or file_id.")
        (name, given) = next(iter(attrs.items()))
        if (name == "file_id") != (given.id is not None):
            raise serializers.ValidationError(
                "image_url is an https address or a data URL, and file_id the id of a picture that was "
                "uploaded to POST /api/v1/images."
            )
        return attrs


class _Reference(serializers.Field):  # type: ignore[type-arg]
    """A file of a form, or an object with one of `image_url` and `file_id`."""

    default_error_messages = {"invalid": "Expected an object with image_url or file_id, or a file of a form."}

    def to_internal_value(self, data: Any) -> GivenPicture:
        if isinstance(data, dict):
            found: dict[str, GivenPicture] = _ReferenceFields().run_validation(data)
            return next(iter(found.values()))
        if isinstance(data, str):
            self.fail("invalid")
        given: GivenPicture = PictureField().run_validation(data)
        return given


class _Prompted(StrictSerializer):
    prompt = StrictCharField(max_length=MAX_PROMPT_LENGTH)


class CreateBody(_Prompted):
    """A create."""

    model = StrictCharField(max_length=100, required=False)
    seconds = _Seconds(source="duration", required=False)
    size = SizeField(required=False)
    input_reference = _Reference(required=False)


class RemixBody(_Prompted):
    """A remix."""


class _SourceFields(StrictSerializer):
    id = StrictCharField(max_length=100)


class EditBody(_Prompted):
    """An edit of one of our own videos. There is no upload of others."""

    video = _SourceFields()


class ExtendBody(EditBody):
    """An extension of one of our own videos."""

    seconds = _Seconds(source="duration")


def request_of(body: StrictSerializer, data: Any) -> tuple[VideoRequest, dict[str, Any]]:
    """What is asked for, strictly, and what else the body names: `input_reference` and `video`."""
    given = body.run_validation(fields_of(data))
    more = {name: given.pop(name) for name in ("input_reference", "video") if name in given}
    # Nobody who speaks this protocol can be told of an adjustment.
    return VideoRequest(strict=True, **given), more
