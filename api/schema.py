"""What the schema says of strict requests."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction


class StrictRequests(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A request with a field that is not listed is refused, and the schema says so."""

    target_class = "api.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> Any:
        """As without this extension, closed against further properties in requests."""
        schema = auto_schema._map_serializer(  # type: ignore[no-untyped-call]
            self.target, direction, bypass_extensions=True
        )
        return schema | {"additionalProperties": False} if direction == "request" else schema
