"""Request and response headers for the schema."""

from drf_spectacular.utils import OpenApiParameter


def header(name: str, statuses: list[int], description: str) -> OpenApiParameter:
    """A response header."""
    return OpenApiParameter(name, str, OpenApiParameter.HEADER, response=statuses, description=description)


IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]{1,255}$"},
    OpenApiParameter.HEADER,
    description="1 to 255 visible ASCII characters, such as a UUID; kept for 24 hours. The same "
    "request under the same key is carried out once and answered alike.",
)


REPLAYED = header("Idempotent-Replayed", [200, 201], "true where this is the answer of an earlier request.")
IF_NONE_MATCH = OpenApiParameter(
    "If-None-Match", str, OpenApiParameter.HEADER, description="An earlier answer's ETag."
)
