"""JSON fields that only jobs need; the others are in api.bodies.fields."""

import json
from typing import Any, Final, Self

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

MAX_METADATA_BYTES: Final = 16 * 1024


class Unreadable(str):
    """Text that should be JSON, with what is wrong with it."""

    def __new__(cls, text: str, reason: str) -> Self:
        made = super().__new__(cls, text)
        made.reason = reason
        return made

    reason: str


@extend_schema_field({"type": "object", "additionalProperties": True})
class JSONObjectField(serializers.Field):  # type: ignore[type-arg]
    """A JSON object of at most MAX_METADATA_BYTES bytes."""

    default_error_messages = {
        "invalid": "A JSON object is required.",
        "too_long": f"It has {{length}} bytes as compact JSON; at most {MAX_METADATA_BYTES} are kept.",
    }

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, Unreadable):
            raise serializers.ValidationError(data.reason, code="invalid")
        if not isinstance(data, dict):
            self.fail("invalid")
        length = len(json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
        if length > MAX_METADATA_BYTES:
            self.fail("too_long", length=length)
        return data

    def to_representation(self, value: Any) -> Any:
        return value
