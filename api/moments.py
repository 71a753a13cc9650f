"""Times as every API writes them: ISO 8601 in UTC, with milliseconds and `Z`."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from rest_framework import serializers


def written(at: datetime) -> str:
    """A time as "2026-11-21T10:00:00.049Z", cut to milliseconds."""
    return f"{at.astimezone(UTC).isoformat(timespec='milliseconds')[:-6]}Z"


_UNESCAPED: Final = re.compile(r"T[\d:.,]+ \d\d:?\d\d$")


class MomentField(serializers.DateTimeField):
    """Reads ISO 8601 and writes it as `written` does.

    In an address, the plus of `+02:00` that was not escaped comes as a blank. It can mean nothing else.
    """

    def to_internal_value(self, value: Any) -> datetime:
        if isinstance(value, str) and _UNESCAPED.search(value):
            value = "+".join(value.rsplit(" ", 1))
        return super().to_internal_value(value)

    def to_representation(self, value: Any) -> str:
        return written(value) if isinstance(value, datetime) else str(value)
