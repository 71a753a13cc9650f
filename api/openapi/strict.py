"""Strict requests in the OpenAPI schema."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction


class StrictRequests(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """Says in the schema that unknown fields of requests are refused."""

    target_class = "api.bodies.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> Any:
        """The usual schema, with `additionalProperties: false` in requests."""
        schema = auto_schema._map_serializer(  # type: ignore[no-untyped-call]
            self.target, direction, bypass_extensions=True
        )
        return schema | {"additionalProperties": False} if direction == "request" else schema
