"""Times as every API writes them: ISO 8601 in UTC, with milliseconds and `Z`."""

from datetime import UTC, datetime
from typing import Any

from rest_framework import serializers


def written(at: datetime) -> str:
    """A time as "2026-11-21T10:00:00.049Z", cut to milliseconds."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class MomentField(serializers.DateTimeField):
    """Reads ISO 8601 and writes it as `written` does."""

    def to_representation(self, value: Any) -> str:
        return written(value) if isinstance(value, datetime) else str(value)
