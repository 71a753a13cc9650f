"""Defaults of request fields, in words.

Generators of TypeScript take a field with a `default` for one that is always there, and then want it in each
request.
"""

from typing import Any


def say_defaults(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Postprocessing hook of drf-spectacular: moves defaults of bodies into their descriptions."""
    for name, schema in result.get("components", {}).get("schemas", {}).items():
        for field in schema.get("properties", {}).values() if name.endswith("Request") else ():
            if "default" in field:
                said = f"Default: {field.pop('default')}."
                field["description"] = " ".join(filter(None, (field.get("description"), said)))
    return result
