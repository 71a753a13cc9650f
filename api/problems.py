"""The problems of a request, as a list."""

from collections.abc import Mapping
from typing import Any


def problems_of(detail: Any, field: str = "") -> list[dict[str, str]]:
    """One entry per problem, with the path of the field that it is about."""
    if isinstance(detail, Mapping):
        return [
            problem
            for name, inner in detail.items()
            for problem in problems_of(
                inner, field if name == "non_field_errors" else f"{field}.{name}".lstrip(".")
            )
        ]
    if isinstance(detail, list):
        return [problem for inner in detail for problem in problems_of(inner, field)]
    return [{"field": field or "", "code": getattr(detail, "code", "invalid"), "message": str(detail)}]
