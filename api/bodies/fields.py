"""Strict JSON fields: a field has exactly its type, and an unknown field is refused by name."""

import json
import math
from collections.abc import Mapping
from typing import Any

from rest_framework import serializers


class StrictCharField(serializers.CharField):
    """A JSON string. Numbers and other types are refused."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictChoiceField(serializers.ChoiceField):
    """One of a few strings."""

    default_error_messages = {"invalid_choice": "{input} is not one of {allowed}."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", input=json.dumps(data)[:50], allowed=", ".join(self.choices))
        return data


class StrictIntegerField(serializers.IntegerField):
    """A JSON number without a fraction."""

    default_error_messages = {"invalid": "A whole number is required."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return data


class StrictBooleanField(serializers.BooleanField):
    """A JSON true or false."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictFloatField(serializers.FloatField):
    """A finite JSON number."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            value = float(data)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            self.fail("invalid")
        return value


class StrictSerializer(serializers.Serializer):  # type: ignore[type-arg]
    """Refuses unknown fields by name."""

    def to_internal_value(self, data: Any) -> Any:
        if hasattr(data, "keys"):
            allowed = {name for name, field in self.fields.items() if not field.read_only}
            if unknown := sorted(str(key) for key in data if key not in allowed):
                there_are = f"there are {', '.join(sorted(allowed))}" if allowed else "this call takes none"
                message = f"There is no such field; {there_are}."
                raise serializers.ValidationError(
                    {
                        name[:100] or "(empty name)": [serializers.ErrorDetail(message, code="unknown_field")]
                        for name in unknown[:20]
                    }
                )
        return super().to_internal_value(data)


def refuse_fields(data: Any) -> None:
    """Raises ValidationError if there are any: the call takes none."""
    if data or not isinstance(data, Mapping):
        StrictSerializer(data=data).is_valid(raise_exception=True)
