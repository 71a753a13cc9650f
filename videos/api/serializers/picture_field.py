"""How a picture is given in a request."""

import base64
import binascii
import io
import re
from typing import Any, Final
from uuid import UUID

from django.core.files.uploadedfile import UploadedFile
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from videos.references.asked import GivenPicture
from videos.references.fetch import URL_MAX_LENGTH

_DATA_URL: Final = re.compile(r"data:image/[a-z.+-]{1,40};base64,", re.IGNORECASE)


@extend_schema_field({"type": "string"})
class PictureField(serializers.Field):  # type: ignore[type-arg]
    """An https address, a data URL, an id, or a file of a form."""

    default_error_messages = {
        "invalid": "Give an https address, a data URL (data:image/png;base64,...), or the id of an uploaded "
        "picture.",
        "not_base64": "What follows `base64,` is not Base64.",
        "too_long": f"The address is longer than {URL_MAX_LENGTH} characters.",
    }

    def to_internal_value(self, data: Any) -> GivenPicture:
        if isinstance(data, UploadedFile):
            return GivenPicture(file=data)
        if not isinstance(data, str):
            self.fail("invalid")
        if begin := _DATA_URL.match(data):
            try:
                return GivenPicture(file=io.BytesIO(base64.b64decode(data[begin.end() :], validate=True)))
            except (binascii.Error, ValueError):
                self.fail("not_base64")
        if len(data) > URL_MAX_LENGTH:
            self.fail("too_long")
        if "://" in data:
            return GivenPicture(url=data)
        try:
            return GivenPicture(id=UUID(data))
        except ValueError:
            self.fail("invalid")

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"type": "string", "format": "binary"})
class PictureFileField(PictureField):
    """A file of a form."""

    default_error_messages = {"invalid": "A file is required."}

    def to_internal_value(self, data: Any) -> GivenPicture:
        if not isinstance(data, UploadedFile):
            self.fail("invalid")
        return GivenPicture(file=data)


class NewPictureField(PictureField):
    """Not the id, because the picture is not there yet."""

    default_error_messages = {"invalid": "Give an https address, or a data URL (data:image/png;base64,...)."}

    def to_internal_value(self, data: Any) -> GivenPicture:
        given = super().to_internal_value(data)
        if given.id is not None:
            self.fail("invalid")
        return given


class KeptPictureField(PictureField):
    """Only the id: a batch is accepted as a whole, and its pictures are not fetched meanwhile."""

    default_error_messages = {
        "invalid": "Upload the picture first (POST /api/v1/images), and give its id.",
    }

    def to_internal_value(self, data: Any) -> GivenPicture:
        given = super().to_internal_value(data)
        if given.id is None:
            self.fail("invalid")
        return given
